"""An evaluation for people: the table, the matrix or the commonest mistakes, and the picture."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from netspec.inference.evaluation import evaluate
from netspec.report.confusion import draw_confusion
from netspec.report.evaluated import evaluation_line, evaluation_text
from netspec.training.loss import Loss

ENTROPY = Loss.model_validate("cross_entropy")


def judged(classes: int, count: int = 2000, names: tuple[str, ...] = ()):
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, count)
    logits = random.standard_normal((count, classes)) + 4 * np.eye(classes)[labels]
    return evaluate(logits, labels, ENTROPY, names=names, data="toys", split="test")


def test_few_classes_have_a_matrix_whose_numbers_add_up():
    found = judged(3, names=("ant", "bee", "fly"))
    head, table, matrix = evaluation_text(found).split("\n\n")
    assert head.startswith("On 2,000 test images of toys\n  loss ")
    rows = [line.split() for line in table.splitlines()[2:5]]
    assert [row[0] for row in rows] == ["ant", "bee", "fly"]
    assert sum(int(row[-1]) for row in rows) == 2000
    cells = [line.split()[2:] for line in matrix.splitlines()[2:]]
    assert [[int(cell.replace(".", "0")) for cell in row] for row in cells] == [list(row) for row in found.confusion]


def test_many_classes_have_the_worst_and_the_commonest_mistakes():
    found = judged(60)
    _, table, mistakes = evaluation_text(found).split("\n\n")
    assert "the 40 of 60 classes with the least F1" in table
    shown = [float(line.split()[3].rstrip("%")) for line in table.splitlines()[2:42]]
    assert shown == sorted(shown)
    assert min(each.f1 for each in found.classes) * 100 == pytest.approx(shown[0], abs=0.01)
    counts = [int(line.split()[0]) for line in mistakes.splitlines()[1:]]
    matrix = np.array(found.confusion)
    np.fill_diagonal(matrix, 0)
    assert counts == np.sort(matrix.reshape(-1))[::-1][:10].tolist()
    assert " taken for " in mistakes


def test_where_there_was_nothing_to_divide_by_no_share_is_shown_and_the_mean_takes_it_for_0():
    """Class 2 is there and never predicted; class 3 is predicted and not there: its F1 is 0, not nothing."""
    labels, taken = np.array([0, 1, 2, 1]), np.array([0, 1, 3, 1])
    found = evaluate(np.eye(5)[taken] * 3, labels, ENTROPY, data="toys", split="all")
    rows = {line.split()[0]: line.split()[1:] for line in evaluation_text(found).split("\n\n")[1].splitlines()}
    assert rows["1"] == ["100.00%", "100.00%", "100.00%", "2"]
    assert rows["2"] == ["-", "0.00%", "0.00%", "1"]
    assert rows["3"] == ["0.00%", "-", "0.00%", "0"]
    assert rows["4"] == ["-", "-", "-", "0"]
    assert rows["mean"] == ["40.00%", "40.00%", "40.00%", "4"]
    assert " ".join(rows["-:"]) == "nothing to divide by, which counts as 0 in means"
    assert "-:" not in evaluation_text(judged(3))


def test_a_class_without_images_has_no_recall_and_no_area_is_no_number():
    labels = np.zeros(5, np.int64)
    found = evaluate(np.eye(2)[labels] * 3, labels, ENTROPY, data="toys", split="all")
    text = evaluation_text(found)
    assert text.startswith("On 5 images of toys\n")
    assert re.search(r"\n  auc +none\n", text)
    assert re.search(r"\n1 +- +- +- +0\n", text)


def test_all_right_is_no_mistake():
    labels = np.arange(12)
    text = evaluation_text(evaluate(np.eye(12) * 9, labels, ENTROPY, data="toys", split="test"))
    assert "mistakes" not in text
    assert text.endswith("12")


def test_the_totals_in_a_line():
    found = judged(3).only(["accuracy", "auc"])
    assert evaluation_line(found).startswith("On 2,000 test images of toys: accuracy 9")


@pytest.mark.parametrize("classes", [2, 10, 30, 100])
def test_the_picture_is_the_same_for_the_same(tmp_path, classes):
    pytest.importorskip("matplotlib")
    found = judged(classes)
    for name in ("a.png", "b.png"):
        draw_confusion(found, tmp_path / name, "net")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    other = replace(found, confusion=found.confusion[::-1])
    draw_confusion(other, tmp_path / "b.png", "net")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2
