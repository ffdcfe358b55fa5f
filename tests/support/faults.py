"""`respeval` with a fault at a named point of its own process; for test_faults.py, in forked children.

A fault is `[rank, action, point]`. Actions: `kill`, `stop` (for ever), `sleep SECONDS`, and `full`: the
disk is, where the point is an event. Points:

    step N              before the process's Nth step
    collective NAME N   before the Nth call of a method of Comm
    EVENT PART N        before the interpreter's Nth audit event with a path that has PART in it
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import respeval.analysis.results
import respeval.distributed.heartbeat
import respeval.runner
from respeval.cli import command
from respeval.distributed.comm import Comm


def _act(action: str) -> None:
    kind, _, amount = action.partition(" ")
    if kind == "sleep":
        time.sleep(float(amount))
    elif kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    else:
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[kind])


def _once(nth: int, action: str) -> Callable[[], None]:
    """What acts when it is called for the nth time."""
    calls = itertools.count(1)

    def called() -> None:
        if next(calls) == nth:
            _act(action)

    return called


def _before_call(owner: Any, name: str, nth: int, action: str) -> None:
    method, called = getattr(owner, name), _once(nth, action)

    def faulty(*arguments: Any) -> Any:
        called()
        return method(*arguments)

    setattr(owner, name, faulty)


def _before_event(event: str, part: str, nth: int, action: str) -> None:
    called = _once(nth, action)

    def hook(happened: str, arguments: tuple[Any, ...]) -> None:
        if happened == event and any(
            isinstance(a, str | os.PathLike) and part in str(os.fspath(a)) for a in arguments[:2]
        ):
            called()

    sys.addaudithook(hook)


def run(
    arguments: list[str],
    fault: tuple[int, str, str] | None = None,
    interval_s: float = respeval.distributed.heartbeat.INTERVAL_S,
) -> None:
    """`respeval ARGUMENTS`, with the fault if it is this process's; no figures, for time's sake.

    interval_s: between two beats of the processes.
    """
    respeval.distributed.heartbeat.INTERVAL_S = interval_s
    respeval.analysis.results.Pictures = MagicMock()  # type: ignore[misc]
    if fault is not None and int(os.environ["RANK"]) == fault[0]:
        _, action, point = fault
        *what, nth = point.split()
        if what == ["step"]:
            _before_call(respeval.runner._Course, "_advance", int(nth), action)
        elif what[0] == "collective":
            _before_call(Comm, what[1], int(nth), action)
        else:
            _before_event(what[0], what[1], int(nth), action)
    sys.exit(command(arguments))
