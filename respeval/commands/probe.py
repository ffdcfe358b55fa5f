"""`respeval inspect` and `respeval gradient-probe`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from respeval.api.probing import ProbeWish
from respeval.api.session import Session, open_session
from respeval.checkpoints import open_checkpoint
from respeval.loss_probe.plan import (
    ProbePlan,
    check_probe_split,
)
from respeval.loss_probe.probing import (
    ProbeReporter,
    look_ahead,
    own_folder,
    run_probe,
    write_probe,
)
from respeval.loss_probe.profile import ProbeSums
from respeval.presentation.console.checkpoint import inspection_tables
from respeval.presentation.console.json_output import (
    answer,
    footprint_content,
    inspection_content,
    probe_content,
)
from respeval.presentation.console.probe import (
    ConsoleProbeReporter,
    footprint_table,
    probe_tables,
)
from respeval.presentation.console.sweep import amount
from respeval.presentation.console.terminal import make_console


def inspect_checkpoint(checkpoint: Path, options: dict[str, Any], trust: bool) -> None:
    """`respeval inspect`; options: of the reader."""
    console = make_console()
    emulator = open_checkpoint(checkpoint, options, trust, with_weights=False)
    for part in inspection_tables(checkpoint, emulator):
        console.print(part, highlight=False)
    answer(lambda: inspection_content(checkpoint, emulator))


def probe_checkpoint(checkpoint: Path, folder: Path, wish: ProbeWish) -> None:
    """`respeval gradient-probe`."""
    session = open_session(wish.device, wish.threads)
    if wish.spatial is not None:
        session = replace(session, comm=session.comm.split(*wish.spatial))
    comm, console = session.comm, session.console
    plan = comm.together(lambda: wish.plan(checkpoint))
    comm.together(lambda: check_probe_split(plan, comm.mesh.height, comm.mesh.width))
    session.threads.choose(plan.emulator.spec, comm)
    if wish.dry_run:
        _look_ahead(plan, session)
        return
    reporter = ConsoleProbeReporter(console, comm.num_data) if comm.is_root else ProbeReporter()
    with own_folder(folder, plan, comm):
        try:
            sums = run_probe(plan, comm, reporter)
        finally:
            reporter.close()
        if comm.is_root:
            _show_probe(plan, sums, folder)
    comm.close()


def _look_ahead(plan: ProbePlan, session: Session) -> None:
    """`--dry-run`: what the probe would take; nothing is written."""
    comm, console = session.comm, make_console(session.comm.is_root)
    footprint, free = look_ahead(plan, comm)
    chosen = plan.settings.recompute or footprint.choice(free)
    console.print(footprint_table(plan, footprint, free, comm.num_data, chosen))
    each = " of each process" if comm.num_processes > 1 else ""
    for line in (
        f"memory{each}: what comes on top of the loaded model; {amount(free)} are free",
        "time: of all batches, from one forward pass, with a way back taken for two; loading and "
        "figures come on top",
    ):
        console.print(line, highlight=False)
    if comm.is_root:
        rounds = -(-plan.pairs.num_batches // comm.num_data)
        answer(lambda: footprint_content(footprint, free, rounds, chosen))
    comm.close()


def _show_probe(plan: ProbePlan, sums: ProbeSums, folder: Path) -> None:
    console = make_console()
    written = write_probe(plan, sums, folder)
    title = f"Gradient by degree, {plan.checkpoint}"
    for table in probe_tables(written.summary, written.profile, title, console.width):
        console.print(table)
    console.print(
        "low, high: the lowest and highest eighth of the degrees without degree 0",
        highlight=False,
    )
    for text in plan.notices.texts:
        console.warn(text)
    console.print(f"files: {folder}, figure: {written.figure}", highlight=False)
    answer(lambda: probe_content(folder, written.figure))
