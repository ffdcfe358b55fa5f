"""Where tables and progress go."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console as Console

#: Width of the tables with a row for every checkpoint, where the output is no terminal.
WIDE = 120


#: Width of tables where the output is no terminal.
PLAIN_WIDTH = 100


def make_console(is_root: bool = True, plain_width: int = PLAIN_WIDTH) -> Console:
    """Where tables and progress go; silent on all processes but the root."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else plain_width
    return Console(
        quiet=not is_root, width=width, soft_wrap=True, markup=False, force_jupyter=False
    )


def count_left_out(console: Console, reasons: Mapping[str, str], folder: Path) -> None:
    """How many diagnostics a run has not, in one line, and the command that lists them."""
    if reasons:
        some = f"{len(reasons)} diagnostic{'s' if len(reasons) > 1 else ''}"
        console.print(
            f"left out: {some}; respeval diagnose {folder} --all says which and why",
            highlight=False,
        )


def tell_left_out(console: Console, reasons: Mapping[str, str]) -> None:
    """The diagnostics that a run has not, those with one reason together."""
    for reason in dict.fromkeys(reasons.values()):
        missing = ", ".join(name for name, own in reasons.items() if own == reason)
        console.print(f"left out: {missing}, because {reason}", highlight=False)
