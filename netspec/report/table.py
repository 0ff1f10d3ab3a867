"""The layer table of a network, for people and for programs."""

from __future__ import annotations

from typing import Any

from netspec.layers import Activation, Layer
from netspec.network import Network, Row
from netspec.report.columns import aligned, megabytes, table

FLOAT_BYTES = 4
HEADER = ("row", "layer", "output", "parameters", "MACs", "KB")
# What the table leaves out: initial values and the small numbers of a normalisation.
UNSAID = {"init", "bias_init", "gamma_init", "beta_init", "alpha_init", "pointwise_init", "epsilon", "momentum"}


def show_text(network: Network, batch: int = 1) -> str:
    """The layer table: each row's layer, output, weights, MACs and memory of its output, then the totals.

    MACs and the KB of a row are those of one sample; the sizes in MB are those of a batch, as torchsummary gives them:
    float32, an MB is 1024^2 bytes, and each row's output counts twice, for the forward and the backward pass.
    """
    inputs = ", ".join(f"{name} {given}" for name, given in network.inputs.items())
    rows = [_cells(row) for row in network.rows]
    activations = sum(row.output.size for row in network.rows)
    lines = [
        f"{network.name}: {inputs} -> {network.output_type}",
        "",
        *table(HEADER, rows, right=(3, 4, 5)),
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
        f"a summary that lists fewer than these {len(rows)} rows counts less.",
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
    """The layer table as plain data; shapes are lists without the batch, channels last."""
    return {
        "name": network.name,
        "rows": [
            {
                "name": row.name,
                "kind": row.kind,
                "output": list(row.output.shape),
                "parameters": row.parameters,
                "trainable": row.trainable,
                "non_trainable": row.non_trainable,
                "macs": row.macs,
            }
            for row in network.rows
        ],
        "totals": {
            "parameters": network.parameters,
            "trainable": network.trainable,
            "non_trainable": network.non_trainable,
            "macs": network.macs,
        },
    }


def row_text(row: Row) -> str:
    """A row's layer with its arguments and its activation, short."""
    return ", ".join(layer_text(node.layer) for node in row.nodes)


def layer_text(layer: Layer) -> str:
    """A resolved layer with what distinguishes it from the plain one of its kind.

    >>> from netspec.layers import Conv
    >>> layer_text(Conv(filters=32, kernel=(3, 3), stride=(2, 2), padding=((0, 1), (0, 1))))
    'Conv 32, 3x3, stride 2, pad 0+1'
    """
    if isinstance(layer, Activation):
        return _activation_text(layer)
    said = [_value_text(getattr(layer, name)) for name in layer.positional]
    for name, default in layer.defaults.items():
        value = getattr(layer, name)
        if name in layer.positional or name in UNSAID or _is_plain(layer, name, value, default):
            continue
        said.append(_option_text(name, value))
    return f"{layer.kind} {', '.join(said)}".strip()


def _activation_text(layer: Activation) -> str:
    if layer.approximate == "tanh":
        return f"{layer.function}(tanh)"
    argument = layer.slope if layer.slope is not None else layer.alpha
    return layer.function if argument in (None, 1) else f"{layer.function}({argument:g})"


def _cells(row: Row) -> list[str]:
    kilobytes = row.output.size * FLOAT_BYTES / 1024
    weights = f"{row.parameters:,}" if row.parameters else "-"
    macs = f"{row.macs:,}" if row.macs else "-"
    return [row.name, row_text(row), str(row.output), weights, macs, f"{kilobytes:,.2f}"]


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
        return pads[0] if len(set(pads)) == 1 else "(" + ", ".join(pads) + ")"
    if all(isinstance(item, int) for item in value):
        return "x".join(map(str, value))
    return "(" + ", ".join(f"{item:.4g}" for item in value) + ")"
