"""Files that are whole or not there."""

from __future__ import annotations

import pytest

from netspec.atomic import PARTIAL, replacing
from netspec.stages import BuildFolder


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_takes_its_place(tmp_path, durable):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    with replacing(path, durable=durable) as partial:
        partial.write_text("new", encoding="utf-8")
        assert (partial.parent, partial.suffix) == (path.parent, path.suffix)
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")

    def fail(partial):
        partial.write_text("half", encoding="utf-8")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        fail(partial)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_at_once_are_told_apart(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as one, replacing(path) as two:
        one.write_text("one", encoding="utf-8")
        two.write_text("two", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "one"


def test_a_long_name_is_no_hindrance(tmp_path):
    path = tmp_path / ("n" * 250 + ".txt")
    with replacing(path) as partial:
        partial.write_text("new", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "new"


def test_a_build_folder_is_rid_of_what_a_killed_process_left(tmp_path):
    (tmp_path / f"{PARTIAL}0.csv").write_text("half", encoding="utf-8")
    (tmp_path / f"{PARTIAL}1").mkdir()
    BuildFolder(tmp_path).close()
    assert not list(tmp_path.glob(f"{PARTIAL}*"))
