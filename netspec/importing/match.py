"""Which tensor of a file is which weight: by a mapping file, by names, by the graph, or by order and shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from netspec.backend.stored import AFFINE, StoredTensor, StoredWeights
from netspec.errors import Problem, SpecError
from netspec.importing.graph import Colours, Step, network_steps, paint, stored_steps
from netspec.importing.misfit import (
    MAPPING,
    FoldedError,
    check_pairs,
    folded_error,
    names_error,
    order_error,
    orders_error,
    undecided_error,
    units_error,
)
from netspec.importing.names import Named, by_name, neutral
from netspec.importing.order import Pairs, as_made, by_colour, in_sequence, out_of_order, undecided
from netspec.importing.tree import TooMany, orders
from netspec.importing.units import (
    P,
    Part,
    Signature,
    Unit,
    found_units,
    pairs_of,
    role_of,
    shape_of,
    signature,
    wanted_units,
)
from netspec.layers import BatchNorm, Conv, ConvTranspose, Dense, DepthwiseConv, Layer, SeparableConv
from netspec.network import Network, Node
from netspec.tensors import Placement

FOLDS: tuple[tuple[type[Layer], ...], ...] = (
    (Conv, ConvTranspose, DepthwiseConv, SeparableConv, Dense),
    (Conv, ConvTranspose, DepthwiseConv, SeparableConv),
    (Conv, DepthwiseConv, SeparableConv),
)
"""The layers into which exporters fold the BatchNorm after them: all of them, none that is no convolution (as torch's
older exporter does it), or none that is transposed (as ONNX Runtime does).
"""


@dataclass(frozen=True, slots=True)
class Match:
    """The tensor of every weight, by the weight's name, and how they were found, in words that follow `matched`.

    `own` says that the names are just those of our own rendering.
    """

    pairs: Mapping[str, StoredTensor]
    how: str
    own: bool = False


def match(
    source: str,
    network: Network,
    placements: Mapping[str, Placement],
    stored: StoredWeights,
    given: Mapping[str, StoredTensor],
    *,
    affine: bool = False,
) -> Match:
    """Find the tensor of every weight; `given` are those that a mapping file names, and `source` is cited in errors.

    Layers of the kind AFFINE are weights with `affine` alone. Raises FoldedError where the numbers of BatchNorms were
    put together, SpecError where something does not fit, is missing or left over, or where more than one match fits.
    """
    whole_file, stored = stored, stored if affine else _without_affine(stored)
    parts = [part for units in wanted_units(network, placements).values() for unit in units for part in unit.parts]
    taken = {id(tensor) for tensor in given.values()}
    open_parts = [part for part in parts if part.weight.name not in given]
    tensors = [tensor for tensor in stored.tensors if id(tensor) not in taken]
    named = by_name(open_parts, tensors)
    if named.whole:
        found, how, own = named.pairs, "by name" if open_parts else "as the mapping file says", named.exact
    else:
        matcher = _Matcher(source, network, placements, stored, given)
        if not matcher.fits and (error := _folding(matcher, _Matcher(source, network, placements, whole_file, given))):
            raise error
        if len(named.pairs) * 2 > len(open_parts) and _same_shapes(open_parts, named) and not matcher.fits:
            raise names_error(source, named, network.name)
        (pairs, how), own = matcher.match(), False
        found = dict(pair for wanted, unit in pairs for pair in pairs_of(wanted, unit, matcher.roles))
    if given and open_parts:
        how = f"by the mapping file and {how}"
    whole = {**found, **given}
    check_pairs(source, [(part, whole[part.weight.name]) for part in parts])
    return Match({part.weight.name: whole[part.weight.name] for part in parts}, how, own and not given)


class _Matcher:
    """The units on both sides that names do not pair."""

    def __init__(
        self,
        source: str,
        network: Network,
        placements: Mapping[str, Placement],
        stored: StoredWeights,
        given: Mapping[str, StoredTensor],
    ) -> None:
        self.source, self.network, self.stored = source, network, stored
        rows = wanted_units(network, placements)
        roles = {role_of(part) for units in rows.values() for unit in units for part in unit.parts}
        taken = {id(tensor) for tensor in given.values()}
        self.rows = _keep(rows, lambda part: part.weight.name not in given)
        self.layers = _keep(
            found_units(stored.layers),
            lambda tensor: id(tensor) not in taken and (role_of(tensor) in roles or not neutral(tensor)),
        )
        self.wanted = [unit for units in self.rows.values() for unit in units]
        self.found = [unit for units in self.layers.values() for unit in units]
        self.roles = all(tensor.role for unit in self.found for tensor in unit.parts)

    def sign(self, unit: Unit[Any]) -> Signature:
        """What units that may be matched have in common."""
        return signature(unit, self.roles)

    @property
    def fits(self) -> bool:
        """Whether both sides have the same units, in whatever order."""
        return Counter(map(self.sign, self.wanted)) == Counter(map(self.sign, self.found))

    @property
    def norms(self) -> list[Node]:
        """The BatchNorms."""
        return [node for node in self.network.nodes if isinstance(node.layer, BatchNorm) and node.name in self.rows]

    @property
    def foldable(self) -> dict[Node, Node]:
        """The BatchNorms that may have been put into the layer before them, each with that."""
        nodes = {node.name: node for node in self.network.nodes}
        before = {norm: nodes[norm.inputs[0]] for norm in self.norms if norm.inputs[0] in self.rows}
        read, given = self.network.consumers, self.network.outputs.values()
        alone = {norm: node for norm, node in before.items() if len(read[node.name]) == 1 and node.name not in given}
        return {norm: node for norm, node in alone.items() if isinstance(node.layer, FOLDS[0])}

    def fits_folded(self, folded: Mapping[Node, Node]) -> bool:
        """Whether both sides have the same units without these BatchNorms, the layers before having biases."""
        gone, ends = {norm.name for norm in folded}, {before.name: norm for norm, before in folded.items()}
        wanted: Counter[Signature] = Counter()
        for name, units in self.rows.items():
            if name not in gone:
                wanted.update(map(self.sign, units[:-1]))
                wanted[
                    self._biased(units[-1], ends[name].output.channels) if name in ends else self.sign(units[-1])
                ] += 1
        return wanted == Counter(map(self.sign, self.found))

    def _biased(self, unit: Unit[Part], channels: int) -> Signature:
        """The signature of a unit that has a bias, which the network's may lack."""
        own = self.sign(unit)
        if any(role_of(part) == "bias" for part in unit.parts):
            return own
        if not self.roles:
            return (*own, (channels,))
        return tuple(sorted((*own, ("bias", (channels,)))))  # type: ignore[type-var]  # pairs of a role and a shape

    def match(self) -> tuple[Pairs, str]:
        """The pairs, and how they were found."""
        if not self.fits:
            kinds = self.stored.succession == "kinds"
            raise units_error(self.source, self.wanted, self.found, self.sign, self.network.name, kinds=kinds)
        if pairs := self._by_graph():
            return pairs, "by the graph and the shapes"
        if self.stored.succession == "made" and (pairs := in_sequence(self.wanted, self.found, self.sign)):
            return pairs, "by order and shape"
        if self.stored.succession in ("made", "none"):
            return self._by_tree(), "by the tree of names and the shapes"
        return self._by_order(), "by order and shape"

    def _steps(self) -> list[Step]:
        return network_steps(self.network, self.rows)

    def _by_graph(self) -> Pairs | None:
        """The units that stand at the same place of both graphs; those that stand alike in their order."""
        theirs = stored_steps(self.stored.layers, self.layers)
        if theirs is None:
            return None
        colours = Colours()
        painted = paint(self._steps(), self.sign, colours), paint(theirs, self.sign, colours)
        return by_colour(*painted)

    def _by_order(self) -> Pairs:
        """The units of every kind and shape in the order of the file, or in that of its numbers, where that decides."""
        refusal = SpecError([])
        for numbers in (False, True):
            found = as_made(self.found) if numbers else self.found
            pairs = by_colour(self._signed(self.wanted), self._signed(found))
            assert pairs is not None, "they fit"
            place = {id(unit): index for index, unit in enumerate(self.found)}
            following = sorted(pairs, key=lambda pair: place[id(pair[1])])
            if alike := undecided(pairs, self._steps(), self.sign, numbers=numbers):
                refusal = undecided_error(self.source, alike)
            elif wrong := out_of_order(following, self._steps(), kinds=self.stored.succession == "kinds"):
                refusal = order_error(self.source, *wrong)
            else:
                return pairs
        raise refusal

    def _signed(self, units: Sequence[Unit[P]]) -> dict[Unit[P], Signature]:
        return {unit: self.sign(unit) for unit in units}

    def _by_tree(self) -> Pairs:
        try:
            found = orders(self.wanted, self.layers, self.sign)
        except TooMany:
            found = []
        if not found:
            message = f"{self.source}: the shapes fit, but in no order that the names allow"
            raise SpecError([Problem(message, MAPPING)])
        if len(found) > 1:
            raise orders_error(self.source, self.wanted, *found)
        return list(zip(self.wanted, found[0], strict=True))


def _folding(plain: _Matcher, whole: _Matcher) -> FoldedError | None:
    """The error for BatchNorms of which a file has other numbers, where these fit; `whole` has affine layers too."""
    affine, foldable = len(whole.found) > len(plain.found), plain.foldable
    bare = {norm: before for norm, before in foldable.items() if not before.layer.fields()["bias"]}
    for matcher, folded in [(whole, {}), (whole, bare)] if affine else []:
        if matcher.norms and matcher.fits_folded(folded):
            return folded_error(plain.source, plain.norms, folded)
    for kinds in FOLDS:
        folded = {norm: before for norm, before in foldable.items() if isinstance(before.layer, kinds)}
        if folded and plain.fits_folded(folded):
            return folded_error(plain.source, list(folded), folded)
    return None


def _without_affine(stored: StoredWeights) -> StoredWeights:
    layers = tuple(replace(layer, tensors=()) if layer.kind == AFFINE else layer for layer in stored.layers)
    return replace(stored, layers=layers)


def _same_shapes(parts: Sequence[Part], named: Named) -> bool:
    """Whether the names that were found are no coincidence."""
    return all(
        part.shape == shape_of(named.pairs[part.weight.name]) for part in parts if part.weight.name in named.pairs
    )


def _keep(units: Mapping[str, Sequence[Unit[P]]], keep: Callable[[P], bool]) -> dict[str, list[Unit[P]]]:
    """The units with only the parts that are to be kept, without those that then have none."""
    found = {
        name: [replace(unit, parts=parts) for unit in own if (parts := tuple(filter(keep, unit.parts)))]
        for name, own in units.items()
    }
    return {name: kept for name, kept in found.items() if kept}
