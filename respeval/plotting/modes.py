"""Indices of SST against time, and maps of what goes with Niño 3.4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.diagnostics import BASELINE
from respeval.fields.grid import FloatArray, Grid
from respeval.fields.standard_names import spelled
from respeval.plotting.maps import (
    VIK,
    dot,
    draw_map,
    legend_of_dots,
    mark_round_numbers,
    not_significant,
    symmetric_steps,
)
from respeval.plotting.series import elapsed
from respeval.plotting.style import (
    BASELINE_COLOR,
    FONT_SIZE,
    WIDTH_INCHES,
    legend_below,
    line_colors,
    make_panels,
    sentence,
    set_letters,
    set_title,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Names of the two figures.
INDEX_FIGURES = ("indices", "teleconnections")

#: Series that are nowhere further apart, K, are drawn as one.
_ALIKE_K = 1e-3

#: Maps in a row.
_MOST_COLUMNS = 3

_PER_DAY = 86_400.0

_WARM, _COLD = "#D39774", "#71A8C4"


def index_series(series: xr.Dataset) -> Figure:
    """Niño 3.4 in every month and group, and below it the tripole index where a run has it.

    series: as in indices.nc. Groups whose index is the baseline's are not drawn again; samples with
    dates of their own are lines of their own.
    """
    time, end, time_label = elapsed(series)
    rows = [("nino34", "Niño 3.4"), ("tpi", "Tripole index TPI")]
    rows = [row for row in rows if row[0] in series]
    figure, panels = make_panels(len(rows), 1, 0.6 + 1.9 * len(rows), sharex=True)
    for panel, (name, title) in zip(panels, rows, strict=True):
        alike = _draw_groups(panel, time, series[name])
        remark = "the same in every group" if alike else ""
        filtered = f"{name}_filtered"
        if filtered in series:
            own = _of_baseline(series[filtered])
            panel.plot(time, own, color="k", lw=2.2, label="13-year low-pass, baseline")
        panel.axhline(0.0, color=BASELINE_COLOR, lw=0.8, zorder=0)
        panel.set_ylabel(f"Anomaly ({units(series[name])})", fontsize=FONT_SIZE)
        set_title(panel, title, remark)
    panels[-1].set_xlabel(time_label, fontsize=FONT_SIZE)
    panels[-1].set_xlim(0.0, end)
    set_letters(panels)
    figure.align_ylabels()
    legend_below(figure, panels[-1])
    return figure


def _draw_groups(panel: Axes, time: FloatArray, index: xr.DataArray) -> bool:
    """The lines of one index; whether all groups have the same one."""
    labels = [str(label) for label in index["group"].values if label != BASELINE]
    own = _of_baseline(index)
    if own.ndim == 1:
        for color, sign in ((_WARM, own > 0), (_COLD, own < 0)):
            panel.fill_between(
                time, own, 0.0, where=sign, color=color, alpha=0.5, lw=0, interpolate=True
            )
    panel.plot(time, own, color=BASELINE_COLOR, lw=1.1, label=_once(BASELINE, own))
    alike = True
    for label, color in zip(labels, line_colors(len(labels)), strict=True):
        values = index.sel(group=label).transpose("time", ...).values
        if not np.nanmax(np.abs(values - own), initial=0.0) <= _ALIKE_K:
            alike = False
            panel.plot(time, values, color=color, lw=1.1, label=_once(label, values))
    return alike and bool(labels)


def _of_baseline(index: xr.DataArray) -> FloatArray:
    """[time] or [time, sample]."""
    return np.asarray(index.sel(group=BASELINE).transpose("time", ...).values)


def _once(label: str, values: FloatArray) -> Any:
    """A label for the first of the lines alone."""
    return label if values.ndim == 1 else [label, *["_"] * (values.shape[1] - 1)]


def teleconnection_maps(maps: xr.Dataset, names: Sequence[str]) -> Figure:
    """Regression on Niño 3.4 of these outputs in the baseline, and its change in every perturbed climate.

    maps: as in regressions.nc. The changes of an output have a scale of their own. Cells that are not
    significant are dotted. Precipitation is in mm a day.
    """
    from matplotlib.figure import Figure

    labels = [str(label) for label in maps["perturbation"].values] if "perturbation" in maps else []
    num_columns = min(_MOST_COLUMNS, 1 + len(labels))
    # Where not all maps stand in one row, the baseline has a row of its own.
    first = 1 if len(labels) < _MOST_COLUMNS else num_columns
    num_rows = -(-(first + len(labels)) // num_columns)
    height = ((0.5 * WIDTH_INCHES / num_columns + 0.2) * num_rows + 0.75) * len(names)
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    panels: list[Axes] = []
    for name, part in zip(names, figure.subfigures(len(names), 1, squeeze=False).flat, strict=True):
        grid_of_panels = part.subplots(
            num_rows, num_columns, squeeze=False, subplot_kw={"projection": "mollweide"}
        )
        every = grid_of_panels.ravel().tolist()
        changes = every[first : first + len(labels)]
        for unused in every[1:]:
            if unused not in changes:
                unused.remove()
        panels += [every[0], *changes]
        shown = _shown(maps, name)
        _draw_maps(part, every[:1], shown, name, "group", [BASELINE])
        if labels:
            _draw_maps(part, changes, shown, f"{name}_change", "perturbation", labels)
        told = f"{_what(shown[name])}{legend_of_dots(shown, name)}"
        part.suptitle(told, fontsize=FONT_SIZE, x=0.01, ha="left")
    set_letters(panels)
    return figure


def _what(values: xr.DataArray) -> str:
    """What the maps of an output are, in words."""
    return sentence(str(values.attrs.get("long_name", values.name))).replace("Nino", "Niño")


def _draw_maps(
    figure: Any,
    panels: Sequence[Axes],
    maps: xr.Dataset,
    name: str,
    dim: str,
    labels: Sequence[str],
) -> None:
    """Maps of one variable, numbered by `dim`, on one scale that stands below them."""
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    grid = Grid(maps["lat"].values, maps["lon"].values)
    colors = LinearSegmentedColormap.from_list("vik", VIK)
    steps, overflow = symmetric_steps(maps[name].sel({dim: list(labels)}).values)
    norm = BoundaryNorm(steps, colors.N, extend="both" if overflow else "neither")
    is_change = dim == "perturbation"
    for panel, label in zip(panels, labels, strict=True):
        mesh = draw_map(
            panel, grid, maps[name].sel({dim: label}).values, maps["mean_ocean_fraction"].values
        )
        mesh.set(cmap=colors, norm=norm)
        dot(panel, grid, not_significant(maps, name, dim, label))
        set_title(panel, f"{label} − baseline" if is_change else sentence(label))
    bar = figure.colorbar(
        mesh, ax=list(panels), orientation="horizontal", aspect=20 * min(2, len(panels)), pad=0.04
    )
    told = f"Change ({units(maps[name])})" if is_change else units(maps[name])
    bar.set_label(told, fontsize=FONT_SIZE)
    mark_round_numbers(bar, steps, every=2 * min(2, len(steps) // (8 * len(panels)) + 1))


def _shown(maps: xr.Dataset, name: str) -> xr.Dataset:
    """The maps of an output as they are drawn: a rate of precipitation in mm a day, else as they are."""
    found = maps.copy()
    told = str(maps[name].attrs.get("units", "1"))
    is_rain = spelled(told.removesuffix(" K-1")) == spelled("kg m-2 s-1")
    shown = "mm day-1 K-1" if is_rain else {"1": "K K-1"}.get(told, told)
    for variable in (name, f"{name}_change"):
        if variable in maps:
            values = _PER_DAY * maps[variable] if is_rain else maps[variable]
            found[variable] = values.assign_attrs({**maps[variable].attrs, "units": shown})
    return found
