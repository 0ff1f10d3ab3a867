"""The reference against values that were computed by hand."""

from __future__ import annotations

import weakref
from math import erf, exp, log, sqrt, tanh

import numpy as np
import pytest

from netspec.layers import (
    LRN,
    Activation,
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Flatten,
    Grayscale,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LayerScale,
    MaxPool,
    MaxUnpool,
    Normalize,
    Pad,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Rescale,
    Reshape,
    Resize,
    RMSNorm,
    SeparableConv,
    Slice,
    Split,
    Upsample,
)
from netspec.reference import evaluate, interpret
from tests.cases import LAYER_CASES, Case, chain


def value(layer, x, **weights):
    """The value of one layer for one sample `x`, weights by their short names."""
    x = np.asarray(x, float)
    network = chain("one", x.shape, layer)
    [node] = network.nodes
    given = {f"{node.name}.{name}": np.asarray(w, np.float32) for name, w in weights.items()}
    [found] = evaluate(network, given, {"input": x[None]}).values()
    assert found.shape[1:] == network.output_type.shape
    return found[0]


@pytest.mark.parametrize("case", LAYER_CASES, ids=lambda case: case.id)
def test_value_has_the_inferred_shape_and_is_float64(case):
    network = case.network()
    weights = {weight.name: np.full(weight.shape, 0.5, np.float32) for weight in network.weights()}
    for batch in (1, 3):
        [found] = evaluate(
            network,
            weights,
            {given: np.ones((batch, *kind.shape), np.float32) for given, kind in network.inputs.items()},
        ).values()
        assert found.shape == (batch, *network.output_type.shape)
        assert found.dtype == np.float64


def test_conv_same_with_stride_pads_the_end():
    # n=4, k=3, s=2: pads (0, 1), so the windows are [1 2 3] and [3 4 0].
    layer, kernel = Conv(filters=1, kernel=3, stride=2, padding="same"), [[[1]], [[10]], [[100]]]
    found = value(layer, [[1], [2], [3], [4]], kernel=kernel, bias=[0.5])
    assert found[:, 0].tolist() == [321.5, 43.5]


def test_conv_even_kernel_same_pads_the_end_more():
    found = value(Conv(filters=1, kernel=2, padding="same", bias=False), [[1], [2], [3]], kernel=[[[1]], [[10]]])
    assert found[:, 0].tolist() == [21, 32, 3]


def test_conv_causal_sees_no_future():
    layer = Conv(filters=1, kernel=2, dilation=2, padding="causal", bias=False)
    found = value(layer, [[1], [2], [3], [4]], kernel=[[[10]], [[1]]])
    assert found[:, 0].tolist() == [1, 2, 13, 24]


def test_conv_is_cross_correlation_over_height_and_width():
    x = np.arange(6.0).reshape(2, 3, 1)  # 0 1 2 / 3 4 5
    kernel = np.array([[1, 10], [100, 1000]]).reshape(2, 2, 1, 1)
    found = value(Conv(filters=1, kernel=2, bias=False), x, kernel=kernel)
    assert found[0, :, 0].tolist() == [0 + 10 + 300 + 4000, 1 + 20 + 400 + 5000]


def test_conv_groups_take_contiguous_channels():
    kernel = np.array([1, 2]).reshape(1, 1, 2)  # one channel a group, two filters
    found = value(Conv(filters=2, kernel=1, groups=2, bias=False), [[3, 5]], kernel=kernel)
    assert found.tolist() == [[3, 10]]


def test_depthwise_results_of_a_channel_stand_side_by_side():
    kernel = np.array([[1, 10], [100, 1000]]).reshape(1, 2, 2)
    assert value(DepthwiseConv(kernel=1, multiplier=2, bias=False), [[3, 5]], kernel=kernel).tolist() == [
        [3, 30, 500, 5000]
    ]


def test_separable_adds_its_bias_last():
    weights = {"depthwise": [[[2], [4]]], "pointwise": [[[1], [10]]], "bias": [7]}
    found = value(SeparableConv(filters=1, kernel=1), [[3, 5]], **weights)
    assert found.tolist() == [[6 + 200 + 7]]


def test_conv_transpose_stamps_its_kernel():
    x, kernel = [[1], [2]], [[[1]], [[10]], [[100]]]
    full = value(ConvTranspose(filters=1, kernel=3, stride=2, bias=False), x, kernel=kernel)
    assert full[:, 0].tolist() == [1, 10, 102, 20, 200]
    same = value(ConvTranspose(filters=1, kernel=3, stride=2, padding="same", bias=False), x, kernel=kernel)
    assert same[:, 0].tolist() == [1, 10, 102, 20]
    # Beyond the kernel the result is extended by zeros, which take the bias too.
    wide = value(ConvTranspose(filters=1, kernel=1, stride=2), x, kernel=[[[1]]], bias=[5])
    assert wide[:, 0].tolist() == [6, 5, 7, 5]


def test_max_pool_pads_with_minus_infinity():
    assert value(MaxPool(size=2, padding="same"), [[-3], [-2], [-5]])[:, 0].tolist() == [-2, -5]


def test_max_unpool_puts_values_where_the_first_of_the_largest_stood():
    image = np.array([[1, 3, 2, 2], [3, 0, 2, 2], [-1, -2, 0, 0], [-3, -1, 0, 5]], float)[None, :, :, None]
    values = np.array([[7, 8], [-9, 6]], float)[None, :, :, None]
    network = Case("unpool", MaxUnpool(), (2, 2, 1), ((4, 4, 1),)).network()
    [found] = evaluate(network, {}, {"given_0": values, "given_1": image}).values()
    assert found[0, :, :, 0].tolist() == [[0, 7, 8, 0], [0, 0, 0, 0], [-9, 0, 0, 0], [0, 0, 0, 6]]


def test_avg_pool_counts_pads_only_when_asked():
    assert value(AvgPool(size=2, padding="same"), [[2], [4], [6]])[:, 0].tolist() == [3, 6]
    assert value(AvgPool(size=2, padding="same", count_include_pad=True), [[2], [4], [6]])[:, 0].tolist() == [3, 3]


def test_ceil_adds_a_window_over_what_is_left():
    x = [[1.0], [-2], [4], [5], [-9]]
    assert value(MaxPool(size=2), x)[:, 0].tolist() == [1, 5]
    assert value(MaxPool(size=2, ceil=True), x)[:, 0].tolist() == [1, 5, -9]
    assert value(AvgPool(size=2, ceil=True), x)[:, 0].tolist() == [-0.5, 4.5, -9]
    # Of four pixels and a pad, the second window has one pixel and a pad that counts; nothing beyond it does.
    counted = AvgPool(size=3, padding=((0, 1),), ceil=True, count_include_pad=True)
    assert value(counted, x[:4])[:, 0].tolist() == [1, 2.5]
    # A third window would begin in the pad, and is none.
    assert value(AvgPool(size=2, padding=((0, 1),), ceil=True), x[:4])[:, 0].tolist() == [-0.5, 4.5]


def test_adaptive_windows_are_as_equal_as_can_be():
    x = [[1.0], [-2], [4], [5], [-9]]
    assert value(AdaptiveMaxPool(size=2), x)[:, 0].tolist() == [4, 5]  # 0 to 3 and 2 to 5
    assert value(AdaptiveAvgPool(size=2), x)[:, 0].tolist() == [1, 0]
    assert value(AdaptiveMaxPool(size=3), x)[:, 0].tolist() == [1, 5, 5]  # 0 to 2, 1 to 4, 3 to 5
    plane = np.arange(15.0).reshape(3, 5, 1)
    assert value(AdaptiveAvgPool(size=(1, 2)), plane)[0, :, 0].tolist() == [6, 8]


def test_pads():
    x = [[1.0], [2], [3]]
    modes = {"reflect": [3, 2, 1, 2, 3, 2], "edge": [1, 1, 1, 2, 3, 3], "symmetric": [2, 1, 1, 2, 3, 3]}
    for mode, expected in modes.items():
        assert value(Pad(padding=((2, 1),), mode=mode), x)[:, 0].tolist() == expected
    assert value(Pad(padding=((0, 1),), value=7), x)[:, 0].tolist() == [1, 2, 3, 7]


def test_parts_of_an_axis():
    x = np.arange(12.0).reshape(3, 4)
    assert value(Slice(begin=1, end=-1), x).tolist() == [[1, 2], [5, 6], [9, 10]]
    assert value(Slice(begin=-1, axis=1), x).tolist() == [[8, 9, 10, 11]]
    assert value(Split(parts=2, index=1), x).tolist() == [[2, 3], [6, 7], [10, 11]]
    assert value(Split(parts=3, index=0, axis=1), x).tolist() == [[0, 1, 2, 3]]


def test_channel_shuffle_is_the_papers():
    """Zhang et al. 2018, section 3.1: the channels reshaped to (g, n), transposed, and flattened again."""
    x = np.arange(12.0).reshape(2, 6)
    assert value(ChannelShuffle(groups=3), x).tolist() == [[0, 2, 4, 1, 3, 5], [6, 8, 10, 7, 9, 11]]
    paper = x.reshape(2, 2, 3).transpose(0, 2, 1).reshape(2, 6)
    assert value(ChannelShuffle(groups=2), x).tolist() == paper.tolist()


def test_pixel_shuffle_takes_the_channels_of_a_result_side_by_side():
    found = value(PixelShuffle(size=2), [[[0.0, 1, 2, 3, 10, 11, 12, 13]]])
    assert found[..., 0].tolist() == [[0, 1], [2, 3]]
    assert found[..., 1].tolist() == [[10, 11], [12, 13]]
    assert value(PixelUnshuffle(size=2), found.tolist()).tolist() == [[[0, 1, 2, 3, 10, 11, 12, 13]]]


def test_scales():
    assert value(InstanceNorm(epsilon=0.75), [[1.0, 5], [2, 5]], gamma=[1, 2], beta=[0, 3]).tolist() == [
        [-0.5, 3],
        [0.5, 3],
    ]
    assert value(RMSNorm(epsilon=0.5), [1.0, -4.0], gamma=[1, 2]).tolist() == [1 / 3, -8 / 3]  # the mean square is 8.5
    assert value(LayerScale(), [[1.0, -4.0]], gamma=[2, 0.5]).tolist() == [[2, -2]]
    # Sums of squares 1 + 4, 1 + 4 + 9 and 4 + 9; alpha / size is 1.
    found = value(LRN(size=3, alpha=3, beta=0.5, k=2), [1.0, 2, 3])
    np.testing.assert_allclose(found, [1 / sqrt(7), 2 / 4, 3 / sqrt(15)], rtol=1e-15)


def test_norms():
    found = value(BatchNorm(epsilon=0.5), [3.0, 4.0], gamma=[2, 1], beta=[1, 0], mean=[1, 0], var=[3.5, 15.5])
    assert found.tolist() == [2 * 2 / 2 + 1, 1]
    found = value(LayerNorm(epsilon=0.75), [1.0, 2.0], gamma=[1, 2], beta=[0, 5])  # var 1/4, biased
    assert found.tolist() == [-0.5, 6]
    x = [[1.0, 2.0, 10.0, 10.0], [1.0, 2.0, 11.0, 11.0]]
    found = value(GroupNorm(groups=2, epsilon=0.75, center=False, scale=False), x)
    assert found.tolist() == [[-0.5, 0.5, -0.5, -0.5], [-0.5, 0.5, 0.5, 0.5]]


def test_dense():
    assert value(Dense(units=2), [1, 2], kernel=[[1, 2], [10, 20]], bias=[0.5, 0]).tolist() == [21.5, 42]


def test_flatten_reads_height_width_channels():
    x = np.arange(12.0).reshape(2, 3, 2)
    assert value(Flatten(), x).tolist() == list(range(12))
    assert value(Flatten(order="chw"), x).tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]
    assert value(Reshape(shape=(3, 4)), x).tolist() == np.arange(12.0).reshape(3, 4).tolist()
    assert value(Permute(order=(2, 1, 3)), x)[2, 1].tolist() == x[1, 2].tolist()


def test_resampling():
    x = [[[0.0], [1.0]]]  # one row of two pixels
    assert value(Upsample(size=(1, 2), mode="bilinear"), x)[0, :, 0].tolist() == [0, 0.25, 0.75, 1]
    assert value(Upsample(size=(2, 2)), x)[:, :, 0].tolist() == [[0, 0, 1, 1]] * 2
    ramp = np.arange(6.0).reshape(1, 6, 1)
    # 6 to 4: centres at 0.75, 2.25, 3.75, 5.25.
    assert value(Resize(size=(1, 4), mode="nearest"), ramp)[0, :, 0].tolist() == [0, 2, 3, 5]
    assert value(Resize(size=(1, 4)), ramp)[0, :, 0].tolist() == [0.25, 1.75, 3.25, 4.75]


def test_images():
    assert value(Rescale(scale=0.5, offset=-1), [4.0]).tolist() == [1]
    assert value(Normalize(mean=(1, 2), std=(2, 4)), [[3.0, 4.0]]).tolist() == [[1, 0.5]]
    np.testing.assert_allclose(value(Grayscale(), [[[1.0, 10.0, 100.0]]]).item(), 0.2989 + 5.87 + 11.4, rtol=1e-15)


def sigmoid(x):
    return 1 / (1 + exp(-x))


POINTS = {
    "relu": lambda x: max(x, 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "elu": lambda x: x if x > 0 else exp(x) - 1,
    "selu": lambda x: 1.05070098735548 * (x if x > 0 else 1.67326324235437 * (exp(x) - 1)),
    "celu": lambda x: x if x > 0 else exp(x) - 1,
    "gelu": lambda x: 0.5 * x * (1 + erf(x / sqrt(2))),
    "silu": lambda x: x * sigmoid(x),
    "hard_sigmoid": lambda x: min(max(x + 3, 0), 6) / 6,
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "softplus": lambda x: log(1 + exp(x)),
    "mish": lambda x: x * tanh(log(1 + exp(x))),
    "softsign": lambda x: x / (1 + abs(x)),
    "tanh": tanh,
    "hard_tanh": lambda x: min(max(x, -1), 1),
    "sigmoid": sigmoid,
    "log_sigmoid": lambda x: log(sigmoid(x)),
    "softmax": lambda x: exp(x) / sum(map(exp, XS)),
    "log_softmax": lambda x: x - log(sum(map(exp, XS))),
}
XS = (-4.5, -1.25, -0.5, 0.0, 0.75, 2.5, 7.0)


@pytest.mark.parametrize("function", POINTS)
def test_activation(function):
    argument = {"slope": 0.2} if function == "leaky_relu" else {}
    expected = [POINTS[function](x) for x in XS]
    np.testing.assert_allclose(value(Activation(function=function, **argument), XS), expected, rtol=1e-13, atol=1e-15)


def test_activation_arguments():
    assert value(Activation(function="elu", alpha=0.5), [-1.0]).item() == pytest.approx(0.5 * (exp(-1) - 1), rel=1e-14)
    assert value(Activation(function="celu", alpha=2.0), [-1.0]).item() == pytest.approx(2 * (exp(-0.5) - 1), rel=1e-14)
    wide = 0.5 * (1 + tanh(sqrt(2 / np.pi) * (1 + 0.044715)))
    assert value(Activation(function="gelu", approximate="tanh"), [1.0]).item() == pytest.approx(wide, rel=1e-14)
    x = np.array([[0.0, 1.0], [2.0, 5.0]])
    np.testing.assert_allclose(value(Activation(function="softmax", axis=1), x).sum(axis=0), [1, 1], rtol=1e-15)


@pytest.mark.parametrize("function", POINTS)
def test_activation_is_finite_far_out(function):
    argument = {"slope": 0.2} if function == "leaky_relu" else {}
    assert np.isfinite(value(Activation(function=function, **argument), [-1e4, 1e4])).all()


def test_values_that_nobody_reads_any_more_are_let_go():
    network = chain("deep", (3,), *[Dense(units=3) for _ in range(4)])
    weights = {weight.name: np.ones(weight.shape, np.float32) for weight in network.weights()}
    seen = []
    for _, found in interpret(network, weights, {"input": np.ones((1, 3))}):
        seen.append(weakref.ref(found))
        del found
        assert [reference() is None for reference in seen[:-2]] == [True] * len(seen[:-2])
    assert len(seen) == 4
