"""The annual cycle of land and ocean warming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.plotting.style import (
    FONT_SIZE,
    interval_remark,
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

_SQUARE: dict[str, Any] = {"marker": "s", "ms": 5.0, "mfc": "none", "mew": 0.7}

#: Where a stroke of the whole year begins and ends, and the axis with it, in months.
_STROKE, _END = (12.6, 13.6), 13.7

#: What is known of a reference.
_BY_MONTH, _OF_YEAR, _NOTHING = "by month", "of the whole year", ""


def has_annual_cycle(diagnostics: xr.Dataset) -> bool:
    """Whether there is a ratio in all months of the year."""
    if _RATIO not in diagnostics:
        return False
    known = diagnostics[_RATIO].notnull()
    return bool(known.any(["perturbation", "band"]).sum() == len(_MONTHS))


def annual_cycle(
    diagnostics: xr.Dataset, reference: xr.Dataset | None = None, reference_name: str = "reference"
) -> Figure:
    """Land and ocean warming by month in every band, and below it their ratio, beside a reference.

    diagnostics: as in diagnostics.nc; `land_warming_by_month`, `ocean_warming_by_month` and
        `land_ocean_warming_ratio_by_month` (perturbation, month, band). The shades are 95 %
        intervals, without bounds where they are unbounded.
    reference: the same of a reference, of which equal labels and bands are drawn: squares by month, or,
        where only the whole year is known, a stroke behind December.
    """
    labels = perturbation_labels(diagnostics)
    bands = diagnostics["band"].values
    figure, panels = make_panels(
        2, len(bands), 4.4, width=max(7.2, 2.4 * len(bands)), sharex=True, sharey="row"
    )
    kinds: set[str] = set()
    for column, band in enumerate(bands):
        upper, lower = panels[column], panels[len(bands) + column]
        for label, color in zip(labels, line_colors(len(labels)), strict=True):
            where = {"perturbation": label, "band": band}
            _draw(upper, diagnostics, _LAND, where, color, "-", label)
            _draw(upper, diagnostics, _OCEAN, where, color, "--")
            _draw(lower, diagnostics, _RATIO, where, color, "-")
            if reference is not None:
                kinds |= {
                    _draw_reference(panel, reference, name, where, color)
                    for panel, name in ((upper, _LAND), (upper, _OCEAN), (lower, _RATIO))
                }
        lower.axhline(1.0, color="0.6", lw=0.8, zorder=0)
        lower.set_xticks(range(1, 13), list(_MONTHS))
        edges = diagnostics.sel(band=band)
        low, high = float(edges["band_low"]), float(edges["band_high"])
        set_title(upper, str(band), f"{low:g}–{high:g}°")
        set_title(lower, str(band))
    panels[0].set_ylabel(f"Warming ({units(diagnostics[_LAND])})", fontsize=FONT_SIZE)
    panels[len(bands)].set_ylabel("Land / ocean warming", fontsize=FONT_SIZE)
    set_letters(panels)
    panels[0].plot([], [], color="0.25", lw=1.5, label="land")
    panels[0].plot([], [], color="0.25", lw=1.5, ls="--", label="ocean")
    if interval_remark(diagnostics, _OCEAN):
        panels[0].fill_between([], [], [], color="0.5", alpha=0.3, lw=0, label="95 % interval")
    panels[0].set_xlim(0.7, _END if _OF_YEAR in kinds else 12.3)
    style: dict[str, Any] = {"color": "0.25", "ls": "none"}
    if _BY_MONTH in kinds:
        panels[0].plot([], [], **style, **_SQUARE, label=reference_name)
    if _OF_YEAR in kinds:
        label = f"{reference_name}, whole year"
        panels[0].plot([], [], "_", **style, ms=9, mew=1.8, label=label)
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


def _draw_reference(
    panel: Axes, reference: xr.Dataset, name: str, where: dict[str, object], color: str
) -> str:
    """Draw what the reference knows of a diagnostic; returns which of the two it is."""
    of_year = name.removesuffix("_by_month")
    for known, kind in ((name, _BY_MONTH), (of_year, _OF_YEAR)):
        try:
            values = reference[known].sel(where)
        except KeyError:  # a diagnostic, band or perturbation that only the run has
            continue
        if not values.notnull().any():
            continue
        if kind == _BY_MONTH:
            panel.plot(values["month"], values, color=color, ls="none", **_SQUARE)
        else:
            panel.hlines(float(values), *_STROKE, color=color, lw=1.8)
        return kind
    return _NOTHING
