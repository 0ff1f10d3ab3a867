"""The mapping file: which layer or tensor of a file of weights belongs to a row, or to one of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from netspec.backend.stored import StoredTensor, StoredWeights
from netspec.errors import Problem, SpecError, did_you_mean
from netspec.importing.units import Part, role_of, shape_of
from netspec.spec.load import read_text
from netspec.spec.reader import Mapping as WrittenMapping
from netspec.spec.reader import Scalar, read


def read_mapping(path: Path, parts: Sequence[Part], stored: StoredWeights) -> dict[str, StoredTensor]:
    """The tensor of every weight that a mapping file names, by the weight's name.

    The file is YAML: `conv_1: features.0` gives a row the tensors of a layer, `conv_1.kernel: features.0.weight` a
    weight a tensor. Raises SpecError with the place of everything that names nothing, or does not fit.
    """
    text = read_text(path)
    root = read(text, str(path)) if text.strip() else None
    if not isinstance(root, WrittenMapping):
        hint = "for example `conv_1: features.0`, one line for every row or weight"
        place = root.position if root else None
        raise SpecError([Problem("a mapping file has lines of the form `row: layer`", hint, str(path), place)])
    reader = _Reader(parts, stored)
    for key, value in root.entries.values():
        reader.entry(key, value)
    if reader.problems:
        raise SpecError(reader.problems)
    return reader.found


class _Reader:
    def __init__(self, parts: Sequence[Part], stored: StoredWeights) -> None:
        self.weights = {part.weight.name: part for part in parts}
        self.rows: dict[str, list[Part]] = {}
        for part in parts:
            self.rows.setdefault(part.row, []).append(part)
        self.tensors = {tensor.name: tensor for tensor in stored.tensors}
        self.layers: dict[str, list[StoredTensor]] = {}
        for layer in stored.layers:
            if layer.tensors:
                self.layers.setdefault(layer.name, []).extend(layer.tensors)
        self.found: dict[str, StoredTensor] = {}
        self.used: dict[str, str] = {}
        self.problems: list[Problem] = []

    def entry(self, key: Scalar, value: object) -> None:
        """One line of the file."""
        if not isinstance(value, Scalar) or value.empty:
            message = f"{key.text} has to name one layer or tensor of the file"
            self.problems.append(Problem(message, position=getattr(value, "position", key.position)))
            return
        parts = [self.weights[key.text]] if key.text in self.weights else self.rows.get(key.text)
        if parts is None:
            known = [*self.rows, *self.weights]
            message = f"there is no row or weight {key.text!r} with weights"
            self.problems.append(Problem(message, did_you_mean(key.text, known), position=key.position))
            return
        tensors = [self.tensors[value.text]] if value.text in self.tensors else self.layers.get(value.text)
        if tensors is None:
            message = f"the file has no layer or tensor {value.text!r}"
            hint = did_you_mean(value.text, [*self.layers, *self.tensors], fold=False)
            self.problems.append(Problem(message, hint, position=value.position))
            return
        self._pair(key, value, parts, tensors)

    def _pair(self, key: Scalar, value: Scalar, parts: Sequence[Part], tensors: Sequence[StoredTensor]) -> None:
        pairs = _paired(parts, tensors)
        if pairs is None:
            needed, held = (", ".join(role_of(part) or "?" for part in side) for side in (parts, tensors))
            message = f"{key.text} needs {needed}, but {value.text} has {held}"
            hint = f"name the weights one by one: {parts[0].weight.name}: {tensors[0].name}"
            self.problems.append(Problem(message, hint, position=value.position))
            return
        for part, tensor in pairs.items():
            name = part.weight.name
            if name in self.found:
                self.problems.append(Problem(f"{name} is given twice, here and with its row", position=key.position))
            elif tensor.name in self.used:
                message = f"{tensor.name} is given to {self.used[tensor.name]} already"
                self.problems.append(Problem(message, position=value.position))
            elif part.shape != shape_of(tensor):
                message = (
                    f"{name} has to be {_shape(part.shape)} in this file, but {tensor.name} is {_shape(tensor.shape)}"
                )
                self.problems.append(Problem(message, position=value.position))
            else:
                self.found[name] = tensor
                self.used[tensor.name] = name


def _paired(parts: Sequence[Part], tensors: Sequence[StoredTensor]) -> Mapping[Part, StoredTensor] | None:
    """Every part with its tensor: the only one, or the one of its role."""
    if len(parts) == len(tensors) == 1:
        return {parts[0]: tensors[0]}
    held = {role_of(tensor): tensor for tensor in tensors}
    if len(held) == len(tensors) == len(parts) and all(role_of(part) in held for part in parts):
        return {part: held[role_of(part)] for part in parts}
    return None


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
