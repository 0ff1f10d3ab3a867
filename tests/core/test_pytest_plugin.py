"""The pytest plugin: which tests a spec becomes, and what a failure says; backends are played here."""

from __future__ import annotations

import pytest

import netspec.testing
from netspec.compile import compile_spec
from netspec.verify.result import BackendVerdict, Failure, Measure, RowVerdict, Verdict
from tests.test_architecture import FRAMEWORKS, HEAVY, loaded

pytest_plugins = ["pytester"]
# Whether or not the distribution that is installed has the entry point, the module here is what is tested.
PLUGIN = ("-p", "no:netspec", "-p", "netspec.pytest_plugin", "-p", "no:cacheprovider")
SPEC = "input: 6x5x3\nlayers:\n  - conv: CNN | 4, 3 | ReLU\n  - Flatten\n  - FNN | 3 | Softmax\n"
GOOD = Measure(error=1e-16, granted=1e-12, ratio=1e-4, sample="ramp")
BAD = Measure(error=1e-3, granted=1e-12, ratio=1e9, sample="ramp")


def row(name, **measures):
    told = {"float64": GOOD, "float32": GOOD, **measures}
    return RowVerdict(row=name, kind="Conv", passed=True, trainable=1, non_trainable=0, counted=(1, 0), **told)


def played(monkeypatch, *failures, rows=()):
    """Backends that fail in these ways, where the test stays in this process."""
    asked = []

    def prove(self, spec, backends, seed=None):
        asked.append((spec.name, tuple(backends)))
        network = compile_spec(spec)
        [name] = backends
        verdict = BackendVerdict(
            backend=name, passed=not failures, rows=tuple(rows), artefacts=(), failures=tuple(failures)
        )
        return Verdict(
            network=spec.name, passed=not failures, parameters=network.parameters, trainable=0, non_trainable=0,
            samples=("ramp",), backends=(verdict,),
        )  # fmt: skip

    monkeypatch.setattr(netspec.testing.Prover, "prove", prove)
    return asked


def names(result):
    return [line.split("::")[1] for line in result.outlines if "::" in line]


def test_a_spec_becomes_tests_of_every_backend(pytester, monkeypatch):
    (pytester.mkdir("specs") / "net.yaml").write_text(SPEC)
    result = pytester.runpytest_inprocess(*PLUGIN, "--netspec", "specs", "--collect-only", "-q")
    backends = ("keras", "onnx", "torch")
    tests = [f"{aspect}[{name}]" for name in backends for aspect in netspec_aspects()]
    assert names(result) == ["check", *(test for test in tests if test != "gradients[onnx]")]
    chosen = pytester.runpytest_inprocess(
        *PLUGIN, "--netspec", "specs/net.yaml", "--netspec-backends", "torch", "--collect-only", "-q"
    )
    assert names(chosen) == ["check", "counts[torch]", "outputs[torch]", "gradients[torch]", "artefacts[torch]"]


def netspec_aspects():
    from netspec.pytest_plugin import ASPECTS

    return ASPECTS


def test_settings_name_the_specs_too(pytester):
    (pytester.mkdir("models") / "net.yaml").write_text(SPEC)
    pytester.makepyfile(test_own="def test_own(): pass")
    pytester.makeini("[pytest]\nnetspec_specs = models\nnetspec_backends = onnx torch\n")
    result = pytester.runpytest_inprocess(*PLUGIN, "--collect-only", "-q")
    assert names(result) == [
        "check", "counts[onnx]", "outputs[onnx]", "artefacts[onnx]", "counts[torch]", "outputs[torch]",
        "gradients[torch]", "artefacts[torch]", "test_own",
    ]  # fmt: skip
    # Who names a file of tests gets that file alone, and once.
    assert names(pytester.runpytest_inprocess(*PLUGIN, "test_own.py", "--collect-only", "-q")) == ["test_own"]


def test_specs_outside_of_the_tests_are_collected_once(pytester):
    pytester.mkdir("tests").joinpath("test_own.py").write_text("def test_own(): pass")
    (pytester.mkdir("models") / "net.yaml").write_text(SPEC)
    pytester.makeini("[pytest]\ntestpaths = tests\nnetspec_specs = models\nnetspec_backends = onnx\n")
    result = pytester.runpytest_inprocess(*PLUGIN, "--collect-only", "-q")
    assert sorted(names(result)) == ["artefacts[onnx]", "check", "counts[onnx]", "outputs[onnx]", "test_own"]


def test_variants_are_tested_as_well(pytester):
    (pytester.path / "net.yaml").write_text(f"{SPEC}variants: {{wide: {{layers.conv.filters: 8}}}}\n")
    result = pytester.runpytest_inprocess(
        *PLUGIN, "--netspec", "net.yaml", "--netspec-backends", "torch", "--collect-only", "-q"
    )
    aspects = ("counts", "outputs", "gradients", "artefacts")
    assert names(result)[5:] == ["check[wide]", *(f"{aspect}[wide-torch]" for aspect in aspects)]


def test_yaml_is_left_alone_where_nothing_is_asked(pytester):
    (pytester.path / "net.yaml").write_text("no: spec\n")
    pytester.makepyfile(test_own="def test_own(): pass")
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(passed=1)


def test_a_wrong_spec_fails_its_check_at_its_own_line(pytester):
    (pytester.path / "net.yaml").write_text(SPEC.replace("CNN", "CNNN"))
    (pytester.path / "unmet.yaml").write_text(f"{SPEC}expect: {{parameters: 7}}\n")
    result = pytester.runpytest_inprocess(
        *PLUGIN, "--netspec", "net.yaml", "--netspec", "unmet.yaml", "-k", "check", "--netspec-backends", "torch"
    )
    result.assert_outcomes(failed=2, deselected=8)
    result.stdout.fnmatch_lines(
        ["net.yaml:3:11: layers.0: unknown layer kind 'CNNN'", "*unmet.yaml:6:22: expect.parameters: *should be 7*"]
    )
    assert "Traceback" not in result.stdout.str()


def test_what_waits_for_a_check_that_fails_is_skipped(pytester):
    (pytester.path / "unmet.yaml").write_text(f"{SPEC}expect: {{parameters: 7}}\n")
    asked = (*PLUGIN, "--netspec", "unmet.yaml", "--netspec-backends", "torch", "-rs")
    result = pytester.runpytest_inprocess(*asked)
    result.assert_outcomes(failed=1, skipped=4)
    result.stdout.fnmatch_lines(["SKIPPED*the spec is not valid: its check says why"])
    alone = pytester.runpytest_inprocess(*asked, "-k", "counts")
    alone.assert_outcomes(failed=1, deselected=4)
    alone.stdout.fnmatch_lines(["*expect.parameters: *should be 7*"])


@pytest.mark.parametrize(
    ("failure", "failed"),
    [
        (Failure(stage="compare", symptom="count", message="the artefact has 3", row="conv"), "counts"),
        (Failure(stage="compare", symptom="value", message="float64 error", row="wrong"), "outputs"),
        (Failure(stage="compare", symptom="shape", message="the shape is (3,)", row="lost"), "outputs"),
        (Failure(stage="compare", symptom="value", message="conv.kernel came back changed", row="conv"), "artefacts"),
        (Failure(stage="compare", symptom="value", message="x.onnx, loaded afresh: it is 0"), "artefacts"),
        (Failure(stage="compare", symptom="file", message="x.py is not as written"), "artefacts"),
        (Failure(stage="build", symptom="crash", message="the worker was killed"), "artefacts"),
        (Failure(stage="render", symptom="unsupported", message="no rule for Conv"), "outputs"),
        (Failure(stage="run", symptom="crash", message="the worker was killed"), "outputs"),
        (Failure(stage="compare", symptom="gradient", message="the gradient of conv.kernel", row="conv"), "gradients"),
    ],
)
def test_a_failure_is_that_of_one_aspect(pytester, monkeypatch, failure, failed):
    rows = [row("conv"), row("wrong", float64=BAD), row("lost", float64=None)]
    asked = played(monkeypatch, failure, rows=rows)
    (pytester.path / "net.yaml").write_text(SPEC)
    result = pytester.runpytest_inprocess(*PLUGIN, "--netspec", "net.yaml", "--netspec-backends", "torch", "-rf")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        [f"*{failure.symptom}*({failure.stage}): {failure.message}*", f"FAILED *::{failed}?torch?*"]
    )
    assert asked == [("net", ("torch",))]


def test_only_what_is_selected_is_asked(pytester, monkeypatch):
    asked = played(monkeypatch)
    (pytester.path / "net.yaml").write_text(SPEC)
    pytester.runpytest_inprocess(*PLUGIN, "--netspec", "net.yaml", "-k", "outputs and onnx").assert_outcomes(
        passed=1, deselected=11
    )
    assert asked == [("net", ("onnx",))]


def test_a_backend_that_is_named_but_unknown_is_a_failure(pytester):
    (pytester.path / "net.yaml").write_text(SPEC)
    result = pytester.runpytest_inprocess(
        *PLUGIN, "--netspec", "net.yaml", "--netspec-backends", "torhc", "-k", "counts"
    )
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["there is no backend 'torhc'; did you mean 'torch'?"])


SESSION = """
import pytest
pytest.main("{plugins} -p no:cacheprovider --collect-only -q --noconftest tests/core/test_notation.py".split())
"""


def test_the_plugin_costs_nothing_where_it_is_not_used():
    heavy = {*FRAMEWORKS, *HEAVY, "pydantic", "yaml", "netspec.backend"}
    assert not loaded("import netspec.pytest_plugin") & heavy
    off = loaded(SESSION.format(plugins="-p no:netspec"))
    assert loaded(SESSION.format(plugins="-p no:netspec -p netspec.pytest_plugin")) <= off | {"netspec"}
