"""Signals that ask a run to stop, and the step at which all of its processes do."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from respeval.distributed.comm import Comm
from respeval.errors import StoppedError

#: The batch system's end, the keyboard's, and the batch system's warning ahead of the end.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

#: A launcher and a batch system may both pass on one signal: within this time it counts once.
SAME_SIGNAL_S = 1.0

#: How long processes step on before they ask each other whether one of them is to stop.
VOTE_INTERVAL_S = 1.0


class StopSignals:
    """The first signal asks for a stop, a second one ends the process at once.

    Outside of `deferred` the first signal raises StoppedError where the program is; inside, it sets
    `requested`, and the caller stops when it is ready.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.requested: str | None = None
        self._clock, self._first_at = clock, 0.0
        self._deferring = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            if self._clock() - self._first_at > SAME_SIGNAL_S:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self.requested, self._first_at = signal.Signals(number).name, self._clock()
        if not self._deferring:
            self.raise_if_requested()

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal only sets `requested`."""
        before, self._deferring = self._deferring, True
        try:
            yield
        finally:
            self._deferring = before

    def ignore_more(self) -> None:
        """All is saved: a launcher that ends the other processes must not cut this one's end short."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def raise_if_requested(self) -> None:
        """Raise StoppedError if a signal has come."""
        if self.requested is not None:
            raise StoppedError(f"stopped by {self.requested}; run the same command again to go on")


class StopVote:
    """The steps after which all processes ask each other whether to stop: about one a second.

    The number of steps to the next vote follows from the slowest process's pace, so that it is the
    same on all of them. It at most doubles, because a first step's pace tells little.
    """

    def __init__(
        self,
        comm: Comm,
        signals: StopSignals,
        first_step: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._comm, self._signals, self._clock = comm, signals, clock
        self._interval, self._next = 1, first_step + 1
        self._last = clock()

    def is_stop(self, step: int, failed: bool = False) -> bool:
        """Whether to stop after this many steps; every process calls it after every step.

        failed: whether this process can't go on, which the others are to learn as soon.
        """
        if self._comm.num_processes == 1:
            return self._signals.requested is not None
        if step < self._next:
            return False
        pace = (self._clock() - self._last) / self._interval
        asked = float(failed or self._signals.requested is not None)
        stop, slowest = self._comm.largest([asked, pace])
        fitting = int(VOTE_INTERVAL_S / max(slowest, 1e-6))
        self._interval = min(max(1, fitting), 2 * self._interval)
        self._next = step + self._interval
        self._last = self._clock()
        return stop > 0
