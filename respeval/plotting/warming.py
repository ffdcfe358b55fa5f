"""Warming of the column, and of land and ocean by band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import xarray as xr

from respeval.fields.grid import FloatArray
from respeval.plotting.style import (
    FONT_SIZE,
    interval_remark,
    legend_below,
    line_colors,
    make_panels,
    perturbation_labels,
    point_style,
    reach_of_interval,
    set_letters,
    set_title,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RATIO_ALOFT = "vertical_warming_ratio_tropical_ocean"

#: Points of a dot over its slot, in bands, so that neighbours' caps don't touch.
_SIZE_OF_SLOT = 36.0


def column_warming(
    diagnostics: xr.Dataset, reference: xr.Dataset | None = None, reference_name: str = "reference"
) -> Figure:
    """Global-mean warming of every level, one line per perturbation, the reference dashed; beside it
    the tropical ocean's, where it is known at its surface and aloft.

    diagnostics: as in diagnostics.nc; `column_warming` (perturbation, level), with `pressure` or
        else by the levels' names, and perhaps `vertical_warming_ratio_tropical_ocean`. The bars are
        95 % intervals.
    reference: the same of a reference, of which equal labels and levels are drawn.
    """
    labels = perturbation_labels(diagnostics)
    values = diagnostics["column_warming"]
    has_ratio = _RATIO_ALOFT in diagnostics
    shape = {"width_ratios": (1.7, 1.0)} if has_ratio else {"width": 4.6}
    figure, panels = make_panels(1, 1 + has_ratio, 3.8, **shape)
    panel = panels[0]
    height = _level_axis(panel, values)
    for label, color in zip(labels, line_colors(len(labels)), strict=True):
        panel.errorbar(
            values.sel(perturbation=label),
            height,
            xerr=reach_of_interval(diagnostics, "column_warming", {"perturbation": label}),
            **point_style(color, fmt="o-"),
            label=label,
        )
        if _has(reference, "column_warming", label):
            known = _matching(reference, "column_warming", label, values["level"])
            panel.plot(known, height, "s--", color=color, mfc="white", ms=5.5, lw=1.2, zorder=1)
    panel.axvline(0.0, color="0.6", lw=0.8, zorder=0)
    panel.margins(x=0.08)
    panel.set_xlabel(f"Global-mean warming ({units(values)})", fontsize=FONT_SIZE)
    set_title(panel, "Warming of the column", interval_remark(diagnostics, "column_warming"))
    if has_ratio:
        _draw_ratio_aloft(panels[1], diagnostics, reference)
    if reference is not None:
        style = point_style("0.25", fmt="s--", mfc="white")
        panel.errorbar([], [], **style, label=reference_name)
    set_letters(panels)
    legend_below(figure, panel)
    return figure


def _draw_ratio_aloft(panel: Axes, diagnostics: xr.Dataset, reference: xr.Dataset | None) -> None:
    """The tropical ocean's upper over surface warming, one place for every perturbation."""
    labels = perturbation_labels(diagnostics)
    for place, (label, color) in enumerate(zip(labels, line_colors(len(labels)), strict=True)):
        value = float(diagnostics[_RATIO_ALOFT].sel(perturbation=label))
        reach = reach_of_interval(diagnostics, _RATIO_ALOFT, {"perturbation": label})
        bar = None if reach is None else reach[:, None]
        panel.errorbar([place], [value], yerr=bar, **point_style(color, fmt="o"))
        if _has(reference, _RATIO_ALOFT, label):
            known = float(reference[_RATIO_ALOFT].sel(perturbation=label))
            panel.hlines(known, place - 0.2, place + 0.2, color=color, lw=1.8, zorder=1)
    panel.axhline(1.0, color="0.6", lw=0.8, zorder=0)
    panel.set_xticks(range(len(labels)), labels)
    panel.set_xlim(-0.6, len(labels) - 0.4)
    panel.set_ylabel("Upper / surface warming", fontsize=FONT_SIZE)
    set_title(panel, "Tropical ocean")


def land_ocean_warming(
    diagnostics: xr.Dataset, reference: xr.Dataset | None = None, reference_name: str = "reference"
) -> Figure:
    """Land and ocean warming by band beside their ratio, the reference as horizontal strokes.

    diagnostics: as in diagnostics.nc; `land_warming`, `ocean_warming` and
        `land_ocean_warming_ratio` (perturbation, band). The bars are 95 % intervals.
    reference: the same of a reference, of which equal labels and bands are drawn.
    """
    labels = perturbation_labels(diagnostics)
    figure, (warming, contrast) = make_panels(1, 2, 3.4, width_ratios=(1.35, 1.0))
    _draw_bands(warming, diagnostics, ("land_warming", "ocean_warming"), reference)
    _draw_bands(contrast, diagnostics, ("land_ocean_warming_ratio",), reference)
    warming.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    warming.set_ylabel("Warming (K)", fontsize=FONT_SIZE)
    set_title(warming, "Near-surface warming", interval_remark(diagnostics, "ocean_warming"))
    contrast.axhline(1.0, color="0.6", lw=0.8, zorder=0)
    contrast.set_ylabel("Land warming / ocean warming", fontsize=FONT_SIZE)
    set_title(contrast, "Land–ocean contrast")
    set_letters((warming, contrast))
    for label, color in zip(labels, line_colors(len(labels)), strict=True):
        warming.plot([], [], "s", color=color, ms=6, label=label)
    warming.plot([], [], "o", color="0.25", ms=6, label="land")
    warming.plot([], [], "o", color="0.25", mfc="white", ms=6, label="ocean")
    if reference is not None:
        warming.plot([], [], "_", color="0.25", ms=12, mew=1.8, label=reference_name)
    legend_below(figure, warming)
    return figure


def _level_axis(panel: Axes, values: xr.DataArray) -> FloatArray:
    """Heights at which the levels are drawn: pressure downwards, or the names from top to bottom."""
    if "pressure" in values.coords:
        pressure = np.asarray(values["pressure"].values, dtype=np.float64)
        panel.set_ylabel("Pressure (hPa)", fontsize=FONT_SIZE)
        panel.set_ylim(max(1000.0, float(pressure.max()) * 1.02), 0.0)
        return pressure
    height = np.arange(values.sizes["level"], dtype=np.float64)
    panel.set_yticks(height, [str(level) for level in values["level"].values])
    panel.set_ylim(height.size - 0.5, -0.5)
    return height


def _draw_bands(
    panel: Axes, diagnostics: xr.Dataset, names: Sequence[str], reference: xr.Dataset | None
) -> None:
    """Dots by band, one slot for every perturbation and name, the second name's dots hollow."""
    labels = perturbation_labels(diagnostics)
    bands = diagnostics["band"]
    num_slots = len(labels) * len(names)
    slot = min(0.2, 0.84 / num_slots)
    size = min(4.5, _SIZE_OF_SLOT * slot)
    for i, (label, color) in enumerate(zip(labels, line_colors(len(labels)), strict=True)):
        for j, name in enumerate(names):
            place = np.arange(bands.size) + slot * (i * len(names) + j - 0.5 * (num_slots - 1))
            panel.errorbar(
                place,
                diagnostics[name].sel(perturbation=label),
                yerr=reach_of_interval(diagnostics, name, {"perturbation": label}),
                **point_style(
                    color, fmt="o", mfc="white" if j else color, ms=size, capsize=0.9 * size
                ),
            )
            if _has(reference, name, label):
                known = _matching(reference, name, label, bands)
                half = max(0.45 * slot, 0.065)
                panel.hlines(known, place - half, place + half, color=color, lw=1.8, zorder=1)
    edges = zip(bands.values, bands["band_low"].values, bands["band_high"].values, strict=True)
    ticks = [f"{band}\n{low:g}–{high:g}°" for band, low, high in edges]
    panel.set_xticks(np.arange(bands.size), ticks)
    panel.set_xlim(-0.6, bands.size - 0.4)
    panel.tick_params(axis="x", length=0)


def _has(reference: xr.Dataset | None, name: str, label: str) -> TypeGuard[xr.Dataset]:
    return reference is not None and name in reference and label in reference["perturbation"].values


def _matching(reference: xr.Dataset, name: str, label: str, places: xr.DataArray) -> FloatArray:
    """The reference's values at these bands or levels, NaN where it has none."""
    known = reference[name].sel(perturbation=label)
    return np.asarray(known.reindex({str(places.name): places.values}).values)
