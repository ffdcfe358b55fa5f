"""The annual cycle of land and ocean warming."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from respeval.plotting.style import (
    FONT_SIZE,
    legend_below,
    line_colors,
    make_panels,
    perturbation_labels,
    set_letters,
    set_title,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LAND, _OCEAN, _RATIO = (
    "land_warming_by_month",
    "ocean_warming_by_month",
    "land_ocean_warming_ratio_by_month",
)
_MONTHS = "JFMAMJJASOND"


def has_annual_cycle(diagnostics: xr.Dataset) -> bool:
    """Whether there is a ratio in all months of the year."""
    if _RATIO not in diagnostics:
        return False
    known = diagnostics[_RATIO].notnull()
    return bool(known.any(["perturbation", "band"]).sum() == len(_MONTHS))


def annual_cycle(diagnostics: xr.Dataset) -> Figure:
    """Land and ocean warming by month in every band, and below it their ratio.

    diagnostics: as in diagnostics.nc; `land_warming_by_month`, `ocean_warming_by_month` and
        `land_ocean_warming_ratio_by_month` (perturbation, month, band). The shades are 95 %
        intervals, without bounds where they are unbounded.
    """
    labels = perturbation_labels(diagnostics)
    bands = diagnostics["band"].values
    figure, panels = make_panels(
        2, len(bands), 4.4, width=max(7.2, 2.4 * len(bands)), sharex=True, sharey="row"
    )
    for column, band in enumerate(bands):
        upper, lower = panels[column], panels[len(bands) + column]
        for label, color in zip(labels, line_colors(len(labels)), strict=True):
            where = {"perturbation": label, "band": band}
            _draw(upper, diagnostics, _LAND, where, color, "-", label)
            _draw(upper, diagnostics, _OCEAN, where, color, "--")
            _draw(lower, diagnostics, _RATIO, where, color, "-")
        lower.axhline(1.0, color="0.6", lw=0.8, zorder=0)
        lower.set_xticks(range(1, 13), list(_MONTHS))
        lower.set_xlim(0.7, 12.3)
        edges = diagnostics.sel(band=band)
        low, high = float(edges["band_low"]), float(edges["band_high"])
        set_title(upper, str(band), f"{low:g}–{high:g}°")
        set_title(lower, str(band))
    panels[0].set_ylabel(f"Warming ({units(diagnostics[_LAND])})", fontsize=FONT_SIZE)
    panels[len(bands)].set_ylabel("Land / ocean warming", fontsize=FONT_SIZE)
    set_letters(panels)
    panels[0].plot([], [], color="0.25", lw=1.5, label="land")
    panels[0].plot([], [], color="0.25", lw=1.5, ls="--", label="ocean")
    panels[0].fill_between([], [], [], color="0.5", alpha=0.3, lw=0, label="95 % interval")
    legend_below(figure, panels[0])
    return figure


def _draw(
    panel: Axes,
    diagnostics: xr.Dataset,
    name: str,
    where: dict[str, object],
    color: str,
    stroke: str,
    label: str | None = None,
) -> None:
    values = diagnostics[name].sel(where)
    month = values["month"].values
    if f"{name}_low" in diagnostics:
        low, high = (diagnostics[f"{name}_{end}"].sel(where).values for end in ("low", "high"))
        bounded = np.isfinite(low) & np.isfinite(high)
        panel.fill_between(month, low, high, where=bounded, color=color, alpha=0.25, lw=0)
    panel.plot(month, values, color=color, lw=1.3, ls=stroke, marker="o", ms=2.5, label=label)
