"""The build folder: stages run once, move into place whole, and notice what was changed behind their back."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from netspec.storage.stages import BuildFolder, FolderError, key_of, sha256


def written(folder: BuildFolder, stage: str = "one", key: str = "k", **files: str) -> None:
    with folder.stage(stage, key) as partial:
        for name, text in files.items():
            path = partial / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def half_written(path: Path) -> None:
    path.write_text("half")
    raise ZeroDivisionError


def test_a_stage_is_current_until_its_key_or_its_files_change(tmp_path: Path) -> None:
    folder = BuildFolder(tmp_path / "net")
    assert not folder.current("one", "k")
    written(folder, a="1", sub__b="2")
    assert folder.current("one", "k")
    assert not folder.current("one", "other")
    (tmp_path / "net" / "a").write_text("changed")
    assert not folder.current("one", "k")


def test_the_manifest_survives_and_holds_every_hash(tmp_path: Path) -> None:
    folder = BuildFolder(tmp_path)
    folder.facts = {"name": "net"}
    written(folder, sub__b="2")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["name"] == "net"
    assert manifest["artefacts"] == {"sub/b": sha256(tmp_path / "sub" / "b")}
    folder.close()
    assert BuildFolder(tmp_path).current("one", "k")


def test_a_folder_has_one_process_at_a_time(tmp_path: Path) -> None:
    folder = BuildFolder(tmp_path)
    with pytest.raises(FolderError, match="another netspec is at work"):
        BuildFolder(tmp_path)
    folder.close()
    BuildFolder(tmp_path).close()


def test_a_stage_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    folder = BuildFolder(tmp_path)
    written(folder, a="1")
    with pytest.raises(ZeroDivisionError), folder.stage("one", "k2") as partial:
        half_written(partial / "a")
    assert (tmp_path / "a").read_text() == "1"
    assert folder.current("one", "k")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".partial")] == []


@pytest.mark.parametrize("durable", [False, True])
def test_a_durable_stage_is_on_the_disk_before_its_names_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    """Each file's bytes, then its name, then the folders, then the manifest; of others the system takes care."""
    folder, events = BuildFolder(tmp_path), []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        events.append(("synced", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def moved(path: Path, target: Path) -> Path:
        events.append(("moved", path.stat().st_ino))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)
    with folder.stage("one", "k", durable=durable) as partial:
        (partial / "sub").mkdir()
        for name in ("a", "sub/b"):
            (partial / name).write_text(name)
    files = [tmp_path / name for name in ("a", "sub/b", "manifest.json")]
    inode = {path: path.stat().st_ino for path in (*files, tmp_path, tmp_path / "sub")}
    moves = [("moved", inode[path]) for path in files]
    if not durable:
        assert events == moves
        return
    for path, move in zip(files, moves, strict=True):
        assert events.index(("synced", inode[path])) < events.index(move)
    manifest, name = (events.index((what, inode[files[-1]])) for what in ("synced", "moved"))
    for path in (tmp_path, tmp_path / "sub"):
        assert max(map(events.index, moves[:2])) < events.index(("synced", inode[path])) < manifest
    assert events[name + 1 :] == [("synced", inode[tmp_path])]


def test_files_that_a_stage_no_longer_writes_are_removed(tmp_path: Path) -> None:
    folder = BuildFolder(tmp_path)
    written(folder, a="1", b="2")
    written(folder, key="k2", a="3")
    assert not (tmp_path / "b").exists()


def test_what_a_killed_run_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".partial-x").mkdir()
    BuildFolder(tmp_path)
    assert not (tmp_path / ".partial-x").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"stages": 3}', '{"stages": {"one": 3}}'])
def test_a_manifest_that_is_not_ours_means_a_fresh_build(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert not BuildFolder(tmp_path).current("one", "k")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="file"):
        BuildFolder(tmp_path / "file" / "net")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:  # file modes do not stop root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(FolderError, match=r"net cannot be written: Permission denied"):
        BuildFolder(tmp_path / "net")


def test_keys_depend_on_every_part_and_not_on_their_order() -> None:
    assert key_of(a=1, b=[2]) == key_of(b=[2], a=1)
    assert key_of(a=1) != key_of(a=2)
