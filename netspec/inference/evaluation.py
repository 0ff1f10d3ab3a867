"""How good a classifier's predictions are, computed in numpy from the predictions themselves."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Self

from netspec.data.chosen import Chosen, image_samples
from netspec.errors import Problem, SpecError, did_you_mean
from netspec.inference.predict import predict
from netspec.progress import Progress
from netspec.spec.model import Spec
from netspec.training.loss import check_loss, default_loss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netspec.inference.artefact import Artefact
    from netspec.network import Network
    from netspec.training.loss import Loss

TOP = 5
"""The top-k accuracy that is always given, where there are more classes."""
SHARES = ("precision", "recall", "f1")
METRICS = ("loss", "accuracy", "worst_class_accuracy", *SHARES, "auc")
TOP_K = re.compile(r"top(\d{1,6})(?:accuracy)?")


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


def shares(matrix: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 of every class, float64 [classes] each, from a confusion matrix.

    Precision is the share that is right of what was predicted as a class, recall of what is one, F1 their harmonic mean
    2 * p * r / (p + r); 0 / 0 counts as 0.
    """
    import numpy as np

    right = matrix.diagonal().astype(np.float64)

    def share(of: NDArray[Any]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.divide(right, of, out=np.zeros(len(right)), where=of > 0)
        return found

    predicted, there = matrix.sum(axis=0), matrix.sum(axis=1)
    return share(predicted), share(there), share((predicted + there) / 2)


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


def read_by_loss(outputs: NDArray[Any], function: str | None) -> NDArray[np.float64]:
    """What a loss reads, float64 [n, outputs]: the outputs, or the logits that a final `function` made them of.

    Of a softmax they are known up to a number that all classes have, log(p); of a sigmoid they are log(p / (1 - p)).
    A probability that float32 rounded to 0, or to 1, is taken for the closest that it tells from them: 1.2e-38, and
    3e-8 less than 1.
    """
    import numpy as np

    values = outputs.astype(np.float64)
    if function not in ("softmax", "sigmoid"):
        return values
    least = float(np.finfo(np.float32).tiny)
    logs: NDArray[np.float64] = np.log(np.maximum(values, least))
    return logs if function == "softmax" else logs - np.log(np.maximum(1 - values, 2.0**-25))


def _auc(read: NDArray[np.float64], labels: NDArray[np.int64], loss: Loss) -> float:
    """Of class 1 of two, else the mean over the classes that are there of each against all others."""
    import numpy as np

    from netspec.reference.loss import log_softmax
    from netspec.training.loss import FUSED

    if read.shape[1] <= 2:
        return area_under_curve(read[:, 0] if read.shape[1] == 1 else read[:, 1] - read[:, 0], labels == 1)
    scores = log_softmax(read) if FUSED.get(loss.name) == "softmax" else read
    return float(np.mean([area_under_curve(scores[:, label], labels == label) for label in np.unique(labels)]))


@dataclass(frozen=True, slots=True)
class ClassShare:
    """How good the predictions are for one class."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    """How many images are of it."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network makes of one split of a data set, as plain values."""

    data: str
    """What the data are called."""
    split: str
    metrics: Mapping[str, float]
    """By name, over all images; `auc` is NaN where all of them are of one class."""
    classes: tuple[ClassShare, ...]
    confusion: tuple[tuple[int, ...], ...]
    """How many images of each class (row) were predicted as each class (column)."""

    @property
    def images(self) -> int:
        """How many were judged."""
        return sum(each.support for each in self.classes)

    def only(self, names: Collection[str]) -> Evaluation:
        """The same with those of the metrics alone that are named, in the order of the names."""
        return replace(self, metrics={name: self.metrics[name] for name in names if name in self.metrics})

    def document(self) -> dict[str, Any]:
        """The same as JSON has it; what is not finite is null."""
        return {
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "metrics": {name: value if isfinite(value) else None for name, value in self.metrics.items()},
            "classes": [asdict(each) for each in self.classes],
            "confusion": [list(row) for row in self.confusion],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """What `document` gave."""
        return cls(
            document["data"],
            document["split"],
            {name: float("nan") if value is None else value for name, value in document["metrics"].items()},
            tuple(ClassShare(**each) for each in document["classes"]),
            tuple(map(tuple, document["confusion"])),
        )


def evaluate(
    outputs: NDArray[Any],
    labels: NDArray[np.int64],
    loss: Loss,
    function: str | None = None,
    *,
    names: Sequence[str] = (),
    data: str = "",
    split: str = "",
    top: Collection[int] = (TOP,),
) -> Evaluation:
    """What outputs [n, classes], or [n, 1] for two classes, are worth against labels int64 [n].

    `function` is the final softmax or sigmoid that the loss takes off, `names` are those of the classes. The metrics
    are `loss`, `accuracy`, the accuracy of the worst class as `worst_class_accuracy`, `top_5_accuracy` (and for other
    numbers in `top`) where there are more classes; `precision`, `recall` and `f1` of class 1 of two, else the means
    over all classes; and `auc`. Raises ValueError when the shapes do not belong together or an output is NaN.
    """
    import numpy as np

    from netspec.reference.loss import loss_and_gradient

    if outputs.ndim != 2 or labels.shape != outputs.shape[:1] or not len(labels):
        raise ValueError(f"outputs {list(outputs.shape)} and labels {list(labels.shape)} do not belong together")
    lost = int(np.isnan(outputs).any(axis=1).sum())
    if lost:
        raise ValueError(f"{lost} of {len(outputs)} outputs are not numbers")
    read = read_by_loss(outputs, function)
    matrix = confusion_matrix(read if read.shape[1] == 1 else outputs, labels, loss.threshold)
    present = matrix.sum(axis=1) > 0
    precision, recall, f1 = shares(matrix)
    mean = slice(1, 2) if len(matrix) == 2 else slice(None)
    metrics = {
        "loss": loss_and_gradient(loss, read, labels)[0],
        "accuracy": float(matrix.trace() / len(labels)),
        "worst_class_accuracy": float(recall[present].min()),
        **{
            f"top_{k}_accuracy": top_k_accuracy(outputs, labels, k)
            for k in sorted(set(top))
            if 1 < k < outputs.shape[1]
        },
        **{name: float(each[mean].mean()) for name, each in zip(SHARES, (precision, recall, f1), strict=True)},
        "auc": _auc(read, labels, loss),
    }
    called = names or tuple(map(str, range(len(matrix))))
    numbers = zip(called, precision.tolist(), recall.tolist(), f1.tolist(), matrix.sum(axis=1).tolist(), strict=True)
    return Evaluation(
        data, split, metrics, tuple(ClassShare(*each) for each in numbers), tuple(map(tuple, matrix.tolist()))
    )


def judge_outputs(
    outputs: NDArray[Any],
    labels: NDArray[np.int64],
    network: Network,
    loss: Loss,
    names: Sequence[str],
    *,
    data: str,
    split: str,
    top: Collection[int] = (TOP,),
) -> Evaluation:
    """What a network's outputs are worth, see `evaluate`; raises SpecError where some of them are not numbers."""
    from netspec.training.loss import taken_off

    function = taken_off(network, loss)
    try:
        return evaluate(outputs, labels, loss, function, names=names, data=data, split=split, top=top)
    except ValueError as error:
        raise SpecError(
            [Problem(f"{network.name}: {error}", "are there infinite numbers among the weights?")]
        ) from None


def metric_names(written: str, classes: int) -> tuple[str, ...]:
    """The metrics that a list separated by commas names, each once; names of Keras and scikit-learn are known too.

    Raises SpecError for a name that is none, and for a top-k accuracy of so many classes that it is always 1.
    """
    from netspec.training.named import folded
    from netspec.training.settings import METRIC_SYNONYMS

    known = {folded(name): name for name in (*METRICS, *METRIC_SYNONYMS.values())} | METRIC_SYNONYMS
    names, problems = [], []
    for word in filter(None, (word.strip() for word in written.split(","))):
        counted = TOP_K.fullmatch(folded(word))
        name = f"top_{int(counted[1])}_accuracy" if counted else known.get(folded(word))
        if name is None:
            hint = did_you_mean(word, known.values()) or f"{', '.join(METRICS)}, or top_K_accuracy"
            problems.append(Problem(f"unknown metric {word!r}", hint, "--metrics"))
        elif counted and not 1 < int(counted[1]) < classes:
            message = f"{name} says nothing of a network that tells {classes} classes apart"
            hint = f"top_2_accuracy to top_{classes - 1}_accuracy" if classes > 2 else "accuracy"
            problems.append(Problem(message, hint, "--metrics"))
        else:
            names.append(name)
    if not names and not problems:
        problems.append(Problem("no metric is named", f"{', '.join(METRICS)}, or top_K_accuracy", "--metrics"))
    if problems:
        raise SpecError(problems)
    return tuple(dict.fromkeys(names))


def tops(names: Collection[str]) -> set[int]:
    """The k of every top-k accuracy among metrics, and the usual one.

    >>> sorted(tops(("accuracy", "top_3_accuracy")))
    [3, 5]
    """
    found = (TOP_K.fullmatch(name.replace("_", "")) for name in names)
    return {TOP, *(int(each[1]) for each in found if each)}


def loss_of(spec: Spec, network: Network) -> Loss:
    """The loss that a spec trains with, or one that suits the network's end.

    Raises SpecError for a network that is no classifier: one input, and one flat output with a number a class.
    """
    loss = spec.train.loss if spec.train is not None else default_loss(network)
    with spec.places():
        check_loss(network, loss)
    return loss


def judge(
    spec: Spec,
    network: Network,
    artefact: Artefact,
    chosen: Chosen,
    progress: Progress,
    top: Collection[int] = (TOP,),
) -> Evaluation:
    """What an artefact makes of images; raises SpecError where its outputs are not numbers, and as `predict` does."""
    loss = loss_of(spec, network)
    samples = image_samples(chosen, network, artefact.network, spec.preprocess)
    found = predict(artefact, samples, progress, "evaluation")
    [outputs] = found.outputs.values()
    names = network.classes or chosen.classes
    return judge_outputs(outputs, chosen.labels, network, loss, names, data=chosen.name, split=chosen.split, top=top)
