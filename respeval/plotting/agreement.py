"""How outputs agree with a reference, one row for each output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from respeval.diagnostics.agreement import compared_outputs
from respeval.fields.grid import FloatArray
from respeval.plotting.style import (
    FONT_SIZE,
    SMALL_FONT_SIZE,
    legend_below,
    line_colors,
    make_panels,
    perturbation_labels,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Shapes of the markers of globe, land and ocean.
_MARKERS = ("o", "^", "v")

#: Errors beyond this many spreads of the reference stand at the panel's edge.
_LARGEST_ERROR = 2.0


def agreement_with_reference(agreement: xr.Dataset) -> Figure:
    """Pattern correlation, and centred error over the reference's spread, of every output.

    agreement: as in reference.nc. Both are without sampling noise where it is known; the thin stroke
    leads to the number as it is. A perfect response is 1 on the left and 0 on the right. Raises
    ValueError where there is no perturbation.
    """
    labels = perturbation_labels(agreement)
    names = compared_outputs(agreement)
    height = 0.9 + len(names) * (0.12 + 0.1 * len(labels))
    figure, (left, right) = make_panels(1, 2, max(height, 2.4), sharey=True)
    colors = line_colors(len(labels))
    for row, name in enumerate(names):
        for i, (label, color) in enumerate(zip(labels, colors, strict=True)):
            at = row + 0.6 * ((i + 0.5) / len(labels) - 0.5)
            own = agreement.sel(perturbation=label)
            raw = own[f"{name}_pattern_correlation"].values
            _draw(left, at, own[f"{name}_pattern_correlation_corrected"].values, raw, color)
            error = own[f"{name}_rmse_centred"].values
            free = own[f"{name}_rmse_centred_corrected"].values
            spread = own[f"{name}_reference_spread"].where(lambda x: x > 0).values
            _draw(right, at, _capped(free / spread), _capped(error / spread), color)
    for label, color in zip(labels, colors, strict=True):
        left.plot([], [], "s", color=color, ms=6, label=label)
    for region, marker in zip(agreement["region"].values, _MARKERS, strict=True):
        left.plot([], [], marker, color="0.25", ms=4.5, label=str(region))
    left.set_yticks(range(len(names)), names, fontsize=SMALL_FONT_SIZE)
    left.set_ylim(len(names) - 0.5, -0.5)
    left.axvline(1.0, color="0.6", lw=0.8, zorder=0)
    right.axvline(0.0, color="0.6", lw=0.8, zorder=0)
    right.set_xlim(-0.05, _LARGEST_ERROR + 0.05)
    right.set_xticks([0.0, 0.5, 1.0, 1.5, _LARGEST_ERROR], ["0", "0.5", "1", "1.5", "≥ 2"])
    for panel in (left, right):
        panel.grid(axis="y", color="0.92", lw=6, zorder=-1)
        panel.set_axisbelow(True)
    left.set_xlabel("Pattern correlation", fontsize=FONT_SIZE)
    right.set_xlabel("Centred RMSE / spread of the reference", fontsize=FONT_SIZE)
    set_title(left, "Response beside its reference")
    set_title(right, "", "strokes: sampling noise")
    legend_below(figure, left)
    return figure


def _draw(panel: Axes, at: float, values: FloatArray, raw: FloatArray, color: str) -> None:
    """The three regions' numbers on a line, from the raw one to that without noise."""
    for value, plain, marker in zip(values, raw, _MARKERS, strict=True):
        shown = plain if np.isnan(value) else value
        panel.plot([plain, shown], [at, at], color=color, lw=0.8)
        panel.plot([shown], [at], marker, color=color, ms=4.0, clip_on=False)


def _capped(values: FloatArray) -> FloatArray:
    return np.minimum(values, _LARGEST_ERROR)
