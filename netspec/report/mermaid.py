"""The network as a Mermaid flowchart: a box a row, a frame a block, the shape of every value at its arrow."""

from __future__ import annotations

import json
from collections.abc import Iterator

from netspec.network import Network, Row, Use
from netspec.report.graph import block_text
from netspec.report.table import row_text

# What would end a label, begin another or mark it up, as Mermaid's own codes; `#` begins them.
ESCAPES = {ord(sign): f"#{ord(sign)};" for sign in '#"<>&`\\|[]{}'}


def show_mermaid(network: Network) -> str:
    """The source of the flowchart, as Markdown renderers and mermaid.live take it."""
    chart = _Chart(network)
    lines = [
        "---",
        f"title: {json.dumps(network.name, ensure_ascii=False)}",
        "---",
        "flowchart TD",
        *(f'    {chart.ids[name]}(["{_escaped(name)}"])' for name in network.inputs),
        *chart.boxes(),
        *(f'    out_{index}(["{_escaped(name)}"])' for index, name in enumerate(network.outputs, 1)),
        *chart.arrows(),
    ]
    return "\n".join(lines)


class _Chart:
    """The rows and blocks of a network, each with a name of its own that no word of Mermaid can be."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ids = {name: f"in_{index}" for index, name in enumerate(network.inputs, 1)}
        self.ids |= {row.result: f"row_{index}" for index, row in enumerate(network.rows, 1)}
        self.frames = {use.name: f"block_{index}" for index, use in enumerate(network.uses, 1)}

    def boxes(self) -> Iterator[str]:
        """The rows, inside of the frames of their blocks."""
        within: list[Use] = []
        for row in self.network.rows:
            around = list(self.network.holding(row.name))
            while within != around[: len(within)]:
                within.pop()
                yield _line(len(within), "end")
            for use in around[len(within) :]:
                named = "" if _last(use.name) == use.block else f"{_last(use.name)}: "
                label = _escaped(named + block_text(use))
                yield _line(len(within), f'subgraph {self.frames[use.name]}["{label}"]')
                within.append(use)
            yield _line(len(within), f'{self.ids[row.result]}["{self._label(row)}"]')
        for depth in reversed(range(len(within))):
            yield _line(depth, "end")

    def _label(self, row: Row) -> str:
        return f"<b>{_escaped(_last(row.name))}</b><br>{_escaped(row_text(row))}"

    def arrows(self) -> Iterator[str]:
        """Every value from where it is computed to where it is read, with its shape."""
        for row in self.network.rows:
            for value in row.nodes[0].inputs:
                yield self._arrow(value, self.ids[row.result])
        for index, value in enumerate(self.network.outputs.values(), 1):
            yield self._arrow(value, f"out_{index}")

    def _arrow(self, value: str, reader: str) -> str:
        return f'    {self.ids[value]} -->|"{self.network.types[value]}"| {reader}'


def _line(depth: int, text: str) -> str:
    return "    " * (depth + 1) + text


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _escaped(text: str) -> str:
    """Text that may stand in a label, whatever it holds."""
    return " ".join(text.translate(ESCAPES).split())
