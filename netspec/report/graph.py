"""The network as a graph, in words: what each row reads, and which block it belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.network import Network, Use
from netspec.notation import write_value


def block_text(use: Use) -> str:
    """A block at work as a row of the table writes it: its name and its parameters' values.

    >>> block_text(Use("fire2", "fire", {"squeeze": 16, "expand": 64}, ("pool1",), ("input",), "fire2.concat"))
    'fire 16, 64'
    """
    return f"{use.block} {', '.join(map(write_value, use.parameters.values()))}".strip()


def output_text(network: Network) -> str:
    """What the network gives: the shape of its result, or every output with its name and, where that is another, its
    row's.
    """
    if len(network.outputs) == 1:
        return str(network.output_type)
    rows = Names(network)
    said = []
    for name, value in network.outputs.items():
        row = rows.of(value)
        said.append(f"{name} {network.types[value]}" + ("" if row == name else f" ({row})"))
    return ", ".join(said)


class Names:
    """What people call the values of a network: inputs and rows by their names, and the result of a block by the
    block's.
    """

    def __init__(self, network: Network) -> None:
        self._names = {name: name for name in network.inputs} | {row.result: row.name for row in network.rows}
        self._blocks: dict[str, list[Use]] = {}
        for use in network.uses:
            self._blocks.setdefault(use.result, []).append(use)

    def of(self, value: str, reader: str = "") -> str:
        """The name of a value for a row or a block: the largest block that it is the result of, if that is another."""
        outside = (use.name for use in self._blocks.get(value, ()) if not f"{reader}.".startswith(f"{use.name}."))
        return next(outside, self._names[value])


def reads(network: Network) -> Mapping[str, tuple[str, ...]]:
    """By the name of every row and block, what it reads, if that is anything else than the row above gives.

    Names in the block of the table that the row stands in are without that block's.
    """
    names = Names(network)
    found: dict[str, tuple[str, ...]] = {}
    above = tuple(network.inputs) if len(network.inputs) == 1 else ()
    for row in network.rows:
        block = f"{row.name.partition('.')[0]}."
        given = row.nodes[0].inputs
        own = tuple(names.of(value, row.name).removeprefix(block) for value in given)
        for use in network.holding(row.name):
            around = () if use.inputs == above else tuple(names.of(value, use.name) for value in use.inputs)
            found.setdefault(use.name, around)
        found[row.name] = () if given == above else own
        above = (row.result,)
    return found
