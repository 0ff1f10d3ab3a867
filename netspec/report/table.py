"""The layer table of a network, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from netspec.layers import Activation, Layer
from netspec.network import Network, Row
from netspec.report.columns import aligned, megabytes, table
from netspec.report.graph import block_text, output_text, reads

FLOAT_BYTES = 4
HEADER = ("row", "layer", "output", "parameters", "MACs", "KB")
READS_WIDTH = 20
"""Columns that the names of what a row reads may take; more of them go on in lines of their own."""
TABLE_WIDTH = 120
"""Columns beyond which every name has a line of its own, and then the columns stand closer."""
# What the table leaves out: initial values and the small numbers of a normalisation.
UNSAID = {"init", "bias_init", "gamma_init", "beta_init", "alpha_init", "pointwise_init", "epsilon", "momentum"}


def show_text(network: Network, batch: int = 1) -> str:
    """The layer table: each row's layer, output, weights, MACs and memory of its output, then the totals.

    Rows of a block stand below it; its own line has what it gives, and how many weights they have in all. In a network
    that is no chain, `reads` names what a row reads, where that is not the row above. MACs and the KB of a row are
    those of one sample; the sizes in MB are those of a batch, as torchsummary gives them: float32, an MB is 1024^2
    bytes, and each row's output counts twice, for the forward and backward pass.
    """
    inputs = ", ".join(f"{name} {given}" for name, given in network.inputs.items())
    activations = sum(row.output.size for row in network.rows)
    lines = [
        f"{network.name}: {inputs} -> {output_text(network)}",
        "",
        *_table(network),
        "",
        *aligned(
            [
                ["Total params", f"{network.parameters:,}"],
                ["Trainable params", f"{network.trainable:,}"],
                ["Non-trainable params", f"{network.non_trainable:,}"],
                ["MACs per sample", f"{network.macs:,}"],
            ],
            right=(1,),
        ),
        "",
        f"Sizes in MB for a batch of {batch:,} (float32)",
        *aligned([[name, megabytes(size)] for name, size in sizes(network, batch).items()], right=(1,)),
        f"The pass counts every row's output, {activations:,} values a sample, twice;",
        f"a summary that lists fewer than these {len(network.rows)} rows counts less.",
    ]
    return "\n".join(lines)


def sizes(network: Network, batch: int = 1) -> dict[str, int]:
    """The sizes that torchsummary prints, in bytes."""
    given = batch * sum(kind.size for kind in network.inputs.values()) * FLOAT_BYTES
    passes = 2 * batch * sum(row.output.size for row in network.rows) * FLOAT_BYTES
    weights = network.parameters * FLOAT_BYTES
    return {
        "Input size": given,
        "Forward/backward pass": passes,
        "Params size": weights,
        "Estimated total size": given + passes + weights,
    }


def show_json(network: Network) -> dict[str, Any]:
    """The layer table as plain data; shapes are lists without the batch, channels last.

    `reads` are names of rows and inputs; a block's rows are those whose names begin with its own and a dot.
    """
    rows = {name: name for name in network.inputs} | {row.result: row.name for row in network.rows}
    return {
        "name": network.name,
        "inputs": {name: list(given.shape) for name, given in network.inputs.items()},
        "outputs": {name: rows[value] for name, value in network.outputs.items()},
        "rows": [
            {
                "name": row.name,
                "kind": row.kind,
                "reads": [rows[value] for value in row.nodes[0].inputs],
                "output": list(row.output.shape),
                "parameters": row.parameters,
                "trainable": row.trainable,
                "non_trainable": row.non_trainable,
                "macs": row.macs,
            }
            for row in network.rows
        ],
        "blocks": [
            {
                "name": use.name,
                "block": use.block,
                "parameters": dict(use.parameters),
                "reads": [rows[value] for value in use.inputs],
                "result": rows[use.result],
            }
            for use in network.uses
        ],
        "totals": {
            "parameters": network.parameters,
            "trainable": network.trainable,
            "non_trainable": network.non_trainable,
            "macs": network.macs,
        },
    }


def row_text(row: Row) -> str:
    """A row's layer with its arguments and its activation, short; and that it is frozen, where it has weights."""
    return f"{_row_layers(row)}, frozen" if _all_frozen([row]) else _row_layers(row)


def _row_layers(row: Row) -> str:
    return ", ".join(layer_text(node.layer, node.output.rank) for node in row.nodes)


def layer_text(layer: Layer, rank: int) -> str:
    """A resolved layer with what distinguishes it from the plain one of its kind, for a result of this rank.

    >>> from netspec.layers import Conv
    >>> layer_text(Conv(filters=32, kernel=(3, 3), stride=(2, 2), padding=((0, 1), (0, 1))), 3)
    'Conv 32, 3x3, stride 2, pad 0+1'
    """
    if isinstance(layer, Activation):
        return _activation_text(layer, rank)
    size = [name for name in layer.positional if name != "axis"]
    said = [_value_text(getattr(layer, name)) for name in size]
    for name, default in layer.defaults.items():
        value = getattr(layer, name)
        if name in size or name in UNSAID or _is_plain(layer, name, _from_the_end(name, value, rank), default):
            continue
        said.append(_option_text(name, value))
    return f"{layer.kind} {', '.join(said)}".strip()


def _from_the_end(name: str, value: Any, rank: int) -> Any:
    """An axis, or several, as the defaults write them: -1 is the last."""
    if name != "axis" or value is None:
        return value
    return tuple(axis - rank - 1 for axis in value) if isinstance(value, tuple) else value - rank - 1


def _activation_text(layer: Activation, rank: int) -> str:
    if layer.approximate == "tanh":
        return f"{layer.function}(tanh)"
    if layer.axis is not None and _from_the_end("axis", layer.axis, rank) != -1:
        return f"{layer.function}(axis={layer.axis})"
    argument = layer.slope if layer.slope is not None else layer.alpha
    return layer.function if argument in (None, 1) else f"{layer.function}({argument:g})"


def _table(network: Network) -> list[str]:
    """The table itself, with a column `reads` where the network is no chain."""
    if not any(reads(network).values()):
        rows = [[name, *cells] for name, _, *cells in _lines(network, 0)]
        return table(HEADER, rows, right=(3, 4, 5))
    header = (HEADER[0], "reads", *HEADER[1:])
    lines: list[str] = []
    for width, gap in ((READS_WIDTH, "  "), (0, "  "), (0, " ")):
        lines = table(header, list(_lines(network, width)), right=(4, 5, 6), gap=gap)
        if max(map(len, lines)) <= TABLE_WIDTH:
            break
    return lines


def _lines(network: Network, width: int) -> Iterator[list[str]]:
    """The lines of the table: a row's cells, and before the rows of a block, the block; `width` is that of `reads`."""
    read, blocks = reads(network), {use.name: use for use in network.uses}
    frozen = {name for name in blocks if _all_frozen(network.named[name])}
    for row in network.rows:
        head = row.name.partition(".")[0]
        if head in blocks:
            use = blocks.pop(head)
            text = block_text(use) + (", frozen" if head in frozen else "")
            inside = sum(each.parameters for each in network.named[head])
            subtotals = [str(network.types[use.result]), f"{inside:,}" if inside else "-"]
            yield from _beside(head, _wrapped(read[head], width), [text, *subtotals, "", ""])
        name = row.name if head == row.name else f"  {row.name.removeprefix(f'{head}.')}"
        text = _row_layers(row) if head in frozen else row_text(row)
        yield from _beside(name, _wrapped(read[row.name], width), [text, *_cells(row)])


def _all_frozen(rows: Sequence[Row]) -> bool:
    weighty = [row for row in rows if row.parameters]
    return bool(weighty) and all(row.nodes[0].frozen for row in weighty)


def _beside(name: str, read: Sequence[str], cells: list[str]) -> Iterator[list[str]]:
    """A line with the name, the first of what is read and the cells; then one for each of the others."""
    yield [name, read[0], *cells]
    yield from (["", each, *[""] * len(cells)] for each in read[1:])


def _wrapped(names: Sequence[str], width: int) -> list[str]:
    """The names, separated by commas, in lines that are as long as fits."""
    lines = [""]
    for index, name in enumerate(names):
        word = name if index == len(names) - 1 else f"{name},"
        longer = f"{lines[-1]} {word}".strip()
        lines[-1:] = [longer] if len(longer) <= width or not lines[-1] else [lines[-1], word]
    return lines


def _cells(row: Row) -> list[str]:
    kilobytes = row.output.size * FLOAT_BYTES / 1024
    weights = f"{row.parameters:,}" if row.parameters else "-"
    macs = f"{row.macs:,}" if row.macs else "-"
    return [str(row.output), weights, macs, f"{kilobytes:,.2f}"]


def _is_plain(layer: Layer, name: str, value: Any, default: Any) -> bool:
    if name == "padding":
        return not any(map(any, value))
    if name == "stride" and "size" in layer.defaults:
        return bool(value == getattr(layer, "size"))  # noqa: B009 - pools alone have both
    if isinstance(value, tuple) and isinstance(default, tuple) and len(default) == 1:
        return bool(value == default * len(value))
    return bool(value == default)


def _option_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name.replace("_", " ") if value else f"no {name}"
    word = "pad" if name == "padding" else name
    alike = name in ("stride", "dilation") and len(set(value)) == 1
    return f"{word} {value[0] if alike else _value_text(value)}"


def _value_text(value: Any) -> str:
    if not isinstance(value, tuple):
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if value and isinstance(value[0], tuple):  # (begin, end) of every axis
        pads = [str(begin) if begin == end else f"{begin}+{end}" for begin, end in value]
        if len(set(pads)) == 1:
            return pads[0]
        return f"({', '.join(pads)})" if any("+" in pad for pad in pads) else "x".join(pads)
    if all(isinstance(item, int) for item in value):
        return "x".join(map(str, value))
    return "(" + ", ".join(f"{item:.4g}" for item in value) + ")"
