"""Tables in HTML."""

from __future__ import annotations

from collections.abc import Sequence


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already; the columns in `right` are numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        marks = (' class="number"' if place in right else "" for place in range(len(cells)))
        return (
            "<tr>" + "".join(f"<{tag}{mark}>{cell}</{tag}>" for mark, cell in zip(marks, cells, strict=True)) + "</tr>"
        )

    body = "\n".join(line("td", row) for row in rows)
    return f'<div class="wide"><table>\n<thead>{line("th", header)}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
