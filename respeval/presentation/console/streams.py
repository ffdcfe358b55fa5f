"""What a command says, and where: results on stdout, all else on stderr, everything in the log file.

Nothing here is slow to load, so that errors and parameters of commands can use it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from respeval.errors import InputError, one_line


class LogFile:
    """Lines with the time in UTC before each, appended to a file and in it line by line.

    Raises InputError where the file can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        try:
            self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise InputError(
                f"--log-file {path} can't be written ({reason}); name a file in a folder that is there"
            ) from None

    def write(self, text: str) -> None:
        """Append the lines of a text. A disk that is full ends the log, with a line, and not the command."""
        if self._file is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self._file.writelines(f"{now} {line.rstrip()}\n" for line in text.splitlines())
            self._file.flush()
        except OSError as error:
            self.close()
            say_line(f"warning: {self._path} ends here ({error.strerror}); the command goes on")

    def close(self) -> None:
        """Leave the file."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


@dataclass(frozen=True)
class Streams:
    """How much a command says, and where.

    quiet: no progress and no notes. verbose: details too. as_json: results are JSON, and tables are notes.
    log: gets everything, progress, notes and details too, whatever is shown.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    log: LogFile | None = None


_DEFAULT = Streams()

_CURRENT: ContextVar[Streams] = ContextVar("streams", default=_DEFAULT)


def streams() -> Streams:
    """Those of the command that runs."""
    return _CURRENT.get()


@contextlib.contextmanager
def saying(
    quiet: bool, verbose: bool, as_json: bool, log_file: Path | None, first_line: str
) -> Iterator[None]:
    """What a command says within goes where its options want it.

    first_line: of what the log file gets. Raises InputError where options exclude each other or the log
    file can't be written.
    """
    if quiet and verbose:
        raise InputError("--quiet and --verbose exclude each other; keep one")
    log = None if log_file is None else LogFile(log_file)
    token = _CURRENT.set(Streams(quiet, verbose, as_json, log))
    try:
        log_lines(first_line)
        yield
    finally:
        _CURRENT.reset(token)
        if log is not None:
            log.close()


def say_line(text: str) -> None:
    """`respeval: TEXT` in one line on stderr, with -q too."""
    _write(f"respeval: {one_line(text)}", shown=True)


def say_detail(text: str) -> None:
    """Lines on stderr where -v asks for them; the log file always has them."""
    _write(text.rstrip(), shown=streams().verbose)


def _write(text: str, shown: bool) -> None:
    if shown:
        sys.stderr.write(f"{text}\n")
    # What is written above a bar goes through a console, which logs it.
    if not (shown and hasattr(sys.stderr, "rich_proxied_file")):
        log_lines(text)


def log_lines(text: str) -> None:
    """Lines for the log file alone."""
    log = streams().log
    if log is not None:
        log.write(text)
