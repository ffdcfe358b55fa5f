"""The gradient of the loss by spherical-harmonic degree, as gradient_profile.nc has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from respeval.plotting.style import (
    BASELINE_COLOR,
    FONT_SIZE,
    legend_below,
    line_colors,
    make_panels,
    set_letters,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WEIGHT_COLOR = "0.35"
#: Labels of a logarithmic axis that spans less than a factor of 2.5.
_FINE = (1.0, 1.2, 1.5, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)


def gradient_profile(profile: xr.Dataset) -> Figure:
    """Six panels by degree: gradient, gradient relative to the first arm, signal to noise, weights,
    relative update, and the target's amplitude with the whitening factor.

    profile: as in gradient_profile.nc. One colour per arm; thin lines are layers, thick ones their
    mean. Degrees run on a logarithmic axis from 1. With one arm alone the second panel shows the
    gradient with respect to the outputs instead.
    """
    arms = [str(arm) for arm in profile["arm"].values]
    colors = line_colors(len(arms))
    shown = profile.isel(degree=slice(1, None))
    figure, panels = make_panels(2, 3, 4.8, sharex=True)
    gradient, relative, signal, weight, update, target = panels
    for arm, color in zip(arms, colors, strict=True):
        _draw_layers(gradient, shown["grad_rms"].sel(arm=arm), color, arm)
        _draw_layers(signal, shown["grad_snr"].sel(arm=arm), color)
        _draw_layers(update, shown["relative_update"].sel(arm=arm), color)
        if len(arms) > 1:
            first = shown["grad_rms"].isel(arm=0, drop=True)
            _draw_layers(relative, shown["grad_rms"].sel(arm=arm) / first, color)
        else:
            relative.plot(shown["degree"], shown["output_gradient"].sel(arm=arm), color=color, lw=2)
    _draw_layers(weight, shown["weight_rms"], _WEIGHT_COLOR)
    if profile.sizes["batch"] > 1:
        noise = profile.sizes["batch"] ** -0.5
        signal.axhline(noise, color="0.5", lw=1.0, ls=":", zorder=0)
    _draw_target(target, shown, arms, colors)
    _label_panels(panels, arms)
    set_letters(panels)
    for panel in (weight, update, target):
        panel.set_xlabel("Spherical-harmonic degree", fontsize=FONT_SIZE)
    _set_degrees(gradient, profile.sizes["degree"])
    _explain(gradient, profile)
    legend_below(figure, gradient, num_columns=4)
    return figure


def _label_panels(panels: list[Axes], arms: list[str]) -> None:
    """Titles, labels and logarithmic axes."""
    second = f"Gradient / {arms[0]}" if len(arms) > 1 else "Gradient of outputs"
    titles = ("Gradient", second, "Signal to noise", "Weights", "Relative update", "Target, factor")
    labels = (
        *("RMS gradient per weight", "Ratio" if len(arms) > 1 else "RMS gradient per mode"),
        *(
            "Mean / spread",
            "RMS weight",
            "Gradient / weight",
            "Amplitude, factor",
        ),
    )
    for panel, title, label in zip(panels, titles, labels, strict=True):
        set_title(panel, title)
        panel.set_ylabel(label, fontsize=FONT_SIZE)
        set_logarithmic(panel)


def _draw_layers(panel: Axes, values: xr.DataArray, color: str, label: str | None = None) -> None:
    """Every layer thin and their mean thick, of (layer, degree)."""
    if values.sizes["layer"] > 1:
        for layer in values:
            panel.plot(values["degree"], layer, color=color, lw=0.7, alpha=0.6)
    mean = values.mean("layer", skipna=False)
    panel.plot(values["degree"], mean, color=color, lw=1.8, label=label)


def _draw_target(panel: Axes, shown: xr.Dataset, arms: list[str], colors: list[str]) -> None:
    """Amplitude of a mode of the normalized target, and the arms' factors with their range."""
    degree = shown["degree"]
    panel.plot(degree, shown["target_amplitude"], color=BASELINE_COLOR, lw=1.6, ls="--", zorder=3)
    for arm, color in zip(arms, colors, strict=True):
        factor = shown["whitening_factor"].sel(arm=arm)
        low, high = shown["whitening_factor_quantiles"].sel(arm=arm).values
        if np.isfinite(factor).any():
            panel.fill_between(degree, low, high, color=color, alpha=0.2, lw=0)
            panel.plot(degree, factor, color=color, lw=1.8)


def _explain(panel: Axes, profile: xr.Dataset) -> None:
    """Entries of the legend that are no arms."""
    if profile.sizes["layer"] > 1:
        panel.plot([], [], color=_WEIGHT_COLOR, lw=0.7, label="layer")
        panel.plot([], [], color=_WEIGHT_COLOR, lw=1.8, label="mean of layers")
    if profile.sizes["batch"] > 1:
        panel.plot([], [], color="0.5", lw=1.0, ls=":", label="noise alone")
    panel.plot([], [], color=BASELINE_COLOR, lw=1.6, ls="--", label="target")
    if np.isfinite(profile["whitening_factor"]).any():
        panel.fill_between([], [], [], color="0.5", alpha=0.3, lw=0, label="10–90 %")


def set_logarithmic(panel: Axes) -> None:
    """A logarithmic axis that is labelled at 1, 2 and 5 where it spans less than two decades.

    An axis without positive values says so, as signal to noise does for a single batch.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    drawn = [np.asarray(line.get_ydata(), dtype=np.float64) for line in panel.lines]
    if not any((values > 0).any() for values in drawn):
        panel.text(0.5, 0.5, "not defined", transform=panel.transAxes, ha="center", color="0.5")
        panel.set_yticks([])
        return
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    narrow = high < 100 * low
    subs: tuple[float, ...] = (1.0, 2.0, 5.0)
    if high < 10 * low:
        subs = (1.0, 1.5, 2.0, 3.0, 5.0) if high > 2.5 * low else _FINE
    panel.yaxis.set_major_locator(LogLocator(10, subs if narrow else (1.0,)))
    panel.yaxis.set_major_formatter(FuncFormatter(_plain))
    if narrow:
        panel.yaxis.set_minor_locator(NullLocator())


def _plain(value: float, _: object = None) -> str:
    """0.02 or 5, and powers of ten where the number would be long."""
    if 1e-3 < value < 1e4:
        return f"{value:g}"
    exponent = math.floor(math.log10(value) + 1e-9) if value > 0 else 0
    times = value / 10.0**exponent
    factor = "" if abs(times - 1) < 1e-9 else f"{times:g}\\times"
    return f"${factor}10^{{{exponent}}}$"


def _set_degrees(panel: Axes, num_degrees: int) -> None:
    """A logarithmic axis from degree 1 with plain numbers."""
    from matplotlib.ticker import NullLocator

    panel.set_xscale("log")
    panel.set_xlim(1, max(2, num_degrees - 1))
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if t < max(3, num_degrees)]
    panel.set_xticks(ticks, [f"{tick}" for tick in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
