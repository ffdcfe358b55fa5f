"""`respeval run`: one checkpoint, or many one after the other."""

from __future__ import annotations

from pathlib import Path

from respeval.commands.dry_run import look_ahead_of_all
from respeval.commands.one_run import Wish, run_one
from respeval.commands.sweep import run_sweep
from respeval.distributed.comm import Comm, connect
from respeval.distributed.stop import StopSignals
from respeval.fields.records import OpenedRecords
from respeval.plan.execution import Threads
from respeval.presentation.console.tables import show_table
from respeval.presentation.console.terminal import make_console
from respeval.run_folder.folder import fresh_folder
from respeval.run_folder.sweep import Sweep, find_checkpoints, holds_sweep


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
            code = look_ahead_of_all(checkpoints, folder, is_sweep, wish, comm, threads)
            comm.close()
            return code
        if wish.fresh:
            folder = _fresh(folder, comm)
        if is_sweep:
            sweep = Sweep(folder, checkpoints)
            comm.on_root(sweep.begin)
            with signals.deferred():
                code = run_sweep(sweep, wish, comm, threads, signals)
        else:
            code = 0
            run_one(checkpoints[0], folder, wish, comm, threads, signals, OpenedRecords())
            if comm.is_root:
                show_table(folder)
        comm.close()
        return code


def _fresh(folder: Path, comm: Comm) -> Path:
    """Where `--restart-fresh` starts over; the root chooses and tells."""
    chosen = comm.on_root(lambda: fresh_folder(folder, comm.num_restarts))
    if chosen != folder:
        make_console(comm.is_root).print(f"{folder} stays as it is; starting over in {chosen}")
    return chosen
