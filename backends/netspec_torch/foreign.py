"""Programs that others saved with torch.export, loaded and run by stock torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from netspec.backend.artefact import existing
from netspec.backend.foreign import Described, Made, Port, Traced
from netspec.errors import NetspecError, UnsupportedError, VerificationError
from netspec_torch.model import to_numpy
from netspec_torch.program import check, numbers_only

FIRST = re.compile(r"conv|batch_norm|instance_norm|group_norm")
"""Operators whose values have their channels first, whatever the model reads."""

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from netspec.tensors import Array, Arrays


def describe(path: Path) -> Described:
    """See `Runnable.describe_file`."""
    program = load(path)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature
    inputs = tuple(_port(str(name), values.get(str(name))) for name in signature.user_inputs)
    outputs = tuple(_port(str(name), values.get(str(name))) for name in signature.user_outputs)
    return Described(f"torch.export of PyTorch {torch.__version__.partition('+')[0]}", inputs, outputs)


def run(path: Path, inputs: Arrays, trace: bool) -> Traced:
    """See `Runnable.run_file`."""
    program = load(path)
    module = program.module()
    given = [torch.from_numpy(inputs[str(name)].copy()) for name in program.graph_signature.user_inputs]
    with torch.inference_mode():
        if trace:
            reading = _Reading(module)
            found = reading.run(*given)
        else:
            found = module(*given)
    several = (
        list(found.values()) if isinstance(found, dict) else found if isinstance(found, (list, tuple)) else [found]
    )
    names = [str(name) for name in program.graph_signature.user_outputs]
    outputs = {name: to_numpy(value) for name, value in zip(names, several, strict=True)}
    return Traced(outputs, reading.values, dict(_made(module.graph))) if trace else Traced(outputs)


@lru_cache(maxsize=1)
def _loaded(path: Path, state: tuple[int, ...]) -> ExportedProgram:  # noqa: ARG001 - one file from the next
    check(path)
    with numbers_only():
        return torch.export.load(path)


def load(path: Path) -> ExportedProgram:
    """The program of a file; raises VerificationError where it is not whole, UnsupportedError for what torch lacks."""
    found = existing(path).stat()
    try:
        return _loaded(path, (found.st_ino, found.st_size, found.st_mtime_ns))
    except NetspecError:
        raise
    except Exception as error:  # noqa: BLE001 - torch raises whatever its parsers stumble over
        said = " ".join(str(error).split()) or type(error).__name__
        if re.search(r"torch\.ops\.|operator|schema version", said):
            raise UnsupportedError(f"PyTorch {torch.__version__} does not know all of it: {said[:300]}") from None
        raise VerificationError(f"PyTorch {torch.__version__} cannot load it: {said[:300]}") from None


def _port(name: str, value: Any) -> Port:
    if not isinstance(value, Tensor):
        raise UnsupportedError(f"its {name} is no tensor")
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Port(name, shape, str(value.dtype).removeprefix("torch."))


class _Reading(fx.Interpreter):
    """Runs a program node by node and keeps every floating point value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, Array] = {}

    def run_node(self, node: fx.Node) -> Any:
        result = super().run_node(node)
        if node.op == "call_function" and isinstance(result, Tensor) and result.is_floating_point():
            self.values[node.name] = to_numpy(result).copy()  # a later operation may work in its place
        return result


def _made(graph: fx.Graph) -> Iterator[tuple[str, Made]]:
    """The result that each parameter goes into, past what is made of parameters alone (a transposition)."""
    fixed = {node for node in graph.nodes if node.op == "get_attr"}
    for node in graph.nodes:
        if node.op == "call_function" and node.all_input_nodes and fixed.issuperset(node.all_input_nodes):
            fixed.add(node)
    for node in graph.nodes:
        if node.op == "get_attr":
            for user in _users(node, fixed):
                yield (
                    str(node.target),
                    Made(_first_of(user).name, first=FIRST.search(str(user.target)) is not None or None),
                )


def _users(node: fx.Node, fixed: set[fx.Node]) -> Iterator[fx.Node]:
    for user in node.users:
        if user in fixed:
            yield from _users(user, fixed)
        elif user.op == "call_function":
            yield user


def _first_of(node: fx.Node) -> fx.Node:
    """The first of several results, where a node has several."""
    parts = [user for user in node.users if "getitem" in user.name and user.args[1:] == (0,)]
    return parts[0] if parts else node
