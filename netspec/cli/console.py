"""The only room that prints: on standard output or standard error, whatever has become of them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from netspec.errors import NetspecError


def say(text: str, end: str = "\n") -> None:
    """Print on standard output, at once; quietly nothing where its reader has gone (`netspec show x | head`)."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        hush(sys.stdout)
    except OSError as error:
        hush(sys.stdout)
        raise OSError(f"standard output cannot be written: {error.strerror or error}") from error


def say_json(value: Any) -> None:
    """Print a JSON document on standard output."""
    import json

    say(json.dumps(value, indent=2, ensure_ascii=False))


def complain(text: str) -> None:
    """Print on standard error; where that cannot be written there is nobody left to tell."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        hush(sys.stderr)


def hush(stream: TextIO) -> None:
    """Let a stream that failed lead nowhere, so that what is left in it does not fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_error(error: NetspecError, format_: str = "text") -> None:
    """Show what is wrong: as text, as a JSON document, or as text and annotations for `github`."""
    from netspec.report.problems import error_json, error_text, wants_colour

    if format_ == "json":
        say_json(error_json(error))
    else:
        if format_ == "github":
            from netspec.report.github import error_github

            say(error_github(error))
        complain(error_text(error, colour=wants_colour(sys.stderr)))
