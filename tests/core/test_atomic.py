"""Files that are whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from netspec.storage.atomic import PARTIAL, replacing, unwritable
from netspec.storage.stages import BuildFolder


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


def test_what_cannot_be_written_is_named_as_people_know_it(tmp_path):
    path = tmp_path / "none" / "a.txt"
    with pytest.raises(FileNotFoundError) as caught, replacing(path) as partial:
        partial.write_text("new", encoding="utf-8")
    assert caught.value.filename == str(path)
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "b").touch()
    # A folder, which no file takes the place of.
    with pytest.raises(IsADirectoryError, match=r"a'$") as caught, replacing(folder) as partial:
        partial.write_text("new", encoding="utf-8")
    assert caught.value.filename == str(folder)
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "b"):
        (tmp_path / "c").read_text(encoding="utf-8")
    assert caught.value.filename == str(tmp_path / "c")


def test_it_is_told_before_that_a_file_cannot_be_written(tmp_path, monkeypatch):
    assert unwritable(tmp_path / "a.txt") is None
    assert unwritable(tmp_path) == "it is a folder"
    assert unwritable(tmp_path / "none" / "a.txt") == f"there is no folder {tmp_path / 'none'}"
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for others than root
    assert unwritable(tmp_path / "a.txt") == f"the folder {tmp_path} is read-only for you"


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


PATH = os.pathsep.join(path for path in sys.path if path)
KILLED = """\
import os, signal, sys
from pathlib import Path
from netspec.storage.atomic import replacing
from netspec.storage.stages import BuildFolder
folder = Path(sys.argv[1])
with BuildFolder(folder).stage("one", "k") as partial, replacing(folder / "a.csv") as file:
    file.write_text("half")
    (partial / "b").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_build_folder_is_rid_of_what_a_killed_process_left(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, env={**os.environ, "PYTHONPATH": PATH})
    (tmp_path / f"{PARTIAL}0.csv").write_text("half", encoding="utf-8")  # of a version that told no process
    assert len(list(tmp_path.glob(f"{PARTIAL}*"))) == 3
    BuildFolder(tmp_path).close()
    assert not list(tmp_path.glob(f"{PARTIAL}*"))


WRITING = """\
import sys
from pathlib import Path
from netspec.storage.atomic import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write_text("half")
    print("begun", flush=True)
    sys.stdin.read()
    file.write_text("whole")
"""


def test_a_build_folder_leaves_what_others_are_writing_there(tmp_path):
    """As `netspec predict --output build/net/y.npy` does, which takes no lock of the folder."""
    path = tmp_path / "y.npy"
    with subprocess.Popen(
        [sys.executable, "-c", WRITING, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": PATH},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"begun\n"
        BuildFolder(tmp_path).close()
        other.communicate()
    assert path.read_text(encoding="utf-8") == "whole"


@pytest.mark.parametrize("number", [0, os.getpid()], ids=["none", "our own"])
def test_a_number_that_is_used_again_hides_no_leftovers(tmp_path, number):
    """In a container every process may have the number of the one that was killed there."""
    (tmp_path / f"{PARTIAL}{number}-ab").mkdir()
    BuildFolder(tmp_path).close()
    assert not list(tmp_path.glob(f"{PARTIAL}*"))
