"""Where tables, notes and progress go."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console as Console
from rich.console import NewLine
from rich.control import Control

from respeval.presentation.console.streams import LogFile, streams

#: Width of the tables with a row for every checkpoint, where the output is no terminal.
WIDE = 120


#: Width of tables where the output is no terminal.
PLAIN_WIDTH = 100


class CommandConsole(Console):
    """A console that heeds -q and -v, and writes to the log file too.

    are_notes: whether what it prints is left out with -q. log: gets all that is printed. On a terminal
    lines break between words; elsewhere a line of text stays one.
    """

    def __init__(
        self, *, is_root: bool, stderr: bool, are_notes: bool, plain_width: int, log: LogFile | None
    ) -> None:
        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() or "COLUMNS" in os.environ else plain_width
        super().__init__(
            quiet=not is_root, width=width, markup=False, stderr=stderr, force_jupyter=False
        )
        self.soft_wrap = not self.is_terminal
        self._are_silent = are_notes and streams().quiet
        self._log, self._plain_width = log if is_root else None, plain_width

    @property
    def has_bars(self) -> bool:
        """Whether progress is a bar here; else it is a line now and then."""
        return self.is_terminal and not self._are_silent and not self.quiet

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as any console, and to the log file; nothing is cut at the right edge."""
        if not self._are_silent:
            super().print(*objects, **{"crop": False, **options})
        self.log_only(*objects, **options)

    def warn(self, text: str) -> None:
        """A warning, with -q too."""
        warning = f"warning: {text}"
        super().print(warning, style="yellow", highlight=False, crop=False)
        self.log_only(warning)

    def detail(self, text: str) -> None:
        """A note that is shown with -v alone; the log file always has it."""
        if streams().verbose:
            super().print(text, highlight=False, crop=False)
        self.log_only(text)

    def log_only(self, *objects: Any, **options: Any) -> None:
        """What the log file alone gets: nothing of a bar."""
        if self._log is None or any(isinstance(each, Control | NewLine) for each in objects):
            return
        plain = Console(
            file=io.StringIO(),
            width=self._plain_width,
            soft_wrap=True,
            markup=False,
            force_terminal=False,
            color_system=None,
        )
        with plain.capture() as captured:
            plain.print(*objects, **options)
        self._log.write(captured.get())


def make_console(is_root: bool = True, plain_width: int = PLAIN_WIDTH) -> CommandConsole:
    """Where results go: stdout, or stderr with --json; silent on all processes but the root."""
    current = streams()
    return CommandConsole(
        is_root=is_root,
        stderr=current.as_json,
        are_notes=current.as_json,
        plain_width=plain_width,
        log=current.log,
    )


def make_notes_console(is_root: bool = True) -> CommandConsole:
    """Where plans, progress, notes and warnings go: stderr; silent on all processes but the root."""
    return CommandConsole(
        is_root=is_root, stderr=True, are_notes=True, plain_width=PLAIN_WIDTH, log=streams().log
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
