"""What a whole document means, in each of its variants: the rows that the outputs need, the blocks at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from netspec.layers import ALIASES, fold
from netspec.layers.base import field_named
from netspec.tensors import TensorType
from tests.fuzz.document import Document
from tests.fuzz.kept import Given, Kept
from tests.fuzz.walk import Walk, matches, patterns, shapes, varied


@dataclass(frozen=True)
class Meaning:
    """What the whole document is, as the walk has it: the rows that it keeps, the blocks at work and the outputs."""

    rows: Mapping[str, Kept]
    uses: Mapping[str, Given]
    outputs: Mapping[str, Given]
    inputs: int = 0
    """How many inputs it has."""

    @property
    def trainable(self) -> int:
        """How many numbers are trained."""
        return sum(kept.trainable for kept in self.rows.values())

    @property
    def parameters(self) -> int:
        """How many numbers there are."""
        return sum(kept.size for kept in self.rows.values())

    @property
    def macs(self) -> int:
        """What one sample costs."""
        return sum(kept.macs for kept in self.rows.values())

    def inside(self, use: str) -> Iterator[Kept]:
        """The rows of a block at work."""
        yield from (kept for name, kept in self.rows.items() if name.startswith(f"{use}."))


def meaning(document: Document, variant: str | None = None) -> Meaning:
    """Walk a document; raises LayerError, ValueError or KeyError for one that is not valid."""
    document = varied(document, variant)
    walk = Walk.of(document)
    for kind, fields in document.defaults.items():
        layer = ALIASES[fold(kind)].layer
        if not {field_named(layer, name) for name in fields} <= {*layer.defaults, "activation"}:
            raise ValueError(f"{kind} has no such option")
    inputs = {name: Given(name, TensorType(shape)) for name, shape in shapes(document).items()}
    outputs = walk.whole(document, inputs)
    rows = _needed(walk.rows, outputs, inputs)
    for pattern in patterns(document.base) if document.base else ():
        # It names rows of the base; those that are left of it must be among them.
        if not any(matches(name, pattern) for name, kept in rows.items() if not kept.own):
            raise ValueError(f"what {pattern} names lies beyond the cut")
    found = Meaning(rows, {}, outputs, len(inputs))
    return replace(found, uses={use: _result(use, found) for use in walk.uses if any(found.inside(use))})


def meanings(document: Document) -> dict[str | None, Meaning]:
    """What the document means as it is, and in each of its variants."""
    return {variant: meaning(document, variant) for variant in (None, *(each.name for each in document.variants))}


def _needed(rows: Mapping[str, Kept], outputs: Mapping[str, Given], inputs: Mapping[str, Given]) -> dict[str, Kept]:
    """The rows that the outputs are computed from. A row of the spec itself that nothing reads is a mistake."""
    wanted = {value.name for value in outputs.values()}
    read = {source for kept in rows.values() for source in kept.sources}
    left = []
    for name, kept in reversed(rows.items()):
        if name in wanted:
            left.append(name)
            wanted.update(kept.sources)
        elif kept.own and name not in read:
            raise ValueError(f"nothing reads {name}")
    if not set(inputs) <= wanted:
        raise ValueError("nothing reads an input")
    if not left:
        raise ValueError("there is nothing to compute")
    return {name: rows[name] for name in reversed(left)}


def _result(use: str, found: Meaning) -> Given:
    """The one row of a block that is read outside, which is not its last where a base is cut inside of it."""
    inside = {kept.given.name: kept.given for kept in found.inside(use)}
    read = {source for kept in found.rows.values() if kept.given.name not in inside for source in kept.sources}
    read |= {value.name for value in found.outputs.values()}
    [result] = inside.keys() & read
    return inside[result]
