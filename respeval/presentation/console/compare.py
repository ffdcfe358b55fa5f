"""Many runs beside each other on the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from respeval.analysis.compared_reference import (
    REFERENCE_NAME,
    REFERENCE_SOURCE,
    REFERENCE_SUFFIX,
)
from respeval.diagnostics.numbers import (
    by_place,
    decimals_of,
    place_in_words,
    places_of,
    rounded,
    short_name,
    with_interval,
)
from respeval.presentation.console.truth import SignedError, error_cells, error_note

if TYPE_CHECKING:
    import xarray as xr
    from rich.console import Console

    from respeval.analysis.finished_runs import Run
    from respeval.fields.grid import FloatArray


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
    cells: tuple[str | Text, ...]

    @property
    def width(self) -> int:
        return max(map(len, (*self.heading, *self.cells))) + _BORDER


def show_comparison(
    console: Console,
    comparison: xr.Dataset,
    runs: Sequence[Run],
    names: Sequence[str],
    labels: Sequence[str],
) -> None:
    """Print the tables of these diagnostics and perturbations, and what is to know of them."""
    has_errors = False
    for label in labels:
        errors = error_tables(comparison, names, label, console.width)
        has_errors = has_errors or bool(errors)
        for table in [*comparison_tables(comparison, names, label, console.width), *errors]:
            console.print(table)
            console.print()
    for note in comparison_notes(comparison, runs):
        console.print(note, highlight=False)
    if has_errors:
        name, where = (comparison.attrs[key] for key in (REFERENCE_NAME, REFERENCE_SOURCE))
        console.print(textwrap.fill(error_note(name), console.width), highlight=False)
        console.print(f"{name}: {where}", highlight=False)


def comparison_tables(
    comparison: xr.Dataset, names: Sequence[str], label: str, width: int
) -> list[Table]:
    """One row for every run with the diagnostics of a perturbation, each with its interval.

    comparison: as of `compare_runs`; the reference has the first row where it tells of some of them.
    What doesn't fit into `width` characters is in further tables.
    """
    chosen = comparison.sel(perturbation=label)
    reference = _reference_of(chosen, names)
    columns = [column for name in names for column in _columns(chosen, name, bool(reference))]
    return _tables(chosen, columns, f"Response to {label}", width, reference)


def error_tables(
    comparison: xr.Dataset, names: Sequence[str], label: str, width: int
) -> list[Table]:
    """One row for every run with how far the diagnostics of a perturbation are from the reference.

    comparison, width: as for `comparison_tables`. None where the reference tells of none of them.
    """
    chosen = comparison.sel(perturbation=label)
    reference = _reference_of(chosen, names)
    if not reference:
        return []
    columns = [column for name in names for column in _error_columns(chosen, name)]
    return _tables(chosen, columns, f"Response to {label}: errors against {reference}", width)


def _tables(
    chosen: xr.Dataset, columns: Sequence[_Column], title: str, width: int, reference: str = ""
) -> list[Table]:
    """The columns in tables that fit, with the runs' names and epochs.

    reference: name of the row before the runs', where the columns have one.
    """
    names = [*([reference] if reference else []), *map(str, chosen["run"].values)]
    room = min(max(map(len, ("run", *names))), max(8, int(_NAMES_SHARE * width)))
    always = []
    if "epoch" in chosen.coords:
        epochs = [_epoch(epoch) for epoch in chosen["epoch"].values]
        always = [_Column(("epoch",), tuple([*([""] if reference else []), *epochs]))]
    left = width - 1 - room - _BORDER - sum(column.width for column in always)
    tables: list[Table] = []
    for part in _packed(columns, left):
        more = ", further columns" if tables else ""
        table = Table(title=f"{title}{more}", title_justify="left", **_STYLE)
        table.add_column("run", overflow="fold", max_width=room)
        for column in (*always, *part):
            table.add_column("\n".join(column.heading), justify="right", no_wrap=True)
        rows = zip(*(column.cells for column in (*always, *part)), strict=True)
        for i, (name, cells) in enumerate(zip(names, rows, strict=True)):
            table.add_row(name, *cells, end_section=bool(reference) and i == 0)
        tables.append(table)
    return tables


def _reference_of(chosen: xr.Dataset, names: Sequence[str]) -> str:
    """The name of the reference, where it tells of some of these diagnostics; else nothing."""
    known = any(np.isfinite(_known(chosen, name)).any() for name in names)
    return str(chosen.attrs[REFERENCE_NAME]) if known else ""


def _known(chosen: xr.Dataset, name: str) -> FloatArray:
    """A diagnostic of the reference by place, NaN where there is none."""
    return by_place(chosen.isel(run=0), name, REFERENCE_SUFFIX)


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


def _columns(chosen: xr.Dataset, name: str, has_reference: bool) -> Iterator[_Column]:
    """A column for every band, level or surface of a diagnostic, a reference's number first."""
    values, known = chosen[name], _known(chosen, name)
    value, low, high, p = (
        by_place(chosen, name, suffix) for suffix in ("", "_low", "_high", "_difference_pvalue")
    )
    for i, place in enumerate(places_of(values)):
        rows = list(zip(value[:, i], low[:, i], high[:, i], p[:, i], strict=True))
        cells = [
            with_interval(*numbers) + ("*" if tested < SIGNIFICANT else " ")
            for *numbers, tested in rows
        ]
        if has_reference:
            digits = [decimals_of(*numbers) for *numbers, _ in rows if math.isfinite(numbers[0])]
            cells = [rounded(known[i], max(digits, default=2)) + " ", *cells]
        yield _Column(_heading(name, place, str(values.attrs.get("units", "1"))), tuple(cells))


def _error_columns(chosen: xr.Dataset, name: str) -> Iterator[_Column]:
    """A column of errors for every place of a diagnostic that the reference tells of."""
    values, known = chosen[name], _known(chosen, name)
    value, low, high = (by_place(chosen, name, suffix) for suffix in ("", "_low", "_high"))
    for i, place in enumerate(places_of(values)):
        if math.isfinite(known[i]):
            rows = zip(value[:, i], low[:, i], high[:, i], strict=True)
            cells = error_cells([SignedError.of(known[i], *numbers) for numbers in rows])
            units = str(values.attrs.get("units", "1"))
            yield _Column(_heading(name, place, units), tuple(cells))


def _heading(name: str, place: str, units: str) -> tuple[str, ...]:
    short = short_name(name)
    what = short or name.removesuffix("_mean") + ("" if units == "1" else f", {units}")
    return what, place if short else place_in_words(place)


def _epoch(epoch: float) -> str:
    return "-" if math.isnan(epoch) else f"{epoch:g}"
