"""The ways in which a run ends early that are not bugs of respeval."""

from __future__ import annotations

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


def in_one_line(found: list[str]) -> str:
    """The first few differences; how many more there are."""
    more = len(found) - _MOST_SHOWN
    return "; ".join(found[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
