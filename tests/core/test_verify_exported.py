"""What is said of exported files that are not as they were written."""

from __future__ import annotations

import pytest

from netspec.backend.artefact import changed_text, changed_values, existing
from netspec.errors import VerificationError


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VerificationError, match=r"^net\.py is missing$"):
        existing(tmp_path / "net.py")
    with pytest.raises(VerificationError, match="is missing"):
        existing(tmp_path)  # a folder is no file
    (tmp_path / "net.py").touch()
    assert existing(tmp_path / "net.py") == tmp_path / "net.py"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("a\nb\n", []),
        ("a\nc\n", ["net.py, line 2, has 'c', exported was 'b'"]),
        ("a\n", ["net.py has 1 lines, exported were 2"]),
        ("a\nb\nc\n", ["net.py has 3 lines, exported were 2"]),
        ("a\nb", ["net.py ends otherwise than exported"]),
    ],
)
def test_the_first_line_that_differs_is_told(tmp_path, found, said):
    (tmp_path / "net.py").write_text(found)
    assert list(changed_text(tmp_path / "net.py", "a\nb\n")) == said


def test_long_lines_are_shown_around_the_difference(tmp_path):
    (tmp_path / "net.py").write_text(f"{'x' * 200}rate=0.9)\n")
    [said] = changed_text(tmp_path / "net.py", f"{'x' * 200}rate=0.5)\n")
    assert "rate=0.9)', exported was" in said
    assert len(said) < 120


def test_what_is_no_text_is_named(tmp_path):
    (tmp_path / "net.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VerificationError, match=r"net\.py is no UTF-8 text"):
        list(changed_text(tmp_path / "net.py", "a\n"))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"a": 1, "b": [{"name": "x", "c": 0.5}]}, []),
        ({"a": 2, "b": [{"name": "x", "c": 0.5}]}, ["a is 2, exported was 1"]),
        ({"a": 1, "b": [{"name": "x", "c": 0.9}]}, ["b/x/c is 0.9, exported was 0.5"]),
        ({"a": 1, "b": []}, ["b is [], exported was [{'name': 'x', 'c': 0.5}]"]),
        ({"b": [{"name": "x", "c": 0.5}], "d": 3}, ["a is None, exported was 1", "d is 3, exported was None"]),
        ({"a": True, "b": [{"name": "x", "c": 0.5}]}, ["a is True, exported was 1"]),
    ],
)
def test_every_value_that_differs_is_told(found, said):
    assert list(changed_values(found, {"a": 1, "b": [{"name": "x", "c": 0.5}]})) == said
