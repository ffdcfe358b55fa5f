"""`respeval inspect` and `respeval gradient-probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from respeval.checkpoints import open_checkpoint
from respeval.distributed.comm import connect
from respeval.loss_probe.plan import ProbePlan, parse_settings, prepare_probe
from respeval.loss_probe.probing import ProbeReporter, check_folder, run_probe, write_probe
from respeval.plan.execution import Threads
from respeval.presentation.console.checkpoint import inspection_tables
from respeval.presentation.console.probe import ConsoleProbeReporter, probe_table
from respeval.presentation.console.terminal import make_console


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
    comm.on_root(lambda: check_folder(folder))
    chosen.choose(plan.emulator.spec, comm)
    reporter = (
        ConsoleProbeReporter(make_console(), comm.num_processes)
        if comm.is_root
        else ProbeReporter()
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
