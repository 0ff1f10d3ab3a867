"""Which uses of a block can share their code, and what each shared code is called."""

from __future__ import annotations

import builtins
import keyword
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from netspec.codegen.outline import Scope
from netspec.codegen.source import LINE_LENGTH, plain_text
from netspec.layers import snake
from netspec.network import Network
from netspec.notation import write_value

RESERVED = frozenset({"self", "x", "name", "nn", "torch", "F", "keras", "layers", "ops"})
# The public attributes of torch.nn.Module, which those of an emitted module may not hide; a test compares.
MODULE_ATTRIBUTES = frozenset({
    "T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile", "cpu",
    "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state",
    "get_parameter", "get_submodule", "half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers",
    "named_children", "named_modules", "named_parameters", "parameters", "register_backward_hook", "register_buffer",
    "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
    "register_full_backward_pre_hook", "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook",
    "register_module", "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train",
    "training", "type", "xpu", "zero_grad",
})  # fmt: skip


def reserved(name: str) -> bool:
    """Whether a name means something else in emitted source: a keyword, a builtin function, a module.

    >>> reserved("lambda"), reserved("sum"), reserved("layers"), reserved("conv")
    (True, True, True, False)
    """
    # No emitted source calls `input`, which is what a block's rows call what they are given.
    return name in RESERVED or keyword.iskeyword(name) or (hasattr(builtins, name) and name != "input")


@dataclass(frozen=True, slots=True)
class Variant:
    """Uses of a block whose code has one shape, under the name of that code."""

    name: str
    scopes: list[Scope]
    told: Mapping[str, Any]
    """The parameters that tell these uses of the block from the others."""
    own_rows: Sequence[str] = ()
    """The rows that only these uses have."""

    @property
    def docstring(self) -> str:
        """What it is, in the words of the block if it has any, as a docstring that is indented by 4."""
        use = self.scopes[0].use
        assert use is not None
        about = plain_text(use.about).rstrip(".")
        told = plain_text(", ".join(f"{name}={write_value(value)}" for name, value in self.told.items()))
        told = f"with {told}" if told else f"with the row {self.own_rows[-1]}" if self.own_rows else ""
        if about:
            said = f"{about}. W{told[1:]}." if told else f"{about}."
        else:
            said = f"The block {plain_text(use.block)} of the layer table{f', {told}' * bool(told)}."
        if len(said) <= LINE_LENGTH - 10:
            return f'"""{said}"""'
        lines = wrap(f'"""{said}', LINE_LENGTH - 4)
        if len(lines) == 1:  # behind which a formatter would put the quotes, though they do not fit
            lines = wrap(f'"""{said}', LINE_LENGTH - 12)
        return "\n    ".join([*lines, '"""'])


def camel(words: str) -> str:
    """A name as that of a class.

    >>> camel("inverted_residual_stride2")
    'InvertedResidualStride2'
    """
    return "".join(part[:1].upper() + part[1:] for part in words.split("_"))


class Variants:
    """Names for the code of blocks: the most used variant of a block has the block's own name."""

    def __init__(self, taken: set[str], style: Callable[[str], str]) -> None:
        self.taken, self.style = set(taken), style
        self.uses: dict[str, list[Scope]] = {}
        """All uses of each block."""

    def levels(self, whole: Scope) -> Iterator[list[Scope]]:
        """The blocks at work, inner ones before those that hold them."""
        heights: dict[int, int] = {}
        levels: dict[int, list[Scope]] = {}
        for scope in whole.every():
            assert scope.use is not None
            self.uses.setdefault(scope.use.block, []).append(scope)
            height = 1 + max((heights[id(inner)] for inner in scope.scopes), default=-1)
            heights[id(scope)] = height
            levels.setdefault(height, []).append(scope)
        yield from (levels[height] for height in sorted(levels))

    def of(self, level: Sequence[Scope], shapes: Mapping[str, Hashable]) -> Iterator[Variant]:
        """The uses of a level by block and shape, in the order of their first use."""
        found: dict[tuple[str, Hashable], list[Scope]] = {}
        for scope in level:
            assert scope.use is not None
            found.setdefault((scope.use.block, shapes[scope.use.name]), []).append(scope)
        told: dict[tuple[str, Hashable], dict[str, Any]] = {}
        rows: dict[tuple[str, Hashable], list[str]] = {}
        for key, scopes in found.items():
            inside = {id(scope) for scope in scopes}
            others = [each for each in self.uses[key[0]] if id(each) not in inside]
            told[key], rows[key] = _telling(scopes, others), _own_rows(scopes, others)
        order = sorted(found, key=lambda key: -len(found[key]))
        names = {key: self._name(key[0], [*_words(told[key]), *reversed(rows[key])]) for key in order}
        yield from (Variant(names[key], scopes, told[key], rows[key]) for key, scopes in found.items())

    def _name(self, block: str, words: Sequence[str]) -> str:
        base = snake(block)
        candidates = [base, *(f"{base}_{word}" for word in words)]
        numbered = (f"{base}_{number}" for number in range(2, 10_000))
        name = next(
            name
            for name in (*map(self.style, candidates), *map(self.style, numbered))
            if name not in self.taken and not reserved(name)
        )
        self.taken.add(name)
        return name


def _telling(scopes: Sequence[Scope], others: Sequence[Scope]) -> dict[str, Any]:
    """What tells these uses from the others: the parameters that have one value here and no such value there."""
    found: dict[str, Any] = {}
    for name, value in scopes[0].use.parameters.items() if scopes[0].use and others else ():
        values = {repr(scope.use.parameters.get(name)) for scope in scopes if scope.use}
        if len(values) == 1 and not values & {repr(scope.use.parameters.get(name)) for scope in others if scope.use}:
            found[name] = value
    return found


def _own_rows(scopes: Sequence[Scope], others: Sequence[Scope]) -> list[str]:
    """The rows that these uses have and no others, since a condition holds; nothing where there are no others."""
    beside = {name for scope in others for name in scope.names}
    return [name for name in scopes[0].names if name not in beside] if others else []


def _words(told: Mapping[str, Any]) -> Iterator[str]:
    """Words for a name, for each of the parameters that can give one."""
    for name, value in told.items():
        if isinstance(value, bool):
            yield name if value else f"no_{name}"
        elif str(value).isalnum():
            yield f"{name}{value}" if str(value).isdigit() else str(value)


def named_values(scopes: Sequence[Scope]) -> list[dict[str, Any]]:
    """For each use, the values that may explain its literals: its parameters."""
    uses = [scope.use for scope in scopes if scope.use is not None]
    called = {name: f"{name}_" if reserved(name) else name for name in uses[0].parameters}
    found = [{called[name]: _plain(value) for name, value in use.parameters.items()} for use in uses]
    common = Counter(name for known in found for name in known)
    return [{name: value for name, value in known.items() if common[name] == len(found)} for known in found]


def given_sizes(scopes: Sequence[Scope], network: Network, taken: Collection[str] = ()) -> list[dict[str, Any]]:
    """For each use, the sizes of what goes in first: nothing where they have other axes, or names that are taken."""
    uses = [scope.use for scope in scopes if scope.use is not None]
    types = [network.types[use.inputs[0]] for use in uses if use.inputs]
    if len(types) < len(uses) or len({given.rank for given in types}) > 1:
        return [{} for _ in uses]
    *spatial, channels = types[0].axes
    names = [*spatial, f"in_{channels}" if spatial else "in_features"]
    if any(name in taken or name in use.parameters for name in names for use in uses):
        return [{} for _ in uses]
    return [dict(zip(names, given.shape, strict=True)) for given in types]


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value
