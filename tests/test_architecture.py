"""The house: every kind of layer has all its rooms, files stay small, and what must start fast loads nothing heavy."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from netspec.layers import KINDS, Layer
from tests.cases import LAYER_CASES

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.name for path in (ROOT / "backends").iterdir() if (path / "rules").is_dir())
FRAMEWORKS = ("torch", "keras", "tensorflow", "jax", "onnx", "onnx_ir", "onnxruntime")
# What is heavy without being a framework: starting takes longer than checking.
HEAVY = ("numpy", "rich", "safetensors", "sklearn", "matplotlib", "PIL")
MAX_LINES = 600


def family(kind: str) -> str:
    """The file, of the same name in every room, that a kind belongs to."""
    return Path(inspect.getfile(KINDS[kind])).name


def run_alone(code: str, *arguments: str) -> str:
    """What a program prints in a Python of its own."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded(code: str, *arguments: str) -> set[str]:
    """The top-level modules that are loaded when `code` has run."""
    report = "\nimport sys; print('\\n' + ' '.join({name.split('.')[0] for name in sys.modules}))"
    return set(run_alone(code + report, *arguments).splitlines()[-1].split())


def test_backends_are_found():
    assert {"netspec_keras", "netspec_onnx", "netspec_torch"} <= set(PACKAGES)


@pytest.mark.parametrize("kind", KINDS)
def test_kind_has_a_meaning(kind):
    rules = importlib.import_module("netspec.reference").rules
    assert KINDS[kind] in rules, f"{kind} has no value: write its function in netspec/reference/{family(kind)}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("package", PACKAGES)
def test_kind_has_a_rule(package, kind):
    rules = importlib.import_module(f"{package}.rules").rules
    assert KINDS[kind] in rules, f"{kind} has no rule: write it in backends/{package}/rules/{family(kind)}"


@pytest.mark.parametrize("kind", KINDS)
def test_kind_has_evidence(kind):
    cases = [case.id for case in LAYER_CASES if case.layer.kind == kind]
    assert cases, f"{kind} has no evidence: add rows to LAYER_CASES in tests/cases.py"


def test_cases_are_told_apart():
    ids = [case.id for case in LAYER_CASES]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_every_rank_of_a_kind_has_evidence(kind):
    ranks = {len(case.shape) - 1 for case in LAYER_CASES if case.layer.kind == kind}
    missing = set(KINDS[kind].ranks) - ranks
    assert not missing, f"{kind} takes {missing}-D data, but no case in tests/cases.py shows it"


@pytest.mark.parametrize("room", ["netspec/reference", *(f"backends/{package}/rules" for package in PACKAGES)])
def test_rooms_have_the_files_of_the_families(room):
    families = {family(kind) for kind in KINDS}
    missing = sorted(name for name in families if not (ROOT / room / name).is_file())
    assert not missing, f"{room} lacks {missing}"


def test_completeness_would_notice_a_new_kind():
    # The tests above look at KINDS, so a kind without rooms must be absent from every table.
    class Novelty(Layer, kind="Novelty"):
        pass

    try:
        tables = ["netspec.reference", *(f"{package}.rules" for package in PACKAGES)]
        assert not [table for table in tables if Novelty in importlib.import_module(table).rules]
    finally:
        forget(Novelty)


def forget(kind: type[Layer]) -> None:
    """Take a kind that a test made out of the registries."""
    from netspec.layers import ALIASES, NAMES

    KINDS.pop(kind.kind)
    for name in [name for name, alias in ALIASES.items() if alias.layer is kind]:
        ALIASES.pop(name)
        NAMES.pop(name)


def sources() -> list[Path]:
    folders = ("netspec", "backends", "tests", "benchmarks")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_files_stay_small():
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert not {name: lines for name, lines in long.items() if lines > MAX_LINES}, f"no file has over {MAX_LINES} lines"


def test_no_drawers():
    drawers = {"utils", "util", "helpers", "helper", "common", "core", "misc"}
    assert not [path for path in sources() if path.stem in drawers]


def test_importing_netspec_loads_nothing_heavy():
    assert not loaded("import netspec") & {*FRAMEWORKS, *HEAVY}


CHECK = """
import sys
from netspec.cli import main
sys.argv[0] = "netspec"
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize("command", ["check", "show"])
def test_check_and_show_load_nothing_heavy(command):
    assert not loaded(CHECK, command, "specs/digits-cnn.yaml") & {*FRAMEWORKS, *HEAVY}


@pytest.mark.parametrize("package", PACKAGES)
def test_rules_load_no_framework(package):
    assert not loaded(f"import {package}.rules, {package}") & set(FRAMEWORKS)


def test_the_reference_and_the_verifier_load_no_framework():
    code = "import netspec.reference, netspec.verify.check, netspec.weights, netspec.backend.worker"
    assert not loaded(code) & set(FRAMEWORKS)
