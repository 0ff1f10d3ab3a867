"""Every bad spec says exactly what its `.expected` says; NETSPEC_UPDATE=1 writes those files anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.spec.load import load_spec

FOLDER = Path(__file__).parents[1] / "bad_specs"
SPECS = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_what_is_said_about_a_bad_spec(path, monkeypatch):
    monkeypatch.chdir(FOLDER)
    with pytest.raises(SpecError) as caught:
        compile_spec(load_spec(path.name))
    said = f"{caught.value}\n"
    expected = path.with_suffix(".expected")
    if os.environ.get("NETSPEC_UPDATE") == "1":
        expected.write_text(said, encoding="utf-8")
    assert said == expected.read_text(encoding="utf-8")


def test_every_expectation_has_its_spec():
    assert {path.stem for path in FOLDER.glob("*.expected")} == {path.stem for path in SPECS}
