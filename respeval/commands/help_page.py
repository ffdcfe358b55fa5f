"""The help pages: usage, what the command does, its options by group, and examples.

A name and its syntax are never cut: what has no room beside its text stands above it.
"""

from __future__ import annotations

import inspect
import os
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

#: Longer lines are harder to read.
_MOST_COLUMNS = 100

#: Where texts begin: beside names that leave room for them, and below the others.
_TEXT_COLUMN, _CLOSE_COLUMN = 26, 6

#: Characters of a text beside what a shell offers.
_MOST_COMPLETED = 60

#: Stands in texts for how perturbations are written, which is slow to load.
_PERTURBATIONS = "{perturbations}"


class HelpfulCommand(TyperCommand):
    """A command with such a page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write("\n".join(_page(self, ctx)))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """What the shell offers, each with a text of one line; a perturbation's syntax is too slow for it."""
        found = super().shell_complete(ctx, incomplete)
        for item in found:
            text = (item.help or "").replace(_PERTURBATIONS, "A perturbed climate")
            item.help = textwrap.shorten(text, _MOST_COMPLETED, placeholder=" …")
        return found


class HelpfulGroup(TyperGroup):
    """A group of commands with such a page, in the order of the work."""

    #: Names of the commands; others come last.
    order: Sequence[str] = ()

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands as the page has them."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda n: [*self.order, n].index(n))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first_paragraph(each.help or "")) for name, each in commands if each]
        formatter.write("\n".join(_page(self, ctx, rows)))


def _page(command: Any, ctx: Any, commands: Sequence[tuple[str, str]] = ()) -> Iterator[str]:
    width = min(shutil.get_terminal_size().columns, _MOST_COLUMNS)
    options = [p for p in command.get_params(ctx) if not getattr(p, "hidden", False)]
    arguments = [p for p in options if p.param_type_name == "argument"]
    words = ["[OPTIONS]", *map(_usage, arguments), *(["COMMAND ..."] if commands else [])]
    usage = f"{ctx.command_path} {' '.join(words)}"
    first, *more = _wrapped(usage, width, first=" " * 7, indent=" " * 7)
    yield from (_bold("Usage:") + first[6:], *more)
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield ""
        yield from _wrapped(paragraph, width, first="  ", indent="  ")
    yield from _section("Commands", commands, width)
    yield from _section("Arguments", [(_value(p), _told(p)) for p in arguments], width)
    groups: dict[str, list[Any]] = {"Options": []}
    for option in options:
        if option not in arguments:
            groups.setdefault(option.rich_help_panel or "Options", []).append(option)
    for title, members in groups.items():
        yield from _section(title, [(_written(p), _told(p)) for p in members], width)
    if command.epilog:
        yield from ("", _bold("Examples:"))
        yield from (f"  {line}" for line in command.epilog.splitlines())


def _section(title: str, rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    if not rows:
        return
    yield from ("", _bold(f"{title}:"))
    for name, text in rows:
        longest = max(map(len, text.split()), default=0)
        column = _TEXT_COLUMN if longest <= width - _TEXT_COLUMN else _CLOSE_COLUMN
        beside = len(name) + 4 <= column
        indent = " " * column
        lines = list(_wrapped(text, width, first=indent, indent=indent))
        if beside and lines:
            lines[0] = lines[0][2 + len(name) :]
        shown = f"  {_bold(name)}"
        yield from ([shown + lines[0], *lines[1:]] if beside and lines else [shown, *lines])


def _wrapped(text: str, width: int, first: str, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _written(option: Any) -> str:
    """`-o, --output DIR`, `--paired-noise/--no-paired-noise`."""
    names = ", ".join(sorted(option.opts, key=lambda name: name.startswith("--")))
    if option.secondary_opts:
        return "/".join([names, *option.secondary_opts])
    return names if option.is_flag else f"{names} {_value(option)}"


def _value(parameter: Any) -> str:
    """What a user writes for a value."""
    if parameter.metavar:
        return str(parameter.metavar)
    return str(parameter.name).upper() if parameter.param_type_name == "argument" else "TEXT"


def _usage(argument: Any) -> str:
    name = _value(argument) + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def _told(parameter: Any) -> str:
    """The text of an option or argument, with its default or that it is required."""
    text = str(getattr(parameter, "help", None) or "")
    if _PERTURBATIONS in text:
        from respeval.fields.perturbation import usages

        text = text.replace(_PERTURBATIONS, usages())
    if parameter.required and parameter.param_type_name == "option":
        return f"{text} [required]"
    default = parameter.default
    if default is None or default is False or not parameter.show_default:
        return text
    return f"{text} [default: {parameter.opts[0] if default is True else default}]"


def _first_paragraph(text: str) -> str:
    return inspect.cleandoc(text).partition("\n\n")[0]


def _bold(text: str) -> str:
    """For a terminal; where the output is none, the codes are taken out again."""
    return text if "NO_COLOR" in os.environ else typer.style(text, bold=True)
