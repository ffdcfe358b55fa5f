"""How outputs agree with a reference, one row for each output."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
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
    sentence,
    set_letters,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Shapes of the markers of globe, land and ocean.
_MARKERS = ("o", "^", "v")

#: Errors beyond this many spreads of the reference stand at the panel's edge.
_LARGEST_ERROR = 2.0

_LETTERS_OF_NAME = 34

_PERFECT = "0.6"

#: Ends what comes before an output's long name in those of its statistics.
_BEFORE_NAME = " of the response of "

_NUMBERS = ("pattern_correlation", "rmse_centred", "reference_spread")


def agreement_with_reference(agreement: xr.Dataset) -> Figure | None:
    """Pattern correlation, and centred error over the reference's spread, of every output.

    agreement: as in reference.nc. Both are without sampling noise where it is known; the thin stroke
    leads to the number as it is. A perfect response is 1 on the left and 0 on the right. Outputs of
    which neither is known, as where the reference has no pattern, have no row; None where that is all.
    Raises ValueError where there is no perturbation.
    """
    labels = perturbation_labels(agreement)
    every = compared_outputs(agreement)
    names = [name for name in every if _has_numbers(agreement, name)]
    if not names:
        return None
    texts = [textwrap.fill(_long_name(agreement, name), _LETTERS_OF_NAME) for name in names]
    row = max(0.12 + 0.1 * len(labels), 0.13 * max(text.count("\n") + 1 for text in texts))
    figure, (left, right) = make_panels(1, 2, max(1.2 + len(names) * row, 2.4), sharey=True)
    colors = line_colors(len(labels))
    for row_number, name in enumerate(names):
        for i, (label, color) in enumerate(zip(labels, colors, strict=True)):
            at = row_number + 0.6 * ((i + 0.5) / len(labels) - 0.5)
            own = agreement.sel(perturbation=label)
            raw = own[f"{name}_pattern_correlation"].values
            _draw(left, at, own[f"{name}_pattern_correlation_corrected"].values, raw, color)
            error = own[f"{name}_rmse_centred"].values
            free = own[f"{name}_rmse_centred_corrected"].values
            spread = own[f"{name}_reference_spread"].where(lambda x: x > 0).values
            _draw(right, at, _capped(free / spread), _capped(error / spread), color)
    left.set_yticks(range(len(names)), texts, fontsize=SMALL_FONT_SIZE)
    left.set_ylim(len(names) - 0.5, -0.5)
    for panel, perfect in ((left, 1.0), (right, 0.0)):
        panel.axvline(perfect, color=_PERFECT, lw=1.0, zorder=0)
        panel.hlines(
            np.arange(1, len(names)) - 0.5,
            0,
            1,
            "0.9",
            lw=0.8,
            transform=panel.get_yaxis_transform(),
        )
        panel.tick_params(axis="y", length=0)
    right.set_xlim(-0.05, _LARGEST_ERROR + 0.05)
    right.set_xticks([0.0, 0.5, 1.0, 1.5, _LARGEST_ERROR], ["0", "0.5", "1", "1.5", "≥ 2"])
    left.set_xlabel("Pattern correlation", fontsize=FONT_SIZE)
    right.set_xlabel("Centred RMSE / spread of the reference", fontsize=FONT_SIZE)
    set_title(left, "Pattern")
    num_left_out = len(every) - len(names)
    set_title(right, "Error", f"{num_left_out} more without numbers" if num_left_out else "")
    set_letters((left, right))
    _explain(left, agreement, labels)
    num_entries = len(left.get_legend_handles_labels()[1])
    legend_below(figure, left, num_entries if num_entries < 7 else 4)
    return figure


def _has_numbers(agreement: xr.Dataset, name: str) -> bool:
    correlation, error, spread = (agreement[f"{name}_{number}"] for number in _NUMBERS)
    return bool((correlation.notnull() | (error.notnull() & (spread > 0))).any())


def _long_name(agreement: xr.Dataset, name: str) -> str:
    """What an output is called in the attributes of its agreement, or else its name."""
    told = str(agreement[f"{name}_bias"].attrs.get("long_name", ""))
    text = sentence(told.partition(_BEFORE_NAME)[2]) or name
    return text.replace(" hPa", "\N{NO-BREAK SPACE}hPa")


def _explain(panel: Axes, agreement: xr.Dataset, labels: Sequence[str]) -> None:
    """The legend's entries: colours, shapes, strokes and the line of a perfect response."""
    for label, color in zip(labels, line_colors(len(labels)), strict=True):
        panel.plot([], [], "s", color=color, ms=6, label=label)
    for region, marker in zip(agreement["region"].values, _MARKERS, strict=True):
        panel.plot([], [], marker, color="0.25", ms=4.5, label=str(region))
    names = compared_outputs(agreement)
    if any(agreement[f"{name}_rmse_centred_corrected"].notnull().any() for name in names):
        panel.plot([], [], color="0.25", lw=0.8, label="effect of sampling noise")
    panel.plot([], [], "|", color=_PERFECT, ms=12, mew=1.0, label="perfect response")


def _draw(panel: Axes, at: float, values: FloatArray, raw: FloatArray, color: str) -> None:
    """The three regions' numbers on a line, from the raw one to that without noise."""
    for value, plain, marker in zip(values, raw, _MARKERS, strict=True):
        shown = plain if np.isnan(value) else value
        panel.plot([plain, shown], [at, at], color=color, lw=0.8)
        panel.plot([shown], [at], marker, color=color, ms=4.0, clip_on=False)


def _capped(values: FloatArray) -> FloatArray:
    return np.minimum(values, _LARGEST_ERROR)
