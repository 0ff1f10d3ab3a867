"""Costly networks are compared with fewer samples, and all piece by piece where memory asks it."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.layers import Activation, Conv, Dense
from netspec.memory import TOGETHER_BYTES, fits_together, values_bytes
from netspec.spec.model import VerifySettings
from netspec.verify import pieces, verify
from netspec.verify.gates import DRAWS
from netspec.verify.inputs import hard_inputs, sample_names
from netspec.verify.pieces import in_pieces
from netspec.verify.samples import FEW_DRAWS, FIRST, LEAST, choose_samples
from tests.cases import chain
from tests.core.test_verify import NETWORK, NOWHERE, SETTINGS, WEIGHTS, Exact

COSTLY = chain("costly", (300, 300, 3), Conv(filters=64, kernel=7), Conv(filters=64, kernel=7))


def test_a_cheap_network_has_all_samples():
    chosen = choose_samples(NETWORK, VerifySettings())
    assert chosen.names == sample_names(3)
    assert chosen.inputs is chosen.artefact_inputs
    assert chosen.draws == DRAWS


def test_a_costly_network_has_those_that_bite_most():
    chosen = choose_samples(COSTLY, VerifySettings())
    assert chosen.names == FIRST[:LEAST]
    every = hard_inputs(COSTLY, 3, 0)["input"]
    for name, sample in zip(chosen.names, chosen.inputs["input"], strict=True):
        np.testing.assert_array_equal(sample, every[sample_names(3).index(name)])
    assert [len(chosen.artefact_inputs["input"]), chosen.draws] == [1, FEW_DRAWS]


def test_the_order_names_every_sample_once():
    assert sorted(FIRST) == sorted([*sample_names(3), "data 1"])


def test_a_number_that_is_asked_for_is_given():
    assert choose_samples(COSTLY, VerifySettings(inputs=3)).names == sample_names(3)


def test_pieces_hold_every_sample_once(monkeypatch):
    inputs = hard_inputs(NETWORK, 3, 0)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 4 * values_bytes(NETWORK, 1))
    found = in_pieces(NETWORK, inputs)
    assert [(piece.start, piece.count) for piece in found] == [(0, 4), (4, 4), (8, 2)]
    np.testing.assert_array_equal(np.concatenate([piece.inputs["input"] for piece in found]), inputs["input"])


class Off(Exact):
    """Wrong by itself, for one input alone."""

    def run(self, network, weights, inputs, precision, feed=None):
        self.asked = [*getattr(self, "asked", []), len(inputs["input"])]
        self.constant = [bool(np.ptp(sample) == 0 and sample.max() > 0) for sample in inputs["input"]]
        return super().run(network, weights, inputs, precision, feed)

    def spoil(self, row, values):
        values = values.copy()
        if row == "batch_norm_1":
            values[self.constant] *= 1 + 1e-10
        return values


@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_fault_is_found_in_whichever_piece_it_is(monkeypatch, size):
    monkeypatch.setattr(pieces, "PIECE_BYTES", size * values_bytes(NETWORK, 1))
    backend = Off()
    [verdict] = verify(NETWORK, WEIGHTS, NOWHERE, SETTINGS, {"it": backend}).backends
    [failure] = verdict.failures
    assert (failure.row, verdict.alone) == ("batch_norm_1", True)
    assert "for input 'constant'" in failure.message
    assert max(backend.asked) == min(size, 9)
    assert [row.passed for row in verdict.rows] == [True, False, False, False]


def test_one_after_the_other_comes_to_the_same_verdict(monkeypatch):
    monkeypatch.setattr("netspec.verify.check.fits_together", lambda *_: False)
    verdict = verify(NETWORK, WEIGHTS, NOWHERE, SETTINGS, {"one": Exact(), "two": Off()})
    assert [backend.passed for backend in verdict.backends] == [True, False]


def test_networks_that_take_the_memory_work_alone():
    assert fits_together(NETWORK)
    wide = chain("wide", (4096,), (Dense(units=40_000), Activation(function="relu")))
    assert 4 * 4 * wide.parameters > TOGETHER_BYTES
    assert not fits_together(wide)
