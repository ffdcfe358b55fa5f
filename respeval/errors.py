"""The ways in which a run ends early that are not bugs of respeval."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

_MOST_SHOWN = 4
_MOST_OF_PATH = 300


class InputError(ValueError):
    """Something that the user gave is wrong; the message says what was expected and what to do."""


class SharedInputError(InputError):
    """An `InputError` that every process raises at once, so that the root alone need tell it."""


class StoppedError(BaseException):
    """A signal asked the run to stop; what it had done is saved, and the same command goes on.

    It can be raised anywhere, as a KeyboardInterrupt can, and like that it is no Exception: what reads a
    file answers whatever goes wrong within with "it can't be read", and a stop is nothing of the kind.
    """


class LostProcessError(RuntimeError):
    """Another process of the run ended in the middle of a collective."""


class BlowUpError(RuntimeError):
    """The emulator's state left the range of physical values; finished segments stay."""


#: Longer messages are cut: a hostile file may put anything into one.
_MAX_LENGTH = 2000


def one_line(message: str) -> str:
    """A message as one line of printable characters, whatever a file's names put into it."""
    words = " ".join(message[: 4 * _MAX_LENGTH].split())
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in words)
    return line if len(line) <= _MAX_LENGTH else f"{line[: _MAX_LENGTH - 1]}…"


def first_line(error: BaseException) -> str:
    """What an error says, shortened for a message of one line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def system_reason(error: OSError) -> str:
    """What the system can't do, with the path that it is about; a long one is shortened."""
    reason = error.strerror or first_line(error)
    if error.filename is None:
        return reason
    path = str(error.filename)
    shown = path if len(path) <= _MOST_OF_PATH else f"{path[:_MOST_OF_PATH]}…"
    return f"{shown} can't be used ({reason})"


#: What torch, its libraries and netCDF say where memory runs out, by errors of no class of their own.
_OUT_OF_MEMORY = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "memory allocation",
    "bad_alloc",
    "alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, numpy's, torch's on a CPU or a GPU, or the system's own."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    told = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in told for words in _OUT_OF_MEMORY)


def pass_on(error: Exception) -> None:
    """Raise an error again that is no fault of what was being read: memory ran out.

    The first line of every clause that takes whatever a library raises for a broken file.
    """
    if is_out_of_memory(error):
        raise error


_MORE = "free some, ask for less at once, or go to a larger machine"


@contextlib.contextmanager
def enough_memory(doing: str = "", advice: str = _MORE) -> Iterator[None]:
    """Memory that runs out within is an InputError, which says what was done, and what to do."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        what = f"too little memory {doing}".rstrip()
        raise InputError(f"{what} ({first_line(error)[:200]}); {advice}") from None


def unexpected(error: BaseException) -> str:
    """What a manifest or a table says of an error that nobody foresaw; in one line."""
    return " ".join(f"unexpected {type(error).__name__}: {error}".split())


def in_one_line(found: list[str]) -> str:
    """The first few differences; how many more there are."""
    more = len(found) - _MOST_SHOWN
    return "; ".join(found[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
