"""Many checkpoints on the terminal: what became of each, and what would."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from respeval.diagnostics.numbers import with_error
from respeval.presentation.console.parts import FURTHER, in_parts, room_for_names
from respeval.presentation.console.progress import duration
from respeval.run_folder.sweep import short_names

if TYPE_CHECKING:
    from pathlib import Path

    from respeval.plan.estimate import Estimate
    from respeval.run_folder.sweep import Entry


#: Numbers of a checkpoint: heading -> value and standard error; see `main_numbers`.
Found = Mapping[str, tuple[float | None, float | None]]


def sweep_tables(
    folder: Path, entries: Sequence[Entry], numbers: Sequence[Found], width: int
) -> list[Table]:
    """Status and main numbers of every checkpoint, as many as fit into so many characters in a table.

    numbers: of each entry.
    """
    shown, parent = short_names([entry.checkpoint for entry in entries])
    headings = list(dict.fromkeys(heading for found in numbers for heading in found))
    status = [entry.status.value for entry in entries]
    columns = [_Column("status", status, False)]
    for heading in headings:
        cells = [_ratio(*found.get(heading, (None, None))) for found in numbers]
        columns.append(_Column(heading.replace(" ", "\n"), cells))
    folders = [entry.folder.name for entry in entries]
    return _by_checkpoint(shown, folders, f"{parent}, results in {folder}", columns, width)


@dataclass(frozen=True)
class _Column:
    heading: str
    cells: Sequence[str]
    is_number: bool = True


def _by_checkpoint(
    names: Sequence[str],
    folders: Sequence[str],
    where: str,
    columns: Sequence[_Column],
    width: int,
) -> list[Table]:
    """Tables with a row for every checkpoint: its name in all of them, its folder in the first one."""

    def table_of(part: Sequence[_Column], further: bool) -> Table:
        title = f"Checkpoints of {where}{FURTHER if further else ''}"
        table = Table(title=title, title_justify="left")
        named = [("checkpoint", names)] if further else [("checkpoint", names), ("folder", folders)]
        for heading, _ in named:
            table.add_column(heading, overflow="fold", max_width=room_for_names(width))
        for column in part:
            justify: Literal["left", "right"] = "right" if column.is_number else "left"
            table.add_column(column.heading, justify=justify, no_wrap=True)
        for row in zip(*(cells for _, cells in named), *(c.cells for c in part), strict=True):
            table.add_row(*row)
        return table

    return in_parts(columns, table_of, width)


def _ratio(value: float | None, stderr: float | None) -> str:
    if value is None:
        return "-"
    return with_error(value, math.nan if stderr is None else stderr)


#: Of the columns of what would run, after those of the names.
_ESTIMATED = (
    *("state", "weights", "file", "groups x\nsamples"),
    *("steps", "memory", "time", "disk"),
)


def estimate_tables(folder: Path, estimates: Sequence[Estimate], width: int) -> list[Table]:
    """What would run, and what each run that is left takes, in tables of so many characters."""
    shown, parent = short_names([estimate.checkpoint for estimate in estimates])
    rows = [_estimate_cells(estimate) for estimate in estimates]
    columns = [
        _Column(heading, [row[i] if i < len(row) else "" for row in rows], i > 0)
        for i, heading in enumerate(_ESTIMATED)
    ]
    folders = [estimate.folder.name for estimate in estimates]
    return _by_checkpoint(shown, folders, f"{parent}, results in {folder}", columns, width)


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
