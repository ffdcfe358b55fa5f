"""Many checkpoints on the terminal: what became of each, and what would."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from respeval.diagnostics.numbers import with_error
from respeval.presentation.console.progress import duration
from respeval.run_folder.sweep import short_names

if TYPE_CHECKING:
    from pathlib import Path

    from respeval.plan.estimate import Estimate
    from respeval.run_folder.sweep import Entry


def sweep_table(
    folder: Path,
    entries: Sequence[Entry],
    numbers: Sequence[Mapping[str, tuple[float | None, float | None]]],
) -> Table:
    """Status and main numbers of every checkpoint.

    numbers: of each entry, heading -> value and standard error; see `results.main_numbers`.
    """
    shown, parent = short_names([entry.checkpoint for entry in entries])
    table = Table(title=f"Checkpoints of {parent}, results in {folder}", title_justify="left")
    for heading in ("checkpoint", "folder", "status"):
        table.add_column(heading, overflow="fold")
    headings = list(dict.fromkeys(heading for found in numbers for heading in found))
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, entry, found in zip(shown, entries, numbers, strict=True):
        cells = [_ratio(*found.get(heading, (None, None))) for heading in headings]
        table.add_row(name, entry.folder.name, entry.status.value, *cells)
    return table


def _ratio(value: float | None, stderr: float | None) -> str:
    if value is None:
        return "-"
    return with_error(value, math.nan if stderr is None else stderr)


def estimate_table(folder: Path, estimates: Sequence[Estimate]) -> Table:
    """What would run, and what each run that is left takes."""
    shown, parent = short_names([estimate.checkpoint for estimate in estimates])
    table = Table(title=f"Checkpoints of {parent}, results in {folder}", title_justify="left")
    for heading in ("checkpoint", "folder", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("weights", "file", "groups x samples", "steps", "memory", "time", "disk"):
        table.add_column(heading, justify="right")
    for name, estimate in zip(shown, estimates, strict=True):
        table.add_row(name, estimate.folder.name, *_estimate_cells(estimate))
    return table


def _estimate_cells(estimate: Estimate) -> list[str]:
    if estimate.problem is not None:
        return ["can't run"]
    count = estimate.num_parameters
    cells = [
        "-" if count is None else _short(count),
        amount(estimate.file_bytes),
        f"{estimate.num_groups} x {estimate.num_samples}",
        str(estimate.num_steps),
    ]
    if estimate.disk is None:
        return ["finished", *cells]
    done = estimate.done_step
    return [
        f"at step {done}" if done else "new",
        *cells,
        amount(estimate.memory),
        duration(estimate.seconds),
        amount(estimate.disk.needed),
    ]


def _short(count: int) -> str:
    """A number to three digits: `144 k`."""
    thousands = (len(str(count)) - 1) // 3
    return f"{count / 1000**thousands:.3g} {' kMGT'[min(thousands, 4)]}".strip()


def amount(num_bytes: float) -> str:
    """Bytes as people read them: `3.4 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} TiB"
