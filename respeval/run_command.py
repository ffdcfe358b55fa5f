"""What `respeval run` does: one checkpoint, many one after the other, or only a look ahead."""

from __future__ import annotations

import contextlib
import gc
import shutil
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respeval.case.file import load_case
from respeval.commands import run_plan
from respeval.console import amount, estimate_table, sweep_table
from respeval.distributed.comm import Comm, connect
from respeval.distributed.stop import StopSignals
from respeval.errors import BlowUpError, InputError, SharedInputError, StoppedError
from respeval.fields.records import OpenedRecords
from respeval.plan.estimate import NUM_MEASURED, Estimate, look_ahead
from respeval.plan.execution import Execution, Threads
from respeval.plan.goal import check_goal
from respeval.plan.plan import Plan, prepare
from respeval.results import main_numbers, told_quarantined
from respeval.run_folder.folder import free_folder, fresh_folder
from respeval.run_folder.sweep import Entry, Status, Sweep, find_checkpoints, holds_sweep
from respeval.tables import make_console, show_table

EXIT_SOME_FAILED = 1

#: Width of the tables with a row for every checkpoint, where the output is no terminal.
_WIDE = 120


@dataclass(frozen=True)
class Wish:
    """What a user asks of `respeval run`, checkpoints and folder apart.

    options: keys of the case file, which win over those of `case`, the file that is given.
    compute: fields of `Execution`. extend: runs may become longer. fresh: start over beside what the
    folder holds.
    """

    case: Path | None
    options: Mapping[str, Any]
    device: str | None
    threads: int | None
    compute: Mapping[str, Any]
    trust: bool
    extend: bool
    fresh: bool
    dry_run: bool

    def plan(self, checkpoint: Path, opened: OpenedRecords) -> Plan:
        """The plan of a checkpoint's run. Raises InputError in one line."""
        beside = checkpoint.parent / "case.yaml"
        path = self.case or (beside if beside.is_file() else None)
        plan = prepare(checkpoint, load_case(path, self.options), self.trust, opened)
        check_goal(plan)
        return plan


def run_checkpoints(arguments: list[Path], folder: Path, wish: Wish) -> int:
    """`respeval run`; returns the exit code.

    One checkpoint's results go into the folder, those of several into a folder each within it.
    """
    with StopSignals() as signals:
        comm = connect(wish.device)
        threads = Threads(wish.threads)
        checkpoints = comm.from_root(comm.together(lambda: find_checkpoints(arguments)))
        is_sweep = comm.from_root(len(checkpoints) > 1 or holds_sweep(folder))
        if wish.dry_run:
            code = _look_ahead(checkpoints, folder, is_sweep, wish, comm, threads)
            comm.close()
            return code
        if wish.fresh:
            folder = _fresh(folder, comm)
        if is_sweep:
            sweep = Sweep(folder, checkpoints)
            comm.together(lambda: sweep.begin() if comm.is_root else None)
            with signals.deferred():
                code = _run_sweep(sweep, wish, comm, threads, signals)
        else:
            code = 0
            _run(checkpoints[0], folder, wish, comm, threads, signals, OpenedRecords())
            if comm.is_root:
                show_table(folder)
        comm.close()
        return code


def _fresh(folder: Path, comm: Comm) -> Path:
    """Where `--restart-fresh` starts over; the root chooses and tells."""
    chosen = comm.together(
        lambda: fresh_folder(folder, comm.num_restarts) if comm.is_root else folder
    )
    chosen = comm.from_root(chosen)
    if chosen != folder:
        make_console(comm.is_root).print(f"{folder} stays as it is; starting over in {chosen}")
    return chosen


def _look_ahead(
    checkpoints: list[Path], folder: Path, is_sweep: bool, wish: Wish, comm: Comm, threads: Threads
) -> int:
    """`--dry-run`: the table of what would run; returns the exit code."""
    if wish.fresh:
        folder = comm.from_root(free_folder(folder)[1])
    sweep = Sweep(folder, checkpoints)
    if is_sweep:
        comm.together(sweep.check)
    opened = OpenedRecords()
    estimates = []
    for entry in sweep.entries:
        target = entry.folder if is_sweep else folder
        estimates.append(_estimate(entry.checkpoint, target, wish, comm, threads, opened))
        gc.collect()
    if comm.is_root:
        _show_estimates(folder, estimates, comm)
    comm.wait()
    return EXIT_SOME_FAILED if any(e.problem is not None for e in estimates) else 0


def _estimate(
    checkpoint: Path,
    folder: Path,
    wish: Wish,
    comm: Comm,
    threads: Threads,
    opened: OpenedRecords,
) -> Estimate:
    try:
        plan = comm.together(lambda: wish.plan(checkpoint, opened))
        threads.choose(plan.emulator.spec, comm)
        execution = Execution(**wish.compute)
        return look_ahead(plan, checkpoint, folder, comm, execution, wish.extend)
    except Exception as error:
        return Estimate(checkpoint, folder, _reason_of(error, comm))


def _show_estimates(folder: Path, estimates: list[Estimate], comm: Comm) -> None:
    console = make_console(plain_width=_WIDE)
    console.print(estimate_table(folder, estimates))
    needed = sum(estimate.disk.needed for estimate in estimates if estimate.disk is not None)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    most = " of the process that needs most" if comm.num_processes > 1 else ""
    what = "on the GPU" if comm.device.type == "cuda" else "with all libraries"
    for line in (
        f"memory: the peak{most} in {1 + NUM_MEASURED} steps and the making of a segment, {what}",
        f"time: that of the steps which are left, from the median of {NUM_MEASURED}; loading, "
        "diagnostics and figures come on top",
        f"disk: segments, means and restart files, {amount(needed)} in all; {amount(free)} are free "
        f"in {there}",
    ):
        console.print(line, highlight=False)
    if needed > free:
        lacking = f"warning: the disk lacks {amount(needed - free)}; make room before the runs"
        console.print(lacking, style="yellow", highlight=False)
    for estimate in estimates:
        if estimate.problem is not None:
            told = _named(estimate.checkpoint, estimate.problem)
            console.print(f"can't run: {told}", style="red", highlight=False)


def _run(
    checkpoint: Path,
    folder: Path,
    wish: Wish,
    comm: Comm,
    threads: Threads,
    signals: StopSignals,
    opened: OpenedRecords,
) -> bool:
    """Run one checkpoint; returns whether anything was left to do."""

    def planned() -> Plan:
        plan = comm.together(lambda: wish.plan(checkpoint, opened))
        threads.choose(plan.emulator.spec, comm)
        return plan

    execution = Execution(**wish.compute)
    # A name for the plan here would keep the emulator in memory during the analysis.
    return run_plan(planned(), checkpoint, folder, comm, execution, signals, extend=wish.extend)


def _run_sweep(sweep: Sweep, wish: Wish, comm: Comm, threads: Threads, signals: StopSignals) -> int:
    """Run every checkpoint, whatever becomes of the others; returns the exit code.

    Signals are heeded where all processes can: at a step, and between two checkpoints. Raises
    StoppedError where one of the processes got a signal.
    """
    console, opened = make_console(comm.is_root), OpenedRecords()
    number = 0
    try:
        for number, entry in enumerate(sweep.entries):
            _stop_if_asked(comm, signals)
            count = f"checkpoint {number + 1} of {len(sweep.entries)}"
            console.print(f"\n{count}: {entry.checkpoint}", style="bold", highlight=False)
            _note(sweep, comm, number, Status.RUNNING)
            _note(sweep, comm, number, *_outcome(entry, wish, comm, threads, signals, opened))
            gc.collect()  # an emulator in a cycle of references makes room for the next one
    except StoppedError as error:
        if sweep.entries[number].status is Status.RUNNING:
            _note(sweep, comm, number, Status.STOPPED, str(error))
        _show(sweep, comm)
        comm.wait()
        left = f"{sweep.num_left} of {len(sweep.entries)} checkpoints are left"
        raise StoppedError(f"{error}; {left}") from None
    _show(sweep, comm)
    comm.wait()  # a launcher that sees one process fail ends the others
    return EXIT_SOME_FAILED if any(e.status is Status.FAILED for e in sweep.entries) else 0


def _stop_if_asked(comm: Comm, signals: StopSignals) -> None:
    """Between two checkpoints. Raises StoppedError on all processes where one got a signal."""
    asked = [name for name in comm.gather(signals.requested) if name is not None]
    if asked:
        signals.ignore_more()
        raise StoppedError(f"stopped by {asked[0]}; run the same command again to go on")


def _outcome(
    entry: Entry,
    wish: Wish,
    comm: Comm,
    threads: Threads,
    signals: StopSignals,
    opened: OpenedRecords,
) -> tuple[Status, str | None]:
    """Run a checkpoint of a sweep; what became of it, and why where it failed.

    Raises what is no reason for this checkpoint alone; see `_reason_of`.
    """
    try:
        left = _run(entry.checkpoint, entry.folder, wish, comm, threads, signals, opened)
        return (Status.FINISHED if left else Status.ALREADY_FINISHED), None
    except Exception as error:
        reason = _reason_of(error, comm)
    if comm.is_root:
        sys.stderr.write(f"respeval: failed: {_named(entry.checkpoint, reason)}\n")
    return Status.FAILED, reason


def _reason_of(error: Exception, comm: Comm) -> str:
    """Why a checkpoint can't run, in one line, where the error lets all processes go on to the next.

    Raises the error where it is a stop, or one that not all processes know of: the others would wait.
    """
    if isinstance(error, SharedInputError | BlowUpError):
        return " ".join(str(error).split())
    if isinstance(error, StoppedError) or comm.num_processes > 1:
        raise error
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    traceback.print_exception(error)
    return " ".join(f"unexpected {type(error).__name__}: {error}".split())


def _named(checkpoint: Path, reason: str) -> str:
    """A reason that begins with the checkpoint's name, once."""
    return reason if reason.startswith(str(checkpoint)) else f"{checkpoint}: {reason}"


def _note(sweep: Sweep, comm: Comm, number: int, status: Status, reason: str | None = None) -> None:
    """Note what became of a checkpoint; a full disk, which the run itself tells of, is no matter."""
    sweep.tell(number, status, reason)
    if comm.is_root:
        with contextlib.suppress(InputError):
            sweep.write()


def _show(sweep: Sweep, comm: Comm) -> None:
    """The table of all checkpoints, what their means leave out, and why some failed."""
    if not comm.is_root:
        return
    console, numbers, left_out = make_console(plain_width=_WIDE), [], list[str]()
    for entry in sweep.entries:
        found: dict[str, tuple[float | None, float | None]] = {}
        if entry.status in (Status.FINISHED, Status.ALREADY_FINISHED):
            with contextlib.suppress(InputError):
                found = main_numbers(entry.folder)
                left_out += [f"{entry.folder.name}: {t}" for t in told_quarantined(entry.folder)]
        numbers.append(found)
    console.print()
    console.print(sweep_table(sweep.folder, sweep.entries, numbers))
    for told in left_out:
        console.print(f"left out of the means of {told}", style="yellow", highlight=False)
    for entry in sweep.entries:
        if entry.status is Status.FAILED:
            told = _named(entry.checkpoint, str(entry.reason))
            console.print(f"failed: {told}", style="red", highlight=False)
