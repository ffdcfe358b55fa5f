"""`respeval.run`: the rollout, its response and its diagnostics, from Python."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack, overload

from respeval.api.keys import AnyCase, CaseKeys, Changes, read_case
from respeval.api.notebook import NotebookReporter, in_notebook
from respeval.api.one_run import Wish, run_one
from respeval.api.results import Run, Sweep
from respeval.api.session import Session
from respeval.api.sweep import run_sweep
from respeval.api.untouched import as_before, comm_for, evaluated
from respeval.case.parsing import check_at_least_one, parse_batch_size, parse_spatial
from respeval.checkpoints import Checkpoint, InMemory
from respeval.distributed.comm import Comm
from respeval.distributed.stop import StopSignals
from respeval.emulator.contract import Emulator
from respeval.errors import (
    BlowUpError,
    InputError,
    SharedInputError,
    StoppedError,
    enough_memory,
)
from respeval.plan.execution import Threads
from respeval.presentation.console.terminal import make_notes_console
from respeval.run_folder.folder import fresh_folder
from respeval.run_folder.sweep import Sweep as SweepRecord
from respeval.run_folder.sweep import find_checkpoints

AnyPath = str | os.PathLike[str]
Files = list[str] | list[Path] | tuple[AnyPath, ...]


@overload
def run(
    checkpoint: AnyPath | Emulator,
    *,
    output: AnyPath,
    case: AnyCase | None = None,
    perturb: Changes | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    threads: int | None = None,
    window: int | None = None,
    samples_per_batch: int | Literal["auto"] | None = None,
    spatial: str | tuple[int, int] | None = None,
    fail_fast: bool = False,
    compile: bool = False,
    fast_transforms: bool = False,
    trust: bool = False,
    extend: bool = False,
    fresh: bool = False,
    heed_signals: bool = False,
    progress: bool = False,
    **keys: Unpack[CaseKeys],
) -> Run: ...


@overload
def run(
    checkpoint: Files,
    *,
    output: AnyPath,
    case: AnyCase | None = None,
    perturb: Changes | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    threads: int | None = None,
    window: int | None = None,
    samples_per_batch: int | Literal["auto"] | None = None,
    spatial: str | tuple[int, int] | None = None,
    fail_fast: bool = False,
    compile: bool = False,
    fast_transforms: bool = False,
    trust: bool = False,
    extend: bool = False,
    fresh: bool = False,
    heed_signals: bool = False,
    progress: bool = False,
    **keys: Unpack[CaseKeys],
) -> Sweep: ...


def run(
    checkpoint: AnyPath | Emulator | Files,
    *,
    output: AnyPath,
    case: AnyCase | None = None,
    perturb: Changes | None = None,
    device: Literal["cpu", "cuda"] | None = None,
    threads: int | None = None,
    window: int | None = None,
    samples_per_batch: int | Literal["auto"] | None = None,
    spatial: str | tuple[int, int] | None = None,
    fail_fast: bool = False,
    compile: bool = False,
    fast_transforms: bool = False,
    trust: bool = False,
    extend: bool = False,
    fresh: bool = False,
    heed_signals: bool = False,
    progress: bool = False,
    **keys: Unpack[CaseKeys],
) -> Run | Sweep:
    """Run the baseline and all perturbed climates in one rollout, and diagnose the response.

    checkpoint: a file; an emulator in memory (see `respeval.emulator.Emulator`); or several files, which
        run one after the other, each into a folder of its own within `output`.
    output: folder of the results. Where it holds this very run, the run goes on or is found finished.
    case: a case file, its content, or a `Case`; default: case.yaml beside a checkpoint's file.
    perturb: label -> kelvins everywhere over ocean, text as `--perturb` has it, or entry of a case file.
    keys: of the case (`years=10`); they win over `case`. Paths are relative to the working directory.
    device, threads, window, samples_per_batch, spatial, fail_fast, compile, fast_transforms, trust,
        extend, fresh: as the options of `respeval run` (`fresh` is --restart-fresh).
    heed_signals: whether SIGTERM, SIGINT and SIGUSR1 save the run before they end it as StoppedError.
    progress: whether to tell of it: a line in a notebook, else what the command tells, on the terminal.

    Nothing else is printed. Of the caller's process and of an emulator in memory nothing is changed:
    neither weights, training mode and gradients nor random states, threads and other settings. Where
    there are several processes (torchrun, or a process group of the caller's own), all of them call it.
    Raises InputError for whatever the arguments or files have wrong, BlowUpError where no sample is left,
    and StoppedError.
    """
    path, options = read_case(case, perturb, keys)
    check_at_least_one("threads", threads)
    check_at_least_one("window", window)
    parts = "x".join(map(str, spatial)) if isinstance(spatial, tuple) else spatial
    batch = None if samples_per_batch is None else str(samples_per_batch)
    compute: dict[str, Any] = {
        "window_length": window,
        "samples_per_batch": parse_batch_size("samples_per_batch", batch),
        "fail_fast": fail_fast,
        "compile": compile,
        "fast_transforms": fast_transforms,
    }
    chosen = parse_spatial("spatial", parts)
    wish = Wish(path, options, device, threads, compute, trust, extend, fresh, spatial=chosen)
    if isinstance(checkpoint, list | tuple):
        if not all(isinstance(each, str | os.PathLike) for each in checkpoint):
            raise InputError("a list is of files; run emulators in memory one at a time")
        return _run_many(
            [Path(each) for each in checkpoint], Path(output), wish, heed_signals, progress
        )
    source = _source_of(checkpoint)
    if isinstance(source, InMemory) and wish.spatial == "auto":
        wish = replace(wish, spatial=None)  # its network stays whole
    with _session(source, wish, heed_signals, progress) as session:
        folder = _folder(Path(output), wish, session.comm)
        outcome = run_one(source, folder, wish, session)
        outcome.raise_failed(folder)
    return Run(folder)


def _source_of(checkpoint: Any) -> Checkpoint:
    is_path = isinstance(checkpoint, str | os.PathLike)
    return Path(checkpoint) if is_path else InMemory(checkpoint)


def _run_many(
    files: list[Path], output: Path, wish: Wish, heed_signals: bool, progress: bool
) -> Sweep:
    if not files:
        raise InputError("no checkpoint is given: the list is empty")
    with _session(files[0], wish, heed_signals, progress) as session:
        comm = session.comm
        found = comm.from_root(comm.together(lambda: find_checkpoints(files)))
        folder = _folder(output, wish, comm)
        sweep = SweepRecord(folder, found)
        comm.on_root(sweep.begin)
        with session.signals.deferred():
            run_sweep(sweep, wish, session)
        failed = {e.folder.name: e.reason for e in sweep.entries if e.reason is not None}
        runs = [Run(e.folder) for e in sweep.entries if e.folder.name not in failed]
    return Sweep(folder, tuple(runs), failed)


def _folder(output: Path, wish: Wish, comm: Comm) -> Path:
    if not wish.fresh:
        return output
    return comm.on_root(lambda: fresh_folder(output, comm.num_restarts))


@contextlib.contextmanager
def _session(
    checkpoint: Checkpoint, wish: Wish, heed_signals: bool, progress: bool
) -> Iterator[Session]:
    """What a run works with; the caller's process is as before when it ends."""
    signals = StopSignals()
    heeded = signals if heed_signals else contextlib.nullcontext()
    with as_before(), evaluated(checkpoint), heeded, enough_memory():
        comm = comm_for(checkpoint, wish.device)
        tells = progress and comm.is_root
        in_page = tells and in_notebook()
        session = Session(
            comm,
            Threads(wish.threads),
            make_notes_console(tells and not in_page),
            signals,
            is_silent=not tells or in_page,
            owns_process=False,
            reporter=NotebookReporter() if in_page else None,
        )
        try:
            if isinstance(wish.spatial, tuple):
                session = replace(session, comm=comm.split(*wish.spatial))
            yield session
        except (SharedInputError, BlowUpError, StoppedError):
            comm.close()  # all processes are here
            raise
        comm.close()
