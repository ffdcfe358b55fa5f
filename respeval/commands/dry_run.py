"""`respeval run --dry-run`: what would run, with memory, time and disk space."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

from respeval.api.one_run import Wish, named, plan_of, reason_of, spread_over
from respeval.api.session import Session
from respeval.commands.exits import EXIT_SOME_FAILED
from respeval.distributed.comm import Comm
from respeval.plan.estimate import NUM_MEASURED, Estimate, look_ahead
from respeval.plan.spreading import smallest_layout
from respeval.presentation.console.json_output import answer, estimates_content
from respeval.presentation.console.sweep import amount, estimate_tables
from respeval.presentation.console.terminal import WIDE, make_console
from respeval.run_folder.folder import free_folder
from respeval.run_folder.sweep import Sweep


def look_ahead_of_all(
    checkpoints: list[Path], folder: Path, is_sweep: bool, wish: Wish, session: Session
) -> int:
    """`--dry-run`: the table of what would run; returns the exit code."""
    comm = session.comm
    if wish.fresh:
        folder = comm.from_root(free_folder(folder)[1])
    sweep = Sweep(folder, checkpoints)
    if is_sweep:
        comm.together(sweep.check)
    estimates = []
    for entry in sweep.entries:
        target = entry.folder if is_sweep else folder
        estimates.append(_estimate(entry.checkpoint, target, wish, session))
        gc.collect()
    if comm.is_root:
        _show_estimates(folder, estimates, comm)
        answer(lambda: estimates_content(folder, estimates))
    comm.wait()
    return EXIT_SOME_FAILED if any(e.problem is not None for e in estimates) else 0


def _estimate(checkpoint: Path, folder: Path, wish: Wish, session: Session) -> Estimate:
    try:
        plan = plan_of(checkpoint, wish, session)
        session = spread_over(plan, wish, session)
        return look_ahead(plan, checkpoint, folder, session.comm, wish.execution, wish.extend)
    except Exception as error:
        return Estimate(checkpoint, folder, reason_of(error, session.comm))


def _told_of_layout(estimate: Estimate) -> str:
    """Whether a run fits as its fields are split, and how they would have to be."""
    height, width = estimate.parts
    room = f"{amount(estimate.held + estimate.free)} that a process can have"
    found = smallest_layout(estimate)
    if found is None:
        return f"layout: {height}x{width} does not fit the {room}, and no more parts would"
    (rows, columns), needed = found
    if (rows, columns) == (height, width):
        return f"layout: {height}x{width} fits the {room}"
    return (
        f"layout: {height}x{width} does not fit the {room}; --spatial {rows}x{columns}, on a multiple of "
        f"{rows * columns} processes, would take about {amount(needed)} each"
    )


def _show_estimates(folder: Path, estimates: list[Estimate], comm: Comm) -> None:
    console = make_console(plain_width=WIDE)
    for table in estimate_tables(folder, estimates, console.width):
        console.print(table)
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
        console.warn(f"the disk lacks {amount(needed - free)}; make room before the runs")
    for estimate in estimates:
        if estimate.disk is not None:
            console.print(_told_of_layout(estimate), highlight=False)
        for text in estimate.warnings:
            of_one = f" ({estimate.folder.name})" if len(estimates) > 1 else ""
            console.print(f"warning{of_one}: {text}", style="yellow", highlight=False)
        if estimate.problem is not None:
            told = named(estimate.checkpoint, estimate.problem)
            console.print(f"can't run: {told}", style="red", highlight=False)
