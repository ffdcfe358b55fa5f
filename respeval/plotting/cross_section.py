"""Latitude-height sections of the zonal-mean warming."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from respeval.fields.grid import FloatArray
from respeval.plotting.maps import VIK, degrees, mark_round_numbers, symmetric_steps
from respeval.plotting.style import (
    FONT_SIZE,
    make_panels,
    perturbation_labels,
    set_letters,
    set_title,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LATITUDES = range(-60, 61, 30)


def zonal_mean_warming(diagnostics: xr.Dataset) -> Figure:
    """Zonal-mean warming of every level, one panel per perturbation on a common scale.

    diagnostics: as in diagnostics.nc; `zonal_mean_warming` (perturbation, level, lat), with `pressure`
        or else by the levels' names. A level's colour reaches halfway to its neighbours; dots are
        where the 95 % interval holds zero. Raises ValueError where there is no perturbation.
    """
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    labels = perturbation_labels(diagnostics)
    values = diagnostics["zonal_mean_warming"]
    latitude = np.asarray(values["lat"].values, np.float64)
    heights = _heights(values)
    steps, overflow = symmetric_steps(values.values)
    colors = LinearSegmentedColormap.from_list("vik", VIK)
    norm = BoundaryNorm(steps, colors.N, extend="both" if overflow else "neither")
    num_columns = min(2, len(labels))
    num_rows = -(-len(labels) // num_columns)
    figure, panels = make_panels(
        num_rows, num_columns, 2.6 * num_rows + 0.8, sharex=True, sharey=True
    )
    for panel, label in zip(panels, labels, strict=False):
        mesh = panel.pcolormesh(
            _edges(latitude, -90.0, 90.0),
            _edges(heights, *_ends(values)),
            values.sel(perturbation=label).values,
            cmap=colors,
            norm=norm,
            rasterized=True,
        )
        level, lat = np.nonzero(_may_be_zero(diagnostics, label))
        panel.scatter(latitude[lat], heights[level], s=1.6, color="0.25", linewidths=0)
        set_title(panel, label)
        panel.set_xticks(list(_LATITUDES), [degrees(y, "°N", "°S") for y in _LATITUDES])
        panel.set_xlim(-90, 90)
        panel.set_xlabel("Latitude", fontsize=FONT_SIZE)
    _name_levels(panels[0], values, heights)
    for unused in panels[len(labels) :]:
        unused.remove()
    set_letters(panels[: len(labels)])
    bar = figure.colorbar(mesh, ax=panels[: len(labels)], aspect=30, pad=0.02)
    bar.set_label(
        f"Zonal-mean warming ({units(values)})\ndots: 95 % interval holds 0", fontsize=FONT_SIZE
    )
    mark_round_numbers(bar, steps)
    return figure


def _heights(values: xr.DataArray) -> FloatArray:
    if "pressure" in values.coords:
        return np.asarray(values["pressure"].values, np.float64)
    return np.arange(values.sizes["level"], dtype=np.float64)


def _ends(values: xr.DataArray) -> tuple[float, float]:
    """Where the topmost level's colour begins and the lowest one's ends."""
    if "pressure" in values.coords:
        return 0.0, max(1000.0, float(values["pressure"].max()))
    return -0.5, values.sizes["level"] - 0.5


def _edges(centres: FloatArray, lowest: float, highest: float) -> FloatArray:
    """Edges of cells halfway between their centres, which rise or fall from one end to the other."""
    ends = (lowest, highest) if centres[0] <= centres[-1] else (highest, lowest)
    return np.concatenate([[ends[0]], 0.5 * (centres[1:] + centres[:-1]), [ends[1]]])


def _may_be_zero(diagnostics: xr.Dataset, label: str) -> FloatArray:
    """Cells [level, lat] whose interval holds zero; none where there is no interval."""
    if "zonal_mean_warming_low" not in diagnostics:
        return np.zeros(diagnostics["zonal_mean_warming"].shape[1:])
    low, high = (
        diagnostics[f"zonal_mean_warming_{end}"].sel(perturbation=label).values
        for end in ("low", "high")
    )
    return np.asarray((low <= 0) & (high >= 0), np.float64)


def _name_levels(panel: Axes, values: xr.DataArray, heights: FloatArray) -> None:
    lowest, highest = _ends(values)
    panel.set_ylim(highest, lowest)
    if "pressure" in values.coords:
        panel.set_ylabel("Pressure (hPa)", fontsize=FONT_SIZE)
    else:
        panel.set_yticks(heights, [str(level) for level in values["level"].values])
