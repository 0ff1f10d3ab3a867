"""Tables as documents have them: a header that names the columns in any order and language, then a row a line."""

from __future__ import annotations

import re
from typing import NamedTuple

from netspec.errors import Problem, SpecError, did_you_mean
from netspec.notation import NotationError, split_outside
from netspec.spec.reader import MAX_PROBLEMS, Scalar
from netspec.spec.row import Row
from netspec.spec.rows import RowError, check_length, read_cells

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
        *("size", "sizes", "dimension", "dimensions", "units", "filters"),
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
RULE, AROUND_RULE = frozenset("-=_─━"), frozenset(" \t\r|:+")
EXAMPLE = "the first line names the columns: layer | type | size | activation | options"


def _fold(heading: str) -> str:
    return " ".join(re.sub(r"[*`_.:]", " ", heading).casefold().split()).replace("활성화함수", "활성화 함수")


COLUMNS = {_fold(word): column for column, words in HEADERS.items() for word in words}


class Line(NamedTuple):
    """A line of a table: its text without outer pipes, and where that begins in the block."""

    text: str
    offset: int

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


def split_table(scalar: Scalar, path: str) -> Table:
    """The columns and lines of a pasted table; raises RowError when its header cannot be read."""
    lines: list[Line] = []
    offset = 0
    for text in scalar.text.split("\n"):
        if text.strip() and not _is_rule(text):
            lines.append(Line(text, offset))
        offset += len(text) + 1
    if not lines:
        raise RowError(Problem("the table has no header", EXAMPLE, path, scalar.position))
    header = lines[0]
    outer = header.text.lstrip().startswith("|")
    lines = [_without_outer_pipe(line) if outer else line for line in lines]
    headings = lines[0].cells(scalar, path)
    columns = [_column(cell, scalar, at, path) for cell, at in headings]
    while columns and columns[-1] == "":
        columns.pop()
    named = [column for column in columns if column]
    for column in named:
        if named.count(column) > 1:
            message = f"two columns of the table mean the {column}"
            raise RowError(Problem(message, EXAMPLE, path, scalar.place(lines[0].offset)))
    if "type" not in named:
        message = "the header of the table names no column `type`"
        raise RowError(Problem(message, EXAMPLE, path, scalar.place(lines[0].offset)))
    return Table(tuple(columns), tuple(cell.strip() for cell, _ in headings), tuple(lines[1:]))


def _is_rule(text: str) -> bool:
    """Whether a line only separates: `|---|:-:|`, `+====+`."""
    signs = frozenset(text)
    return signs <= RULE | AROUND_RULE and not signs <= AROUND_RULE


def _without_outer_pipe(line: Line) -> Line:
    blanks = len(line.text) - len(line.text.lstrip())
    begin = blanks + 1 if line.text[blanks] == "|" else 0
    return Line(line.text[begin:], line.offset + begin)


def _column(cell: str, scalar: Scalar, at: int, path: str) -> str:
    """Which column a heading means; an empty heading names none."""
    heading = _fold(cell)
    if not heading:
        return ""
    if heading in COLUMNS:
        return COLUMNS[heading]
    place = scalar.place(at + len(cell) - len(cell.lstrip()))
    if heading in RESULTS:
        message = f"the column {cell.strip()!r} is a result, which the layers give"
        hint = "remove it; published figures go into the section `expect:`"
        raise RowError(Problem(message, hint, path, place))
    message = f"{cell.strip()!r} is not a column of a layer table"
    raise RowError(Problem(message, did_you_mean(heading, COLUMNS) or EXAMPLE, path, place))


def read_table(scalar: Scalar, path: str) -> tuple[Row, ...]:
    """The rows of a pasted table; raises SpecError with a problem for every line that is wrong."""
    try:
        table = split_table(scalar, path)
    except RowError as error:
        raise SpecError([error.problem]) from None
    rows: list[Row] = []
    problems: list[Problem] = []
    for line in table.lines:
        try:
            rows.append(_read_line(table, line, scalar, f"{path}.{len(rows) + len(problems)}"))
        except RowError as error:
            problems.append(error.problem)
            if len(problems) == MAX_PROBLEMS:
                break
    if problems:
        raise SpecError(problems)
    if not rows:
        raise SpecError([Problem("the table has a header, but no rows", EXAMPLE, path, scalar.position)])
    return tuple(rows)


def line_cells(table: Table, line: Line, scalar: Scalar, path: str) -> dict[str, tuple[str, int]]:
    """The cells of a line by the column they belong to; raises RowError when there are more than columns."""
    cells: dict[str, tuple[str, int]] = {}
    for index, (cell, at) in enumerate(line.cells(scalar, path)):
        column = table.columns[index] if index < len(table.columns) else ""
        if column:
            cells[column] = (cell, at)
        elif cell.strip() not in ("", "-"):
            message = f"the header names no column for {cell.strip()!r}"
            place = scalar.place(at + len(cell) - len(cell.lstrip()))
            raise RowError(
                Problem(
                    message, f"it names {len(table.columns)}: {', '.join(filter(None, table.columns))}", path, place
                )
            )
    return cells


def _read_line(table: Table, line: Line, scalar: Scalar, path: str) -> Row:
    cells = line_cells(table, line, scalar, path)
    written, at = cells.pop("layer", ("", 0))
    label = written.strip()
    if label in ("", "-"):
        return read_cells(cells, line.text, scalar.place, path)
    if not (label.isascii() and label.isidentifier()):
        return read_cells(cells, line.text, scalar.place, path, label=label)
    begin = scalar.place(at + len(written) - len(written.lstrip()))
    return read_cells(cells, line.text, scalar.place, path, name=label, name_at=begin)
