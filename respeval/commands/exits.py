"""How a command ends: what a user can cause as one line on stderr, and the exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import typer

from respeval.interpreter import end_without_garbage_collection

EXIT_SOME_FAILED = 1


EXIT_BAD_INPUT = 2
EXIT_BLOWN_UP = 3
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and its exit code."""
    from respeval.distributed.heartbeat import EXIT_LOST_PROCESS
    from respeval.errors import (
        BlowUpError,
        InputError,
        LostProcessError,
        SharedInputError,
        StoppedError,
        enough_memory,
        system_reason,
    )

    is_root = not _is_one_of_several() or os.environ.get("RANK", "0") == "0"
    try:
        with enough_memory():
            yield
    except SharedInputError as error:
        leave(str(error) if is_root else "", EXIT_BAD_INPUT)
    except StoppedError as error:
        leave(str(error) if is_root else "", EXIT_STOPPED)
    except LostProcessError as error:
        leave(str(error), EXIT_LOST_PROCESS)
    except InputError as error:
        leave(str(error), EXIT_BAD_INPUT)
    except BlowUpError as error:
        leave(str(error) if is_root else "", EXIT_BLOWN_UP)
    except BrokenPipeError:  # whoever read the output has enough; typer ends quietly
        raise
    except OSError as error:
        leave(system_reason(error), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        leave("interrupted; what was published stays", EXIT_INTERRUPTED)


def leave(message: str, code: int) -> None:
    from respeval.errors import one_line

    if message:
        rank = os.environ.get("RANK") if _is_one_of_several() else None
        who = f"process {rank}: " if rank not in (None, "0") else ""
        sys.stderr.write(f"respeval: {who}{one_line(message)}\n")
    if _is_one_of_several():
        # The other processes may wait in a collective; leave without one, and the launcher ends them.
        _end_at_once(code)
    raise typer.Exit(code)


def end(code: int) -> NoReturn:
    """End this process, which has done all its work.

    One of several ends without Python's own end. torch keeps their group, and the group's threads,
    where a module that was loaded later holds it (`torch.distributed.nn.functional`, as a default
    argument): a thread that lets go of a tensor while Python ends aborts the process, and then the
    launcher ends the others.
    """
    if _is_one_of_several():
        _end_at_once(code)
    end_without_garbage_collection()
    sys.exit(code)


def _is_one_of_several() -> bool:
    size = os.environ.get("WORLD_SIZE", "1")
    return size.isdecimal() and int(size) > 1


def _end_at_once(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
