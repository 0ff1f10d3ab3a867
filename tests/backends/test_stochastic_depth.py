"""StochasticDepth in training, where verification does not look: whole samples go, and the others make up for them."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from netspec.backend.worker import Worker
from netspec.layers import StochasticDepth
from tests.cases import chain

RATE = 0.25


class Torch:
    """The emitted module in training mode."""

    def train(self, network, inputs):
        import torch
        from netspec_torch.model import make, to_canonical, to_torch
        from netspec_torch.render import render

        torch.manual_seed(1)
        module = make(render(network)).train()
        return to_canonical(module(torch.from_numpy(to_torch(inputs))))


class Keras:
    """The emitted model in training mode."""

    def train(self, network, inputs):
        import keras
        from netspec_keras.model import build
        from netspec_keras.render import render

        keras.utils.set_random_seed(1)
        return keras.ops.convert_to_numpy(build(render(network))(inputs, training=True))


torch, keras = Torch(), Keras()


@pytest.fixture(scope="module", params=["torch", "keras"])
def probe(request):
    if find_spec(request.param) is None:
        pytest.skip(f"pip install 'netspec[{request.param}]'")
    with Worker(f"tests.backends.test_stochastic_depth:{request.param}") as worker:
        yield worker


@pytest.mark.parametrize("shape", [(6,), (11, 3), (7, 5, 3), (5, 4, 6, 2)], ids=["flat", "1d", "2d", "3d"])
def test_a_sample_is_kept_or_zeroed_as_a_whole(probe, shape):
    inputs = np.random.default_rng(3).uniform(0.5, 1.5, (400, *shape)).astype(np.float32)
    found = probe.call("train", network=chain("depth", shape, StochasticDepth(rate=RATE)), inputs=inputs)
    factor = (found / inputs).reshape(len(inputs), -1)
    kept = factor[:, 0] > 0
    np.testing.assert_allclose(factor[kept], 1 / (1 - RATE), rtol=1e-6)
    assert not factor[~kept].any()
    # 100 of 400 are expected to go, with a standard deviation of 9.
    assert 55 < (~kept).sum() < 145
