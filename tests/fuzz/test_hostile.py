"""Hostile specs in the suite: damaged texts, and bombs that are small to write; all end in words, with bounded work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.spec.load import load_spec, parse_spec
from tests.fuzz.hostile import Work, bounded, laid, mutated, tangled

ROOT = Path(__file__).parents[2]
COUNT = 500
LEFT_OUT = "input: 4\nblocks:\n  b0: {layers: ['ReLU | - | - | when=false']}\n"
DEEP = LEFT_OUT + "".join(f"  b{at}: {{layers: [b{at - 1}, b{at - 1}]}}\n" for at in range(1, 30))
LISTS = "input: 4\nvariables:\n  a0: [1, 1]\n" + "".join(
    f"  a{at}: [{', '.join([f'a{at - 1}'] * 9)}]\n" for at in range(1, 30)
)
PASSED = "input: 4\nblocks:\n  b0: {parameters: {k: size}, layers: [ReLU]}\n" + "".join(
    f"  b{at}: {{parameters: {{k: size}}, layers: ['b{at - 1} | (k,k,k,k,k,k)']}}\n" for at in range(1, 30)
)
MEANS = f"""
input: 4x999
variables:
  a: [{"1, " * 999}1]
blocks:
  b: {{layers: ['Normalize | - | - | mean=a']}}
  c: {{layers: ['b | - | - | repeat=10000']}}
layers: ['c | - | - | repeat=10000']
"""
MANY = f"""
input: 4
blocks:
  b: {{parameters: {{{", ".join(f"p{at}: 1" for at in range(9999))}}}, layers: [ReLU]}}
layers: ['b | - | - | repeat=10000']
"""
CIRCLE = """
input: 4
blocks:
  a: {layers: [b, b]}
  b: {layers: [a, a]}
layers: [a]
"""
POWERS = "".join(f"  a{at}: a*a*a*a*a*a*a*a*a*a*a*a\n" for at in range(50))
HUGE = """
input: 32768x32768x32768
layers:
  - CNN | 2147483647, 99 | - | padding=2147483647
  - Flatten
"""
FACTORS = """
input: 4x4x4
layers:
  - Upsample | 2147483647
  - Upsample | 2147483647
  - Reshape | -1
"""
ROWS = "input: 4\nlayers:\n"
BOMBS = {
    "blocks that leave everything out": DEEP + "layers: [b29, ReLU]\n",
    "repeats of nothing": LEFT_OUT + "layers:\n" + "  - b0 | - | - | repeat=10000\n" * 99,
    "names for repeats that are left out": ROWS + "  - ReLU | - | - | when=false, repeat=10000\n" * 999,
    "lists of lists": LISTS + "layers:\n  - FNN | a29\n",
    "lists that blocks pass on": PASSED + "layers:\n  - b29 | (1,1)\n",
    "a default of lists": LISTS + "blocks:\n  b: {parameters: {k: a29}, layers: [ReLU]}\nlayers: [b]\n",
    "many long values": MEANS,
    "many parameters": MANY,
    "a circle of blocks": CIRCLE,
    "brackets": f"{ROWS}  - FNN | {'(' * 5000}\n",
    "signs": f"{ROWS}  - FNN | {'-' * 5000}1\n",
    "powers": f"input: 4\nvariables:\n  a: 9\n{POWERS}layers: [ReLU]\n",
    "an image of everything": HUGE,
    "sizes that nobody has": FACTORS,
}


def refusal(text: str) -> str:
    """What is said about a text; nothing where it is a spec."""
    try:
        compile_spec(parse_spec(text, "hostile.yaml"))
    except SpecError as error:
        return str(error)
    return ""


def test_damaged_texts_are_specs_or_errors(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.hostile",
        "--count",
        str(COUNT),
        "--seed",
        "suite",
        "--folder",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_defused(name, monkeypatch):
    # The bounds are a tenth here, for counting calls takes time.
    monkeypatch.setattr("netspec.compile.expand.MAX_ROWS", 10_000)
    monkeypatch.setattr("netspec.compile.expand.MAX_WALKED", 20_000)
    with bounded(6_000_000):
        said = refusal(BOMBS[name])
    assert len(said) < 20_000


BEGIN = "input: 4\nlayers: [ReLU]\n"
LEVELS = "[" * 60 + "{$include: %s}" + "]" * 60
FOLDERS = {
    "files that include another twice": {
        "fuzz.yaml": f"{BEGIN}verify: {{$include: i0.yaml}}\n",
        **{f"i{at}.yaml": f"a: {{$include: i{at + 1}.yaml}}\nb: {{$include: i{at + 1}.yaml}}\n" for at in range(50)},
        "i50.yaml": "1\n",
    },
    "files of many levels": {
        "fuzz.yaml": f"{BEGIN}verify: {{$include: i0.yaml}}\n",
        **{f"i{at}.yaml": LEVELS % f"i{at + 1}.yaml" for at in range(50)},
        "i50.yaml": "1\n",
    },
    "files of many values": {
        "fuzz.yaml": f"{BEGIN}verify: [{', '.join(f'{{$include: i{at}.yaml}}' for at in range(90))}]\n",
        **{f"i{at}.yaml": f"[&a [{'1, ' * 299}1], {'*a, ' * 98}*a]\n" for at in range(90)},
    },
    "one file many times": {
        "fuzz.yaml": f"{BEGIN}verify: [{'{$include: i.yaml}, ' * 3000}1]\n",
        "i.yaml": f"[{'1, ' * 3000}1]\n",
    },
    "a chain of bases": {
        "fuzz.yaml": "base: {spec: b0.yaml}\n",
        **{f"b{at}.yaml": f"base: {{spec: b{at + 1}.yaml}}\nlayers:\n  - r{at}: ReLU\n" for at in range(400)},
        "b400.yaml": BEGIN,
    },
    "a chain of bases that variants choose": {
        "fuzz.yaml": "input: 4\nlayers: [ReLU]\nvariants: {wide: {base.spec: fuzz.yaml, base.variant: wide}}\n",
    },
}


@pytest.mark.parametrize("name", FOLDERS)
def test_tangles_are_bounded(name, tmp_path):
    files = {file: text.encode() for file, text in FOLDERS[name].items()}
    path = laid(files, tmp_path / "tangled")
    with bounded(10_000_000), pytest.raises(SpecError) as refused:
        compile_spec(load_spec(path, variant="wide" if "variants" in name else None))
    assert len(str(refused.value)) < 20_000


def forever():
    with bounded(1000):
        while True:
            len("")


def test_a_hang_would_be_found():
    with pytest.raises(Work):
        forever()


WATCHED = """
import sys
from pathlib import Path
from tests.fuzz.hostile import Watch
watch = Watch(Path("."))
watch.on = True
{deed}
"""


@pytest.mark.parametrize(
    "deed",
    [
        "exec('1')",
        "eval('1')",
        "import os; os.system('true')",
        "open('left.txt', 'w')",
        "__import__('wave')",
        "import socket; socket.socket()",
    ],
)
def test_code_that_runs_would_be_found(deed, tmp_path):
    code = WATCHED.format(deed=deed)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "AssertionError" in done.stderr
    assert not (ROOT / "left.txt").exists()


def test_damage_is_reproducible():
    texts = [b"input: 4\nlayers:\n  - FNN | 3\n", b"input: 2\nlayers:\n  - ReLU\n"]
    folders = [{"fuzz.yaml": b"base: {spec: b.yaml}\nlayers:\n  - ReLU\n", "b.yaml": texts[0]}]
    for damaged in (lambda seed: mutated(Random(seed), texts), lambda seed: tangled(Random(seed), folders, texts)):
        assert [damaged(seed) for seed in range(50)] == [damaged(seed) for seed in range(50)]


WORDS = """CNN FNN Concat pair | , = ( ) [ ] 3 - / // * > x ' " k from repeat when frozen input name activation ReLU
    leaky_relu( 0 1e9 . true null size padding same :"""
pieces = st.sampled_from([*WORDS.split(), " "])
ANY = """
input: 6x5x3
blocks:
  pair: {{parameters: {{k: 2}}, layers: ['{inside}', 'ReLU']}}
layers:
  - '{row}'
  - ReLU
"""


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=25).map("".join), st.lists(pieces, max_size=12).map("".join))
def test_any_row_is_a_row_or_an_error(row, inside):
    quoted, other = (text.replace("'", "''") for text in (row, inside))
    refusal(ANY.format(row=quoted, inside=other))
