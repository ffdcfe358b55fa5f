"""What a command works with on each of its processes, whatever it does."""

from __future__ import annotations

from dataclasses import dataclass, field

from respeval.distributed.comm import Comm, connect
from respeval.distributed.stop import StopSignals
from respeval.fields.records import OpenedRecords
from respeval.plan.execution import Threads
from respeval.presentation.console.terminal import Console, make_console


@dataclass(frozen=True)
class Session:
    """What a command works with, the same for all of its checkpoints.

    comm: with this process's device. threads: chosen anew for every emulator. console: silent on all
    processes but the root. opened: records that several checkpoints may read.
    """

    comm: Comm
    threads: Threads
    console: Console
    signals: StopSignals = field(default_factory=StopSignals)
    opened: OpenedRecords = field(default_factory=OpenedRecords)


def open_session(
    device: str | None, threads: int | None, signals: StopSignals | None = None
) -> Session:
    """Join the other processes, if there are any (see `connect`)."""
    comm = connect(device)
    return Session(comm, Threads(threads), make_console(comm.is_root), signals or StopSignals())
