"""What a command works with on each of its processes, whatever it does."""

from __future__ import annotations

from dataclasses import dataclass, field

from respeval.distributed.comm import Comm, connect
from respeval.distributed.stop import StopSignals
from respeval.fields.records import OpenedRecords
from respeval.plan.execution import Threads
from respeval.presentation.console.terminal import CommandConsole, make_notes_console
from respeval.runner import Reporter


@dataclass(frozen=True)
class Session:
    """What a command works with, the same for all of its checkpoints.

    comm: with this process's device. threads: chosen anew for every emulator. console: for plans, progress
    and notes, which are no results; silent on all processes but the root. opened: records that several
    checkpoints may read. is_silent: whether nothing is to be told. owns_process: whether settings of this
    process that can't be taken back may be changed. reporter: what tells of a run in the console's place.
    """

    comm: Comm
    threads: Threads
    console: CommandConsole
    signals: StopSignals = field(default_factory=StopSignals)
    opened: OpenedRecords = field(default_factory=OpenedRecords)
    is_silent: bool = False
    owns_process: bool = True
    reporter: Reporter | None = None


def open_session(
    device: str | None, threads: int | None, signals: StopSignals | None = None
) -> Session:
    """Join the other processes, if there are any (see `connect`)."""
    comm = connect(device)
    return Session(
        comm, Threads(threads), make_notes_console(comm.is_root), signals or StopSignals()
    )
