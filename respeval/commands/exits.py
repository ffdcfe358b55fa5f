"""How a command ends: what a user can cause as one line on stderr, and the exit codes."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import typer

from respeval.interpreter import end_without_garbage_collection
from respeval.presentation.console.streams import log_lines, say_detail, say_line, saying

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

    is_root = _is_root()
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


@contextlib.contextmanager
def told_as_asked(
    quiet: bool, verbose: bool, as_json: bool, log_file: Path | None
) -> Iterator[None]:
    """What a command says within goes where these options want it, its errors too.

    Of several processes the root alone writes the log file.
    """
    from respeval import __version__

    begin = f"respeval {__version__}: {shlex.join(sys.argv[1:])}"
    own_log = log_file if _is_root() else None
    with one_line_errors(), saying(quiet, verbose, as_json, own_log, begin):
        try:
            yield
        except (typer.Exit, BrokenPipeError):
            raise
        except Exception:
            log_lines(traceback.format_exc())
            raise


def leave(message: str, code: int) -> None:
    """End with a line on stderr, where there is one, and this exit code; with -v after the traceback."""
    if message:
        rank = os.environ.get("RANK") if _is_one_of_several() else None
        who = f"process {rank}: " if rank not in (None, "0") else ""
        if sys.exc_info()[0] is not None:
            say_detail(traceback.format_exc())
        say_line(f"{who}{message}")
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


def _is_root() -> bool:
    return not _is_one_of_several() or os.environ.get("RANK", "0") == "0"


def _end_at_once(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
