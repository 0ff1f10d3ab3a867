"""Spec -> Network: kinds, names, shapes, counts, defaults, and every problem at its place."""

from __future__ import annotations

import pytest

from netspec.compile import compile_spec
from netspec.compile.network import read_rows
from netspec.errors import ExpectationError, SpecError
from netspec.layers import Activation, BatchNorm, Conv, ConvTranspose, Dense, MaxPool
from netspec.network import Network
from netspec.spec.load import parse_spec


def network_of(*rows: str, shape: str = "28x28x3", more: str = "") -> Network:
    return compile_spec(parse_spec(text_of(*rows, shape=shape, more=more), "x.yaml"))


def text_of(*rows: str, shape: str = "28x28x3", more: str = "") -> str:
    lines = "\n".join(f"  - {row}" for row in rows)
    return f"name: x\ninput: {shape}\nlayers:\n{lines}\n{more}"


def problems_of(*rows: str, shape: str = "28x28x3", more: str = "") -> list[str]:
    with pytest.raises(SpecError) as caught:
        network_of(*rows, shape=shape, more=more)
    return [str(problem) for problem in caught.value.problems]


def test_published_table_has_the_published_count() -> None:
    block = ("CNN | {}, (3,3)", "BatchNorm | - | ReLu", "MaxPool | (2,2)")
    rows = [row.format(filters) for filters in (32, 64, 64) for row in block]
    network = network_of(
        *rows, "Flatten", "FNN | 128 | ReLU", "Dropout | rate = 0.5", "FNN | 10 | SoftMax", shape="32x32x3"
    )
    assert (network.parameters, network.non_trainable) == (91_146, 320)
    assert network.output_type.shape == (10,)


def test_unnamed_rows_are_numbered_by_kind_and_pass_over_written_names() -> None:
    network = network_of("CNN | 4, 3", "conv_2: CNN | 4, 3", "CNN | 4, 3", "ReLU", "Flatten", "FNN | 2")
    assert [row.name for row in network.rows] == ["conv_1", "conv_2", "conv_3", "relu_1", "flatten_1", "dense_1"]


def test_activation_cell_is_a_node_of_the_same_row() -> None:
    network = network_of("first: CNN | 4, 3 | leaky_relu(0.2)")
    assert [node.name for node in network.nodes] == ["first", "first_leaky_relu"]
    assert [node.row for node in network.nodes] == ["first", "first"]
    assert network.nodes[1].layer == Activation(function="leaky_relu", slope=0.2)
    assert network.outputs == {"output": "first_leaky_relu"}


@pytest.mark.parametrize("written", ["linear", "none", "-", "identity"])
def test_no_activation_adds_no_node(written: str) -> None:
    assert len(network_of(f"CNN | 4, 3 | {written}").nodes) == 1


def test_every_spelling_of_a_kind_means_the_same() -> None:
    spellings = ("CNN", "conv", "Conv2D", "conv_2d", "Convolution2D", "CONV2D")
    digests = {network_of(f"c: {name} | 4, 3").digest for name in spellings}
    assert len(digests) == 1


def test_digest_changes_with_any_field() -> None:
    digests = [
        network_of(f"c: Conv | 4, 3 | {cells}").digest for cells in ("-", "ReLU", "- | stride=2", "- | bias=false")
    ]
    assert len(set(digests)) == 4


def test_same_padding_resolves_to_explicit_pads_with_the_odd_one_at_the_end() -> None:
    layer = network_of("Conv | 4, 3 | - | stride=2, padding=same").nodes[0].layer
    assert isinstance(layer, Conv)
    assert layer.pads == ((0, 1), (0, 1))


def test_frameworks_names_of_options_are_understood() -> None:
    plain = network_of("{type: Conv, name: c, filters: 4, kernel: 3, stride: 2, bias: false}")
    other = network_of("{type: Conv2D, name: c, out_channels: 4, kernel_size: 3, strides: 2, use_bias: false}")
    assert plain.digest == other.digest


def test_defaults_apply_to_their_kind_and_yield_to_the_row() -> None:
    more = "defaults: {CNN: {padding: same, activation: ReLU}}\n"
    network = network_of("Conv | 4, 3", "Conv | 4, 3 | none | padding=valid", "MaxPool | 2", more=more)
    assert [row.output.shape for row in network.rows] == [(28, 28, 4), (26, 26, 4), (13, 13, 4)]
    assert [len(row.nodes) for row in network.rows] == [2, 1, 1]


def test_pool_strides_by_its_size_unless_told() -> None:
    layers = [node.layer for node in network_of("MaxPool | 3", "MaxPool | 3, stride=1").nodes]
    assert [layer.stride for layer in layers if isinstance(layer, MaxPool)] == [(3, 3), (1, 1)]


def test_a_name_may_say_how_it_pads() -> None:
    spellings = {
        "constant": ("Pad", "ZeroPad", "ZeroPadding2D", "zero_pad", "Padding", "ConstantPad2d"),
        "reflect": ("Pad | 1 | - | mode=reflect", "ReflectionPad2d", "reflection_pad"),
        "edge": ("Pad | 1 | - | mode=replicate", "ReplicationPad2D", "Pad | 1 | - | mode=Edge"),
    }
    for mode, names in spellings.items():
        networks = [network_of(name) for name in names]
        assert [network.nodes[0].layer.plain()["mode"] for network in networks] == [mode] * len(names)
        assert len({network.digest for network in networks}) == 1
        assert networks[0].rows[0].name == "pad_1"


def test_ceil_stays_where_it_adds_a_window() -> None:
    sizes = {"valid": (14, True), "same": (14, False), "1": (15, True)}
    for padding, (size, stays) in sizes.items():
        network = network_of(f"MaxPool | 3 | - | stride=2, ceil_mode=true, padding={padding}")
        assert network.output_type.shape == (size, size, 3)
        assert network.nodes[0].layer.plain()["ceil"] is stays


def test_parts_of_an_axis_resolve_to_numbers() -> None:
    for written, begin, end, axis in (
        ("Slice | 1", 1, 3, 3),
        ("Slice | -2, -1", 1, 2, 3),
        ("Slice | 4, 9 | - | axis=1", 4, 9, 1),
        ("Slice | end=-3 | - | axis=-2", 0, 25, 2),
    ):
        fields = network_of(written).nodes[0].layer.plain()
        assert (fields["begin"], fields["end"], fields["axis"]) == (begin, end, axis)


def test_conv_transpose_resolves_to_a_crop() -> None:
    layer = network_of("ConvTranspose | 4, 3 | - | stride=2, padding=same").nodes[0].layer
    assert isinstance(layer, ConvTranspose)
    assert layer.pads == ((0, 1), (0, 1))


def test_batch_norm_statistics_are_not_trainable() -> None:
    row = network_of("BatchNorm").rows[0]
    assert isinstance(row.nodes[0].layer, BatchNorm)
    assert (row.trainable, row.non_trainable) == (6, 6)


def test_dense_along_the_last_axis_only_when_asked() -> None:
    network = network_of("Dense | 5, every_position=true")
    assert network.output_type.shape == (28, 28, 5)
    assert isinstance(network.nodes[0].layer, Dense)
    [problem] = problems_of("Dense | 5")
    assert "needs a flat input, but its input is 28x28x3" in problem
    assert "Flatten" in problem
    assert "2352" in problem


def test_macs_are_those_of_hand() -> None:
    network = network_of("Conv | 4, 3", "Flatten", "Dense | 10", shape="8x8x3")
    assert [row.macs for row in network.rows] == [6 * 6 * 4 * 9 * 3, 0, 6 * 6 * 4 * 10]


def test_every_problem_of_the_rows_is_reported_at_once() -> None:
    problems = problems_of("CNN | 4, 99", "Flaten", "FNN | 0 | ReLUU", "MaxPool | 2, strid=3")
    places = [problem.split(": ")[0] for problem in problems]
    assert places == ["x.yaml:4:11", "x.yaml:5:5", "x.yaml:6:11", "x.yaml:6:15", "x.yaml:7:18"]
    assert "did you mean 'Flatten'" in problems[1]
    assert "did you mean 'relu'" in problems[3]
    assert "did you mean 'stride'" in problems[4]


def test_kernel_larger_than_its_input_names_both() -> None:
    [problem] = problems_of("Conv | 4, (30,3)")
    assert "kernel 30x3 is larger than its input 28x28x3" in problem


@pytest.mark.parametrize("name", ["class", "match", "forward", "training", "x", "self", "input"])
def test_names_that_emitted_source_needs_are_refused(name: str) -> None:
    [problem] = problems_of(f"'{name}': CNN | 4, 3")
    assert f"'{name}'" in problem


@pytest.mark.parametrize("name", ["__import__('os')", 'a"b', "a b", "é", "1a", "a-b", "a.b", "_a", "a" * 65])
def test_hostile_names_are_refused(name: str) -> None:
    quoted = "'" + name.replace("'", "''") + "'"
    [problem] = problems_of(f"{{name: {quoted}, type: ReLU}}")
    assert "name" in problem


def test_a_name_may_stand_once() -> None:
    [problem] = problems_of("a: ReLU", "a: ReLU")
    assert "the name 'a' is already taken by" in problem


def test_rank_in_a_name_is_asserted() -> None:
    [problem] = problems_of("Conv1D | 4, 3")
    assert "Conv1D is for length x channels, but its input is 28x28x3" in problem
    assert network_of("GlobalAvgPool2D | - | ReLU").output_type.shape == (3,)


def test_expectations_that_are_not_met_are_errors_at_their_own_line() -> None:
    more = "expect:\n  parameters: 7\n  output: 2\n  shapes: {dense_1: 3}\n  counts: {dense_1: 8}\n"
    with pytest.raises(ExpectationError) as caught:
        network_of("Dense | 2", shape="4", more=more)
    assert caught.value.exit_code == 1
    messages = [str(problem) for problem in caught.value.problems]
    assert [message.split(": ")[0] for message in messages] == ["x.yaml:6:15", "x.yaml:8:21", "x.yaml:9:21"]
    assert "parameters should be 7, but the network has 10" in messages[0]


def test_an_expectation_of_a_row_that_is_not_there_is_a_wrong_spec() -> None:
    more = "expect:\n  shapes: {dense_9: 1}\n  counts: {dens: 8}\n"
    with pytest.raises(SpecError) as caught:
        network_of("Dense | 2", shape="4", more=more)
    assert caught.value.exit_code == 2
    first, second = map(str, caught.value.problems)
    assert first.startswith("x.yaml:6:21: expect.shapes.dense_9: there is no row 'dense_9'")
    assert "did you mean 'dense_1'" in first
    assert second.startswith("x.yaml:7:18: expect.counts.dens")


def test_a_momentum_that_means_torchs_is_refused_with_ours() -> None:
    [problem] = problems_of("BN | - | - | momentum=0.1")
    assert "momentum=0.9" in problem
    assert problem.startswith("x.yaml:4:18: ")


def test_read_rows_keeps_what_was_written_beside_the_final_name() -> None:
    spec = parse_spec(text_of("CNN | 4, 3 | ReLU"), "x.yaml")
    [row] = read_rows(spec).rows
    assert row.name == "conv_1"
    assert row.written.row.text == "CNN | 4, 3 | ReLU"


def test_a_number_initialises_as_a_constant():
    written = ("LayerScale | init=constant(1e-6)", "LayerScale | init=1e-6", "{type: LayerScale, init: 1e-6}")
    assert len({network_of(row).digest for row in written}) == 1


def test_digest_tells_initial_values_apart_however_near_they_are() -> None:
    digests = {network_of(f"c: Conv | 4, 3 | - | init=normal({std})").digest for std in ("0.02", "0.0200000001")}
    assert len(digests) == 2


def test_given_names_are_those_of_every_spelling_of_an_activation() -> None:
    rows = ("ReLU", "Activation | relu", "{type: Activation, function: ReLU}", "leaky_relu(0.2)", "LeakyReLU | 0.1")
    names = [row.name for row in network_of(*rows).rows]
    assert names == ["relu_1", "relu_2", "relu_3", "leaky_relu_1", "leaky_relu_2"]


def test_a_pool_has_a_kernel_in_torch() -> None:
    pools = {network_of(f"p: MaxPool | {cells}").digest for cells in ("3", "kernel_size=3", "kernel=3", "pool_size=3")}
    assert len(pools) == 1


@pytest.mark.parametrize(
    ("rows", "classes"),
    [(("Flatten", "FNN | 2"), "[a, b]"), (("Flatten", "FNN | 1 | Sigmoid"), "[a, b]"), (("Conv | 2, 1",), "[a, b]")],
)
def test_classes_name_the_outputs(rows: tuple[str, ...], classes: str) -> None:
    assert network_of(*rows, more=f"classes: {classes}\n").classes == ("a", "b")


def test_a_position_has_classes_too() -> None:
    [problem] = problems_of("Conv | 3, 1", more="classes: [a]\n")
    assert "classes: 1 class has a name, but the network gives 3 numbers for a position" in problem


def test_classes_are_those_of_the_data_in_its_order() -> None:
    rows, shape = ("Flatten", "FNN | 10"), "28x28x1"
    names = [str(digit) for digit in range(10)]
    assert network_of(*rows, shape=shape, more=f"data: mnist\nclasses: {names}\n").classes == tuple(names)
    [problem] = problems_of(*rows, shape=shape, more=f"data: mnist\nclasses: {names[::-1]}\n")
    assert problem.startswith("x.yaml:7:10: classes: class 0 of mnist is '0', but here it is '9'")


def test_rows_that_can_be_read_are_judged_beside_those_that_cannot() -> None:
    problems = problems_of("CNN | 4, 99", "CNN | (", "FNN | 3", "MaxPool | 2, strid=3")
    assert [problem.split(": ")[1] for problem in problems] == ["layers.0.conv_1", "layers.1", "layers.3.strid"]


TRAIN = "train: {epochs: 1}\n"


def test_training_needs_data() -> None:
    [problem] = problems_of("Flatten", "FNN | 10 | Softmax", shape="8x8x1", more=TRAIN)
    assert problem.startswith("x.yaml:6:8: train: training needs data")


def test_data_must_fit_the_input_and_the_output() -> None:
    problems = problems_of("Flatten", "FNN | 9 | Softmax", shape="28x28x1", more=f"data: digits\n{TRAIN}")
    assert [problem.split(": ")[0] for problem in problems] == ["x.yaml:6:7", "x.yaml:6:7"]
    assert "8x8x1, but the input is 28x28x1" in problems[0]
    assert "10 classes, but the output is 9" in problems[1]


def test_the_loss_must_suit_the_last_activation() -> None:
    more = "data: digits\ntrain: {epochs: 1, loss: cross_entropy}\n"
    [problem] = problems_of("Flatten", "FNN | 10 | Sigmoid", shape="8x8x1", more=more)
    assert "cross_entropy needs a final softmax or none" in problem
