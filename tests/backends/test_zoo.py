"""Every large spec of the zoo is built and proven equal on every backend, Inception V3 within 6 GiB."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from netspec.building.options import BACKENDS
from netspec.compile import compile_spec
from netspec.compile.pixels import exported_network
from netspec.spec.load import load_spec
from netspec.verify.result import Verdict
from tests.backends.test_artefacts import MOST_MACS
from tests.tree import watch

pytestmark = [
    pytest.mark.large,
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux counts"),
]

NETWORKS = {
    path: compile_spec(load_spec(path)) for path in sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))
}
LARGE = [path for path, network in NETWORKS.items() if network.macs > MOST_MACS]
MOST_BYTES = 6 * 2**30
BOUNDED = ("inception-v3", "inception-v3-horses")
"""The networks for which so much memory is promised; `benchmarks/verify_large.py` measures the others."""


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_a_large_spec_is_built_and_proven_equal(path, tmp_path):
    spec = load_spec(path)
    exported = exported_network(spec, NETWORKS[path])
    if spec.base is not None and spec.base.settings.weights and "NETSPEC_DATA" not in os.environ:
        pytest.skip("the weights of its base lie in NETSPEC_DATA")
    program = [sys.executable, "-c", "from netspec.cli import main; main()"]
    with (tmp_path / "said.txt").open("w+") as said:
        ended = watch([*program, "build", str(path), "--no-train", "-o", str(tmp_path)], said, dict(os.environ))
    assert ended.status == 0, ended.output
    verdict = Verdict.from_json((tmp_path / NETWORKS[path].name / "verify.json").read_text())
    assert verdict.passed
    assert [backend.backend for backend in verdict.backends] == list(BACKENDS)
    for backend in verdict.backends:
        assert [row.row for row in backend.rows] == [row.name for row in exported.rows]
        assert all(row.float64 is not None and row.float32 is not None for row in backend.rows)
        assert backend.artefacts
    assert len(verdict.samples) >= 2
    if path.stem in BOUNDED:
        assert ended.peak_bytes <= MOST_BYTES
