"""Where a file begins to differ: rows that are planted wrong are found again in its values, several at once too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from netspec.backend import Rules
from netspec.backend.foreign import Made, Traced
from netspec.backend.stored import StoredTensor
from netspec.layers import Add, BatchNorm, Conv, Dense, Flatten, Layer, MaxPool
from netspec.layers.activation import Activation
from netspec.network import Network, Node
from netspec.reference import interpret
from netspec.verify.against import located as against
from netspec.verify.against.located import Located, Search
from netspec.verify.against.shown import Shown
from netspec.verify.budget import budget
from netspec.verify.causes.work import OF_A_CALL
from netspec.verify.gates import DRAWS, UNIT
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.cases import chain

RELU, SOFTMAX = Activation(function="relu"), Activation(function="softmax")
LEAKY = Activation(function="leaky_relu", slope=0.1)
NOTHING = Activation(function="leaky_relu", slope=1.0)


def network() -> Network:
    return chain(
        "net",
        (8, 6, 3),
        Conv(filters=4, kernel=3, padding="same"),
        (BatchNorm(), RELU),
        MaxPool(size=2),
        (Conv(filters=5, kernel=3), RELU),
        Flatten(),
        (Dense(units=4), RELU),
        Dense(units=3),
    )


def changed(net: Network, layers: Mapping[str, Layer]) -> Network:
    """The same network with other layers at these nodes."""
    nodes = tuple(
        replace(node, layer=layers[node.name].resolve(node.input_types)) if node.name in layers else node
        for node in net.nodes
    )
    return replace(net, nodes=nodes)


def located(net: Network, made: Network, shown: str = "all", weights: Any = None) -> Located:
    """What is found in a file that computes `made`."""
    return search(net, made, shown, weights).locate()


def search(net: Network, made: Network, shown: str = "all", weights: Any = None) -> Search:
    """A search in a file that computes `made`, and shows all values or those of the nodes with weights.

    It computes with `weights` where they are given, though it holds those of the network.
    """
    own = biting_weights(net, 0)
    inputs = {name: batch[[0, 1, 5]] for name, batch in hard_inputs(net, 3, 0).items()}
    values = {node.name: value for node, value in interpret(made, weights or own, inputs)}
    weights = own
    tensors = {weight.name: node.name for node in net.nodes for weight in node.weights}
    ends = {*tensors.values(), *net.outputs.values()}
    kept = {name: _first(value) for name, value in values.items() if shown == "all" or name in ends}
    stored = {name: StoredTensor(name, weights[name], "float32", weights[name].shape) for name in tensors}
    shown = Shown(
        network=net,
        origins=stored,
        traced=Traced({}, kept, {name: Made(node) for name, node in tensors.items()}),
        outputs={name: values[value].astype(np.float32) for name, value in net.outputs.items()},
        ports=net.outputs,
        first=True,
        count=len(inputs["input"]),
    )
    return Search(net, weights, inputs, shown, granted=budget, draws=DRAWS, unit=UNIT)


def showing(asked: Search, values: Any, made: Any = None, **changed: Any) -> Search:
    """The same search in a file that shows other values."""
    traced = Traced({}, values, made or asked.shown.traced.made)
    return replace(asked, shown=replace(asked.shown, traced=traced, **changed))


def _first(value: Any) -> Any:
    """A value as a file has it whose channels come first."""
    return np.moveaxis(value, -1, 1).astype(np.float32)


def said(found: Located) -> list[tuple[str, str | None]]:
    return [(each.row, each.cause.name if each.cause else None) for each in found.blamed()]


def test_what_is_right_is_not_blamed():
    found = located(network(), network())
    assert said(found) == []
    assert list(found.found) == [node.name for node in network().nodes]
    assert all(each.right for each in found.found.values())


def test_one_row_is_blamed_and_those_behind_it_are_right_for_what_they_read():
    made = changed(network(), {"batch_norm_1": BatchNorm(epsilon=1e-2)})
    found = located(network(), made)
    assert said(found) == [("batch_norm_1", "another epsilon")]
    wrong = [name for name, each in found.found.items() if not each.right]
    assert wrong == ["batch_norm_1"]
    assert len(found.found) == len(network().nodes)


def test_two_rows_are_both_blamed():
    made = changed(network(), {"batch_norm_1": BatchNorm(epsilon=1e-2), "conv_2_activation": LEAKY})
    found = located(network(), made)
    assert said(found) == [("batch_norm_1", "another epsilon"), ("conv_2", "another function")]
    assert [each.cause.fields for each in found.blamed() if each.cause] == [
        {"epsilon": "0.01"},
        {"activation": "leaky_relu(0.1)"},
    ]


def test_two_mistakes_in_one_row_are_both_blamed():
    made = changed(network(), {"batch_norm_1": BatchNorm(epsilon=1e-2), "batch_norm_1_activation": NOTHING})
    found = located(network(), made)
    assert said(found) == [("batch_norm_1", "another epsilon"), ("batch_norm_1", "activation missing")]


def test_two_mistakes_between_values_that_are_shown_are_both_blamed():
    made = changed(network(), {"conv_2_activation": NOTHING, "flatten_1": Flatten(order="chw")})
    found = located(network(), made, shown="weights")
    assert said(found) == [("conv_2", "activation missing"), ("flatten_1", "flattened in another order")]


def test_three_rows_are_blamed():
    made = changed(
        network(),
        {
            "batch_norm_1": BatchNorm(epsilon=1e-2),
            "flatten_1": Flatten(order="chw"),
            "dense_1_activation": NOTHING,
        },
    )
    rows = [row for row, _ in said(located(network(), made))]
    assert rows == ["batch_norm_1", "flatten_1", "dense_1"]


def branches() -> Network:
    """Two convolutions side by side of one value, added."""
    net = chain("net", (6, 5, 3), (Conv(filters=4, kernel=3, padding="same"), RELU))
    nodes = list(net.nodes)
    given, type_ = nodes[-1].name, nodes[-1].output
    for name in ("left", "right"):
        layer = Conv(filters=4, kernel=3, padding="same").resolve([type_])
        weights = tuple(replace(weight, name=f"{name}.{weight.name}") for weight in layer.weights([type_]))
        nodes.append(Node(name, layer, (given,), (type_,), layer.output([type_]), weights, name))
    add = Add().resolve([type_, type_])
    nodes.append(Node("add", add, ("left", "right"), (type_, type_), add.output([type_, type_]), (), "add"))
    return replace(net, nodes=tuple(nodes), outputs={"output": "add"})


def test_rows_side_by_side_are_both_blamed():
    made = changed(
        branches(),
        {
            "left": Conv(filters=4, kernel=3, padding=((0, 2), (1, 1))),
            "right": Conv(filters=4, kernel=3, padding=((1, 1), (2, 0))),
        },
    )
    found = located(branches(), made)
    assert said(found) == [("left", "shifted padding"), ("right", "shifted padding")]


def test_one_mistake_that_shows_at_two_rows_is_blamed_once():
    """The second row is right once the reference has the mistake too, whether the file shows where it is or not."""
    asked = search(branches(), changed(branches(), {"conv_1_activation": NOTHING}), "weights")
    fewer = {name: value for name, value in asked.shown.traced.values.items() if name != "conv_1"}
    for values, wrong in ((asked.shown.traced.values, "conv_1_activation"), (fewer, "left")):
        found = showing(asked, values).locate()
        assert said(found) == [("conv_1", "activation missing")]
        assert [name for name, each in found.found.items() if not each.right] == [wrong]


def test_a_row_without_weights_is_blamed_where_the_row_behind_it_is_right_for_what_the_file_has():
    """No known mistake gives that value, so that nothing else would tell it from a mistake of the row behind."""
    net = network()
    own = search(net, net)
    values = dict(own.shown.traced.values)
    place = [node.name for node in net.nodes].index("max_pool_1")
    wrong = np.moveaxis(values["max_pool_1"], 1, -1) ** 2 + 0.7
    behind = list(interpret(net, own.weights, own.inputs, taken={"max_pool_1": wrong}))[place + 1 :]
    values |= {node.name: _first(value) for node, value in behind}
    values["max_pool_1"] = _first(wrong)
    outputs = {name: np.moveaxis(values[value], 1, -1) for name, value in net.outputs.items()}
    found = showing(own, values, outputs=outputs).locate()
    assert [each.row for each in found.culprits] == ["max_pool_1"]
    assert [name for name, each in found.found.items() if not each.right] == ["max_pool_1"]


@pytest.mark.parametrize("shown", ["all", "weights"])
@pytest.mark.parametrize("which", ["by name", "by place"])
def test_weights_that_were_exchanged_are_told(which, shown):
    """Tensors that go into each other's rows in the file; or that the given weights have the other way round."""
    net = chain("net", (6, 5, 4), *[(Conv(filters=4, kernel=3, padding="same"), RELU)] * 4)
    own = biting_weights(net, 0)
    parts = ("kernel", "bias")
    swapped = own | {f"conv_2.{part}": own[f"conv_3.{part}"] for part in parts}
    swapped |= {f"conv_3.{part}": own[f"conv_2.{part}"] for part in parts}
    asked = search(net, net, shown, swapped)
    if which == "by name":
        places = {"conv_2": "conv_3", "conv_3": "conv_2"}
        made = {name: Made(places.get(each.value, each.value)) for name, each in asked.shown.traced.made.items()}
        asked = showing(asked, asked.shown.traced.values, made)
    found = asked.locate()
    assert said(found) == [("conv_2", "weights of another row"), ("conv_3", "weights of another row")]
    assert [cause.says for each in found.culprits for cause in each.causes] == [
        "it has the weights of row 'conv_3'",
        "it has the weights of row 'conv_2'",
    ]
    assert [name for name, each in found.found.items() if not each.right] == ["conv_2", "conv_3"]


def test_behind_a_mistake_that_is_not_shown_another_is_found():
    made = changed(
        branches(), {"conv_1_activation": NOTHING, "right": Conv(filters=4, kernel=3, padding=((1, 1), (2, 0)))}
    )
    found = located(branches(), made, shown="weights")
    assert said(found) == [("conv_1", "activation missing"), ("right", "shifted padding")]


@pytest.mark.parametrize(
    ("factor", "shift", "formula"),
    [
        ((1 / 255,) * 3, (0.0,) * 3, "x / 255"),
        ((1 / 127.5,) * 3, (-1.0,) * 3, "x / 127.5 - 1"),
        ((2.0,) * 3, (0.0,) * 3, "x * 2"),
        ((5.0, 4.0, 2.0), (-2.0, -2.0, -0.5), "(x - (0.4, 0.5, 0.25)) / (0.2, 0.25, 0.5)"),
    ],
)
def test_an_input_that_the_file_prepares_is_told_with_what_is_done_to_it(factor, shift, formula):
    net = branches()
    own = search(net, net, "weights")
    ready = {name: batch * np.array(factor) + np.array(shift) for name, batch in own.inputs.items()}
    values = {node.name: value for node, value in interpret(net, own.weights, ready)}
    constants = {"scale": np.array(factor[0], np.float32), "mean": np.array(shift, np.float32)}
    shown = {**constants, "cast": own.inputs["input"], "scaled": _first(ready["input"])}
    shown |= {name: _first(values[name]) for name in own.shown.traced.values}
    found = showing(own, shown, outputs={"output": values["add"].astype(np.float32)}).locate()
    [culprit] = found.culprits
    [cause] = culprit.causes
    assert (cause.row, cause.name, cause.found) == ("conv_1", "input prepared", f"reads {formula}")
    assert [name for name, each in found.found.items() if not each.right] == ["conv_1"]


def test_behind_a_value_that_nobody_can_explain_only_a_known_mistake_is_blamed():
    net = network()
    odd = biting_weights(net, 0)
    odd["conv_1.kernel"] = biting_weights(net, 7)["conv_1.kernel"]
    found = located(net, net, weights=odd)
    [first] = found.culprits
    assert (first.row, first.known) == ("conv_1", False)
    odd["conv_2.kernel"] = biting_weights(net, 7)["conv_2.kernel"]
    assert [each.row for each in located(net, net, weights=odd).culprits] == ["conv_1"]
    both = located(net, changed(net, {"batch_norm_1": BatchNorm(epsilon=1e-2)}), weights=odd)
    assert [each.row for each in both.culprits] == ["conv_1", "batch_norm_1"]
    assert said(both.certain()) == [("batch_norm_1", "another epsilon")]


def unknowns(rows: int) -> Search:
    """A search in a file with so many rows behind the first that all compute with other kernels than it holds."""
    net = chain("net", (6, 5, 4), *[(Conv(filters=4, kernel=3, padding="same"), RELU)] * (rows + 1))
    right = biting_weights(net, 0)
    others = {name: array for name, array in biting_weights(net, 7).items() if name.endswith("kernel")}
    return search(net, net, "weights", right | others | {"conv_1.kernel": right["conv_1.kernel"]})


@pytest.fixture
def evaluated(monkeypatch):
    """Every node that the reference evaluates."""
    found: list[Node] = []
    apply = Rules.apply

    def counted(self: Any, node: Node) -> Any:
        found.append(node)
        return apply(self, node)

    monkeypatch.setattr(Rules, "apply", counted)
    return found


def test_behind_a_value_that_nobody_can_explain_little_is_tried(evaluated):
    counts = []
    for rows in (1, 4, 7):
        evaluated.clear()
        found = unknowns(rows).locate()
        assert ([each.row for each in found.culprits], found.note) == (["conv_2"], None)
        counts.append(len(evaluated))
    first, more, again = counts[0], counts[1] - counts[0], counts[2] - counts[1]
    assert again < 1.5 * more
    assert more + again < first


def test_the_search_for_reasons_has_a_bound_and_says_what_it_did_not_judge(evaluated, monkeypatch):
    monkeypatch.setattr(against, "WORK", 0)
    monkeypatch.setattr(against, "TIMES", 20)
    long = unknowns(8)
    evaluated.clear()
    found = long.locate()
    walked = (1 + long.draws) * len(long.network.nodes)
    assert (len(evaluated) - walked) * OF_A_CALL <= long.most
    assert [(each.row, each.alone) for each in found.culprits] == [("conv_2", True)]
    rows = [node.row for node in long.network.nodes if node.weights]
    assert found.unjudged
    assert list(found.unjudged) == rows[-len(found.unjudged) :]
    assert found.note is not None
    assert found.note.startswith("looking for causes was too much work, and was ended: not judged, or not to the end: ")
    assert repr(found.unjudged[0]) in found.note
    assert found.certain().note == found.note


def faulty(rows: int, wrong: Mapping[int, Layer]) -> tuple[Network, Network]:
    """A chain of BatchNorms, and the same with other layers at these places."""
    net = chain("net", (4, 4, 2), *[BatchNorm(epsilon=1e-3)] * rows)
    return net, changed(net, {net.nodes[place].name: layer for place, layer in wrong.items()})


def test_the_reference_goes_through_the_network_once_whatever_the_number_of_faults(evaluated):
    """Beside that, every fault costs what its own part does, of one row here."""
    other = BatchNorm(epsilon=1e-2)
    counts = []
    for wrong in ([], [2], [2, 4], [2, 4, 6]):
        evaluated.clear()
        net, made = faulty(24, dict.fromkeys(wrong, other))
        asked = search(net, made)
        evaluated.clear()
        found = asked.locate()
        assert [each.row for each in found.culprits] == [net.nodes[place].row for place in wrong]
        assert list(found.found) == [node.name for node in net.nodes]
        counts.append(len(evaluated))
    assert counts[0] == (1 + DRAWS) * 24
    costs = [more - less for less, more in pairwise(counts)]
    assert max(costs) < 1.2 * min(costs)


def test_of_many_faults_the_first_are_blamed_and_the_others_are_said():
    places = range(2, 16, 2)
    net, made = faulty(18, dict.fromkeys(places, BatchNorm(epsilon=1e-2)))
    found = located(net, made)
    rows = [net.nodes[place].row for place in places]
    assert [each.row for each in found.culprits] == rows[: against.MOST]
    assert list(found.unjudged) == rows[against.MOST :]
    assert found.note == (
        f"so many rows to blame are enough: not judged, or not to the end: {rows[-2]!r}, {rows[-1]!r}"
    )
