"""Scalars with their intervals, a row for each: amplification, water, energy, balance, linearity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.diagnostics.numbers import places
from respeval.plotting.style import (
    BASELINE_COLOR,
    FONT_SIZE,
    legend_below,
    line_colors,
    make_panels,
    point_style,
    reach_of_interval,
    set_letters,
    set_title,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches of a row's name and of each dot in it.
_ROW, _DOT = 0.2, 0.09


@dataclass(frozen=True)
class ScalarPanel:
    """One panel of rows.

    rows: diagnostic of one unit -> what its rows are called; nothing where its places say it all.
    origin: where a line stands: no change, or no difference. quantity: before the units.
    """

    title: str
    rows: Mapping[str, str]
    origin: float = 0.0
    quantity: str = ""


@dataclass(frozen=True)
class _Row:
    """One place of a diagnostic."""

    name: str
    where: Mapping[str, Any]
    text: str


#: Figure -> its panels; each answers one question.
SCALAR_FIGURES: Mapping[str, tuple[ScalarPanel, ...]] = {
    "amplification": (
        ScalarPanel(
            "Polar / global warming",
            {
                "arctic_amplification": "Arctic",
                "antarctic_amplification": "Antarctic",
                "polar_amplification": "both caps",
            },
            1.0,
        ),
        ScalarPanel("Land / ocean warming", {"land_ocean_warming_ratio_by_hemisphere": ""}, 1.0),
    ),
    "water": (
        ScalarPanel(
            "Change per kelvin",
            {
                "precipitation_change_per_K": "precipitation",
                "water_path_change_per_K": "water path",
            },
        ),
        ScalarPanel("Specific humidity", {"humidity_change": ""}, quantity="Change"),
        ScalarPanel("Relative humidity", {"relative_humidity_change": ""}, quantity="Change"),
    ),
    "energy": (
        ScalarPanel(
            "Feedback at the top of the atmosphere",
            {
                "cess_feedback": "net",
                "cess_feedback_longwave": "longwave",
                "cess_feedback_shortwave": "shortwave",
                "cess_feedback_clear_sky": "clear sky",
                "cess_feedback_cloud": "cloud effect",
            },
        ),
    ),
    "balance": (
        ScalarPanel("Drift", {"baseline_drift": "baseline", "response_drift": "response"}),
        ScalarPanel(
            "Energy budget",
            {
                "baseline_toa_net_flux": "net flux at the top",
                "baseline_energy_budget_residual": "residual",
                "energy_budget_residual": "its change",
            },
        ),
        ScalarPanel(
            "Water budget",
            {
                "baseline_water_budget_residual": "residual",
                "water_budget_residual": "its change",
            },
        ),
    ),
    "linearity": (
        ScalarPanel("Linearity", {"linearity": ""}, 1.0, "Response per K / the smallest change's"),
    ),
}


def scalar_figure(
    name: str,
    diagnostics: xr.Dataset,
    reference: xr.Dataset | None = None,
    reference_name: str = "reference",
) -> Figure | None:
    """A figure of `SCALAR_FIGURES`, a row for every number with a dot for each perturbation.

    diagnostics: as in diagnostics.nc. The bars are 95 % intervals, the strokes the reference's
    numbers. None where the run has no number of it.
    """
    every = [(panel, _rows(diagnostics, panel)) for panel in SCALAR_FIGURES[name]]
    shown = [(panel, rows) for panel, rows in every if rows]
    if not shown:
        return None
    labels = [str(label) for label in diagnostics["perturbation"].values]
    height = max(len(rows) for _, rows in shown) * (_ROW + _DOT * len(labels)) + 1.3
    figure, axes = make_panels(
        1, len(shown), max(height, 2.2), width=2.4 + 2.4 * max(len(shown), 1)
    )
    known = False
    for axis, (panel, rows) in zip(axes, shown, strict=True):
        _draw(axis, diagnostics, rows)
        known |= _draw_reference(axis, diagnostics, rows, reference)
        axis.axvline(panel.origin, color="0.6", lw=0.8, zorder=0)
        axis.set_yticks(range(len(rows)), [row.text for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(_axis_label(panel, diagnostics[rows[0].name]), fontsize=FONT_SIZE)
        set_title(axis, panel.title)
    set_letters(axes)
    _explain(figure, axes[0], diagnostics, shown, reference_name if known else None)
    return figure


def _axis_label(panel: ScalarPanel, values: xr.DataArray) -> str:
    unit = units(values)
    if unit == "1":
        return panel.quantity or "Ratio"
    return f"{panel.quantity} ({unit})" if panel.quantity else unit


def _rows(diagnostics: xr.Dataset, panel: ScalarPanel) -> list[_Row]:
    """The rows that have a number, in order."""
    return [
        row
        for name, text in panel.rows.items()
        if name in diagnostics
        for row in _places(diagnostics[name], name, text)
        if bool(diagnostics[name].sel(row.where).notnull().any())
    ]


def _places(values: xr.DataArray, name: str, text: str) -> Iterator[_Row]:
    for where in places(values):
        words = [text, *(str(place).replace("_", " ") for place in where.values())]
        yield _Row(name, where, ", ".join(filter(None, words)))


def _dots(diagnostics: xr.Dataset, rows: list[_Row]) -> Iterator[tuple[_Row, str, str, float]]:
    """Every dot: its row, perturbation (none of the baseline's own numbers), colour and height."""
    labels = [str(label) for label in diagnostics["perturbation"].values]
    slot = min(0.22, 0.7 / len(labels))
    for i, row in enumerate(rows):
        if "perturbation" not in diagnostics[row.name].dims:
            yield row, "", BASELINE_COLOR, i
            continue
        for k, (label, color) in enumerate(zip(labels, line_colors(len(labels)), strict=True)):
            yield row, label, color, i + slot * (k - 0.5 * (len(labels) - 1))


def _draw(axis: Axes, diagnostics: xr.Dataset, rows: list[_Row]) -> None:
    for row, label, color, height in _dots(diagnostics, rows):
        reach = reach_of_interval(diagnostics, row.name, _where(row, label))
        bar = None if reach is None else reach[:, None]
        value = _number(diagnostics, row, label)
        axis.errorbar([value], [height], xerr=bar, **point_style(color, fmt="o"))


def _draw_reference(
    axis: Axes, diagnostics: xr.Dataset, rows: list[_Row], reference: xr.Dataset | None
) -> bool:
    """A stroke at each number that the reference has too; whether there was any."""
    drawn = False
    for row, label, color, height in _dots(diagnostics, rows):
        if reference is None or row.name not in reference:
            continue
        try:
            known = _number(reference, row, label)
        except KeyError:  # a place or a perturbation that only the run has
            continue
        axis.vlines(known, height - 0.14, height + 0.14, color=color, lw=1.8, zorder=1)
        drawn = True
    return drawn


def _explain(
    figure: Figure,
    axis: Axes,
    diagnostics: xr.Dataset,
    shown: list[tuple[ScalarPanel, list[_Row]]],
    reference_name: str | None,
) -> None:
    """The legend: the colours that have a dot somewhere, the reference and the bars."""
    drawn = {
        (label, color)
        for _, rows in shown
        for row, label, color, _ in _dots(diagnostics, rows)
        if np.isfinite(_number(diagnostics, row, label))
    }
    labels = [str(label) for label in diagnostics["perturbation"].values]
    for label in ("", *labels):
        for color in [color for other, color in drawn if other == label]:
            axis.plot([], [], "o", color=color, ms=6, label=label or "baseline")
    if reference_name is not None:
        axis.plot([], [], "|", color="0.25", ms=12, mew=1.8, label=reference_name)
    axis.plot([], [], color="0.25", lw=1.1, label="95 % interval")
    legend_below(figure, axis)


def _number(diagnostics: xr.Dataset, row: _Row, label: str) -> float:
    return float(diagnostics[row.name].sel(_where(row, label)))


def _where(row: _Row, label: str) -> dict[str, Any]:
    return {**row.where, **({"perturbation": label} if label else {})}
