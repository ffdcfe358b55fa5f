"""One run: its wish, its plan, its steps and its analysis; the same on every process."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xarray as xr

from respeval.analysis.reference import check_references
from respeval.analysis.results import analyse
from respeval.api.session import Session
from respeval.case.case import Sources
from respeval.case.file import case_beside, load_case
from respeval.case.parsing import Parts
from respeval.checkpoints import Checkpoint
from respeval.diagnostics import (
    REGRESSIONS,
    DiagnosticSettings,
    known_diagnostics,
    left_out,
    names_of_indices,
    why_no_sst,
)
from respeval.distributed.comm import Comm
from respeval.distributed.stop import StopSignals
from respeval.emulator.computing import forget_compiled
from respeval.errors import (
    BlowUpError,
    InputError,
    SharedInputError,
    StoppedError,
    enough_memory,
    first_line,
    in_one_line,
    is_out_of_memory,
    system_reason,
    unexpected,
)
from respeval.fields.records import OpenedRecords
from respeval.files.lock import ANALYSIS_LOCK, FolderLock
from respeval.files.netcdf import open_saved
from respeval.interpreter import give_back_freed, keep_freed
from respeval.plan.batch_size import KEPT, with_batch_size
from respeval.plan.execution import Execution, check_execution, localize_emulator
from respeval.plan.goal import Goal, check_goal, goal_of, has_ended, settings_of_plan
from respeval.plan.plan import Plan, prepare
from respeval.plan.rehearsal import measure_compiling, measure_fast_transforms, measure_precision
from respeval.plan.resume import go_on, open_output, read_snapshot
from respeval.plan.spreading import choose_spreading
from respeval.presentation.console.progress import ConsoleReporter, RunningRatio
from respeval.presentation.console.rehearsal import (
    batch_table,
    compiling_line,
    fast_transforms_line,
    response_error_table,
)
from respeval.presentation.console.streams import log_lines
from respeval.presentation.console.terminal import Console, count_left_out, make_console
from respeval.run_folder.manifest import verify_folder
from respeval.run_folder.names import DIAGNOSTICS_FILE, ZONAL
from respeval.run_folder.output import Progress, RunOutput
from respeval.runner import Reporter, execute


@dataclass(frozen=True)
class Wish:
    """What a user asks of `respeval run`, checkpoints and folder apart.

    options: keys of the case file, which win over those of `case`, the file that is given.
    compute: fields of `Execution`. spatial: parts of fields in latitude and longitude. extend: runs may
    become longer. fresh: start over beside what the folder holds. literature: whether the table tells
    what is published of models.
    """

    case: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str | None = None
    threads: int | None = None
    compute: Mapping[str, Any] = field(default_factory=dict)
    trust: bool = False
    extend: bool = False
    fresh: bool = False
    dry_run: bool = False
    spatial: Parts | None = None
    literature: bool = True

    def __post_init__(self) -> None:
        """Raises InputError where options exclude each other, before anything is opened."""
        Execution(**self.compute)

    @property
    def execution(self) -> Execution:
        """How a run is computed, before anything is measured."""
        return Execution(**self.compute)

    def plan(self, checkpoint: Checkpoint, opened: OpenedRecords) -> Plan:
        """The plan of a checkpoint's run. Raises InputError in one line."""
        path = self.case or case_beside(checkpoint)
        plan = prepare(checkpoint, load_case(path, self.options), self.trust, opened)
        check_goal(plan)
        _look_at_references(plan)
        known_diagnostics()  # a package's that can't be loaded is told before the run, not after it
        return plan


def _look_at_references(plan: Plan) -> None:
    """Tell what the references lack before the run, not after it."""
    spec, case = plan.emulator.spec, plan.case
    for told in check_references(case.reference, case.groups[1:], spec.outputs, spec.grid):
        plan.notices.tell(told)


@dataclass(frozen=True)
class Outcome:
    """What became of a run whose results are there.

    left: whether anything of it was left to do. failed: what went wrong beside its own results, a line
    each.
    """

    left: bool
    failed: tuple[str, ...] = ()

    def raise_failed(self, folder: Path) -> None:
        """Raise SharedInputError, on all processes, where anything failed."""
        if self.failed:
            told = in_one_line(list(self.failed))
            raise SharedInputError(f"{folder} is finished and has its own results, but {told}")


def run_one(checkpoint: Checkpoint, folder: Path, wish: Wish, session: Session) -> Outcome:
    """Run one checkpoint."""
    # A name for the plan here would keep the emulator in memory during the analysis.
    plans = [plan_of(checkpoint, wish, session)]
    session = spread_over(plans[0], wish, session)
    return run_plan(plans.pop(), checkpoint, folder, wish, session)


def spread_over(plan: Plan, wish: Wish, session: Session) -> Session:
    """The session whose processes share fields as the wish asks, where the plan is to decide that."""
    if wish.spatial != "auto":
        return session
    chosen = choose_spreading(plan, session.comm, wish.execution)
    session.console.print(str(chosen), highlight=False)
    return replace(session, comm=session.comm.split(chosen.height, chosen.width))


def plan_of(checkpoint: Checkpoint, wish: Wish, session: Session) -> Plan:
    """The plan of a checkpoint's run, with threads and memory for its emulator."""
    plan = session.comm.together(lambda: wish.plan(checkpoint, session.opened))
    session.threads.choose(plan.emulator.spec, session.comm)
    if session.owns_process and session.comm.device.type == "cpu":
        keep_freed()
    return plan


def run_plan(
    plan: Plan,
    checkpoint: Checkpoint,
    folder: Path,
    wish: Wish,
    session: Session,
    reference: tuple[str, xr.Dataset | None] = ("reference", None),
) -> Outcome:
    """Execute what is left of a plan into a folder with progress, and analyse it on the root.

    reference: name and diagnostics of a response that the figures show beside the run's.
    """
    comm, console = session.comm, session.console
    output = _open(plan, checkpoint, folder, wish, comm)
    try:
        goal, settings, sources = goal_of(plan, output), settings_of_plan(plan), plan.case.reference
        if not _step(plan, output, folder, goal, wish, session):
            comm.on_root(lambda: verify_folder(folder))
            console.print(f"{folder} holds this run already, finished and whole: nothing to do")
            return Outcome(left=False)
        # Unless the caller keeps the plan, the emulator's memory is the analysis's now.
        del plan
        give_back_freed()
        signals = session.signals
        failed = comm.on_root(
            lambda: _analyse(folder, settings, sources, output, signals, reference)
        )
        if goal is not None and comm.is_root and not session.is_silent:
            _tell_outcome(make_console(), goal, folder)
        return Outcome(left=True, failed=failed or ())
    finally:
        output.close()
        if wish.execution.compile:
            forget_compiled()


def _open(plan: Plan, checkpoint: Checkpoint, folder: Path, wish: Wish, comm: Comm) -> RunOutput:
    comm.together(lambda: check_execution(plan, checkpoint, wish.execution, comm))
    return comm.together(lambda: open_output(plan, checkpoint, folder, comm))


def _step(
    plan: Plan, output: RunOutput, folder: Path, goal: Goal | None, wish: Wish, session: Session
) -> bool:
    """Execute what is left of a plan; returns whether anything was."""
    comm, signals = session.comm, session.signals
    progress = comm.on_root(lambda: output.open(wish.extend))
    if has_ended(progress, goal, comm):
        return False
    begin = comm.together(lambda: read_snapshot(plan, folder, progress, comm))
    left = comm.together(lambda: go_on(plan, folder, progress, comm))
    for remark in progress.remarks:
        left.notices.tell(remark)
    localize_emulator(left, comm)
    reporter = _reporter(left, folder, wish.execution, session)
    execution, measured = _rehearse(left, wish.execution, progress, session)
    output.keep(measured)
    try:
        told = progress.quarantined
        execute(left, output, comm, execution, reporter, signals, begin, told, goal)
    finally:
        reporter.close()
    return True


def _rehearse(
    plan: Plan, execution: Execution, progress: Progress, session: Session
) -> tuple[Execution, dict[str, Any]]:
    """Measure what is not known from the run's beginning, and tell it.

    Returns how the run is computed, and what the manifest keeps.
    """
    comm, console = session.comm, session.console
    measured = dict(progress.measured)
    if "precision" not in measured:
        found = measure_precision(plan, comm, execution)
        if found is not None:
            measured["precision"] = found
            console.print(response_error_table(found))
    if execution.fast_transforms and "fast_transforms" not in measured:
        measured["fast_transforms"] = measure_fast_transforms(plan, comm, execution)
        console.print(fast_transforms_line(measured["fast_transforms"]), highlight=False)
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


def _reporter(plan: Plan, folder: Path, execution: Execution, session: Session) -> Reporter:
    """What tells of the run; it begins with how many diagnostics the run will not have."""
    if session.reporter is not None:
        return session.reporter
    if session.is_silent or not session.comm.is_root:
        return Reporter()
    spec, settings = plan.emulator.spec, settings_of_plan(plan)
    names = [variable.name for variable in spec.outputs]
    fluxes = [flux.variable.name for flux in plan.layout.fluxes]
    reasons = left_out([*names, *fluxes], settings)
    without_sst = why_no_sst(spec.surface_temperature, names)
    if without_sst is not None:
        reasons |= dict.fromkeys([*names_of_indices(settings), REGRESSIONS], without_sst)
    count_left_out(session.console, reasons, folder)
    running = RunningRatio(
        settings, names, plan.case.groups, spec.grid.latitude, plan.layout.circle_areas()
    )
    return ConsoleReporter(session.console, running, session.comm, execution)


def _analyse(
    folder: Path,
    settings: DiagnosticSettings,
    sources: Sources | None,
    output: RunOutput,
    signals: StopSignals,
    reference: tuple[str, xr.Dataset | None],
) -> tuple[str, ...]:
    """From the segments to the results; on the root alone. A signal ends it at once.

    Returns what went wrong beside the run's own results.
    """
    name, known = reference
    failed: list[str] = []
    try:
        signals.raise_if_requested()
        advice = "the run's segments stay: give the same command again where there is more"
        own_turn = FolderLock(folder, ANALYSIS_LOCK).held()
        with own_turn, enough_memory("for the analysis", advice):
            output.join()
            analyse(folder, settings, known, name, sources, tell=failed.append)
            output.finish()
    except StoppedError as error:
        output.end_early("stopped", str(error))
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else unexpected(error)
        output.end_early("failed", f"in the analysis: {reason}")
        raise
    return tuple(failed)


def reason_of(error: Exception, comm: Comm, is_silent: bool = False) -> str:
    """Why a checkpoint can't run, in one line, where the error lets all processes go on to the next.

    is_silent: whether the traceback of an error that nobody foresaw is for the log alone. Raises the
    error where not all processes know of it: the others would wait.
    """
    if isinstance(error, SharedInputError | BlowUpError):
        return " ".join(str(error).split())
    if comm.num_processes > 1:
        raise error
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    if is_out_of_memory(error):
        return f"too little memory ({first_line(error)[:200]})"
    if isinstance(error, OSError):
        return " ".join(system_reason(error).split())
    if not is_silent:
        traceback.print_exception(error)
    log_lines("".join(traceback.format_exception(error)))
    return unexpected(error)


def named(checkpoint: Path, reason: str) -> str:
    """A reason that begins with the checkpoint's name, once."""
    return reason if reason.startswith(str(checkpoint)) else f"{checkpoint}: {reason}"
