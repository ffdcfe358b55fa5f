"""`respeval run`: one checkpoint, or many one after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from respeval.api.one_run import Wish, run_one
from respeval.api.session import Session, open_session
from respeval.api.sweep import run_sweep
from respeval.commands.dry_run import look_ahead_of_all
from respeval.commands.exits import EXIT_SOME_FAILED
from respeval.distributed.stop import StopSignals
from respeval.presentation.console.json_output import answer, run_content
from respeval.presentation.console.tables import show_table
from respeval.run_folder.folder import fresh_folder
from respeval.run_folder.sweep import Status, Sweep, find_checkpoints, holds_sweep


def run_checkpoints(arguments: list[Path], folder: Path, wish: Wish) -> int:
    """`respeval run`; returns the exit code.

    One checkpoint's results go into the folder, those of several into a folder each within it.
    """
    with StopSignals() as signals:
        session = open_session(wish.device, wish.threads, signals)
        if isinstance(wish.spatial, tuple):
            session = replace(session, comm=session.comm.split(*wish.spatial))
        comm = session.comm
        checkpoints = comm.from_root(comm.together(lambda: find_checkpoints(arguments)))
        is_sweep = comm.from_root(len(checkpoints) > 1 or holds_sweep(folder))
        act = look_ahead_of_all if wish.dry_run else _run_all
        code = act(checkpoints, folder, is_sweep, wish, session)
        comm.close()
        return code


def _run_all(
    checkpoints: list[Path], folder: Path, is_sweep: bool, wish: Wish, session: Session
) -> int:
    """Run every checkpoint; returns the exit code."""
    comm = session.comm
    if wish.fresh:
        folder = _fresh(folder, session)
    if is_sweep:
        sweep = Sweep(folder, checkpoints)
        comm.on_root(sweep.begin)
        with session.signals.deferred():
            return 0 if run_sweep(sweep, wish, session) else EXIT_SOME_FAILED
    outcome = run_one(checkpoints[0], folder, wish, session)
    if comm.is_root:
        show_table(folder, literature=wish.literature)
    outcome.raise_failed(folder)
    if comm.is_root:
        status = Status.FINISHED if outcome.left else Status.ALREADY_FINISHED
        answer(lambda: run_content(folder, status, checkpoints[0]))
    return 0


def _fresh(folder: Path, session: Session) -> Path:
    """Where `--restart-fresh` starts over; the root chooses and tells."""
    comm = session.comm
    chosen = comm.on_root(lambda: fresh_folder(folder, comm.num_restarts))
    if chosen != folder:
        session.console.print(f"{folder} stays as it is; starting over in {chosen}")
    return chosen
