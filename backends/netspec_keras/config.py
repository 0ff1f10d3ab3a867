"""The configuration that Keras keeps beside weights: which layers there are, in what order, and what each reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.backend.stored import StoredLayer, StoredTensor

KERNEL = ("kernel", "bias")
STATISTICS = ("moving_mean", "moving_variance")
ROLES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), KERNEL),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D", "Dense"), KERNEL),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), ("depthwise_kernel", "pointwise_kernel", "bias")),
    **dict.fromkeys(("LayerNormalization", "GroupNormalization"), ("gamma", "beta")),
    "BatchNormalization": ("gamma", "beta", *STATISTICS),
    "RMSNormalization": ("scale",),
    "PReLU": ("alpha",),
}
"""The variables of each class, in the order in which it keeps them; a bias, gamma or beta may be absent."""


def snake(class_name: str) -> str:
    """The name that Keras gives to layers of a class.

    >>> snake("Conv2D"), snake("BatchNormalization"), snake("PReLU")
    ('conv2d', 'batch_normalization', 'p_re_lu')
    """
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


CLASSES = {snake(name): name for name in ROLES}


def numbered(name: str, class_name: str = "") -> tuple[str, int | None]:
    """The class of a layer, and its number where Keras gave the name, for it counts the layers of a class as made.

    >>> numbered("conv2d_12"), numbered("conv2d"), numbered("block1_conv1"), numbered("short", "Conv2D")
    (('Conv2D', 12), ('Conv2D', 0), ('', None), ('Conv2D', None))
    """
    found = re.fullmatch(r"(.+?)(?:_(\d+))?", name)
    stem, number = (found[1], found[2]) if found else (name, None)
    if stem == snake(class_name) if class_name else stem in CLASSES:
        return class_name or CLASSES[stem], int(number or 0)
    return class_name, None


def roles(class_name: str, count: int, config: Mapping[str, Any]) -> tuple[str, ...]:
    """What the variables of a layer are, from how many there are; none where that does not tell.

    >>> roles("Conv2D", 1, {}), roles("BatchNormalization", 3, {}), roles("BatchNormalization", 3, {"scale": False})
    (('kernel',), (), ('beta', 'moving_mean', 'moving_variance'))
    """
    known = ROLES.get(class_name, ())
    if known[-1:] == ("bias",):
        return known[:count] if count >= len(known) - 1 else ()
    lacking = {name for option, name in (("scale", "gamma"), ("center", "beta")) if config.get(option) is False}
    own = tuple(role for role in known if role not in lacking)
    if class_name == "BatchNormalization" and count == len(STATISTICS):
        return STATISTICS
    return own if len(own) == count else ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A layer of a configuration: its path of names, where Keras 3 keeps it in a file of weights, what it reads."""

    path: str
    place: str
    kind: str
    inputs: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

    def layer(self, tensors: tuple[StoredTensor, ...]) -> StoredLayer:
        """The layer with its weights."""
        _, number = numbered(self.path.rpartition("/")[2], self.kind)
        return StoredLayer(self.path, tensors, self.inputs, self.kind in ("Concatenate", "Subtract"), self.kind, number)


def entries(model: Any) -> list[Entry]:
    """Every layer of a model's configuration in the model's order, those of models inside of it in their place.

    Raises ValueError or KeyError where it is no configuration of a Sequential or Functional model.
    """
    return list(_Reader().model(model, "", "", ())[0])


class _Reader:
    """Follows values through models inside of models; `outputs` has what each path gives where it is a model."""

    def model(self, model: Any, path: str, place: str, given: Sequence[str]) -> tuple[list[Entry], tuple[str, ...]]:
        """The layers of a model that reads `given`, and the names of what it gives."""
        config = model["config"]
        layers = config if isinstance(config, list) else config["layers"]
        used: dict[str, int] = {}
        found: list[Entry] = []
        results: dict[str, tuple[str, ...]] = {}
        before = tuple(given)
        waiting = list(given)
        for layer in layers:
            kind, own = layer["class_name"], layer["config"]
            name = layer.get("name") or own["name"]
            at = f"{place}/layers/{_unique(snake(kind), used)}".lstrip("/")
            inside = f"{path}/{name}" if path else name
            inputs = tuple(_read(layer, results)) if "inbound_nodes" in layer else before
            if kind == "InputLayer" and waiting:
                results[name] = (waiting.pop(0),)
            elif isinstance(own, list) or "layers" in own:
                more, results[name] = self.model(layer, inside, at, inputs)
                found += more
            else:
                found.append(Entry(inside, at, kind, inputs, own))
                results[name] = (inside,)
            before = results[name]
        ends = _references(config["output_layers"]) if "output_layers" in config else ()
        outputs = tuple(result for name in ends for result in results.get(name, ()))
        return found, outputs or before


def _read(layer: Mapping[str, Any], results: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """The paths of what a layer reads."""
    for name in _references(layer["inbound_nodes"]):
        yield from results.get(name, (name,))


def _references(value: Any) -> Iterator[str]:
    """The names of layers in the notations of Keras 3 (`keras_history`) and Keras 2 (`[name, 0, 0, {}]`)."""
    if isinstance(value, dict):
        if "keras_history" in value:
            yield value["keras_history"][0]
        else:
            for inner in value.values():
                yield from _references(inner)
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(each, int) for each in value[1:3]):
            yield value[0]
            value = value[3:]
        for inner in value:
            yield from _references(inner)


def _unique(name: str, used: dict[str, int]) -> str:
    """The name of a group in a Keras 3 file: that of the class, numbered from the second on."""
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name
