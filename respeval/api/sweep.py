"""A sweep: many checkpoints one after the other, and what became of each."""

from __future__ import annotations

import contextlib
import gc

from respeval.analysis.folder import main_numbers, told_quarantined, warnings_of_folder
from respeval.api.one_run import Wish, named, reason_of, run_one
from respeval.api.session import Session
from respeval.distributed.comm import Comm
from respeval.errors import InputError, StoppedError, in_one_line
from respeval.presentation.console.compare import listed
from respeval.presentation.console.json_output import answer, sweep_content
from respeval.presentation.console.streams import say_line
from respeval.presentation.console.sweep import sweep_tables
from respeval.presentation.console.terminal import WIDE, make_console
from respeval.run_folder.sweep import Entry, Status, Sweep


def run_sweep(sweep: Sweep, wish: Wish, session: Session) -> bool:
    """Run every checkpoint, whatever becomes of the others; returns whether all went well.

    Signals are heeded where all processes can: at a step, and between two checkpoints. Raises
    StoppedError where one of the processes got a signal.
    """
    comm, number = session.comm, 0
    try:
        for number, entry in enumerate(sweep.entries):
            _stop_if_asked(session)
            count = f"checkpoint {number + 1} of {len(sweep.entries)}"
            title = f"\n{count}: {entry.checkpoint}"
            session.console.print(title, style="bold", highlight=False)
            _note(sweep, comm, number, Status.RUNNING)
            _note(sweep, comm, number, *_outcome(entry, wish, session))
            gc.collect()  # an emulator in a cycle of references makes room for the next one
    except StoppedError as error:
        if sweep.entries[number].status is Status.RUNNING:
            _note(sweep, comm, number, Status.STOPPED, str(error))
        _show(sweep, session)
        comm.wait()
        left = f"{sweep.num_left} of {len(sweep.entries)} checkpoints are left"
        raise StoppedError(f"{error}; {left}") from None
    _show(sweep, session)
    if comm.is_root and not session.is_silent:
        answer(lambda: sweep_content(sweep.folder, sweep.entries))
    comm.wait()  # a launcher that sees one process fail ends the others
    return all(entry.reason is None for entry in sweep.entries)


def _stop_if_asked(session: Session) -> None:
    """Between two checkpoints. Raises StoppedError on all processes where one got a signal."""
    asked = [name for name in session.comm.gather(session.signals.requested) if name is not None]
    if asked:
        session.signals.ignore_more()
        raise StoppedError(f"stopped by {asked[0]}; run the same command again to go on")


def _outcome(entry: Entry, wish: Wish, session: Session) -> tuple[Status, str | None]:
    """Run a checkpoint of a sweep; what became of it, and why where it failed.

    Raises what is no reason for this checkpoint alone; see `reason_of`.
    """
    try:
        done = run_one(entry.checkpoint, entry.folder, wish, session)
        status = Status.FINISHED if done.left else Status.ALREADY_FINISHED
        reason = in_one_line(list(done.failed)) or None
    except Exception as error:
        status, reason = Status.FAILED, reason_of(error, session.comm, session.is_silent)
    if session.comm.is_root and reason is not None and not session.is_silent:
        say_line(f"failed: {named(entry.checkpoint, reason)}")
    return status, reason


def _note(sweep: Sweep, comm: Comm, number: int, status: Status, reason: str | None = None) -> None:
    """Note what became of a checkpoint; a full disk, which the run itself tells of, is no matter."""
    sweep.tell(number, status, reason)
    if comm.is_root:
        with contextlib.suppress(InputError):
            sweep.write()


def _show(sweep: Sweep, session: Session) -> None:
    """The table of all checkpoints, what their means leave out, and why some failed."""
    if session.is_silent or not session.comm.is_root:
        return
    console, numbers, left_out = make_console(plain_width=WIDE), [], list[str]()
    warnings: dict[str, list[str]] = {}
    for entry in sweep.entries:
        found: dict[str, tuple[float | None, float | None]] = {}
        if entry.status in (Status.FINISHED, Status.ALREADY_FINISHED):
            with contextlib.suppress(InputError):
                found = main_numbers(entry.folder)
                left_out += [f"{entry.folder.name}: {t}" for t in told_quarantined(entry.folder)]
                for text in warnings_of_folder(entry.folder):
                    warnings.setdefault(text, []).append(entry.folder.name)
        numbers.append(found)
    console.print()
    for table in sweep_tables(sweep.folder, sweep.entries, numbers, console.width):
        console.print(table)
    for told in left_out:
        console.print(f"left out of the means of {told}", style="yellow", highlight=False)
    for text, names in warnings.items():
        console.print(f"warning ({listed(names)}): {text}", style="yellow", highlight=False)
    for entry in sweep.entries:
        if entry.reason is not None:
            told = named(entry.checkpoint, str(entry.reason))
            console.print(f"failed: {told}", style="red", highlight=False)
