"""What people are shown of a network: the table, the graph, the page. Each has every row, and adds up."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser

from netspec.network import Network
from netspec.report.mermaid import show_mermaid
from netspec.report.page import report_page
from netspec.report.table import show_json, show_text
from netspec.report.verdict import verify_text
from netspec.verify.result import Verdict

EMPTY = ("meta", "br", "img", "input", "col", "hr")
"""The elements of HTML that have no end."""


def drawn(network: Network) -> Iterator[str]:
    """What is wrong with what `netspec show` prints."""
    names = {row.name for row in network.rows}
    text = show_text(network)
    table = {line.split()[0] for line in text.splitlines() if line.strip()}
    if missing := [name for name in names if not table & set(_ends(name))]:
        yield f"the table lacks {missing}:\n{text}"
    if f"{network.parameters:,}" not in text:
        yield f"the table does not say {network.parameters:,} weights:\n{text}"
    graph = show_mermaid(network)
    nodes = set(re.findall(r"^ *(\w+)[(\[]", graph, re.MULTILINE))
    for edge in re.findall(r"^ *(\w+) -->\|.*?\| (\w+)$", graph, re.MULTILINE):
        if not nodes.issuperset(edge):
            yield f"the graph has no nodes for the edge {edge}:\n{graph}"
    if graph.count("<b>") != len(names):
        yield f"the graph has {graph.count('<b>')} rows instead of {len(names)}:\n{graph}"
    plain = json.loads(json.dumps(show_json(network), allow_nan=False))
    if {row["name"] for row in plain["rows"]} != names:
        yield f"as JSON it has other rows: {plain}"
    for number, total in plain["totals"].items():
        if sum(row[number] for row in plain["rows"]) != total:
            yield f"as JSON its {number} do not add up: {plain}"


def _ends(name: str) -> Iterator[str]:
    """What may be written of a dotted name below the names of blocks."""
    parts = name.split(".")
    yield from (".".join(parts[at:]) for at in range(len(parts)))


def reported(network: Network, verdict: Verdict) -> Iterator[str]:
    """What is wrong with the page of a verdict, and with what `netspec verify` prints."""
    if network.name not in verify_text(verdict):
        yield f"the report does not name {network.name}:\n{verify_text(verdict)}"
    page = report_page(network, verdict, {}, {})
    tags = _Tags()
    tags.feed(page)
    tags.close()
    if tags.wrong or tags.open:
        yield f"the page's tags do not fit: {tags.wrong or tags.open}\n{page}"
    for row in network.rows:
        if escape(row.name) not in page:
            yield f"the page lacks the row {row.name}:\n{page}"


class _Tags(HTMLParser):
    """The tags that are open, and those that ended where another one was."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.wrong = list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)
