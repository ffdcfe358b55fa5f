"""Diagnostics of many runs against the training's epoch, or in a row for every run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.diagnostics.numbers import by_place, heading, place_in_words, places_of
from respeval.fields.grid import FloatArray
from respeval.plotting.style import (
    FONT_SIZE,
    SMALL_FONT_SIZE,
    WIDTH_INCHES,
    legend_below,
    line_colors,
    make_panels,
    point_style,
    sentence,
    set_letters,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Panels side by side, where there are more.
_FEWEST_COLUMNS = 3

#: More names than this on an axis are thinned out; longer ones are folded.
_MOST_NAMES, _LETTERS_OF_NAME = 16, 24

#: Inches of a run's row, of each dot in it, and of a line of its name.
_ROW, _DOT, _LINE = 0.1, 0.08, 0.14

#: Dots of more runs than this would hide each other.
_MOST_LARGE_DOTS = 40

#: About, in the fonts of the figures.
_LETTERS_PER_INCH = 13

_LETTERS_OF_TITLE = 32

#: Names side by side in the legend, at most.
_MOST_ENTRIES = 5

#: The line of the reference.
_REFERENCE: Mapping[str, Any] = {"ls": (0, (4, 2)), "lw": 1.1, "zorder": 1}

#: Differences with a smaller p-value are drawn as full dots.
_SIGNIFICANT = 0.05


def diagnostic_of_runs(comparison: xr.Dataset, name: str, labels: Sequence[str]) -> Figure:
    """One diagnostic of all runs with 95 % intervals, a panel for every band, level or surface.

    comparison: NAME (run, perturbation[, place]) with `_low`, `_high` and `_difference_pvalue`, and
        maybe `epoch` (run): where all runs have one, lines go along it; else every run has a row.
        Full dots differ from the first run at 5 %. NAME_reference (perturbation[, place]), of what the
        attribute `reference_name` says, is a dashed line through all runs.
    """
    figure = _figure(comparison, list(_panels_of(comparison, name)), labels, _place_of)
    title = sentence(str(comparison[name].attrs.get("long_name", name)))
    lines = textwrap.fill(title, int(_LETTERS_PER_INCH * figure.get_figwidth()))
    figure.suptitle(lines, fontsize=FONT_SIZE, fontweight="bold")
    return figure


def runs_overview(comparison: xr.Dataset, names: Sequence[str], labels: Sequence[str]) -> Figure:
    """Several diagnostics of all runs in one figure, panels as in `diagnostic_of_runs`."""
    panels = [panel for name in names for panel in _panels_of(comparison, name)]
    return _figure(comparison, panels, labels, _name_and_place_of)


def _panels_of(comparison: xr.Dataset, name: str) -> Iterator[tuple[str, int]]:
    """A diagnostic's name with the number of each of its places."""
    yield from ((name, i) for i in range(len(places_of(comparison[name]))))


def _figure(
    comparison: xr.Dataset,
    panels: Sequence[tuple[str, int]],
    labels: Sequence[str],
    title_of: Callable[[xr.DataArray, int], str],
) -> Figure:
    num_columns = _num_columns(len(panels))
    num_rows = -(-len(panels) // num_columns)
    by_epoch = _by_epoch(comparison)
    names = _names(comparison)
    height = 1.75 if by_epoch else 0.75 + _rows_height(names, len(labels))
    width = max(2.4 * num_columns, WIDTH_INCHES if num_columns > 1 else 4.6)
    if not by_epoch:
        width += max(len(line) for name in names for line in name.split("\n")) / _LETTERS_PER_INCH
    figure, axes = make_panels(
        num_rows, num_columns, height * num_rows + 0.9, width, sharex=by_epoch, sharey=not by_epoch
    )
    for panel, (name, place) in zip(axes, panels, strict=False):
        _draw(panel, comparison, name, place, labels)
        title = textwrap.fill(title_of(comparison[name], place), _LETTERS_OF_TITLE)
        panel.set_title(title, loc="left", fontsize=SMALL_FONT_SIZE)
    set_letters(axes[: len(panels)], {"loc": "left", "fontsize": SMALL_FONT_SIZE})
    if by_epoch:
        _label_epochs(axes, num_columns)
    else:
        _label_rows(axes[0], names)
    _hide(axes[len(panels) :], by_epoch)
    legend: dict[str, Any] = {"color": "0.25", "ms": 4.5, "mec": "0.25"}
    axes[0].plot([], [], "o", **legend, label="differs from the first run (5 %)")
    axes[0].plot([], [], "o", mfc="white", **legend, label="does not")
    num_entries = len(labels) + 2
    if any(f"{name}_reference" in comparison for name, _ in panels):
        name = str(comparison.attrs.get("reference_name", "reference"))
        axes[0].plot([], [], color="0.25", label=name, **_REFERENCE)
        num_entries += 1
    legend_below(figure, axes[0], min(num_entries, _MOST_ENTRIES) if num_columns > 1 else 2)
    return figure


def _hide(unused: Sequence[Axes], by_epoch: bool) -> None:
    for panel in unused:
        panel.spines[:].set_visible(False)
        panel.yaxis.set_visible(False)
        # Without the epochs below it the panel above would get them, and a gap.
        panel.tick_params(axis="x", length=0, labelbottom=by_epoch)


def _num_columns(num_panels: int) -> int:
    """Three panels side by side, or four where that leaves fewer gaps."""
    if num_panels <= _FEWEST_COLUMNS:
        return num_panels
    return min((_FEWEST_COLUMNS, _FEWEST_COLUMNS + 1), key=lambda n: -num_panels % n)


def _names(comparison: xr.Dataset) -> list[str]:
    """The runs' names, whole, in lines that are short enough."""
    wide = textwrap.TextWrapper(_LETTERS_OF_NAME, break_on_hyphens=False)
    return [wide.fill(str(run)) for run in comparison["run"].values]


def _rows_height(names: Sequence[str], num_labels: int) -> float:
    """Inches that the rows of one panel take."""
    lines = max(name.count("\n") + 1 for name in names)
    row = max(_ROW + _DOT * num_labels, _LINE * lines)
    return max(0.5, row * min(len(names), _MOST_NAMES))


def _draw(
    panel: Axes, comparison: xr.Dataset, name: str, place: int, labels: Sequence[str]
) -> None:
    by_epoch = _by_epoch(comparison)
    at, order = _positions(comparison)
    size = 4.5 if len(order) <= _MOST_LARGE_DOTS else 2.0
    slot = 0.0 if by_epoch else min(0.22, 0.7 / len(labels))
    for i, (label, color) in enumerate(zip(labels, line_colors(len(labels)), strict=True)):
        chosen = comparison.sel(perturbation=label)
        value, low, high, p = (
            by_place(chosen, name, suffix)[order, place]
            for suffix in ("", "_low", "_high", "_difference_pvalue")
        )
        # An unbounded interval has no bar; a ratio's may lie on one side of it by rounding.
        reach = np.stack([value - low, high - value]).clip(min=0.0)
        reach[~np.isfinite(reach)] = np.nan
        beside = at + slot * (i - 0.5 * (len(labels) - 1))
        x, y, bar = (beside, value, "yerr") if by_epoch else (value, beside, "xerr")
        bars = {bar: reach, "fmt": "o-" if by_epoch else "o"}
        style = point_style(color, mfc="white", lw=0.9, ms=size, label=label, **bars)
        panel.errorbar(x, y, **style)
        known = by_place(chosen.isel(run=0), name, "_reference")[place]
        if np.isfinite(known):
            (panel.axhline if by_epoch else panel.axvline)(known, color=color, **_REFERENCE)
        differs = p < _SIGNIFICANT
        panel.plot(x[differs], y[differs], "o", color=color, ms=size, zorder=3)
    panel.margins(x=0.06)
    unit = units(comparison[name])
    write = panel.set_ylabel if by_epoch else panel.set_xlabel
    write("ratio" if unit == "1" else unit, fontsize=SMALL_FONT_SIZE)


def _positions(comparison: xr.Dataset) -> tuple[FloatArray, list[int]]:
    """Where the runs are drawn, and their order: by epoch if all have one, else as they are."""
    if _by_epoch(comparison):
        epochs = comparison["epoch"].values
        order = np.argsort(epochs, kind="stable")
        return np.asarray(epochs[order], np.float64), order.tolist()
    num_runs = comparison.sizes["run"]
    return np.arange(num_runs, dtype=np.float64), list(range(num_runs))


def _by_epoch(comparison: xr.Dataset) -> bool:
    if "epoch" not in comparison.coords or comparison.sizes["run"] < 2:
        return False
    epochs = comparison["epoch"].values
    return bool(np.isfinite(epochs).all()) and len(set(epochs.tolist())) > 1


def _label_epochs(axes: Sequence[Axes], num_columns: int) -> None:
    for panel in axes[-num_columns:]:
        panel.set_xlabel("Epoch of training", fontsize=FONT_SIZE)


def _label_rows(panel: Axes, names: Sequence[str]) -> None:
    """Names of the runs beside their rows, the first run above; panels share this axis."""
    shown = range(0, len(names), -(-len(names) // _MOST_NAMES))
    panel.set_yticks(list(shown), [names[i] for i in shown])
    panel.set_ylim(len(names) - 0.5, -0.5)


def _place_of(values: xr.DataArray, place: int) -> str:
    """The band, level or surface of that number; nothing where the diagnostic has but one."""
    return place_in_words(places_of(values)[place])


def _name_and_place_of(values: xr.DataArray, place: int) -> str:
    return ": ".join(filter(None, heading(str(values.name), places_of(values)[place])))
