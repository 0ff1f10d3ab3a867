"""What `--help` shows: a page that fits into 80 columns and teaches, with options in groups and examples to copy."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from typer.core import TyperCommand, TyperGroup

ARGUMENTS, OPTIONS = "Arguments", "Options"
WEIGHTS, OTHERS, CHANGES, PRINTING = "Weights", "Files of others", "Changes to the spec", "Printing"
"""Groups of options, which stand in this order after those that are of none."""

LOOK, MAKE, ASK, EXCHANGE, TOOL = (
    "Look at a spec",
    "Train, export and prove",
    "Ask a network",
    "Exchange weights and values",
    "netspec itself",
)
COMMANDS = (LOOK, MAKE, ASK, EXCHANGE, TOOL)
"""Groups of commands, in the order in which they stand."""
HELD = {ord("-"): "\u2011", ord(" "): "\u00a0"}
"""What a line is not ended at, for what it would be ended at."""
LET_GO = {ord(held): chr(plain) for plain, held in HELD.items()}
WORDING = {
    r"^Input should be a valid integer\b.*$": "it must be a whole number",
    r"^Input should be a valid number\b.*$": "it must be a number",
    r"^Input should be greater than or equal to (\S+)$": r"it must be at least \1",
    r"^Input should be less than or equal to (\S+)$": r"it must be at most \1",
}
"""What typer says with pydantic's words, as one that asks for a value says it."""


def _whole(text: str) -> str:
    """A text that no line ends in the middle of, nor at a hyphen: `import-weights`, `[default: build]`."""
    return text.translate(HELD)


class CommandPage(TyperCommand):
    """A command whose page has its options in groups, then examples: its epilog, line by line."""

    def get_help(self, ctx: Any) -> str:
        """The page."""
        return str(super().get_help(ctx)).translate(LET_GO)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What a command line consists of: what must be given is named."""
        params = self.get_params(ctx)
        needed = [f"{min(each.opts, key=len)} {each.metavar}" for each in params if _is_option(each) and each.required]
        return ["[OPTIONS]", *(str(each.metavar) for each in params if not _is_option(each)), *needed]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The arguments, then each group of options."""
        _write_options(self.get_params(ctx), formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - it is click's method
        """The examples."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


class Contents(TyperGroup):
    """The page of all commands, in groups."""

    def get_help(self, ctx: Any) -> str:
        """The page."""
        return str(super().get_help(ctx)).translate(LET_GO)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The commands, each with the sentence that its own page begins with, then the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            sentence = " ".join(map(_whole, command.help.split("\n\n")[0].split()))
            groups.setdefault(command.rich_help_panel, []).append((name, sentence))
        groups = {title: groups[title] for title in COMMANDS}
        widest = max(len(name) for rows in groups.values() for name, _ in rows)
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), sentence) for name, sentence in rows])
        _write_options(self.get_params(ctx), formatter)


def usage_text(message: str, param: Any, words: Sequence[str]) -> str:
    """What is wrong with a command line of these words, in other words than pydantic's, and with what was given.

    >>> usage_text("Input should be greater than or equal to 1", None, [])
    'it must be at least 1'
    """
    message = message.removeprefix("Value error, ")
    for pattern, worded in WORDING.items():
        found, count = re.subn(pattern, worded, message)
        if count:
            names = getattr(param, "opts", ())
            given = [
                value
                for word, following in pairwise([*words, ""])
                for value in ((following,) if word in names else (word.partition("=")[2],))
                if word.partition("=")[0] in names
            ]
            return f"{found}, got {given[-1]!r}" if given else found
    return message


def asks_json(words: Sequence[str]) -> bool:
    """Whether a command line, which need not be right otherwise, asks for JSON.

    >>> asks_json(["netspec", "show", "--format", "json", "--bach", "3"]), asks_json(["netspec", "show", "json"])
    (True, False)
    """
    return "--format=json" in words or ("--format", "json") in pairwise(words)


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _write_options(params: Iterable[Any], formatter: Any) -> None:
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name in _order()}
    for param in params:
        if not param.hidden:
            groups[_group(param)].append((_name(param), " ".join(_said(param))))
    for title, rows in groups.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _order() -> Iterator[str]:
    yield from (ARGUMENTS, OPTIONS, WEIGHTS, OTHERS, CHANGES, PRINTING)


def _group(param: Any) -> str:
    if not _is_option(param):
        return ARGUMENTS
    return str(getattr(param, "rich_help_panel", None) or (PRINTING if "--help" in param.opts else OPTIONS))


def _name(param: Any) -> str:
    """`SPEC`, `-o, --output FOLDER`, `--force`."""
    if not _is_option(param):
        return str(param.metavar)
    names = ", ".join(sorted(param.opts, key=len))
    return names if param.is_flag else f"{names} {param.metavar}"


def _said(param: Any) -> Iterator[str]:
    """What a parameter is for, and what is taken when it is not given."""
    yield from map(_whole, param.help.split())
    default = param.default
    if param.required and _is_option(param):
        yield "[required]"
    elif default is not None and not isinstance(default, bool) and param.show_default:
        plain = default.value if isinstance(default, enum.Enum) else default
        yield _whole(f"[default: {f'{plain:g}' if isinstance(plain, float) else plain}]")
