"""Many runs beside each other on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from respeval.diagnostics.numbers import (
    by_place,
    place_in_words,
    places_of,
    short_name,
    with_interval,
)

if TYPE_CHECKING:
    import xarray as xr

    from respeval.analysis.finished_runs import Run


#: Differences are marked where their p-value is below this.
SIGNIFICANT = 0.05


#: Names of runs take at most this share of the width; longer ones are folded.
_NAMES_SHARE = 0.3

#: Runs that a note names.
_MOST_LISTED = 4

#: Why runs of the same samples may not pair all the same.
_SAMPLES_DIFFER = "some samples left the means, or have become one, in one of the runs"

#: Close, so that four ratios with their intervals fit into 100 characters.
_STYLE: Mapping[str, Any] = {
    "box": box.SIMPLE_HEAD,
    "show_edge": False,
    "padding": (0, 0, 0, 1),
}

#: What a column takes beside its text.
_BORDER = 2


@dataclass(frozen=True)
class _Column:
    heading: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(len, (*self.heading, *self.cells))) + _BORDER


def comparison_tables(
    comparison: xr.Dataset, names: Sequence[str], label: str, width: int
) -> list[Table]:
    """One row for every run with the diagnostics of a perturbation, each with its interval.

    comparison: as of `compare_runs`. What doesn't fit into `width` characters is in further tables.
    """
    chosen = comparison.sel(perturbation=label)
    runs = [str(run) for run in chosen["run"].values]
    room = min(max(map(len, ("run", *runs))), max(8, int(_NAMES_SHARE * width)))
    always = []
    if "epoch" in chosen.coords:
        always = [_Column(("epoch",), tuple(map(_epoch, chosen["epoch"].values)))]
    left = width - 1 - room - _BORDER - sum(column.width for column in always)
    columns = [column for name in names for column in _columns(chosen, name)]
    tables: list[Table] = []
    for part in _packed(columns, left):
        title = f"Response to {label}" + (", further columns" if tables else "")
        table = Table(title=title, title_justify="left", **_STYLE)
        table.add_column("run", overflow="fold", max_width=room)
        for column in (*always, *part):
            table.add_column("\n".join(column.heading), justify="right", no_wrap=True)
        for i, run in enumerate(runs):
            table.add_row(run, *(column.cells[i] for column in (*always, *part)))
        tables.append(table)
    return tables


def comparison_notes(comparison: xr.Dataset, runs: Sequence[Run]) -> list[str]:
    """What stands below the tables: how to read them, and which runs could not be paired."""
    notes = [
        f"[95 % interval]; *: differs from {runs[0].name}, the first run, at 5 %, each number tested alone"
    ]
    paired = comparison["paired"].values
    others: dict[str, list[str]] = {}
    for run in runs:
        for label in run.left_out:
            others.setdefault(f"{label} blew up in every sample, and is left out", []).append(
                run.name
            )
    for run, kinds in zip(runs[1:], paired[1:], strict=True):
        for remark in run.remarks:
            others.setdefault(f"not defined alike, {remark}", []).append(run.name)
        if run.unpaired is not None:
            others.setdefault(f"samples are not the first run's, {run.unpaired}", []).append(
                run.name
            )
        elif (kinds == 0).any():
            others.setdefault(_SAMPLES_DIFFER, []).append(run.name)
    if len(runs) > 1:
        kinds = paired[1:]
        how = "of the same samples, paired" if (kinds == 1).any() else "of independent samples"
        some = " where not said otherwise" if (kinds == 1).any() and (kinds == 0).any() else ""
        notes.append(f"differences {how}{some}")
    return notes + [f"{listed(names)}: {reason}" for reason, names in others.items()]


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _packed(columns: Sequence[_Column], width: int) -> Iterator[list[_Column]]:
    """The columns in parts that fit, at least one in each."""
    part: list[_Column] = []
    for column in columns:
        if part and sum(c.width for c in (*part, column)) > width:
            yield part
            part = []
        part.append(column)
    if part:
        yield part


def _columns(chosen: xr.Dataset, name: str) -> Iterator[_Column]:
    """A column for every band, level or surface of a diagnostic."""
    values = chosen[name]
    value, low, high, p = (
        by_place(chosen, name, suffix) for suffix in ("", "_low", "_high", "_difference_pvalue")
    )
    for i, place in enumerate(places_of(values)):
        rows = zip(value[:, i], low[:, i], high[:, i], p[:, i], strict=True)
        cells = [
            with_interval(*numbers) + ("*" if tested < SIGNIFICANT else " ")
            for *numbers, tested in rows
        ]
        yield _Column(_heading(name, place, str(values.attrs.get("units", "1"))), tuple(cells))


def _heading(name: str, place: str, units: str) -> tuple[str, ...]:
    short = short_name(name)
    what = short or name.removesuffix("_mean") + ("" if units == "1" else f", {units}")
    return what, place if short else place_in_words(place)


def _epoch(epoch: float) -> str:
    return "-" if math.isnan(epoch) else f"{epoch:g}"
