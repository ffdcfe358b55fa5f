"""Global means against time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.diagnostics import BASELINE, global_mean_series
from respeval.fields.grid import FloatArray
from respeval.plotting.style import (
    BASELINE_COLOR,
    FONT_SIZE,
    legend_below,
    line_colors,
    make_panels,
    sentence,
    set_letters,
    set_title,
    units,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def global_mean_timeseries(zonal: xr.Dataset, name: str) -> Figure:
    """Global mean of one output in every segment and group, and below it the response.

    zonal: as in zonal.nc; groups are averaged over their samples.
    """
    series = global_mean_series(zonal, name)
    labels = [str(label) for label in series["group"].values]
    time, end, time_label = elapsed(zonal)
    marker = "o" if time.size < 3 else None
    figure, (upper, lower) = make_panels(2, 1, 4.4, sharex=True, height_ratios=(1.5, 1.0))
    lines = [BASELINE_COLOR, *line_colors(len(labels) - 1)]
    for label, color in zip(labels, lines, strict=True):
        values = series.sel(group=label)
        upper.plot(time, values, color=color, lw=1.3, marker=marker, label=label)
        if label != BASELINE:
            response = values - series.sel(group=BASELINE)
            lower.plot(time, response, color=color, lw=1.3, marker=marker, label=label)
    lower.axhline(0.0, color=BASELINE_COLOR, lw=1.0, zorder=0)
    upper.set_ylabel(f"Global mean ({units(series)})", fontsize=FONT_SIZE)
    lower.set_ylabel(f"Response ({units(series)})", fontsize=FONT_SIZE)
    lower.set_xlabel(time_label, fontsize=FONT_SIZE)
    lower.set_xlim(0.0, end)
    set_title(upper, sentence(series.attrs.get("long_name", name)))
    set_title(lower, "Perturbed minus baseline")
    set_letters((upper, lower))
    figure.align_ylabels()
    legend_below(figure, upper)
    return figure


def elapsed(series: xr.Dataset) -> tuple[FloatArray, float, str]:
    """Middle of every segment [time] and end of the last, since the run's start, and the label.

    In years, or in days where the run is shorter than one year. series: `time` and `time_bnds`.
    """
    start = series["time_bnds"].values[0, 0]
    days = np.array([days_between(start, moment) for moment in series["time"].values])
    end = days_between(start, series["time_bnds"].values[-1, 1])
    first = series["time_bnds"].isel(time=slice(0, 1), bnds=0).dt.strftime("%Y-%m-%d").item()
    if end < 365:
        return days, end, f"Days since {first}"
    return days / 365.25, end / 365.25, f"Years since {first}"


def days_between(begin: Any, end: Any) -> float:
    """Days from one date to another, cftime or numpy."""
    return float(np.timedelta64(end - begin) / np.timedelta64(1, "D"))
