"""The gradient of the loss by spherical-harmonic degree, as gradient_profile.nc has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from respeval.grid import FloatArray
from respeval.plotting.style import (
    BASELINE_COLOR,
    FONT_SIZE,
    SMALL_FONT_SIZE,
    legend_below,
    line_colors,
    make_panels,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def gradient_profile(profile: xr.Dataset) -> Figure:
    """Gradient, signal-to-noise, weights with relative update, and target amplitude with factor.

    profile: as in gradient_profile.nc. One colour per arm; thin lines are layers, thick ones their
    mean. Degrees run on a logarithmic axis from 1.
    """
    arms = [str(arm) for arm in profile["arm"].values]
    colors = line_colors(len(arms))
    figure, panels = make_panels(2, 2, 5.6, sharex=True)
    gradient, signal, weight, target = panels
    for arm, color in zip(arms, colors, strict=True):
        _draw_layers(gradient, profile["grad_rms"].sel(arm=arm), color, arm)
        _draw_layers(signal, profile["grad_snr"].sel(arm=arm), color)
        _draw_layers(weight, profile["relative_update"].sel(arm=arm), color)
    _draw_weight(weight, profile["weight_rms"])
    num_batches = profile.sizes["batch"]
    if num_batches > 1:
        signal.axhline(num_batches**-0.5, color="0.5", lw=0.9, ls=":", zorder=0)
    _draw_target(target, profile, arms, colors)
    thin = "thin: layers" if profile.sizes["layer"] > 1 else ""
    set_title(gradient, "Gradient of the loss", thin)
    set_title(signal, "Signal to noise", "dotted: noise alone" if num_batches > 1 else "")
    set_title(weight, "Relative update", "grey: weights, right axis")
    set_title(target, "Target and whitening", "band: 10–90 %")
    gradient.set_ylabel("RMS gradient per weight", fontsize=FONT_SIZE)
    signal.set_ylabel("|mean gradient| / spread", fontsize=FONT_SIZE)
    weight.set_ylabel("RMS gradient / RMS weight", fontsize=FONT_SIZE)
    for panel in (weight, target):
        panel.set_xlabel("Spherical-harmonic degree", fontsize=FONT_SIZE)
    for panel in (gradient, signal, weight):
        panel.set_yscale("log")
    _set_degrees(gradient, profile.sizes["degree"])
    legend_below(figure, gradient)
    return figure


def _draw_layers(panel: Axes, values: xr.DataArray, color: str, label: str | None = None) -> None:
    """Every layer thin and their mean thick, of (layer, degree), degree 0 left out."""
    shown = values.isel(degree=slice(1, None))
    if values.sizes["layer"] > 1:
        for layer in shown:
            panel.plot(shown["degree"], layer, color=color, lw=0.7, alpha=0.55)
    with np.errstate(invalid="ignore"):
        mean = shown.mean("layer", skipna=False)
    panel.plot(shown["degree"], mean, color=color, lw=2.0, label=label)


def _draw_weight(panel: Axes, weight: xr.DataArray) -> None:
    """RMS weights of (layer, degree) on an axis of their own."""
    other = panel.twinx()
    _draw_layers(other, weight, "0.55")
    _dress_right(other, "RMS weight")
    other.set_yscale("log")


def _draw_target(panel: Axes, profile: xr.Dataset, arms: list[str], colors: list[str]) -> None:
    """Amplitude of the target on the left axis, the arms' factors with their range on the right."""
    shown = profile.isel(degree=slice(1, None))
    panel.plot(
        shown["degree"], shown["target_amplitude"], color=BASELINE_COLOR, lw=1.6, ls="--", zorder=3
    )
    panel.set_ylabel("Target amplitude (dashed)", fontsize=FONT_SIZE)
    panel.set_yscale("log")
    other = panel.twinx()
    for arm, color in zip(arms, colors, strict=True):
        factor = shown["whitening_factor"].sel(arm=arm)
        low, high = shown["whitening_factor_quantiles"].sel(arm=arm).values
        if np.isfinite(factor).any():
            other.fill_between(shown["degree"], low, high, color=color, alpha=0.18, lw=0)
            other.plot(shown["degree"], factor, color=color, lw=1.6)
    _dress_right(other, "Whitening factor")
    other.set_yscale("log")


def _dress_right(panel: Axes, label: str) -> None:
    panel.set_ylabel(label, fontsize=FONT_SIZE)
    panel.tick_params(labelsize=SMALL_FONT_SIZE)
    panel.spines[["top", "left"]].set_visible(False)


def _set_degrees(panel: Axes, num_degrees: int) -> None:
    """A logarithmic axis from degree 1 with plain numbers."""
    panel.set_xscale("log")
    panel.set_xlim(1, max(2, num_degrees - 1))
    ticks: FloatArray = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], np.float64)
    ticks = ticks[ticks < max(2, num_degrees)]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
