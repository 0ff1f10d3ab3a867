"""Random small graphs with blocks, branches, repeats and conditions: resolved, formatted and shown, they stay so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.report.mermaid import show_mermaid
from netspec.report.table import show_json, show_text
from netspec.spec.format import format_spec
from netspec.spec.load import parse_spec
from netspec.spec.write import write_yaml

SIZE = 5
"""All values have this height and width, so that any two can be put side by side."""


@dataclass
class Body:
    """Rows under construction, and the names that nothing reads yet."""

    draw: st.DrawFn
    inputs: list[str]
    blocks: dict[str, int]
    """How many inputs each block takes."""
    scale: str = ""
    """The parameter of the block that is written, where it is one."""
    rows: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names, self.unread = list(self.inputs), list(self.inputs)

    def row(self) -> None:
        """One more row, of any kind, that reads anything above it."""
        kind = self.draw(st.sampled_from(["CNN", "BatchNorm", "AvgPool", "Concat", "Dropout", *self.blocks]))
        count = self.blocks.get(kind, 2 if kind == "Concat" else 1)
        sources = [self.source() for _ in range(count)]
        size = self.size(kind)
        options = [f"from=[{', '.join(sources)}]" if count > 1 else f"from={sources[0]}"]
        if count == 1 and self.draw(st.booleans()):
            options.append(f"repeat={self.draw(st.integers(1, 2))}")
        elif count == 1 and self.draw(st.integers(0, 3)) == 0:
            options.append(f"when={self.scale or 'width'}{self.draw(st.sampled_from(['>', '<=', '==', '!=']))}2")
        activation = self.draw(st.sampled_from(["-", "ReLU", "elu(0.5)"])) if kind not in self.blocks else "-"
        options += {"AvgPool": ["stride=1", "padding=same"], "CNN": ["padding=same"]}.get(kind, [])
        self.add(f"{kind} | {size} | {activation} | {', '.join(options)}", sources)

    def size(self, kind: str) -> str:
        number = self.draw(st.integers(1, 4))
        filters = self.draw(st.sampled_from([f"{number}", f"{number}*{self.scale or 'width'}"]))
        return {"CNN": f"{filters}, {self.draw(st.sampled_from(['1', '3', '(1,3)']))}", "AvgPool": "3"}.get(
            kind, filters if kind in self.blocks else "-"
        )

    def source(self) -> str:
        """The name of a value above, more often of one that nothing reads yet."""
        return self.draw(st.sampled_from(self.unread if self.unread and self.draw(st.booleans()) else self.names))

    def add(self, text: str, sources: list[str]) -> None:
        name = f"r{len(self.rows) + 1}"
        self.rows.append(f"{name}: {text}")
        self.unread = [*(each for each in self.unread if each not in sources), name]
        self.names.append(name)

    def close(self) -> None:
        """A last row that reads all that nothing reads, so that there is one result, and one row that stays."""
        if len(self.unread) > 1 or not self.rows or self.unread != [f"r{len(self.rows)}"] or "when=" in self.rows[-1]:
            sources = self.unread if len(self.unread) > 1 else [self.unread[0], self.names[0]]
            self.add(f"Concat | - | - | from=[{', '.join(sources)}]", sources)


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """The text of a spec."""
    blocks: dict[str, int] = {}
    written = []
    for index in range(draw(st.integers(0, 2))):
        inputs = ["input"] if draw(st.booleans()) else ["x", "skip"]
        body = Body(draw, inputs, dict(blocks), "n")
        for _ in range(draw(st.integers(1, 3))):
            body.row()
        body.close()
        name = f"block{index}"
        blocks[name] = len(inputs)
        head = "" if inputs == ["input"] else "\n    inputs: [x, skip]"
        rows = "".join(f"\n      - {row}" for row in body.rows)
        written.append(f"\n  {name}:\n    parameters: {{n: 2}}{head}\n    layers:{rows}")
    inputs = draw(st.sampled_from([["input"], ["left", "right"]]))
    body = Body(draw, inputs, blocks)
    for _ in range(draw(st.integers(1, 5))):
        body.row()
    several = draw(st.booleans())
    if (
        not several
        or set(body.unread) & set(inputs)
        or any("when=" in body.rows[int(name[1:]) - 1] for name in body.unread)
    ):
        body.close()  # an output is no input, for which a row that is left out may stand
    shapes = {name: f"{SIZE}x{SIZE}x{draw(st.integers(1, 3))}" for name in inputs}
    given_ = f"input: {shapes['input']}" if inputs == ["input"] else f"inputs: {shapes}".replace("'", "")
    lines = "".join(f"\n  - {row}" for row in body.rows)
    outputs = f"\noutputs: [{', '.join(body.unread)}]" if several else ""
    return (
        f"name: drawn\n{given_}\nvariables: {{width: {draw(st.integers(1, 3))}}}"
        + ("\nblocks:" + "".join(written) if written else "")
        + f"\nlayers:{lines}{outputs}\n"
    )


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_a_graph_keeps_its_meaning(text):
    spec = parse_spec(text, "drawn.yaml")
    network = compile_spec(spec)
    assert compile_spec(parse_spec(text, "drawn.yaml")).digest == network.digest
    assert all(given_.shape[:2] == (SIZE, SIZE) for given_ in network.types.values())
    resolved = write_yaml(resolved_spec(spec))
    again = parse_spec(resolved, "drawn.yaml")
    assert compile_spec(again).digest == network.digest
    assert write_yaml(resolved_spec(again)) == resolved
    for style in ("pipes", "mapping", "table"):
        written = format_spec(text, "drawn.yaml", style)
        assert compile_spec(parse_spec(written, "drawn.yaml")).digest == network.digest
        assert format_spec(written, "drawn.yaml", style) == written


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_a_graph_is_shown_row_by_row(text):
    network = compile_spec(parse_spec(text, "drawn.yaml"))
    shown, drawn = show_text(network), show_mermaid(network)
    numbers = re.findall(r" ([\dx]+) +([\d,]+|-) +([\d,]+|-) +([\d,]+\.\d\d)$", shown, re.MULTILINE)
    assert len(numbers) == len(network.rows)
    assert len(re.findall(r"^ +row_\d+\[", drawn, re.MULTILINE)) == len(network.rows)
    assert drawn.count("subgraph ") == len(re.findall(r"^ +end$", drawn, re.MULTILINE)) == len(network.uses)
    rows = {row.name for row in network.rows} | set(network.inputs)
    assert all(set(row["reads"]) <= rows for row in show_json(network)["rows"])


def test_what_is_drawn_has_all_that_the_language_has():
    found = "\n".join(_examples())
    parts = ("inputs: {", "outputs:", "repeat=", "when=n", "when=width", "*n", "*width", "block0 |", "from=[", "skip")
    assert not [part for part in parts if part not in found]


def _examples() -> list[str]:
    texts: list[str] = []

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(graphs())
    def collect(text):
        texts.append(text)

    collect()
    return texts
