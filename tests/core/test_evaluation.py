"""The metrics of predictions: by hand, and held against scikit-learn's."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn

from netspec.errors import SpecError
from netspec.inference.evaluation import (
    Evaluation,
    area_under_curve,
    confusion_matrix,
    evaluate,
    metric_names,
    predicted_classes,
    read_by_loss,
    shares,
    top_k_accuracy,
    tops,
)
from netspec.training.loss import Loss

OUTPUTS = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])
LABELS = np.array([1, 2, 2, 2])
ENTROPY, BINARY = Loss.model_validate("cross_entropy"), Loss.model_validate("binary_cross_entropy")


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def random_case(classes: int, count: int = 500, seed: int = 0):
    """Probabilities float32 that are right about half of the time, and labels with rare classes among them."""
    random = np.random.default_rng(seed)
    labels = np.minimum(random.geometric(0.3, count) - 1, classes - 1)
    logits = random.standard_normal((count, classes)) + 1.5 * np.eye(classes)[labels]
    return softmax(logits), labels


def test_metrics_by_hand():
    found = evaluate(OUTPUTS, LABELS, ENTROPY, "softmax").metrics
    assert predicted_classes(OUTPUTS).tolist() == [1, 0, 1, 2]
    assert confusion_matrix(OUTPUTS, LABELS).tolist() == [[0, 0, 0], [0, 1, 0], [1, 1, 1]]
    assert found["accuracy"] == 0.5
    assert found["worst_class_accuracy"] == pytest.approx(1 / 3)
    assert found["loss"] == pytest.approx(-np.mean(np.log([0.7, 0.3, 0.3, 0.6])))
    assert top_k_accuracy(OUTPUTS, LABELS, 2) == 0.75  # in the third image class 0 ties with the label and goes first
    assert evaluate(OUTPUTS, LABELS, ENTROPY, top=(2,)).metrics["top_2_accuracy"] == 0.75


def test_precision_recall_and_f1_by_hand():
    # Predicted 1, 0, 1, 2 of the true 1, 2, 2, 2: class 0 is predicted once, wrongly, and never there.
    found = evaluate(OUTPUTS, LABELS, ENTROPY)
    assert [each.precision for each in found.classes] == pytest.approx([0, 1 / 2, 1])
    assert [each.recall for each in found.classes] == pytest.approx([0, 1, 1 / 3])
    assert [each.f1 for each in found.classes] == pytest.approx([0, 2 / 3, 1 / 2])
    assert [each.support for each in found.classes] == [0, 1, 3]
    assert found.metrics["f1"] == pytest.approx((0 + 2 / 3 + 1 / 2) / 3)
    two = evaluate(np.array([[0.9], [0.8], [0.1], [0.2]]), np.array([1, 0, 1, 0]), BINARY, "sigmoid").metrics
    assert (two["precision"], two["recall"], two["f1"]) == (0.5, 0.5, 0.5)
    never = evaluate(np.array([[0.1], [0.2]]), np.array([1, 0]), BINARY, "sigmoid").metrics
    assert (never["precision"], never["f1"]) == (0, 0)


@pytest.mark.parametrize("classes", [2, 3, 10, 30])
def test_scikit_learn_agrees(classes):
    outputs, labels = random_case(classes)
    found, taken = evaluate(outputs, labels, ENTROPY, "softmax", top=(2, 3, 5)), outputs.argmax(axis=1)
    every = list(range(classes))
    np.testing.assert_array_equal(found.confusion, sklearn.confusion_matrix(labels, taken, labels=every))
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(
        labels, taken, labels=every, zero_division=0
    )
    for name, theirs in (("precision", precision), ("recall", recall), ("f1", f1), ("support", support)):
        assert [getattr(each, name) for each in found.classes] == pytest.approx(theirs.tolist())
        if name != "support":
            mean = theirs[1] if classes == 2 else theirs.mean()
            assert found.metrics[name] == pytest.approx(mean)
    assert found.metrics["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, taken))
    whole = outputs.astype(np.float64) / outputs.sum(axis=1, keepdims=True, dtype=np.float64)
    assert found.metrics["loss"] == pytest.approx(sklearn.log_loss(labels, whole, labels=every), rel=1e-12)
    for k in (2, 3, 5):
        assert (f"top_{k}_accuracy" in found.metrics) == (k < classes)
        if k < classes:
            theirs = sklearn.top_k_accuracy_score(labels, outputs, k=k, labels=every)
            assert found.metrics[f"top_{k}_accuracy"] == pytest.approx(theirs)
    there = np.unique(labels)
    each = [sklearn.roc_auc_score(labels == label, outputs[:, label]) for label in there]
    assert found.metrics["auc"] == pytest.approx(each[-1] if classes == 2 else np.mean(each), rel=1e-12)


def test_scikit_learn_agrees_on_all_classes_at_once():
    outputs, labels = random_case(4)
    outputs = outputs.astype(np.float64) / outputs.sum(axis=1, keepdims=True, dtype=np.float64)
    theirs = sklearn.roc_auc_score(labels, outputs, multi_class="ovr", average="macro")
    assert evaluate(outputs, labels, ENTROPY, "softmax").metrics["auc"] == pytest.approx(theirs, rel=1e-12)


def test_one_probability_as_scikit_learn_has_it():
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 300)
    outputs = (1 / (1 + np.exp(-random.standard_normal(300) - labels)))[:, np.newaxis].astype(np.float32)
    found, taken = evaluate(outputs, labels, BINARY, "sigmoid"), outputs[:, 0] > 0.5
    assert found.metrics["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, taken))
    assert found.metrics["f1"] == pytest.approx(sklearn.f1_score(labels, taken))
    assert found.metrics["auc"] == pytest.approx(sklearn.roc_auc_score(labels, outputs[:, 0]))
    assert found.metrics["loss"] == pytest.approx(sklearn.log_loss(labels, outputs[:, 0].astype(float)), rel=1e-6)
    assert [each.name for each in found.classes] == ["0", "1"]


def test_logits_and_their_probabilities_are_worth_the_same():
    random = np.random.default_rng(5)
    logits, labels = random.standard_normal((200, 6)) * 3, random.integers(0, 6, 200)
    with_end, without = evaluate(softmax(logits), labels, ENTROPY, "softmax"), evaluate(logits, labels, ENTROPY)
    assert with_end.confusion == without.confusion
    assert with_end.metrics == pytest.approx(without.metrics, rel=1e-5)
    single = logits[:, :1]
    found = [
        evaluate(outputs, labels % 2, BINARY, function)
        for outputs, function in ((single, None), ((1 / (1 + np.exp(-single))).astype(np.float32), "sigmoid"))
    ]
    assert found[0].metrics == pytest.approx(found[1].metrics, rel=1e-5)


def test_probabilities_that_float32_rounds_away_still_have_a_loss():
    assert np.isfinite(read_by_loss(np.array([[0.0, 1.0]], np.float32), "softmax")).all()
    wrong = evaluate(np.array([[0.0, 1.0]], np.float32), np.array([0]), ENTROPY, "softmax")
    assert wrong.metrics["loss"] == pytest.approx(87.3, abs=0.1)
    for output, label in ((1.0, 0), (0.0, 1)):
        found = evaluate(np.array([[output]], np.float32), np.array([label]), BINARY, "sigmoid")
        assert 17 < found.metrics["loss"] < 90


def test_two_small_probabilities_are_told_apart():
    # As differences p1 - p0 both would be -1.
    outputs, labels = np.array([[1.0, 1e-10], [1.0, 1e-12]], np.float32), np.array([1, 0])
    assert evaluate(outputs, labels, ENTROPY, "softmax").metrics["auc"] == 1.0


def test_the_loss_is_that_of_the_spec():
    smoothed = Loss.model_validate({"cross_entropy": {"label_smoothing": 0.1}})
    logs = np.log(OUTPUTS)
    targets = np.eye(3)[LABELS] * 0.9 + 0.1 / 3
    found = evaluate(OUTPUTS, LABELS, smoothed, "softmax").metrics["loss"]
    assert found == pytest.approx(-(targets * logs).sum(axis=1).mean())
    squared = evaluate(OUTPUTS, LABELS, Loss.model_validate("mse")).metrics["loss"]
    assert squared == pytest.approx(np.square(OUTPUTS - np.eye(3)[LABELS]).mean())


def test_area_under_the_curve_counts_pairs():
    random = np.random.default_rng(2)
    scores, positive = random.integers(0, 6, 40) / 5, random.integers(0, 2, 40) == 1  # with many equals
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert area_under_curve(scores, positive) == pytest.approx(np.mean(pairs), rel=1e-15)
    assert area_under_curve(scores, positive) == pytest.approx(sklearn.roc_auc_score(positive, scores), rel=1e-12)
    assert math.isnan(area_under_curve(scores, np.ones(40, bool)))


def test_one_kind_of_labels_has_no_area_and_json_says_null():
    found = evaluate(OUTPUTS, np.array([1, 1, 1, 1]), ENTROPY, "softmax")
    assert math.isnan(found.metrics["auc"])
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert document["metrics"]["auc"] is None
    assert repr(Evaluation.of(document)) == repr(found)


def test_top_five_is_given_where_there_are_more_classes():
    outputs = np.tile(np.arange(8.0), (8, 1))
    assert evaluate(outputs, np.arange(8), ENTROPY).metrics["top_5_accuracy"] == 5 / 8
    assert "top_5_accuracy" not in evaluate(OUTPUTS, LABELS, ENTROPY).metrics


def test_a_single_output_is_held_against_its_threshold():
    outputs, labels = np.array([[0.5], [0.51], [0.2]]), np.array([1, 1, 0])
    assert evaluate(outputs, labels, BINARY, "sigmoid").metrics["accuracy"] == pytest.approx(2 / 3)
    assert evaluate(outputs, labels, Loss.model_validate("mse")).metrics["accuracy"] == pytest.approx(2 / 3)
    assert evaluate(outputs, labels, BINARY).metrics["accuracy"] == pytest.approx(2 / 3)  # logits, above 0
    assert evaluate(outputs - 0.3, labels, BINARY).metrics["accuracy"] == 1


def test_shares_of_nothing_are_nothing():
    for each in shares(np.zeros((2, 2), np.int64)):
        assert each.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros(3, int), r"outputs \[2, 3\] and labels \[3\] do not belong together"),
        (np.zeros(3), np.zeros(3, int), "do not belong together"),
        (np.zeros((0, 3)), np.zeros(0, int), "do not belong together"),
        (np.array([[np.nan, 1.0], [0.0, 1.0]]), np.zeros(2, int), "1 of 2 outputs are not numbers"),
    ],
)
def test_outputs_that_cannot_be_judged_are_refused(outputs, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(outputs, labels, ENTROPY)


# Names of metrics


def test_names_as_people_write_them():
    assert metric_names("acc, F1_score,rocAuc,top3,top_2_accuracy,loss,acc", 10) == (
        "accuracy", "f1", "auc", "top_3_accuracy", "top_2_accuracy", "loss",
    )  # fmt: skip
    assert tops(metric_names("top_7_accuracy", 10)) == {5, 7}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("acuracy", "unknown metric 'acuracy'\n  hint: did you mean 'accuracy'?"),
        ("mcc", "unknown metric 'mcc'\n  hint: loss, accuracy"),
        ("top_10_accuracy", "top_10_accuracy says nothing of a network that tells 10 classes apart"),
        ("top_1_accuracy", "says nothing"),
        (" , ", "no metric is named"),
    ],
)
def test_names_of_no_metric_are_refused(written, said):
    with pytest.raises(SpecError) as caught:
        metric_names(written, 10)
    assert said in str(caught.value)
