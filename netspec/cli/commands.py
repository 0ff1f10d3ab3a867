"""All commands, and how each one ends."""

from __future__ import annotations

import os
import sys
from signal import SIGINT, SIGTERM, Signals
from typing import Annotated, Any, NoReturn

import typer

from netspec.cli import build, foreign, inference, look  # noqa: F401 - where the other commands are declared
from netspec.cli.app import app, command
from netspec.cli.arguments import Document, Format, Output
from netspec.cli.console import complain, hush, say, say_json, show_error
from netspec.cli.pages import TOOL, asks_json, usage_text
from netspec.errors import NetspecError
from netspec.interrupt import Terminated, ended_by, on_signals, status_of

# What typer raises for wrong arguments: it exports no name for it, and its home differs between typer's versions.
UsageError: Any = typer.BadParameter.__base__


@command(
    TOOL,
    "# A spec begins with: # yaml-language-server: $schema=netspec.schema.json",
    "netspec schema > netspec.schema.json",
    "# What verify.json holds",
    "netspec schema verify",
)
def schema(
    document: Annotated[
        Document,
        typer.Argument(
            metavar="[spec|verify|against]", help="Of spec files, of verify.json, or of what verify --against finds."
        ),
    ] = Document.spec,
) -> None:
    """Print the JSON Schema of spec files, for editors, or of what `verify` finds out, for programs."""
    if document is Document.spec:
        from netspec.spec.schema import json_schema

        say_json(json_schema())
    else:
        from netspec.verify.schema import against_schema, verdict_schema

        say_json(verdict_schema() if document is Document.verify else against_schema())


@command(TOOL, "# What to put into a bug report", "netspec doctor --format json")
def doctor(format_: Output = Format.text) -> None:
    """Which backends, devices and versions are here."""
    from netspec.backend.doctor import examine
    from netspec.report.doctor import doctor_text

    found = examine()
    if format_ is Format.json:
        say_json(found)
    else:
        say(doctor_text(found))


def _end(by: Signals) -> NoReturn:
    raise ended_by(by)


def _ended(how: str, error: BaseException) -> str:
    return f"netspec: {how}" + (f"; {error}" if str(error) else "")


def main() -> None:
    """Run the command line; whatever ends a command becomes a message and its exit status."""
    # typer's own `app()` would handle Ctrl-C and closed pipes before we could.
    command = typer.main.get_command(app)
    chosen: dict[str, str] = {}
    status = 0
    try:
        try:
            with on_signals(_end), command.make_context("netspec", sys.argv[1:], obj=chosen) as context:
                command.invoke(context)
        except NetspecError as error:
            status = error.exit_code
            show_error(error, chosen.get("format", Format.text))
    except typer.Exit as ended:
        status = ended.exit_code
    except UsageError as error:
        status = error.exit_code
        error.message = usage_text(error.message, getattr(error, "param", None), sys.argv)
        if asks_json(sys.argv):
            known = f"\n  hint: see `{error.ctx.command_path} --help`" if error.ctx is not None else ""
            show_error(NetspecError(f"{error.format_message()}{known}"), Format.json)
        else:
            error.show()
    except Terminated as error:
        status = status_of(SIGTERM)
        complain(_ended("terminated", error))
    except (KeyboardInterrupt, typer.Abort) as error:
        status = status_of(SIGINT)
        complain(_ended("interrupted", error))
    except BrokenPipeError:
        hush(sys.stdout)
    except OSError as error:
        status = NetspecError.exit_code
        named = error.filename is not None and error.strerror is not None
        complain(f"netspec: {f'{os.fsdecode(error.filename)}: {error.strerror}' if named else error}")
    sys.exit(status)
