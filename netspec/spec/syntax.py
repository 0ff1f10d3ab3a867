"""What the YAML parser's complaints mean for someone who writes a spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netspec.errors import Position, Problem

FLOW = "are the brackets balanced? inside of [ ] a row that holds brackets itself stands in quotes"
# A part of the parser's words, the place to cite (where the trouble shows, or where its construct began), ours.
MEANINGS: tuple[tuple[str, str, str, str | None], ...] = (
    (
        "did not find expected comment or line break",
        "problem",
        "text stands behind the '|' that opens a block of text",
        "a pasted table begins on the line below `layers: |`, and a row of a list does not begin with '|'",
    ),
    (
        "mapping values are not allowed",
        "problem",
        "a ':' stands where no key can be",
        "a text that holds ': ' needs quotes; keys of one section are indented alike",
    ),
    ("expected ',' or ']'", "context", "this '[' is never closed", FLOW),
    ("expected ',' or '}'", "context", "this '{' is never closed", "are the brackets balanced?"),
    ("found unexpected end of stream", "context", "this quote is never closed", None),
    ("unexpected document", "problem", "a line of dashes or dots stands inside of a quoted text", None),
    (
        "did not find expected key",
        "problem",
        "this line does not belong to the section above it",
        "the keys of one section are indented alike; a key is followed by ': '",
    ),
    (
        "did not find expected '-' indicator",
        "problem",
        "this line does not belong to the list above it",
        "every row begins with '- ', indented alike",
    ),
    (
        "block sequence entries are not allowed",
        "problem",
        "a '- ' stands where no list can begin",
        "a list begins on the line below its key",
    ),
    (
        "could not find expected ':'",
        "context",
        "this line is no key: it has no ':'",
        "a key is followed by ': '; a row begins with '- '",
    ),
    ("did not find expected <document start>", "problem", "this does not belong to what stands above it", None),
    ("did not find expected node content", "problem", "a value is missing here", "are the brackets balanced?"),
    ("undefined tag handle", "context", "tags are not allowed", "a spec holds plain values: remove the tag"),
    (
        "found unknown escape character",
        "problem",
        "this is no escape of YAML",
        "single quotes take a backslash as it is",
    ),
)
NO_START = "cannot start any token"


def explain_syntax(error: Any, text: str, position: Callable[[int, int], Position]) -> Problem:
    """The problem behind an error of the YAML parser, where its user has to look."""
    mark = getattr(error, "problem_mark", None)
    context = getattr(error, "context_mark", None)
    words = getattr(error, "problem", None) or str(error).splitlines()[0]
    if mark is None:
        return Problem(f"this is not YAML: {words}", position=position(0, 0))
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    if "\t" in indent or line[mark.column : mark.column + 1] == "\t":
        column = indent.index("\t") if "\t" in indent else mark.column
        return Problem(
            "a tab indents this line; YAML knows only blanks",
            "replace each tab by two blanks",
            position=position(mark.line, column),
        )
    if "did not find expected key" in words:
        special = _misplaced(line[: mark.column], line[mark.column :])
        if special:
            return Problem(*special, position=position(mark.line, mark.column))
    for known, which, message, hint in MEANINGS:
        if known in words:
            at = context if which == "context" and context is not None else mark
            return Problem(message, hint, position=position(at.line, at.column))
    if NO_START in words:
        sign = line[mark.column : mark.column + 1]
        return Problem(
            f"a value cannot begin with {sign!r}", "put it in quotes", position=position(mark.line, mark.column)
        )
    return Problem(f"this is not YAML: {words}", position=position(mark.line, mark.column))


def _misplaced(before: str, found: str) -> tuple[str, str] | None:
    """What stands where a key was expected, when it can be told: a row, or the rest of a text behind its quote."""
    if found.startswith("- ") and not before.strip():
        return "this row is not indented like the rows above it", "every row begins with '- ', indented alike"
    if before.rstrip().endswith(("'", '"')):
        return "text stands behind the quote that ends a text", "a quote inside of single quotes is doubled: 'it''s'"
    return None
