"""The language of files: what `$include` stands for, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.spec.load import load_spec
from tests.core.test_language import edges


def test_included_files_are_read_from_where_they_are_named(tmp_path: Path):
    (tmp_path / "blocks" / "more").mkdir(parents=True)
    (tmp_path / "blocks" / "units.yaml").write_text(
        "unit: {$include: more/unit.yaml}\nother: {layers: [Flatten]}\nlast: {layers: [Flatten]}\n"
    )
    (tmp_path / "blocks" / "more" / "unit.yaml").write_text("parameters: {n: int}\nlayers: ['CNN | n, 1']\n")
    (tmp_path / "x.yaml").write_text(
        "input: 4x4x2\nblocks:\n  $include: blocks/units.yaml\n  last: {layers: ['FNN | 5']}\n"
        "layers:\n  - unit | 3\n  - other\n  - last\n"
    )
    network = compile_spec(load_spec(tmp_path / "x.yaml"))
    assert edges(network) == {
        "unit_1.conv_1": ["input"],
        "other_1.flatten_1": ["unit_1.conv_1"],
        "last_1.dense_1": ["other_1.flatten_1"],  # a key beside $include comes over the file's
    }


def test_what_is_included_is_neither_too_large_nor_too_deep(tmp_path: Path):
    text = "input: 4\nlayers: [ReLU]\nverify: {$include: i0.yaml}\n"
    (tmp_path / "x.yaml").write_text(text)
    for number in range(40):
        twice = f"a: {{$include: i{number + 1}.yaml}}\nb: {{$include: i{number + 1}.yaml}}\n"
        (tmp_path / f"i{number}.yaml").write_text(twice)
    (tmp_path / "i40.yaml").write_text("1\n")
    with pytest.raises(SpecError, match="the included files have more than 1,000,000 values"):
        load_spec(tmp_path / "x.yaml")
    (tmp_path / "i0.yaml").write_text("[" * 40 + "{$include: i1.yaml}" + "]" * 40)
    (tmp_path / "i1.yaml").write_text("[" * 40 + "]" * 40)
    with pytest.raises(SpecError, match=r"i0.yaml:1:42: \$include: .* nested more than 64 levels deep"):
        load_spec(tmp_path / "x.yaml")


def test_a_link_out_of_the_folder_is_outside(tmp_path: Path):
    (tmp_path / "secret.yaml").write_text("layers: [Flatten]\n")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "near.yaml").symlink_to(tmp_path / "secret.yaml")
    (tmp_path / "specs" / "x.yaml").write_text("input: 4\nblocks: {a: {$include: near.yaml}}\nlayers: [a]\n")
    with pytest.raises(SpecError, match="'near\\.yaml' lies outside of the spec's folder"):
        load_spec(tmp_path / "specs" / "x.yaml")
