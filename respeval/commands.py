"""What the commands do, once their options are read: the same steps on every process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr
from rich.console import Console

from respeval.checkpoints import open_checkpoint
from respeval.console import (
    ConsoleProbeReporter,
    ConsoleReporter,
    SilentProbeReporter,
    SilentReporter,
    batch_table,
    compiling_line,
    inspection_tables,
    probe_table,
    response_error_table,
)
from respeval.diagnostics import DiagnosticSettings, left_out
from respeval.distributed.comm import Comm, connect
from respeval.distributed.stop import StopSignals
from respeval.emulator.computing import check_precision, forget_compiled
from respeval.errors import StoppedError
from respeval.files.netcdf import open_saved
from respeval.interpreter import give_back_freed
from respeval.plan.batch_size import KEPT, with_batch_size
from respeval.plan.execution import Execution, Threads
from respeval.plan.goal import Goal, goal_of, has_ended, settings_of_plan
from respeval.plan.plan import Plan
from respeval.plan.rehearsal import measure_compiling, measure_precision
from respeval.plan.resume import go_on, open_output, read_snapshot
from respeval.probe_plan import ProbePlan, parse_settings, prepare_probe
from respeval.probe_runner import check_folder, run_probe, write_probe
from respeval.reference import Sources
from respeval.results import RunningRatio, analyse
from respeval.run_folder.names import DIAGNOSTICS_FILE, ZONAL
from respeval.run_folder.output import Progress, RunOutput
from respeval.runner import execute
from respeval.tables import make_console, tell_left_out


def run_plan(
    plan: Plan,
    checkpoint: Path,
    folder: Path,
    comm: Comm,
    execution: Execution,
    signals: StopSignals,
    reference: tuple[str, xr.Dataset] | None = None,
    *,
    extend: bool = False,
) -> bool:
    """Execute what is left of a plan into a folder with progress, and analyse it on the root.

    reference: name and diagnostics of a response that the figures show beside the run's.
    extend: whether a run in the folder may become longer. Returns whether anything was left.
    """
    console, output = make_console(comm.is_root), _open(plan, checkpoint, folder, comm)
    try:
        goal, settings, sources = goal_of(plan, output), settings_of_plan(plan), plan.case.reference
        if not _step(plan, output, folder, comm, execution, signals, console, goal, extend):
            console.print(f"{folder} holds this run already, finished: nothing to do")
            return False
        # Unless the caller keeps the plan, the emulator's memory is the analysis's now.
        del plan
        give_back_freed()
        shown = reference or ("reference", None)
        comm.together(
            lambda: (
                _analyse(folder, settings, sources, output, signals, shown)
                if comm.is_root
                else None
            )
        )
        if goal is not None and comm.is_root:
            _tell_outcome(console, goal, folder)
        return True
    finally:
        output.close()
        if execution.compile:
            forget_compiled()


def _open(plan: Plan, checkpoint: Path, folder: Path, comm: Comm) -> RunOutput:
    comm.together(lambda: check_precision(plan.emulator, plan.case.precision, comm.device))
    return comm.together(lambda: open_output(plan, checkpoint, folder, comm))


def _step(
    plan: Plan,
    output: RunOutput,
    folder: Path,
    comm: Comm,
    execution: Execution,
    signals: StopSignals,
    console: Console,
    goal: Goal | None,
    extend: bool,
) -> bool:
    """Execute what is left of a plan; returns whether anything was."""
    progress = comm.from_root(comm.together(lambda: output.open(extend)))
    if has_ended(progress, goal, comm):
        return False
    begin = comm.together(lambda: read_snapshot(plan, folder, progress, comm))
    left = comm.together(lambda: go_on(plan, folder, progress))
    reporter = _reporter(left, console, comm, execution)
    execution, measured = _rehearse(left, comm, execution, progress, console)
    output.keep(measured)
    try:
        told = progress.quarantined
        execute(left, output, comm, execution, reporter, signals, begin, told, goal)
    finally:
        reporter.close()
    return True


def _rehearse(
    plan: Plan, comm: Comm, execution: Execution, progress: Progress, console: Console
) -> tuple[Execution, dict[str, Any]]:
    """Measure what is not known from the run's beginning, and tell it.

    Returns how the run is computed, and what the manifest keeps.
    """
    measured = dict(progress.measured)
    if "precision" not in measured:
        found = measure_precision(plan, comm, execution)
        if found is not None:
            measured["precision"] = found
            console.print(response_error_table(found))
    execution, tried = with_batch_size(plan, comm, execution, measured)
    if tried is not None:
        measured[KEPT] = tried
        console.print(batch_table(tried))
    if execution.compile:
        compiling = measure_compiling(plan, comm, execution)
        console.print(compiling_line(compiling, plan.num_steps - progress.step), highlight=False)
    return execution, measured


def _tell_outcome(console: Console, goal: Goal, folder: Path) -> None:
    """What has become of what the run waited for."""
    with open_saved(folder / DIAGNOSTICS_FILE) as diagnostics, open_saved(folder / ZONAL) as zonal:
        for line in goal.outcome(diagnostics, zonal):
            console.print(line, highlight=False)


def _reporter(
    plan: Plan, console: Console, comm: Comm, execution: Execution
) -> ConsoleReporter | SilentReporter:
    """What tells of the run; it begins with the diagnostics that the run will not have."""
    if not comm.is_root:
        return SilentReporter()
    spec, settings = plan.emulator.spec, settings_of_plan(plan)
    names = [variable.name for variable in spec.outputs]
    tell_left_out(console, left_out(names, settings))
    running = RunningRatio(
        settings, names, plan.case.groups, spec.grid.latitude, plan.layout.circle_areas()
    )
    return ConsoleReporter(console, running, comm.num_processes, execution.compile)


def _analyse(
    folder: Path,
    settings: DiagnosticSettings,
    sources: Sources | None,
    output: RunOutput,
    signals: StopSignals,
    reference: tuple[str, xr.Dataset | None],
) -> None:
    """From the segments to the results; on the root alone. A signal ends it at once."""
    name, known = reference
    try:
        signals.raise_if_requested()
        output.join()
        analyse(folder, settings, known, name, sources)
        output.finish()
    except StoppedError as error:
        output.end_early("stopped", str(error))
        raise


def inspect_checkpoint(checkpoint: Path, options: dict[str, Any], trust: bool) -> None:
    """`respeval inspect`; options: of the reader."""
    emulator, console = open_checkpoint(checkpoint, options, trust), make_console()
    for part in inspection_tables(checkpoint, emulator):
        console.print(part, highlight=False)


def probe_checkpoint(
    checkpoint: Path,
    folder: Path,
    sources: tuple[str | None, Path | None],
    arms: list[str] | None,
    options: dict[str, Any],
    loss: tuple[dict[str, Any], Path | None],
    compute: tuple[str | None, int | None],
    opening: tuple[dict[str, Any], bool] = ({}, False),
) -> None:
    """`respeval gradient-probe`; sources: the data and the case, compute: device and threads.

    loss: its terms where they are given, and the file of a training's loss.
    opening: the reader's options, which win over the case's, and whether the checkpoint is trusted.
    """
    device, threads = compute
    comm = connect(device)
    chosen = Threads(threads)
    terms, loss_config = loss
    settings = comm.together(lambda: parse_settings(arms, terms, options, loss_config))
    plan = comm.together(lambda: prepare_probe(checkpoint, settings, *sources, *opening))
    comm.together(lambda: check_folder(folder) if comm.is_root else None)
    chosen.choose(plan.emulator.spec, comm)
    reporter = (
        ConsoleProbeReporter(make_console(), comm.num_processes)
        if comm.is_root
        else SilentProbeReporter()
    )
    try:
        sums = run_probe(plan, comm, reporter)
    finally:
        reporter.close()
    if comm.is_root:
        _show_probe(plan, sums, folder)
    comm.close()


def _show_probe(plan: ProbePlan, sums: Any, folder: Path) -> None:
    written = write_probe(plan, sums, folder)
    console = make_console()
    title = f"Gradient by degree, {plan.checkpoint}"
    console.print(probe_table(written.summary, written.profile, title))
    console.print(
        "low, high: the lowest and highest eighth of the degrees without degree 0",
        highlight=False,
    )
    console.print(f"files: {folder}, figure: {written.figure}", highlight=False)
