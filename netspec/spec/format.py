"""The rows of a spec and of its blocks in another notation; comments stay, and so does all outside of `layers:`."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netspec.errors import Problem, SpecError
from netspec.notation import is_empty
from netspec.spec.include import KEY, with_includes
from netspec.spec.reader import Mapping, Node, Scalar, Sequence, anchored, read
from netspec.spec.rows import COLUMNS, read_rows, row_problems
from netspec.spec.table import COLUMNS as HEADINGS
from netspec.spec.table import line_cells, split_table
from netspec.spec.written import LINE_LENGTH, Blocks, WrittenRow, from_node, to_mapping, to_pipes, yaml_text

Style = Literal["pipes", "mapping", "table"]
BLOCK_COMMENT = re.compile(r"[|>][-+0-9]*[ \t]+(#[^\n]*)")
SHORT_OPTIONS = 16
"""Up to so many signs the options that end a row may widen their column."""
LABEL = re.compile(r"# layer (\d[\w.-]*)")


@dataclass(frozen=True, slots=True)
class Section:
    """One `layers` section of a text, the spec's own or a block's: its key, its rows, and what heads its columns."""

    path: str
    key: Scalar
    node: Node
    rows: list[WrittenRow]
    headings: dict[str, str]
    comment: str
    """The comment behind the key."""
    end: int
    """The index of the end of its last line."""


def format_spec(text: str, file: str, style: Style) -> str:
    """The text with its rows, and those of its blocks, in this notation, columns aligned; raises SpecError where it
    cannot be.

    What is written reads back as the same rows. In a table every comment has a line of its own. A block that is
    written inside of { } stays as it is.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    for section in sorted(_sections(text, file), key=lambda section: section.key.start, reverse=True):
        text = _rewritten(text, section, style)
    return mark + text


def _rewritten(text: str, section: Section, style: Style) -> str:
    """The text with one section in this notation."""
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = (
        section.node.column if isinstance(section.node, Sequence) and not section.node.flow else section.key.column + 2
    )
    writer = {"pipes": _pipes, "mapping": _mapping, "table": _table}[style]
    head, lines = writer(section, " " * indent)
    begin = text.rfind("\n", 0, section.key.start) + 1
    head += f"  {section.comment}" if section.comment else ""
    body = newline.join([text[begin : section.key.end] + head, *lines])
    return text[:begin] + body + text[section.end :]


def _sections(text: str, file: str) -> list[Section]:
    """The rows of the spec and of each of its blocks; raises SpecError for what cannot be read or written anew."""
    root = read(text, file)
    found = list(_entries(root))
    if not found:
        node = root.get("layers") if isinstance(root, Mapping) else None
        message = "the rows stand in another file" if node is not None else "layers is missing"
        position = (node or root).position
        raise SpecError([Problem(message, "there is nothing to format", "layers", position)])
    assert isinstance(root, Mapping)
    for path, (_, node) in found:
        for index, item in enumerate(node.items if isinstance(node, Sequence) else ()):
            if _included(item):
                hint = "write the row out"
                raise SpecError([Problem("the row stands in another file", hint, f"{path}.{index}", item.position)])
    problems = [problem for path, (key, node) in found for problem in row_problems(read_rows(node, key.position, path))]
    if problems:
        raise SpecError(problems)
    anchors, blocks = list(anchored(text)), _blocks(root, file)
    return [_section(text, path, key, node, anchors, blocks) for path, (key, node) in found]


def _entries(root: Node) -> Iterator[tuple[str, tuple[Scalar, Node]]]:
    """Every `layers` with its path; those of blocks that stand on lines of their own."""
    if not isinstance(root, Mapping):
        return
    if "layers" in root.entries:
        key, node = root.entries["layers"]
        if root.flow:
            hint = "write the sections of the spec on lines of their own"
            raise _refused("layers", key, "layers stands inside of { }", hint)
        if not _included(node):
            yield "layers", (key, node)
    blocks = _own_blocks(root)
    for name, (_, block) in blocks.entries.items() if isinstance(blocks, Mapping) and not blocks.flow else ():
        if isinstance(block, Mapping) and not block.flow and "layers" in block.entries:
            key, node = block.entries["layers"]
            if not _included(node):
                yield f"blocks.{name}.layers", (key, node)


def _included(node: Node) -> bool:
    """Whether a value is that of another file."""
    return isinstance(node, Mapping) and KEY in node.entries


def _own_blocks(root: Mapping) -> Node | None:
    """The blocks that stand in this text: those of a spec, or of a file that specs include."""
    included = "layers" not in root.entries and all(
        isinstance(block, Mapping) and "layers" in block.entries for _, block in root.entries.values()
    )
    return root if included else root.get("blocks")


def _section(text: str, path: str, key: Scalar, node: Node, anchors: list[tuple[int, int]], blocks: Blocks) -> Section:
    stop = _content_end(text, node)
    for index, line in anchors:
        if key.start <= index < max(stop, text.find("\n", key.end)):
            message = f"line {line + 1} has an anchor or an alias, which other notations cannot hold"
            raise _refused(path, key, message, "write the row out")
    end = text.find("\n", stop)
    end = len(text) if end < 0 else end - 1 if text[end - 1] == "\r" else end
    if isinstance(node, Scalar):
        rows, headings, end = _table_rows(node, text, blocks, path)
        comment = BLOCK_COMMENT.match(text, node.start)
        return Section(path, key, node, rows, headings, comment[1].rstrip() if comment else "", end)
    assert isinstance(node, Sequence)
    rows = [from_node(item, blocks, path) for item in node.items]
    comment_text = _attach(text, key, node, rows, end)
    return Section(path, key, node, rows, {}, comment_text, end)


def _blocks(root: Mapping, file: str) -> Blocks:
    """The parameters of every block of the spec, included ones among them."""
    found = _own_blocks(root)
    if found is None:
        return {}
    blocks = with_includes(found, Path(file))
    inside = {name: block for name, (_, block) in blocks.entries.items()} if isinstance(blocks, Mapping) else {}
    parameters = {name: block.get("parameters") for name, block in inside.items() if isinstance(block, Mapping)}
    return {name: tuple(each.entries) if isinstance(each, Mapping) else () for name, each in parameters.items()}


def _refused(path: str, key: Scalar, message: str, hint: str) -> SpecError:
    return SpecError([Problem(message, hint, path, key.position)])


def _content_end(text: str, node: Node) -> int:
    """The index behind the last sign of a value; a block of text ends where its last line does."""
    last = node
    while not isinstance(last, Scalar) and not last.flow:
        last = last.items[-1] if isinstance(last, Sequence) else list(last.entries.values())[-1][1]
    if isinstance(last, Scalar) and last.style in ("|", ">"):
        return last.start + len(text[last.start : last.end].rstrip())
    return last.end


def _table_rows(node: Scalar, text: str, blocks: Blocks, path: str) -> tuple[list[WrittenRow], dict[str, str], int]:
    """The rows of a table, what heads its columns, and the index of the end of its last line that is no comment."""
    table = split_table(node, path)
    rows = []
    for line in table.lines:
        cells = {column: cell.strip() for column, (cell, _) in line_cells(table, line, node, path).items()}
        label = cells.pop("layer", "")
        row = WrittenRow(cells, node.place(line.offset), leading=list(line.above), blocks=blocks, path=path)
        if not is_empty(label):
            named = label.isascii() and label.isidentifier()
            row.name, row.label = (label, None) if named else (None, label)
        rows.append(row)
    last = node.source.starts[node.place(table.end).line - node.source.line]
    stop = text.find("\n", last)
    end = len(text) if stop < 0 else stop - (text[stop - 1] == "\r")
    return rows, dict(zip(table.columns, table.headings, strict=False)), end


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _scalars(item)
    else:
        for key, value in node.entries.values():
            yield key
            yield from _scalars(value)


def _start(node: Node) -> int:
    return min(scalar.start for scalar in _scalars(node))


def _attach(text: str, key: Scalar, node: Sequence, rows: list[WrittenRow], end: int) -> str:
    """Give every comment and blank line up to `end` to its row, and return the comment behind the key."""
    starts = [_start(item) for item in node.items]
    stops = [_content_end(text, item) for item in node.items]
    behind_key = ""
    for index, comment in _comments(text, key.end, end, node):
        alone = not comment or not text[text.rfind("\n", 0, index) + 1 : index].strip()
        owner = next((at for at, stop in enumerate(stops) if index < stop), len(rows))
        if not alone and owner and "\n" not in text[stops[owner - 1] : index]:
            owner -= 1  # it stands on the last line of the row above
        row = rows[min(owner, len(rows) - 1)]
        begun = owner < len(rows) and starts[owner] < index
        if not alone and not owner and not begun and "\n" not in text[key.end : index]:
            behind_key = comment
        elif (
            not alone
            and begun
            and not row.trailing
            and _on_first_or_last_line(text, starts[owner], index, stops[owner])
        ):
            row.trailing, row.aligned = comment, _width(text[text.rfind("\n", 0, index) + 1 : index])
        else:
            row.leading.append(comment)
    return behind_key


def _on_first_or_last_line(text: str, start: int, index: int, stop: int) -> bool:
    return "\n" not in text[start:index] or (index >= stop and "\n" not in text[stop:index])


def _comments(text: str, begin: int, end: int, node: Node) -> Iterator[tuple[int, str]]:
    """Every comment (and every blank line between rows, as an empty one) with its index, in order."""
    for scalar in [*_scalars(node), None]:
        gap_end = min(scalar.start, end) if scalar else end
        for match in re.finditer(r"#[^\r\n]*|\n[ \t\r]*(?=\n)", text[begin:gap_end]):
            yield begin + match.start(), match[0].strip()
        if scalar is not None:
            behind = BLOCK_COMMENT.match(text, scalar.start) if scalar.style in ("|", ">") else None
            if behind:
                yield behind.start(1), behind[1].rstrip()
            begin = scalar.end


def _width(text: str) -> int:
    """How many columns a text takes on a screen, where the signs of Korean, Chinese and Japanese take two."""
    return len(text) + sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _aligned(lines: list[list[str]]) -> list[str]:
    """Cells side by side, each column as wide as its widest cell that is no long option at the end; nothing trails."""

    def width(at: int) -> int:
        cells = (line[at] for line in lines if at < len(line) and not (line[at] == line[-1] and _sprawls(line[at])))
        return max(map(_width, cells), default=0)

    widths = list(map(width, range(len(COLUMNS))))
    return [
        " | ".join(_padded(cell, width) for cell, width in zip(line, widths, strict=False)).rstrip() for line in lines
    ]


def _sprawls(cell: str) -> bool:
    """Whether a cell holds options that nothing beside them should make room for, such as a list of rows."""
    return "=" in cell and len(cell) > SHORT_OPTIONS


def _is_heading(comment: str) -> bool:
    """Whether a comment above the rows names their columns."""
    cells = comment.removeprefix("#").split("|")
    return len(cells) > 1 and all(
        HEADINGS.get(cell.strip().casefold()) == column for cell, column in zip(cells, COLUMNS, strict=False)
    )


def _pipes(section: Section, indent: str) -> tuple[str, list[str]]:
    names = [f"{yaml_text(row.name)}:" if row.name is not None else "" for row in section.rows]
    width = max(map(len, names))
    cells = []
    for row, name in zip(section.rows, names, strict=True):
        first, *others = to_pipes(row)
        cells.append([f"{name.ljust(width)} {first}" if name else first, *others])
    headings = {
        comment: [cell.strip() for cell in comment.removeprefix("#").split("|")]
        for row in section.rows
        for comment in row.leading
        if _is_heading(comment)
    }
    aligned = _aligned(cells + list(headings.values()))
    heads = dict(zip(headings, aligned[len(cells) :], strict=True))
    written = [
        f"{indent}- {_plain_row(name, text, raw)}" for name, text, raw in zip(names, aligned, cells, strict=False)
    ]
    # Comments that stood in one column stand in one again.
    longest: dict[int | None, int] = {}
    for row, line in zip(section.rows, written, strict=True):
        longest[row.aligned] = max(longest.get(row.aligned, 0), _width(line)) if row.aligned is not None else 0
    lines = []
    for row, line in zip(section.rows, written, strict=True):
        lines += [f"{indent}# {heads[each]}" if each in heads else _comment_line(indent, each) for each in row.leading]
        lines.append(_with_comment(_padded(line, longest[row.aligned]), row))
    return ":", lines


def _plain_row(name: str, text: str, cells: list[str]) -> str:
    """An aligned row, quoted as a whole where YAML would read it as anything else."""
    content = text[len(name) :].strip() if name else text
    try:
        root = read(f"- {text}", "")
    except SpecError:
        root = None
    item = root.items[0] if isinstance(root, Sequence) and len(root.items) == 1 else None
    if name and isinstance(item, Mapping) and len(item.entries) == 1:
        [(_, item)] = item.entries.values()
    if isinstance(item, Scalar) and not item.style and item.text == content:
        return text
    bare = " | ".join([cells[0][len(name) :].strip(), *cells[1:]])
    return f"{name} {json.dumps(bare, ensure_ascii=False)}".strip()


def _comment_line(indent: str, comment: str) -> str:
    return indent + comment if comment else ""


def _with_comment(line: str, row: WrittenRow) -> str:
    comments = [f"# layer {row.label}"] if row.label else []
    comments += [row.trailing] if row.trailing else []
    return f"{line}  {'  '.join(comments)}" if comments else line


def _mapping(section: Section, indent: str) -> tuple[str, list[str]]:
    lines = []
    for row in section.rows:
        entries = to_mapping(row)
        name = f"{yaml_text(row.name)}:" if row.name is not None else ""
        lines += [_comment_line(indent, comment) for comment in row.leading]
        flow = f"{indent}- {name} {{{', '.join(f'{key}: {value}' for key, value in entries.items())}}}".replace(
            "-  {", "- {"
        )
        if len(flow) <= LINE_LENGTH:
            lines.append(_with_comment(flow, row))
            continue
        inner = [f"{key}: {value}" for key, value in entries.items()]
        if name:
            lines.append(_with_comment(f"{indent}- {name}", row))
            lines += [f"{indent}    {entry}" for entry in inner]
        else:
            lines += [_with_comment(f"{indent}- {inner[0]}", row), *(f"{indent}  {entry}" for entry in inner[1:])]
    return ":", lines


def _table(section: Section, indent: str) -> tuple[str, list[str]]:
    del indent  # a block of text is indented from its key
    comments: list[list[str]] = []
    lines: list[dict[str, str]] = []
    for row in section.rows:
        label = LABEL.fullmatch(row.trailing)
        comments.append([*row.leading, *([row.trailing] if row.trailing and not label else [])])
        if row.name is not None and not (row.name.isascii() and row.name.isidentifier()):
            raise row.refuse(f"the name {row.name!r} cannot stand in a table", "a name is an identifier there")
        layer = row.name or row.label or (label[1] if label else "")
        cells = {"layer": layer, **{column: row.cell(column) for column in {*COLUMNS, *row.cells}}}
        if any("\n" in cell for cell in cells.values()):
            raise row.refuse("a cell of this row has several lines, which a table cannot hold")
        lines.append(cells)
    columns = list(section.headings) or [
        column for column in ("layer", *COLUMNS) if column == "type" or any(cells[column] for cells in lines)
    ]
    columns = [column for column in columns if column]
    head = {column: section.headings.get(column, column) for column in columns}
    widths = {column: max(_width(cells[column] or "-") for cells in [head, *lines]) for column in columns}
    written = [_table_line(head, widths, ""), "|" + "|".join("-" * (width + 2) for width in widths.values()) + "|"]
    for above, cells in zip(comments, lines, strict=True):
        written += [*above, _table_line(cells, widths, "-")]
    return ": |", [(" " * (section.key.column + 2) + line).rstrip() for line in written]


def _table_line(cells: dict[str, str], widths: dict[str, int], empty: str) -> str:
    shown = (cells[column] or ("" if column == "layer" else empty) for column in widths)
    return "| " + " | ".join(_padded(cell, width) for cell, width in zip(shown, widths.values(), strict=True)) + " |"
