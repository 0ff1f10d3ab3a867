"""Which tensor is which weight: names, graphs, orders, trees of names, each where it decides and where it may not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from netspec.backend.stored import StoredLayer, StoredTensor, StoredWeights
from netspec.errors import SpecError
from netspec.importing import tree
from netspec.importing.flatten import channels_first_places, to_channels_last
from netspec.importing.match import match
from netspec.importing.units import found_units, signature, wanted_units
from netspec.layers import BatchNorm, Conv, Dense, Flatten
from netspec.network import Network, Node
from netspec.tensors import Placement, TensorType
from netspec.weights import draw
from tests.cases import chain, make_node


def conv(filters, kernel=1, **options):
    return Conv(filters=filters, kernel=kernel, padding="same", **options)


def graph(*rows, shape=(8, 8, 4)) -> Network:
    """A network of (name, layer, inputs); a layer that is a word merges its inputs."""
    types = {"input": TensorType(shape)}
    nodes = []
    for name, layer, *inputs in rows:
        given = tuple(types[each] for each in inputs)
        if isinstance(layer, str):
            last = sum(kind.channels for kind in given) if layer == "Concat" else given[0].channels
            output = TensorType((*given[0].spatial, last))
            node = Node(name, SimpleNamespace(kind=layer), tuple(inputs), given, output, (), name)
        else:
            node = make_node(name, layer, inputs[0], given[0], name)
        nodes.append(node)
        types[name] = node.output
    return Network("graph", {"input": types["input"]}, tuple(nodes), {"output": nodes[-1].name})


def placements(network: Network) -> dict[str, Placement]:
    return {weight.name: Placement(weight.name) for weight in network.weights()}


def tensor(name: str, array, role: str | None = None) -> StoredTensor:
    return StoredTensor(name, array, "float32", array.shape, name.rpartition(".")[2] if role is None else role)


def stored(network: Network, names: dict[str, str], succession="made", **more) -> tuple[StoredWeights, dict]:
    """A file with a layer of another name for every node in `names`, in that order; and its weights."""
    weights = draw(network, 1)
    weights |= {
        name: np.random.default_rng(place).random(array.shape).astype("float32")
        for place, (name, array) in enumerate(weights.items())
    }
    nodes = {node.name: node for node in network.nodes}
    layers = []
    for node, name in names.items():
        own = [(weight.name, weight.name.rpartition(".")[2]) for weight in nodes[node].weights]
        tensors = tuple(tensor(f"{name}.{short}", weights[full]) for full, short in own)
        inputs = tuple(names.get(each, each) for each in nodes[node].inputs) if more.get("graph") else None
        layers.append(StoredLayer(name, tensors, inputs, nodes[node].layer.kind == "Concat"))
    return StoredWeights(tuple(layers), succession), weights


def numbered(file: StoredWeights, **numbers: int) -> StoredWeights:
    layers = tuple(replace(layer, kind="Conv2D", number=numbers.get(layer.name)) for layer in file.layers)
    return replace(file, layers=layers)


def found(network: Network, file: StoredWeights, given=None):
    return match("the file", network, placements(network), file, given or {})


def assert_found(network: Network, file: StoredWeights, weights) -> str:
    matched = found(network, file)
    assert list(matched.pairs) == [weight.name for weight in network.weights()]
    for name, array in weights.items():
        assert matched.pairs[name].array is array, f"{name} is {matched.pairs[name].name}"
    return matched.how


def refusal(network: Network, file: StoredWeights) -> str:
    with pytest.raises(SpecError) as caught:
        found(network, file)
    return str(caught.value)


def sides(network: Network, file: StoredWeights):
    wanted = wanted_units(network, placements(network))
    return [unit for units in wanted.values() for unit in units], found_units(file.layers)


# Names


PLAIN = chain("plain", (8, 8, 4), conv(5, 3), BatchNorm(), conv(5, 3), BatchNorm())
NAMES = [node.name for node in PLAIN.nodes]


@pytest.mark.parametrize("write", ["{}", "model.{}", "module.model.{}"])
def test_our_names_are_found_in_any_order(write):
    names = {name: write.format(name) for name in reversed(NAMES)}
    assert assert_found(PLAIN, *stored(PLAIN, names)) == "by name"


def test_names_are_ours_however_their_parts_are_separated():
    file, weights = stored(PLAIN, {name: name.replace("_", "/") for name in NAMES[::-1]})
    assert assert_found(PLAIN, file, weights) == "by name"
    assert not found(PLAIN, file).own
    assert found(PLAIN, stored(PLAIN, {name: name for name in NAMES})[0]).own


def test_a_name_that_is_a_little_wrong_is_said_with_the_near_one():
    names = {name: name for name in NAMES} | {"conv_2": "konv_2"}
    file, _ = stored(PLAIN, names)
    short = replace(
        file, layers=(*file.layers[:2], replace(file.layers[2], tensors=file.layers[2].tensors[:1]), file.layers[3])
    )
    said = refusal(PLAIN, short)
    assert "row 'conv_2': there is no conv_2.kernel\n  hint: did you mean 'konv_2.kernel'?" in said
    assert "row 'conv_2': there is no conv_2.bias" in said
    assert "konv_2.kernel belongs to no row of plain" in said


def test_names_that_only_coincide_do_not_decide():
    """Keras calls the first of three dense layers `dense` and the second `dense_1`, as we call the first."""
    network = chain("mlp", (4,), Dense(units=4), Dense(units=4), Dense(units=4))
    names = {"dense_1": "dense", "dense_2": "dense_1", "dense_3": "dense_2"}
    assert assert_found(network, *stored(network, names, "depth")) == "by order and shape"


# Order


def test_a_sequence_of_modules():
    assert assert_found(PLAIN, *stored(PLAIN, dict(zip(NAMES, "abcd", strict=True)))) == "by order and shape"


def test_roles_tell_vectors_apart():
    file, weights = stored(PLAIN, dict(zip(NAMES, "abcd", strict=True)))
    swapped = tuple(
        replace(layer, tensors=layer.tensors[::-1]) if len(layer.tensors) > 2 else layer for layer in file.layers
    )
    assert assert_found(PLAIN, replace(file, layers=swapped), weights) == "by order and shape"


def test_without_roles_the_places_decide():
    file, weights = stored(PLAIN, dict(zip(NAMES, "abcd", strict=True)))
    mute = tuple(
        replace(layer, tensors=tuple(replace(each, role="") for each in layer.tensors)) for layer in file.layers
    )
    assert assert_found(PLAIN, replace(file, layers=mute), weights) == "by order and shape"


def test_layers_of_a_chain_in_another_order_are_refused():
    file, _ = stored(PLAIN, {name: name[::-1] for name in NAMES}, "depth")
    other = chain("other", (8, 8, 4), conv(5, 3), conv(5, 3), BatchNorm(), BatchNorm())
    said = refusal(other, file)
    assert "the shapes fit, but not the order: 1_mron_hctab, which would be row 'batch_norm_1', stands before" in said


# Branches. The bottleneck of a residual network, whose shortcut has the shape of the last convolution of the block.

BOTTLENECK = (
    ("a", conv(4), "input"),
    ("b", conv(4, 3), "a"),
    ("last", conv(16), "b"),
    ("short", conv(16), "input"),
    ("sum", "Add", "last", "short"),
    ("head", conv(3), "sum"),
)
# As Keras lists layers: by their distance from the output.
BY_DEPTH = {"a": "x1", "b": "x2", "short": "x0", "last": "x3", "sum": "add", "head": "y"}


def test_the_graph_tells_a_shortcut_from_what_it_goes_around():
    network = graph(*BOTTLENECK)
    for names in (BY_DEPTH, dict(reversed(BY_DEPTH.items()))):
        assert assert_found(network, *stored(network, names, "depth", graph=True)) == "by the graph and the shapes"


def test_without_a_graph_a_shortcut_is_not_told_from_what_it_goes_around():
    network = graph(*BOTTLENECK)
    said = refusal(network, stored(network, BY_DEPTH, "depth")[0])
    assert "x0 and x3 have the shapes of rows 'last' and 'short', which stand side by side" in said
    assert "a line in a mapping file (--mapping) does: `last: ...`" in said


def test_the_numbers_of_layers_tell_branches_apart():
    network = graph(*BOTTLENECK)
    file, weights = stored(network, BY_DEPTH, "depth")
    made = numbered(file, x1=0, x2=1, x3=2, x0=3, y=4)
    assert assert_found(network, made, weights) == "by order and shape"
    # Numbers that do not rise through the network say nothing of its order.
    assert "stand side by side" in refusal(network, numbered(file, x1=4, x2=1, x3=2, x0=3, y=0))


def test_a_mapping_file_tells_branches_apart():
    network = graph(*BOTTLENECK)
    file, weights = stored(network, BY_DEPTH, "depth")
    given = dict(zip(("short.kernel", "short.bias"), file.layers[2].tensors, strict=True))
    matched = found(network, file, given)
    assert all(matched.pairs[name].array is weights[name] for name in weights)
    assert matched.how == "by the mapping file and by order and shape"


def test_branches_of_other_shapes_need_no_graph():
    network = graph(
        ("squeeze", conv(2), "input"),
        ("left", conv(4), "squeeze"),
        ("right", conv(4, 3), "squeeze"),
        ("both", "Concat", "left", "right"),
        ("head", conv(3), "both"),
    )
    names = {"squeeze": "s", "right": "r", "left": "l", "both": "c", "head": "h"}
    assert assert_found(network, *stored(network, names, "depth")) == "by order and shape"
    assert assert_found(network, *stored(network, names, "kinds")) == "by order and shape"


def test_the_order_of_a_concatenation_tells_its_branches_apart():
    network = graph(
        ("one", conv(4), "input"),
        ("two", conv(4), "input"),
        ("both", "Concat", "one", "two"),
        ("head", conv(3), "both"),
    )
    names = {"two": "b", "one": "a", "both": "c", "head": "h"}
    assert assert_found(network, *stored(network, names, "depth", graph=True)) == "by the graph and the shapes"
    assert "have the shapes of rows 'one' and 'two'" in refusal(network, stored(network, names, "depth")[0])


def test_activations_written_as_several_operators_change_no_graph():
    """x * sigmoid(x) in the file is one row here; what leads nowhere (a shape that is asked for) is no matter."""
    network = graph(("a", conv(4), "input"), ("b", conv(4), "a"), ("sum", "Add", "a", "b"), ("c", conv(4), "sum"))
    file, weights = stored(network, {name: name.upper() for name in ("a", "b", "sum", "c")}, "depth", graph=True)
    a, b, both, c = file.layers
    sigmoid, product = StoredLayer("sigmoid", inputs=("A",)), StoredLayer("product", inputs=("A", "sigmoid"))
    layers = (a, sigmoid, product, StoredLayer("end", inputs=("A",)), replace(b, inputs=("product",)), both, c)
    written = replace(file, layers=(*layers[:5], replace(both, inputs=("product", "B")), c))
    assert assert_found(network, written, weights) == "by the graph and the shapes"


# Trees of names


def tree_of(*paths: str) -> dict[str, str]:
    return dict(zip(NAMES, paths, strict=True))


@pytest.mark.parametrize(
    "paths",
    [
        ("0", "1", "2", "10"),
        ("body.2.conv", "body.2.norm", "body.10.conv", "body.10.norm"),
        ("z.conv", "z.norm", "a.conv", "a.norm"),
        ("layer1.0", "layer1.1", "layer2.0", "layer2.1"),
        ("conv1", "bn1", "conv2", "bn2"),
    ],
)
def test_names_say_what_belongs_together_and_shapes_in_what_order(paths):
    names = dict(sorted(tree_of(*paths).items(), key=lambda pair: pair[1]))
    assert assert_found(PLAIN, *stored(PLAIN, names, "none")) == "by the tree of names and the shapes"


def test_names_that_fit_in_two_orders_are_refused():
    network = chain("same", (8, 8, 4), conv(4), conv(4), conv(4))
    names = dict(zip([node.name for node in network.nodes], ("stem", "left", "right"), strict=True))
    said = refusal(network, stored(network, names, "none")[0])
    assert "both fit row 'conv_2', for the file keeps no order" in said
    assert "--mapping" in said


def test_names_that_allow_no_order_are_refused():
    network = chain("turned", (8, 8, 4), conv(5), conv(4))
    names = {"conv_2": "0", "conv_1": "1"}
    assert "in no order that the names allow" in refusal(network, stored(network, names, "none")[0])


def test_a_pickle_in_another_order_is_put_in_order_by_its_names():
    names = dict(reversed(tree_of("conv1", "bn1", "conv2", "bn2").items()))
    assert assert_found(PLAIN, *stored(PLAIN, names, "made")) == "by the tree of names and the shapes"


def test_the_search_for_an_order_gives_up(monkeypatch):
    """Two layers follow one another in the file and not in the network, which any order of the others may hide."""
    monkeypatch.setattr(tree, "TRIES", 50)
    network = chain("many", (8, 8, 4), *[conv(4)] * 12, conv(4, 3), conv(4), conv(4, (1, 3)))
    names = {node.name: f"m.{chr(97 + place)}" for place, node in enumerate(network.nodes)}
    names |= {"conv_13": "m.z.0", "conv_15": "m.z.1"}
    file, _ = stored(network, names, "none")
    assert "in no order that the names allow" in refusal(network, file)
    with pytest.raises(tree.TooMany):
        tree.orders(*sides(network, file), lambda unit: signature(unit, roles=True))


# What does not fit


def test_too_many_and_too_few_are_counted():
    longer = chain("longer", (8, 8, 4), *(node.layer for node in PLAIN.nodes), conv(2))
    file, _ = stored(longer, {node.name: f"m.{place}" for place, node in enumerate(longer.nodes)})
    said = refusal(PLAIN, file)
    assert "the file holds 14 tensors, too many: plain needs 12" in said
    assert "no row is left for m.4.kernel 1x1x5x2, m.4.bias 2" in said
    assert "--ignore" in said
    file, _ = stored(PLAIN, {name: f"m.{place}" for place, name in enumerate(NAMES)})
    said = refusal(longer, file)
    assert "the file holds 12 tensors, too few: longer needs 14" in said
    assert "row 'conv_3': nothing in the file is its kernel 1x1x5x2 and bias 2" in said


def test_a_long_list_is_cut():
    long = chain("long", (8, 8, 4), *[conv(4)] * 20)
    file, _ = stored(long, {node.name: f"m.{place}" for place, node in enumerate(long.nodes)})
    said = refusal(chain("long", (8, 8, 4), *[conv(3)] * 20), file)
    assert len(said.splitlines()) < 10
    assert said.splitlines()[-1].startswith("and ")


# Vectors that were images


def test_images_flattened_side_by_side_keep_their_places():
    network = graph(
        ("one", conv(3), "input"),
        ("flat", Flatten(), "one"),
        ("two", Flatten(), "input"),
        ("both", "Concat", "flat", "two"),
        ("norm", BatchNorm(), "both"),
        ("head", Dense(units=2), "norm"),
        shape=(2, 3, 4),
    )
    axes = channels_first_places(network)
    assert set(axes) == {"norm.gamma", "norm.beta", "norm.mean", "norm.var", "head.kernel"}
    first, second = np.arange(18).reshape(2, 3, 3), 18 + np.arange(24).reshape(2, 3, 4)
    theirs = np.concatenate([first.transpose(2, 0, 1).ravel(), second.transpose(2, 0, 1).ravel()])
    np.testing.assert_array_equal(to_channels_last(theirs, axes["norm.mean"]), np.arange(42))


def test_an_image_of_one_pixel_has_only_one_order():
    assert channels_first_places(chain("one", (1, 1, 9), Flatten(), Dense(units=2))) == {}


def test_what_follows_a_flatten_of_channels_first_stays_as_it_is():
    rows = (conv(3), Flatten(order="chw"), BatchNorm(), Dense(units=2))
    assert channels_first_places(chain("theirs", (2, 3, 4), *rows)) == {}
