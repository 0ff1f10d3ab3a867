"""The part of the preprocessing that every pixel has alone, as rows before those of the network."""

from __future__ import annotations

from dataclasses import replace

from netspec.compile.fit import make_node
from netspec.data.preprocess import Preprocess
from netspec.layers import Concat, Layer, Normalize, Rescale, Split
from netspec.network import Network, Node
from netspec.spec.model import Spec
from netspec.spec.names import Namer
from netspec.tensors import TensorType

PREFIX = "pixels"


def exported_network(spec: Spec, network: Network) -> Network:
    """What the artefacts of a spec hold: its network, or one that reads pixels where `export.preprocessing` says so."""
    inside = spec.export is not None and spec.export.preprocessing
    return trained_network(spec, network) if inside else network


def trained_network(spec: Spec, network: Network) -> Network:
    """What is trained: the network as it reads the data's own pixels, where the spec says how it does."""
    return network if spec.preprocess is None else reading_pixels(network, spec.preprocess)


def reading_pixels(network: Network, settings: Preprocess) -> Network:
    """The same network for a picture's own bytes, 0 to 255, red first; its weights are the same too.

    Before it stand rows for the order of the channels, the scale, and mean and standard deviation, as far as the
    settings have them. Resizing and cropping are not among them.
    """
    [(name, given)] = network.inputs.items()
    nodes = _rows(name, given, settings, Namer([*network.types, *(use.name for use in network.uses)]))
    if not nodes:
        return network

    def read(value: str) -> str:
        return nodes[-1].name if value == name else value

    said = f"It reads pixels from 0 to 255{', red first' if given.channels > 1 else ''}."
    return replace(
        network,
        nodes=(*nodes, *(replace(node, inputs=tuple(map(read, node.inputs))) for node in network.nodes)),
        outputs={output: read(value) for output, value in network.outputs.items()},
        about=f"{network.about.rstrip('.')}. {said}" if network.about else said,
        uses=tuple(replace(use, inputs=tuple(map(read, use.inputs)), result=read(use.result)) for use in network.uses),
    )


def _rows(name: str, given: TensorType, settings: Preprocess, namer: Namer) -> list[Node]:
    nodes: list[Node] = []

    def add(what: str, layer: Layer, *inputs: str) -> str:
        types = {name: given, **{node.name: node.output for node in nodes}}
        read = inputs or ((nodes[-1].name if nodes else name),)
        label = f"{PREFIX}_{what}"
        if label in namer.taken:
            label = namer.name(label)
        nodes.append(make_node(label, layer, read, tuple(types[value] for value in read)))
        return label

    if settings.channels == "bgr":
        planes = [add(colour, Split(parts=3, index=at), name) for colour, at in (("blue", 2), ("green", 1), ("red", 0))]
        add("bgr", Concat(), *planes)
    if settings.scale != 1:
        add("scaled", Rescale(scale=settings.scale))
    if set(settings.mean) != {0.0} or set(settings.std) != {1.0}:
        add("normalized", Normalize(mean=settings.mean, std=settings.std))
    return nodes
