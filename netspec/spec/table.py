"""Tables as documents have them: a header that names the columns in any order and language, then a row a line."""

from __future__ import annotations

import re
from typing import NamedTuple

from netspec.errors import Problem, SpecError, did_you_mean
from netspec.layers import KINDS
from netspec.layers.base import SYNONYMS
from netspec.notation import NotationError, is_empty, split_outside
from netspec.spec.reader import Scalar
from netspec.spec.row import Row
from netspec.spec.rows import RowError, check_length, gather, read_cells

# The words that documents use for each column: English, Korean, Chinese, Japanese, German, French, Spanish, Portuguese.
HEADERS: dict[str, tuple[str, ...]] = {
    "layer": (
        *("layer", "layers", "no", "nr", "number", "#", "name", "row", "layer name", "layer no", "layer number"),
        *(
            "층",
            "층수",
            "층 번호",
            "레이어",
            "계층",
            "번호",
            "이름",
            "层",
            "层数",
            "层号",
            "序号",
            "名称",
            "層",
            "層数",
            "番号",
            "名前",
        ),
        *("レイヤー", "schicht", "nummer", "couche", "numéro", "capa", "número", "camada"),
    ),
    "type": (
        *("type", "kind", "layer type", "layer kind", "type of layer", "operation", "op", "operator"),
        *("종류", "타입", "유형", "층 종류", "레이어 종류", "类型", "层类型", "种类", "種類", "タイプ", "層の種類"),
        *("typ", "art", "schichttyp", "genre", "type de couche", "tipo", "tipo de capa", "tipo de camada"),
    ),
    "size": (
        *("size", "sizes", "dimension", "dimensions"),
        *("크기", "사이즈", "尺寸", "大小", "サイズ", "大きさ", "größe", "grösse", "taille", "tamaño", "tamanho"),
    ),
    "activation": (
        *("activation", "activation function", "act", "nonlinearity"),
        *("활성화", "활성화 함수", "활성 함수", "활성함수", "激活", "激活函数", "活性化", "活性化関数"),
        *("aktivierung", "aktivierungsfunktion", "fonction d'activation", "activación", "función de activación"),
        *("ativação", "função de ativação"),
    ),
    "options": (
        *("options", "option", "arguments", "settings"),
        *("옵션", "설정", "选项", "参数", "オプション", "設定", "optionen", "opciones", "opções"),
    ),
}
RESULTS = (
    "output",
    "output shape",
    "shape",
    "param",
    "params",
    "param #",
    "parameters",
    "출력",
    "출력 크기",
    "파라미터 수",
)
RULE, AROUND_RULE = frozenset("-=_─━═"), frozenset(" \t\r|:+┌┬┐├┼┤└┴┘┏┳┓┣╋┫┗┻┛┡╇┩╭╮╰╯╔╦╗╠╬╣╚╩╝╪╞╡")
BOXES = str.maketrans("│┃║", "|||")
MARKUP = re.compile(r"""'[^']*'|"[^"]*"|`+|\*{2,}""")
EMPHASIS = re.compile(r"\s*([*_]{1,2})(?=\S).*(?<=\S)\1\s*", re.DOTALL)
EXAMPLE = "the first line names the columns: layer | type | size | activation | options"


def _fold(heading: str) -> str:
    return " ".join(re.sub(r"[*`_.:]", " ", heading).casefold().split()).replace("활성화함수", "활성화 함수")


COLUMNS = {_fold(word): column for column, words in HEADERS.items() for word in words}
FIELDS = {field for layer in KINDS.values() for field in layer.defaults}
OPTIONS = {_fold(option): option for option in sorted({*FIELDS, *SYNONYMS})}
"""The options that may head a column of their own, also under the names that frameworks have for them."""
AS_SIZE = ("filters", "units")


class Line(NamedTuple):
    """A line of a table: its text without outer pipes, where that begins in the block, and what stands above it."""

    text: str
    offset: int
    above: tuple[str, ...] = ()
    """The comments and, as empty ones, the blank lines between it and the row above."""

    def cells(self, scalar: Scalar, path: str) -> list[tuple[str, int]]:
        """The cells with the offset at which each begins in the block; raises RowError."""
        check_length(self.text, lambda at: scalar.place(self.offset + at), path)
        try:
            return [(cell, self.offset + at) for cell, at in split_outside(self.text, "|")]
        except NotationError as error:
            raise RowError(Problem(error.message, error.hint, path, scalar.place(self.offset + error.offset))) from None


class Table(NamedTuple):
    """A table that has been taken apart: the columns, what heads each, and the lines below the header."""

    columns: tuple[str, ...]
    headings: tuple[str, ...]
    lines: tuple[Line, ...]
    end: int
    """The index in the block behind its last line that is not blank or a comment."""


def split_table(scalar: Scalar, path: str) -> Table:
    """The columns and lines of a pasted table; raises RowError when its header cannot be read."""
    lines, end = _lines(scalar.text.translate(BOXES))
    if not lines:
        raise RowError(Problem("the table has no header", EXAMPLE, path, scalar.position))
    header = lines[0]
    outer = header.text.lstrip().startswith("|")
    lines = [_without_outer_pipe(line) if outer else line for line in lines]
    headings = lines[0].cells(scalar, path)
    columns = [_column(cell, scalar, at, path) for cell, at in headings]
    while columns and columns[-1] == "":
        columns.pop()
    sizes = [column for column in columns if column in ("size", *AS_SIZE)]
    if len(sizes) == 1:  # the only column of sizes serves rows of every kind
        columns[columns.index(sizes[0])] = "size"
    named = [column for column in columns if column]
    for column in named:
        if named.count(column) > 1:
            message = f"two columns of the table mean the {column}"
            raise RowError(Problem(message, EXAMPLE, path, scalar.place(lines[0].offset)))
    if "type" not in named:
        message = "the header of the table names no column `type`"
        raise RowError(Problem(message, EXAMPLE, path, scalar.place(lines[0].offset)))
    return Table(tuple(columns), tuple(cell.strip() for cell, _ in headings), tuple(lines[1:]), end)


def _lines(text: str) -> tuple[list[Line], int]:
    """The header and the rows, each with the comments above it, and the index behind the last line that is no comment.

    A line that begins with '#' is a comment, but for a header: there '#' may name the column of numbers.
    """
    lines: list[Line] = []
    above: list[str] = []
    offset = end = 0
    for line in text.split("\n"):
        if not line.strip():
            above += [""] if lines else []
        elif line.lstrip().startswith("#") and (lines or "|" not in line):
            above.append(line.strip())
        else:
            end = offset + len(line)
            if not _is_rule(line):
                # What stands above the header moves below it, for a header has no row that it could belong to.
                lines.append(Line(line, offset, tuple(above) if lines else ()))
                above = above if len(lines) == 1 else []
        offset += len(line) + 1
    return lines, end


def _is_rule(text: str) -> bool:
    """Whether a line only separates: `|---|:-:|`, `+====+`."""
    signs = frozenset(text)
    return signs <= RULE | AROUND_RULE and not signs <= AROUND_RULE


def _without_outer_pipe(line: Line) -> Line:
    blanks = len(line.text) - len(line.text.lstrip())
    begin = blanks + 1 if line.text[blanks] == "|" else 0
    return line._replace(text=line.text[begin:], offset=line.offset + begin)


def _column(cell: str, scalar: Scalar, at: int, path: str) -> str:
    """Which column a heading means; an empty heading names none."""
    heading = _fold(cell)
    if not heading:
        return ""
    if heading in COLUMNS:
        return COLUMNS[heading]
    place = scalar.place(at + len(cell) - len(cell.lstrip()))
    if heading in OPTIONS and heading not in RESULTS:
        return OPTIONS[heading]
    if heading in RESULTS:
        message = f"the column {cell.strip()!r} is a result, which the layers give"
        hint = "remove it; published figures go into the section `expect:`"
        raise RowError(Problem(message, hint, path, place))
    message = f"{cell.strip()!r} is not a column of a layer table"
    raise RowError(Problem(message, did_you_mean(heading, (*COLUMNS, *OPTIONS)) or EXAMPLE, path, place))


def read_table(scalar: Scalar, path: str) -> tuple[Row, ...]:
    """The rows of a pasted table, as `gather` has them; raises SpecError where its header is wrong."""
    try:
        table = split_table(scalar, path)
    except RowError as error:
        raise SpecError([error.problem]) from None
    rows = gather(table.lines, lambda line, here: _read_line(table, line, scalar, here), path)
    if not rows:
        raise SpecError([Problem("the table has a header, but no rows", EXAMPLE, path, scalar.position)])
    return rows


def line_cells(table: Table, line: Line, scalar: Scalar, path: str) -> dict[str, tuple[str, int]]:
    """The cells of a line without markup, by the column they belong to; raises RowError for more than columns."""
    cells: dict[str, tuple[str, int]] = {}
    for index, (cell, at) in enumerate(line.cells(scalar, path)):
        column = table.columns[index] if index < len(table.columns) else ""
        if column:
            cells[column] = (_without_markup(cell), at)
        elif not is_empty(cell):
            message = f"the header names no column for {cell.strip()!r}"
            place = scalar.place(at + len(cell) - len(cell.lstrip()))
            raise RowError(
                Problem(
                    message, f"it names {len(table.columns)}: {', '.join(filter(None, table.columns))}", path, place
                )
            )
    return cells


def _without_markup(cell: str) -> str:
    """A cell with blanks in the place of Markdown's backticks and asterisks, so that every sign keeps its place."""
    cell = MARKUP.sub(lambda found: found[0] if found[0][0] in "'\"" else " " * len(found[0]), cell)
    marks = EMPHASIS.fullmatch(cell)
    if not marks:
        return cell
    begin, end, width = marks.start(1), len(cell.rstrip()), len(marks[1])
    blank = " " * width
    return cell[:begin] + blank + cell[begin + width : end - width] + blank + cell[end:]


def _read_line(table: Table, line: Line, scalar: Scalar, path: str) -> Row:
    cells = line_cells(table, line, scalar, path)
    written, at = cells.pop("layer", ("", 0))
    label = written.strip()
    cells.setdefault("type", ("", line.offset + len(line.text) - len(line.text.lstrip())))
    if is_empty(label):
        return read_cells(cells, line.text, scalar.place, path)
    if not (label.isascii() and label.isidentifier()):
        return read_cells(cells, line.text, scalar.place, path, label=label)
    begin = scalar.place(at + len(written) - len(written.lstrip()))
    return read_cells(cells, line.text, scalar.place, path, name=label, name_at=begin)
