"""Initial values: the same bits for a seed and a name, with the moments that each scheme defines; and their files."""

from __future__ import annotations

import json
from math import sqrt

import numpy as np
import pytest
from safetensors import safe_open

from netspec.errors import SpecError
from netspec.layers import BatchNorm, Conv, ConvTranspose, Dense, DepthwiseConv
from netspec.layers.initializer import Initializer
from netspec.memory import check_memory, values_bytes, weights_bytes
from netspec.weights import draw, fans, load, orthogonal, save, stream, truncated
from tests.cases import chain


def small(**options):
    return chain("small", (8, 7, 3), Conv(filters=4, kernel=3, **options), BatchNorm())


def one(init, layer=Conv, shape=(9, 9, 40), **options):
    """The kernel of a large layer, flat; and its weight."""
    network = chain("one", shape, layer(init=init, **options))
    weight = next(network.weights())
    return draw(network, 5)[weight.name].astype(float), weight


def test_a_seed_and_a_name_fix_the_bits():
    first, again, other = (draw(small(), seed) for seed in (1, 1, 2))
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert first["conv_1.kernel"].tobytes() != other["conv_1.kernel"].tobytes()
    assert all(values.dtype == np.float32 for values in first.values())


def test_a_row_elsewhere_changes_nothing():
    alone, among = small(), chain("more", (10, 9, 3), Conv(filters=3, kernel=3), Conv(filters=4, kernel=3))
    # conv_1 differs in its shape only in `among`; conv_2 has a stream of its own.
    assert draw(chain("x", (8, 7, 3), Conv(filters=4, kernel=3)), 1)["conv_1.kernel"].tobytes() == (
        draw(alone, 1)["conv_1.kernel"].tobytes()
    )
    assert not np.array_equal(draw(among, 1)["conv_2.kernel"], draw(alone, 1)["conv_1.kernel"])


def test_bits_are_pinned():
    # Files and papers quote seeds: these values must never change.
    values = draw(small(), 0)["conv_1.kernel"].ravel()[:3]
    assert [float(value).hex() for value in values] == [
        "0x1.05cf460000000p-4",
        "0x1.0860340000000p-2",
        "-0x1.a960fe0000000p-3",
    ]


def test_streams_of_different_names_differ():
    assert stream(0, "a.kernel").random() != stream(0, "b.kernel").random()
    assert stream(0, "a.kernel").random() != stream(1, "a.kernel").random()


def test_fans_are_those_of_keras():
    assert fans((20,)) == (20, 20)
    assert fans((7, 5)) == (7, 5)
    assert fans((3, 3, 16, 32)) == (144, 288)
    assert fans((5, 2, 4)) == (10, 20)


FAN_IN, FAN_OUT = 9 * 40, 9 * 60


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        ("glorot_uniform", 2 / (FAN_IN + FAN_OUT)),
        ("glorot_normal", 2 / (FAN_IN + FAN_OUT)),
        ("he_uniform", 2 / FAN_IN),
        ("he_normal", 2 / FAN_IN),
        ("lecun_uniform", 1 / FAN_IN),
        ("lecun_normal", 1 / FAN_IN),
        ("torch_default", 1 / FAN_IN / 3),
        ("normal", 0.05**2),
        ("uniform", 0.05**2 / 3),
        ("truncated_normal", (0.05 * 0.87962566103423978) ** 2),
    ],
)
def test_scheme_has_its_moments(scheme, variance):
    values, _ = one(Initializer(scheme=scheme), filters=60, kernel=3)
    count = values.size
    assert abs(values.mean()) < 4 * sqrt(variance / count)
    # The variance of a sample variance is at most 2 v^2 / n (the normal's).
    assert values.var() == pytest.approx(variance, rel=4 * sqrt(2 / count))
    largest = np.abs(values).max()
    if scheme.endswith("uniform") or scheme == "torch_default":
        limit = sqrt(3 * variance)
        assert 0.995 * limit < largest <= limit * (1 + 1e-6)
    elif scheme.endswith("_normal"):
        limit = 2 * (0.05 if scheme == "truncated_normal" else sqrt(variance) / 0.87962566103423978)
        assert 0.98 * limit < largest <= limit * (1 + 1e-6)
    else:
        assert largest > 3.5 * sqrt(variance)


def test_transposed_and_depthwise_kernels_have_the_fans_of_their_layout():
    values, _ = one(Initializer(scheme="he_uniform"), ConvTranspose, filters=60, kernel=3)
    assert np.abs(values).max() == pytest.approx(sqrt(6 / (9 * 60)), rel=5e-3)
    values, _ = one(Initializer(scheme="he_uniform"), DepthwiseConv, kernel=3, multiplier=8)
    assert np.abs(values).max() == pytest.approx(sqrt(6 / (9 * 40)), rel=5e-3)


def test_torch_default_draws_the_bias_from_its_kernels_fan():
    network = chain("one", (400,), Dense(units=3000, init=Initializer(scheme="torch_default")))
    values = draw(network, 3)
    for name in ("dense_1.kernel", "dense_1.bias"):
        assert np.abs(values[name]).max() == pytest.approx(1 / sqrt(400), rel=2e-3)


def test_constants():
    quarter = Initializer(scheme="constant", value=0.25)
    network = chain("one", (4,), Dense(units=3, init=quarter, bias_init=Initializer(scheme="ones")))
    values = draw(network, 0)
    assert (values["dense_1.kernel"] == 0.25).all()
    assert (values["dense_1.bias"] == 1).all()
    statistics = draw(small(), 0)
    assert (statistics["batch_norm_1.mean"] == 0).all()
    assert (statistics["batch_norm_1.var"] == 1).all()


@pytest.mark.parametrize("shape", [(30, 7), (7, 30), (3, 3, 4, 8), (1, 1, 2, 9)])
def test_orthogonal(shape):
    matrix = orthogonal(stream(0, "q"), shape).reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)
    values, _ = one(Initializer(scheme="orthogonal", gain=3.0), Dense, shape=(50,), units=20)
    np.testing.assert_allclose(values.T @ values, 9 * np.eye(20), atol=1e-5)


def test_orthogonal_matrices_have_no_preferred_sign():
    firsts = [orthogonal(stream(seed, "q"), (4, 4))[0, 0] for seed in range(400)]
    assert abs(np.mean(np.sign(firsts))) < 0.2


def test_truncated_never_passes_two():
    values = truncated(stream(0, "t"), (100_000,))
    assert np.abs(values).max() <= 2
    assert values.std() == pytest.approx(0.87962566, rel=0.01)


def test_files_keep_every_bit(tmp_path):
    network, path = small(), tmp_path / "weights.safetensors"
    weights = draw(network, 3)
    save(path, weights, network)
    found = load(path, network)
    assert list(found) == [weight.name for weight in network.weights()]
    assert all(found[name].tobytes() == weights[name].tobytes() for name in weights)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["netspec"])["network"] == "small"


def test_same_weights_make_the_same_file(tmp_path):
    network = small()
    weights = draw(network, 3)
    save(tmp_path / "a", weights, network)
    save(tmp_path / "b", dict(reversed(weights.items())), network)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_does_not_fit_is_listed(tmp_path):
    path = tmp_path / "weights.safetensors"
    other = chain("small", (8, 7, 3), Conv(filters=5, kernel=3), BatchNorm(center=False))
    save(path, draw(other, 0), other)
    with pytest.raises(SpecError) as caught:
        load(path, small())
    messages = [problem.message for problem in caught.value.problems]
    assert any(
        "row 'conv_1': conv_1.kernel has the shape 3x3x3x5, but 3x3x3x4 is needed" in message for message in messages
    )
    assert any("row 'batch_norm_1': batch_norm_1.beta is missing" in message for message in messages)


def test_unknown_weights_are_refused_with_the_nearest(tmp_path):
    network = small()
    weights = draw(network, 0)
    weights["conv_1.kernal"] = weights.pop("conv_1.kernel")
    with pytest.raises(
        SpecError, match=r"conv_1\.kernal belongs to no row of small\n  hint: did you mean 'conv_1\.kernel'"
    ):
        save(tmp_path / "w", weights, network)
    assert not list(tmp_path.iterdir())


def test_float64_weights_are_refused(tmp_path):
    network = small()
    weights = {name: values.astype(np.float64) for name, values in draw(network, 0).items()}
    with pytest.raises(SpecError, match=r"conv_1\.kernel is float64, but float32 is needed"):
        save(tmp_path / "w", weights, network)


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_a_broken_file_is_refused(tmp_path, content):
    network, path = small(), tmp_path / "weights.safetensors"
    save(path, draw(network, 0), network)
    path.write_bytes(path.read_bytes()[:-10] if content is None else content)
    with pytest.raises(SpecError, match="weights cannot be read: not a whole safetensors file"):
        load(path, network)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(SpecError, match="there is no such file"):
        load(tmp_path / "none", small())


def test_weights_beyond_memory_are_refused_with_the_figure():
    huge = chain("huge", (100_000,), Dense(units=2_000_000_000))
    with pytest.raises(SpecError) as caught:
        draw(huge, 0)  # 727 TB, which nothing may try to allocate
    [problem] = caught.value.problems
    assert "the weights need 3.6 PB of memory (200,002,000,000,000 numbers)" in problem.message
    assert "row 'dense_1' (Dense, result 2000000000) alone has 200,002,000,000,000" in problem.hint
    assert caught.value.exit_code == 2


def test_memory_is_counted():
    network = small()
    assert weights_bytes(network) == 4 * network.parameters + 16 * 108
    check_memory(network, available=weights_bytes(network))
    with pytest.raises(SpecError, match="kB are available"):
        check_memory(network, available=weights_bytes(network) - 1)


def test_values_of_a_verification_are_counted():
    network = chain("wide", (64, 64, 3), Conv(filters=8, kernel=3, padding="same"))
    windows = 64 * 64 * 9 * 3
    assert values_bytes(network, 10) == 8 * 10 * (3 * (64 * 64 * 3 + 64 * 64 * 8) + windows)
    needed = weights_bytes(network) + values_bytes(network, 10)
    check_memory(network, 10, available=needed)
    with pytest.raises(SpecError, match=r"(?s)verifying 10 samples needs about .* 'conv_1' \(Conv\) gives 64x64x8"):
        check_memory(network, 10, available=needed - 1)
