"""Signs of life between the processes of a run, so that one that has vanished ends the others.

A collective waits for a process that is slow, which is right, and for one that was stopped, or whose
host is gone, which is not: the connection is still there. So every process writes a beat into the
store at which they all met, from a thread of its own, and looks at the others' beats. Slow work goes
on beating; a process that is gone, stopped or cut off does not.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

#: Between two beats.
INTERVAL_S = 5.0

#: So many beats of its own a process waits for the next one of another. Beats and not seconds,
#: because a batch system may suspend all processes for hours, and lets them go on one by one.
PATIENCE = 24

#: So many beats a process waits in a collective before it says for whom.
SAY_AFTER = 6

#: The exit code of a process that ends because it lost another one.
EXIT_LOST_PROCESS = 1

_LEFT = "left"


class Store(Protocol):
    """What a beat needs of `torch.distributed.TCPStore`; both raise RuntimeError where it is gone."""

    def set(self, key: str, value: str, /) -> Any: ...

    def multi_get(self, keys: list[str], /) -> list[bytes]: ...


def end_process(message: str) -> NoReturn:
    """End this process with one line, whatever its other threads wait for."""
    tell(message)
    os._exit(EXIT_LOST_PROCESS)


def tell(message: str) -> None:
    """One line on stderr."""
    rank = os.environ.get("RANK", "0")
    who = f"process {rank}: " if rank != "0" else ""
    sys.stderr.write(f"respeval: {who}{message}\n")
    sys.stderr.flush()


class Heartbeat:
    """This process's beat, and what it knows of the others'; see the module.

    end: called with a message where another process gives no sign of life; must not return.
    say: called with a message where a collective waits long for processes that live.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        num_processes: int,
        end: Callable[[str], Any] = end_process,
        say: Callable[[str], None] = tell,
    ) -> None:
        self._store, self._rank = store, rank
        self._peers = [peer for peer in range(num_processes) if peer != rank]
        self._end, self._say = end, say
        self._heard = dict.fromkeys(self._peers, "")  # the last beats, as the store has them
        self._seen = dict(self._heard)  # of them what `watch` has looked at
        self._silent = dict.fromkeys(self._peers, 0)  # for how many of our beats
        self._beats = self._meetings = self._waiting = 0
        self._is_meeting = False
        self._leaving = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(work,), daemon=True)
            for work in (self.beat, self.watch)
        ]

    def start(self) -> None:
        """Beat and watch until `leave`. Two threads, because a store that hangs stops the first."""
        for thread in self._threads:
            thread.start()

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self._leaving.is_set():
            work()
            self._leaving.wait(INTERVAL_S)

    @contextlib.contextmanager
    def meeting(self) -> Iterator[None]:
        """Around every collective, on every process."""
        self._meetings += 1
        self._waiting, self._is_meeting = 0, True
        try:
            yield
        finally:
            self._is_meeting = False

    def beat(self) -> None:
        """Write this process's beat, read the others'."""
        self._beats += 1
        # A store that is gone is as silent as the processes behind it.
        with contextlib.suppress(RuntimeError):
            self._store.set(str(self._rank), f"{self._beats} {self._meetings}")
            found = self._store.multi_get([str(peer) for peer in self._peers])
            self._heard = {
                peer: text.decode() for peer, text in zip(self._peers, found, strict=True)
            }

    def watch(self) -> None:
        """Look at the others' beats; end where one is silent for too long."""
        for peer, text in self._heard.items():
            is_new = text == _LEFT or text != self._seen[peer]
            self._silent[peer] = 0 if is_new else self._silent[peer] + 1
        self._seen = dict(self._heard)
        gone = [peer for peer, beats in self._silent.items() if beats >= PATIENCE]
        if gone:
            self._end(
                f"no sign of life from {_named(gone)} for {PATIENCE * INTERVAL_S:.0f} s (ended, stopped, "
                "or its host is gone); run the same command again to go on"
            )
        self._waiting += 1
        late = self.late()
        is_teller = self._rank == min({self._rank, *self._peers} - set(late))
        if late and is_teller and self._is_meeting and self._waiting == SAY_AFTER:
            seconds = SAY_AFTER * INTERVAL_S
            self._say(f"has waited {seconds:.0f} s for {_named(late)}, and goes on waiting")

    def late(self) -> list[int]:
        """The processes that have not come to this process's last collective, as far as is known."""
        counts = {peer: text.split() for peer, text in self._heard.items()}
        return [p for p, c in counts.items() if len(c) == 2 and int(c[1]) < self._meetings]

    def leave(self) -> None:
        """Say that this process needs the others no more, and stop."""
        self._leaving.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=1.0)  # so that no beat is written after the farewell
        with contextlib.suppress(RuntimeError):
            self._store.set(str(self._rank), _LEFT)


def _named(ranks: list[int]) -> str:
    """`process 1`, `processes 1, 2`."""
    return f"process{'es' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
