"""The command line itself: what every command is one of, and how one is declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from netspec.cli.console import say
from netspec.cli.pages import CommandPage, Contents

F = TypeVar("F", bound=Callable[..., Any])


def _say_version(wanted: bool) -> None:
    if wanted:
        from netspec import __version__

        say(f"netspec {__version__}")
        raise typer.Exit


app = typer.Typer(
    epilog="Begin with `netspec check specs/digits-cnn.yaml`, then `netspec show` and `netspec build` it; "
    "`netspec COMMAND --help` has examples.\n\n"
    "Exit status: 0 fine; 1 verification or an expectation failed, or there are differences; 2 the spec or the "
    "arguments are wrong, or a file cannot be read or written; 3 a backend is missing or did not answer; 130 or 143 "
    "interrupted.",
    cls=Contents,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(group: str, *lines: str, name: str | None = None) -> Callable[[F], F]:
    """A function as a command of a group; the lines are examples of it, each below what it is for."""
    return app.command(name, cls=CommandPage, rich_help_panel=group, epilog="\n".join(lines))


@app.callback()
def version(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A neural network as a table of layers in YAML: compiled to PyTorch, Keras and ONNX, and proven equal."""
