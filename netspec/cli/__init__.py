"""The command line: arguments, exit codes and what is printed; no logic."""

from netspec.cli.commands import app, main

__all__ = ["app", "main"]
