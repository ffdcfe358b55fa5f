"""The ratios of a run against its length, with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from respeval.diagnostics import RATIOS_KNOWN
from respeval.fields.grid import FloatArray
from respeval.plotting.series import days_between
from respeval.plotting.style import (
    BASELINE_COLOR,
    FONT_SIZE,
    legend_below,
    line_colors,
    make_panels,
    perturbation_labels,
    sentence,
    set_letters,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Axis of each ratio, and its panel's title where there are no bands.
_LABELS = {
    "land_ocean_warming_ratio": ("Land / ocean warming", "All latitudes"),
    "vertical_warming_ratio_tropical_ocean": ("Upper / surface warming", "Tropical ocean"),
}

#: Beside the curves an axis shows this many half-widths of the last intervals, so that the first ones,
#: of a few units, don't flatten what came of them.
_HALF_WIDTHS_SHOWN = 5.0

#: Share of an axis that is left free above and below the curves.
_MARGIN = 0.05


def has_ratios(running: xr.Dataset) -> bool:
    """Whether there is anything to draw."""
    return any(name in running for name in RATIOS_KNOWN)


def running_ratios(running: xr.Dataset) -> Figure:
    """Each ratio from the run's beginning up to each time, its 95 % interval shaded.

    running: as in running.nc. Panels: the land/ocean ratio of every band, the vertical ratio.
    """
    panels_of = _panels(running)
    num_columns = min(2, len(panels_of))
    num_rows = -(-len(panels_of) // num_columns)
    figure, panels = make_panels(num_rows, num_columns, 0.7 + 1.9 * num_rows, sharex=True)
    time, label = _lengths(running)
    labels = perturbation_labels(running)
    for panel, (title, own) in zip(panels, panels_of.items(), strict=False):
        _draw(panel, own, time, labels)
        panel.set_ylabel(own.attrs["label"], fontsize=FONT_SIZE)
        set_title(panel, title)
    for panel in panels[len(panels_of) :]:
        panel.set_axis_off()
    for number, panel in enumerate(panels[: len(panels_of)]):
        if number + num_columns >= len(panels_of):
            panel.set_xlabel(label, fontsize=FONT_SIZE)
            panel.tick_params(labelbottom=True)
    set_letters(panels[: len(panels_of)])
    figure.align_ylabels()
    panels[0].fill_between([], [], [], color=BASELINE_COLOR, alpha=0.2, lw=0, label="95 % interval")
    legend_below(figure, panels[0])
    return figure


def _panels(running: xr.Dataset) -> dict[str, xr.Dataset]:
    """Title -> value, low and high (perturbation, time) of every panel."""
    found = {}
    for name in RATIOS_KNOWN:
        if name not in running:
            continue
        keys = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
        axis, title = _LABELS[name]
        own = running[list(keys)].rename(keys).assign_attrs(label=axis)
        if "band" not in own.dims:
            found[title] = own
            continue
        for i, band in enumerate(own["band"].values):
            low, high = (float(own[f"band_{edge}"][i]) for edge in ("low", "high"))
            found[f"{sentence(str(band))} {low:g}–{high:g}°"] = own.isel(band=i)
    return found


def _draw(panel: Axes, own: xr.Dataset, time: FloatArray, labels: list[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = "o" if time.size < 13 else None
    for label, color in zip(labels, line_colors(len(labels)), strict=True):
        value, low, high = (
            own[key].sel(perturbation=label).values for key in ("value", "low", "high")
        )
        bounded = np.isfinite(low) & np.isfinite(high)
        panel.fill_between(time, low, high, where=bounded, color=color, alpha=0.2, lw=0)
        panel.plot(time, value, color=color, lw=1.4, marker=marker, ms=3, label=label)
    limits = _limits(own)
    if limits is not None:
        panel.set_ylim(*limits)
    panel.set_xlim(0.0, 1.03 * float(time[-1]))
    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def _limits(own: xr.Dataset) -> tuple[float, float] | None:
    """What is shown of the axis: the curves, and what the last intervals say."""
    last = own.isel(time=-1)
    half = ((last["high"] - last["low"]) / 2.0).values
    value = last["value"].values
    known = np.isfinite(value) & np.isfinite(half)
    if not known.any():
        return None
    reach = _HALF_WIDTHS_SHOWN * half[known]
    curves = own["value"].values[np.isfinite(own["value"].values)]
    low = min((value[known] - reach).min(), curves.min())
    high = max((value[known] + reach).max(), curves.max())
    margin = _MARGIN * (high - low)
    return (float(low - margin), float(high + margin)) if high > low else None


def _lengths(running: xr.Dataset) -> tuple[FloatArray, str]:
    """Length of what each number is from, and the label: years, or days in a run shorter than one.

    A year lasts from one date to the same date, whatever the calendar's years are.
    """
    bounds = running["time_bnds"].transpose("time", "bnds")
    first = str(bounds.values[0, 0])[:10]
    begin, end = (bounds.isel(bnds=i).dt for i in (0, 1))
    years = end.year - begin.year + (end.month - begin.month) / 12 + (end.day - begin.day) / 365.25
    if years[-1] < 1:
        days = np.array([days_between(begin, end) for begin, end in bounds.values])
        return days, f"Days of simulation from {first} on"
    return np.asarray(years.values, np.float64), f"Years of simulation from {first} on"
