"""How good a classifier's predictions are, computed in numpy from the predictions themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


def evaluate(outputs: NDArray[Any], labels: NDArray[np.int64], threshold: float = 0.5) -> dict[str, float]:
    """Metrics of outputs [n, classes], or [n, 1] for two classes, against labels int64 [n].

    `images` judged, `accuracy`, the accuracy of the worst class as `worst_class_accuracy`, and `top_5_accuracy` where
    there are more than five classes. Raises ValueError when the shapes do not belong together or an output is NaN.
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
    return metrics
