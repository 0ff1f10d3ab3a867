"""Network -> the source text of one Keras module: a function that builds the model, and one for each block."""

from __future__ import annotations

import re
from collections.abc import Sequence

from netspec.codegen.outline import Scope, outline
from netspec.codegen.source import classes_line, file_docstring, flow_docstring, format_source, module_name, plain_text
from netspec.codegen.template import settled
from netspec.network import Network
from netspec_keras.blocks import Blocks
from netspec_keras.body import Body
from netspec_keras.realised import Rendering

ENTRY = "build_model"
"""The name of the function that builds the model."""
USAGE = """\
With the weights that lie beside this file:

    model = {entry}()
    model.load_weights("{archive}")

The archive is the whole model too:

    model = keras.saving.load_model("{archive}")"""


CONFIG, WEIGHTS = "config.json", "model.weights.h5"
"""Members of a .keras archive."""


def archive_name(network: Network) -> str:
    """The name of the .keras file."""
    return f"{network.name}.keras"


def render(network: Network) -> str:
    """The module, importing only Keras, formatted as `ruff format` leaves it.

    Raises UnsupportedError for what has no rule.
    """
    rendering, whole = Rendering(network), outline(network)
    blocks = Blocks(rendering, whole, taken={ENTRY, "CLASSES"})
    body = Body(rendering, whole, tuple(network.outputs.values()), made=blocks.made, taken=blocks.names)
    return format_source(_module(network, body, blocks.functions))


def render_taps(network: Network, feed: Sequence[str] = ()) -> str:
    """One function that builds the network with the result of every row as an output, in the order of the rows.

    Each row named in `feed` whose result is read gets an input of its own after the network's inputs, in the order
    of the rows, which its readers read instead.
    """
    results = tuple(row.result for row in network.rows)
    fed = {row.result: row.name for row in network.rows if row.name in fed_rows(network, feed)}
    return _module(network, Body(Rendering(network), Scope(items=list(network.rows)), results, fed=fed), [])


def fed_rows(network: Network, feed: Sequence[str]) -> list[str]:
    """The rows that get an input in `render_taps`, in its order."""
    return [row.name for row in network.rows if row.name in feed and network.consumers[row.result]]


def _module(network: Network, body: Body, functions: Sequence[str]) -> str:
    inputs, outputs = _listed(body.arguments), _listed(body.results)
    lines = [*_inputs(network, body), *body.written]
    lines.append(f'return keras.Model({inputs}, {outputs}, name="{module_name(network.name)}")')
    archive = plain_text(archive_name(network))
    statements = "".join(f"    {line}\n" for line in lines)
    code = re.sub(r"(?m)^\s*#.*", "", settled("\n".join([*functions, statements])))
    used = [name for name in ("layers", "ops") if f"{name}." in code]
    parts = [
        file_docstring(network, "Keras", USAGE.format(entry=ENTRY, archive=archive)),
        "import keras" + (f"\nfrom keras import {', '.join(used)}" if used else ""),
        classes_line(network),
        *functions,
        f"def {ENTRY}() -> keras.Model:\n    {flow_docstring(network, 'last')}\n{statements}",
    ]
    return settled("\n\n".join(part for part in parts if part))


def _inputs(network: Network, body: Body) -> Sequence[str]:
    """The inputs of the model, those of rows that are fed behind the network's own."""
    shapes = {name: kind.shape for name, kind in network.inputs.items()}
    shapes |= {variable: network.types[value].shape for value, variable in body.fed.items()}
    return [
        f'{variable} = keras.Input({shape}, name="{name}")'
        for variable, (name, shape) in zip(body.arguments, shapes.items(), strict=True)
    ]


def _listed(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"[{', '.join(values)}]"
