"""How good a classifier's predictions are, computed in numpy from the predictions themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from netspec.training.settings import MetricName

TOP = 5


def predicted_classes(outputs: NDArray[Any], threshold: float = 0.5) -> NDArray[np.int64]:
    """The class int64 [n] of every output [n, classes], the first of equals; one output above `threshold` is class 1.

    Compare a single logit with a threshold of 0.
    """
    import numpy as np

    classes = outputs[:, 0] > threshold if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return np.asarray(classes, dtype=np.int64)


def top_k_accuracy(outputs: NDArray[Any], labels: NDArray[np.int64], k: int) -> float:
    """The fraction of images whose label is among the `k` classes with the highest of their outputs [n, classes].

    Among equal outputs the lower class stands first, as in argmax.
    """
    import numpy as np

    ranked = np.argsort(-outputs, axis=1, kind="stable")
    return float((ranked[:, :k] == labels[:, np.newaxis]).any(axis=1).mean())


def confusion_matrix(outputs: NDArray[Any], labels: NDArray[np.int64], threshold: float = 0.5) -> NDArray[np.int64]:
    """How many images of each class (row) are predicted as each class (column): int64 [classes, classes]."""
    import numpy as np

    classes = max(outputs.shape[1], 2)
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, predicted_classes(outputs, threshold)), 1)
    return matrix


def precision_recall_f1(matrix: NDArray[np.int64]) -> tuple[float, float, float]:
    """Precision, recall and F1 from a confusion matrix: those of class 1 of two, else the means over all classes.

    Precision is the share that is right of what was predicted as a class, recall of what is one, F1 their harmonic mean
    2 * p * r / (p + r); 0 / 0 counts as 0.
    """
    import numpy as np

    right = matrix.diagonal().astype(np.float64)

    def share(of: NDArray[Any]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.divide(right, of, out=np.zeros(len(right)), where=of > 0)
        return found

    precision, recall = share(matrix.sum(axis=0)), share(matrix.sum(axis=1))
    f1 = share((matrix.sum(axis=0) + matrix.sum(axis=1)) / 2)
    chosen = slice(1, 2) if len(matrix) == 2 else slice(None)
    return float(precision[chosen].mean()), float(recall[chosen].mean()), float(f1[chosen].mean())


def area_under_curve(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve, exactly: how often a positive scores higher than a negative, an equal one half.

    NaN where all are of one kind.
    """
    import numpy as np

    order, where = np.unique(scores, return_inverse=True)
    ends = np.cumsum(np.bincount(where, minlength=len(order)))
    ranks = (ends - (np.bincount(where, minlength=len(order)) - 1) / 2)[where]  # from 1, the mean of equals
    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return float("nan")
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def _auc(outputs: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Of class 1 of two, else the mean over the classes that are there of each against all others."""
    import numpy as np

    if outputs.shape[1] <= 2:
        scores = outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]
        return area_under_curve(scores, labels == 1)
    return float(np.mean([area_under_curve(outputs[:, label], labels == label) for label in np.unique(labels)]))


def evaluate(
    outputs: NDArray[Any],
    labels: NDArray[np.int64],
    threshold: float = 0.5,
    chosen: Collection[MetricName] = (),
) -> dict[str, float]:
    """Metrics of outputs [n, classes], or [n, 1] for two classes, against labels int64 [n].

    `images` judged, `accuracy`, the accuracy of the worst class as `worst_class_accuracy`, and `top_5_accuracy` where
    there are more than five classes; beside them what is `chosen` of `precision`, `recall`, `f1` and `auc`. Raises
    ValueError when the shapes do not belong together or an output is NaN.
    """
    import numpy as np

    if outputs.ndim != 2 or labels.shape != outputs.shape[:1] or not len(labels):
        raise ValueError(f"outputs {list(outputs.shape)} and labels {list(labels.shape)} do not belong together")
    lost = int(np.isnan(outputs).any(axis=1).sum())
    if lost:
        raise ValueError(f"{lost} of {len(outputs)} outputs are not numbers")
    matrix = confusion_matrix(outputs, labels, threshold)
    present = matrix.sum(axis=1) > 0
    metrics = {
        "images": len(labels),
        "accuracy": float(matrix.trace() / len(labels)),
        "worst_class_accuracy": float((matrix.diagonal()[present] / matrix.sum(axis=1)[present]).min()),
    }
    if outputs.shape[1] > TOP:
        metrics[f"top_{TOP}_accuracy"] = top_k_accuracy(outputs, labels, TOP)
    shares = dict(zip(("precision", "recall", "f1"), precision_recall_f1(matrix), strict=True))
    metrics |= {name: value for name, value in shares.items() if name in chosen}
    if "auc" in chosen:
        metrics["auc"] = _auc(outputs, labels)
    return metrics
