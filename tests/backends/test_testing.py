"""Specs as tests of others, on real backends: the plugin's tests pass, and so does `assert_consistent`."""

from __future__ import annotations

import pytest

from netspec.backend import differentiable_backends
from netspec.compile import compile_spec
from netspec.spec.load import load_spec
from netspec.spec.model import VerifySettings
from netspec.testing import Prover, assert_consistent
from netspec.verify.golden import make, write
from netspec.verify.result import Failure
from netspec.weights import draw
from tests.core.test_pytest_plugin import PLUGIN, SPEC, played

pytest_plugins = ["pytester"]


def test_a_spec_passes_its_tests(pytester, backend):
    path = pytester.path / "net.yaml"
    path.write_text(f"{SPEC}expect: {{parameters: 259, golden: net.safetensors}}\n")
    network = compile_spec(load_spec(path))
    write(pytester.path / "net.safetensors", make(network, draw(network, 1), VerifySettings()), network)
    pytester.makepyfile(
        test_own=f"""
        from netspec.testing import assert_consistent

        def test_own():
            verdict = assert_consistent("net.yaml", backends=["{backend}"], overrides=["verify.inputs=1"])
            assert [found.backend for found in verdict.backends] == ["{backend}"]
        """
    )
    result = pytester.runpytest_subprocess(*PLUGIN, "--netspec", "net.yaml", "--netspec-backends", backend)
    result.assert_outcomes(passed=6 + (backend in differentiable_backends()))  # of which there are gradients


def test_a_spec_that_is_wrong_is_an_assertion_with_its_problems(tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(f"{SPEC}expect: {{parameters: 7}}\n")
    with pytest.raises(AssertionError, match=r"net\.yaml:6:22: expect\.parameters: parameters should be 7"):
        assert_consistent(path)


def test_a_difference_is_an_assertion_with_the_verdict(tmp_path, monkeypatch):
    played(monkeypatch, Failure(stage="compare", symptom="count", message="the artefact has 3", row="conv"))
    path = tmp_path / "net.yaml"
    path.write_text(SPEC)
    with pytest.raises(AssertionError, match="net: NOT EQUAL") as caught:
        assert_consistent(path, backends=["torch"])
    assert "the artefact has 3" in str(caught.value)


def test_a_worker_that_dies_is_replaced(tmp_path, backend):
    path = tmp_path / "net.yaml"
    path.write_text(SPEC)
    spec = load_spec(path)
    with Prover() as prover:
        worker = prover._worker(backend)
        worker.kill()
        verdict = prover.prove(spec, [backend])
        assert not verdict.passed
        assert verdict.unproven
        assert prover.prove(spec, [backend]).passed
        assert prover._worker(backend) is not worker
