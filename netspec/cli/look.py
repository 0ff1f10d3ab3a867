"""The commands that look at a spec, its rows and its data: their arguments and exit codes, no logic."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer

from netspec.cli.app import command
from netspec.cli.arguments import (
    Drawing,
    Drawn,
    Findings,
    Format,
    Notation,
    Output,
    Report,
    Sets,
    SpecPath,
    SpecPaths,
    Variant,
    load_chosen,
)
from netspec.cli.console import say, say_json, show_error
from netspec.cli.pages import LOOK
from netspec.errors import SpecError


@command(
    LOOK,
    "# Every spec of a folder, in all of its variants",
    "netspec check specs/*.yaml",
    "# What is wrong as annotations of a pull request, in GitHub Actions",
    "netspec check specs/*.yaml --format github",
)
def check(specs: SpecPaths, set_: Sets = None, variant: Variant = None, format_: Findings = Report.text) -> None:
    """Is the spec valid, in each of its variants? Shapes, counts and expectations; imports no framework."""
    from netspec.compile.checked import checked
    from netspec.report.checked import checked_json, checked_text, refused_json

    status, results = 0, []
    for path in specs:
        for name, found in checked(path, set_ or [], variant):
            if isinstance(found, SpecError):
                status = max(status, found.exit_code)
                results.append(refused_json(path, found, name))
                if format_ is not Report.json:
                    show_error(found, format_)
            else:
                results.append(checked_json(path, found, name))
                if format_ is not Report.json:
                    say(checked_text(path, found, name))
    if format_ is Report.json:
        say_json(results)
    raise typer.Exit(status)


@command(
    LOOK,
    "# What a batch of 64 takes",
    "netspec show specs/unet.yaml --batch 64",
    "# The graph, for a README",
    "netspec show specs/unet.yaml --format mermaid",
)
def show(
    spec: SpecPath,
    batch: Annotated[
        int, typer.Option(metavar="N", help="The size of the batch that the memory is given for.", min=1)
    ] = 1,
    set_: Sets = None,
    variant: Variant = None,
    format_: Drawn = Drawing.text,
) -> None:
    """The layer table: output shape, parameters, MACs and memory of every row, and the totals."""
    from netspec.compile import compile_spec
    from netspec.report.table import show_json, show_text

    network = compile_spec(load_chosen(spec, set_, variant))
    if format_ is Drawing.json:
        say_json(show_json(network))
    elif format_ is Drawing.mermaid:
        from netspec.report.mermaid import show_mermaid

        say(show_mermaid(network))
    else:
        say(show_text(network, batch))


@command(
    LOOK, "# The first 30 images of the second epoch", "netspec data specs/digits-cnn.yaml --epoch 2 -o digits.png"
)
def data(
    spec: SpecPath,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The picture. Not given: <name>-data.png, here."),
    ] = None,
    count: Annotated[
        int, typer.Option(metavar="N", help="How many images of the batch to draw, at most 1000.", min=1, max=1000)
    ] = 30,
    epoch: Annotated[int, typer.Option(metavar="N", help="The epoch whose first batch it is.", min=1)] = 1,
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """The data that a spec trains on: its splits and classes, and a picture of a batch, as it is and as augmented."""
    from netspec import preview
    from netspec.compile import compile_spec
    from netspec.inference import predict as work
    from netspec.report.data import data_json, data_text, draw_batch
    from netspec.report.progress import build_progress

    gc.enable()
    loaded = load_chosen(spec, set_, variant)
    network = compile_spec(loaded)
    path = work.check_picture(output or Path(f"{loaded.name}-data.png"))
    with build_progress(loaded.name) as progress:
        dataset = preview.read_data(loaded, network, progress)
    batch = preview.first_batch(loaded, network, dataset, epoch)
    drawn = draw_batch(batch, dataset, path, count, f"{loaded.name}: the first batch of epoch {epoch}")
    if format_ is Format.json:
        say_json(data_json(dataset, network, path if drawn else None))
    else:
        say(data_text(dataset, network, path if drawn else None))


@command(
    LOOK,
    "# Rows as mappings, on standard output",
    "netspec fmt specs/digits-cnn.yaml --to mapping --stdout",
    "# Are the rows of all specs aligned?",
    "netspec fmt specs/*.yaml --check",
)
def fmt(
    specs: SpecPaths,
    to: Annotated[
        Notation, typer.Option(metavar="pipes|mapping|table", help="The notation that rows are turned into.")
    ] = Notation.pipes,
    check_: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if a file would change.")] = False,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the result instead of writing the file.")] = False,
) -> None:
    """Turn the notations of the layer table into each other, aligned; comments and everything else stay."""
    from netspec.spec.format import format_spec
    from netspec.spec.load import read_text
    from netspec.spec.rewrite import rewrite

    status = 0
    for path in specs:
        try:
            text = read_text(path)
            formatted = format_spec(text, str(path), to.value)
            changes = formatted != text
            status = max(status, check_ and changes)
            if stdout:
                say(formatted, end="")
            elif check_ and changes:
                say(f"{path} would change")
            elif changes:
                rewrite(path, formatted)
                say(f"{path}: written as {to.value}")
        except SpecError as error:
            status = max(status, error.exit_code)
            show_error(error)
    raise typer.Exit(status)
