"""Figures from the saved files: Datasets in, matplotlib figures out.

Figures are objects of their own (no pyplot, no global state), sized for a two-column page. Colours
are the colour-blind-safe set of Okabe and Ito (2008) for lines, and Crameri's `vik` (2018, MIT
licence), perceptually even and diverging, for maps.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import xarray as xr

from respeval.diagnostics import BASELINE, global_mean_series
from respeval.emulator import Roles
from respeval.grid import FloatArray, Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
BASELINE_COLOR = "0.25"
#: Places in 0 to 1 and colours: ten even samples of the map, and its middle.
VIK = (
    *((0 / 9, "#001261"), (1 / 9, "#023A7A"), (2 / 9, "#1E6F9D"), (3 / 9, "#71A8C4")),
    *((4 / 9, "#C9DDE7"), (1 / 2, "#ECE5E0"), (5 / 9, "#EACEBD")),
    *((6 / 9, "#D39774"), (7 / 9, "#BE6533"), (8 / 9, "#8B2706"), (9 / 9, "#590008")),
)
WIDTH_INCHES = 7.2
FONT_SIZE = 9.0
SMALL_FONT_SIZE = 8.0
DOTS_PER_INCH = 200
#: Share of map cells that the colours must tell apart; the rest are beyond the scale's ends.
SHARE_IN_SCALE = 99.5


def response_map(response: xr.Dataset, name: str) -> Figure:
    """Maps of one output's response, one panel per perturbation on a common scale.

    response: as in response.nc; `name` (perturbation, lat, lon), `area_weight` and
        `mean_ocean_fraction` (lat, lon), whose contour 0.5 is the coast.
    The colours are centred on zero. Raises ValueError where there is no perturbation.
    """
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    labels = _labels(response)
    values = response[name]
    grid = Grid(response["lat"].values, response["lon"].values)
    steps, overflow = _symmetric_steps(values.values)
    colors = LinearSegmentedColormap.from_list("vik", VIK)
    norm = BoundaryNorm(steps, colors.N, extend="both" if overflow else "neither")
    num_columns = min(2, len(labels))
    num_rows = -(-len(labels) // num_columns)
    height = (0.46 * WIDTH_INCHES / num_columns + 0.3) * num_rows + 0.85
    figure, panels = _panels(num_rows, num_columns, height, sharex=True, sharey=True)
    for panel, label in zip(panels, labels, strict=False):
        field = values.sel(perturbation=label)
        mesh = _draw_map(panel, grid, field.values, response["mean_ocean_fraction"].values)
        mesh.set(cmap=colors, norm=norm)
        mean = float((field * response["area_weight"]).sum(skipna=False))
        _title(panel, label, f"global mean {mean:+.2f} {_units(values)}".replace("-", "−"))
    for lowest in panels[max(0, len(labels) - num_columns) : len(labels)]:
        lowest.tick_params(labelbottom=True)
    for unused in panels[len(labels) :]:
        unused.remove()
    bar = figure.colorbar(
        mesh, ax=panels[: len(labels)], orientation="horizontal", aspect=45, shrink=0.8, pad=0.02
    )
    bar.set_label(_axis_label(values), fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=SMALL_FONT_SIZE)
    bar.ax.minorticks_off()
    return figure


def column_warming(
    diagnostics: xr.Dataset, reference: xr.Dataset | None = None, reference_name: str = "reference"
) -> Figure:
    """Global-mean warming of every level, one line per perturbation, the reference dashed.

    diagnostics: as in diagnostics.nc; `column_warming` (perturbation, level), with `pressure` or
        else by the levels' names. The bars are one standard error.
    reference: the same of a reference, of which equal labels and levels are drawn.
    """
    labels = _labels(diagnostics)
    values = diagnostics["column_warming"]
    figure, (panel,) = _panels(1, 1, 4.0, width=4.6)
    height = _level_axis(panel, values)
    for label, color in zip(labels, _line_colors(len(labels)), strict=True):
        panel.errorbar(
            values.sel(perturbation=label),
            height,
            xerr=_stderr(diagnostics, "column_warming", label),
            **_point_style(color, fmt="o-"),
            label=label,
        )
        if _has(reference, "column_warming", label):
            known = _matching(reference, "column_warming", label, values["level"])
            panel.plot(known, height, "s--", color=color, mfc="white", ms=5.5, lw=1.2, zorder=1)
    panel.axvline(0.0, color="0.6", lw=0.8, zorder=0)
    panel.margins(x=0.08)
    panel.set_xlabel(f"Global-mean warming ({_units(values)})", fontsize=FONT_SIZE)
    _title(panel, "Warming of the column", "bars: ± 1 standard error")
    if reference is not None:
        style = _point_style("0.25", fmt="s--", mfc="white")
        panel.errorbar([], [], **style, label=reference_name)
    panel.legend(frameon=False, fontsize=FONT_SIZE)
    return figure


def land_ocean_warming(
    diagnostics: xr.Dataset, reference: xr.Dataset | None = None, reference_name: str = "reference"
) -> Figure:
    """Land and ocean warming by band beside their ratio, the reference as horizontal strokes.

    diagnostics: as in diagnostics.nc; `land_warming`, `ocean_warming` and
        `land_ocean_warming_ratio` (perturbation, band). The bars are one standard error.
    reference: the same of a reference, of which equal labels and bands are drawn.
    """
    labels = _labels(diagnostics)
    figure, (warming, contrast) = _panels(1, 2, 3.4, width_ratios=(1.35, 1.0))
    _draw_bands(warming, diagnostics, ("land_warming", "ocean_warming"), reference)
    _draw_bands(contrast, diagnostics, ("land_ocean_warming_ratio",), reference)
    warming.axhline(0.0, color="0.6", lw=0.8, zorder=0)
    warming.set_ylabel("Warming (K)", fontsize=FONT_SIZE)
    _title(warming, "Near-surface warming")
    contrast.axhline(1.0, color="0.6", lw=0.8, zorder=0)
    contrast.set_ylabel("Land warming / ocean warming", fontsize=FONT_SIZE)
    _title(contrast, "Land–ocean contrast", "bars: ± 1 s.e.")
    for label, color in zip(labels, _line_colors(len(labels)), strict=True):
        warming.plot([], [], "s", color=color, ms=6, label=label)
    warming.plot([], [], "o", color="0.25", ms=6, label="land")
    warming.plot([], [], "o", color="0.25", mfc="white", ms=6, label="ocean")
    if reference is not None:
        warming.plot([], [], "_", color="0.25", ms=12, mew=1.8, label=reference_name)
    _legend_below(figure, warming)
    return figure


def global_mean_timeseries(zonal: xr.Dataset, name: str) -> Figure:
    """Global mean of one output in every segment and group, and below it the response.

    zonal: as in zonal.nc; groups are averaged over their samples.
    """
    series = global_mean_series(zonal, name)
    labels = [str(label) for label in series["group"].values]
    time, end, time_label = _elapsed(zonal)
    marker = "o" if time.size < 3 else None
    figure, (upper, lower) = _panels(2, 1, 4.4, sharex=True, height_ratios=(1.5, 1.0))
    lines = [BASELINE_COLOR, *_line_colors(len(labels) - 1)]
    for label, color in zip(labels, lines, strict=True):
        values = series.sel(group=label)
        upper.plot(time, values, color=color, lw=1.3, marker=marker, label=label)
        if label != BASELINE:
            response = values - series.sel(group=BASELINE)
            lower.plot(time, response, color=color, lw=1.3, marker=marker, label=label)
    lower.axhline(0.0, color=BASELINE_COLOR, lw=1.0, zorder=0)
    upper.set_ylabel(f"Global mean ({_units(series)})", fontsize=FONT_SIZE)
    lower.set_ylabel(f"Response ({_units(series)})", fontsize=FONT_SIZE)
    lower.set_xlabel(time_label, fontsize=FONT_SIZE)
    lower.set_xlim(0.0, end)
    _title(upper, _sentence(series.attrs.get("long_name", name)))
    figure.align_ylabels()
    _legend_below(figure, upper)
    return figure


def write_figures(
    directory: Path,
    zonal: xr.Dataset,
    response: xr.Dataset,
    diagnostics: xr.Dataset,
    roles: Roles,
    reference: xr.Dataset | None = None,
    reference_name: str = "reference",
) -> list[Path]:
    """Write every figure that the run allows as PNG, whole or not at all; return their paths.

    zonal, response, diagnostics: as in the files of these names; reference: diagnostics of a
    reference. response_map.png and global_mean_timeseries.png need the near-surface temperature,
    column_warming.png and land_ocean_warming.png their diagnostics, all but the time series a
    perturbation; figures that cannot be drawn are left out.
    """
    near_surface = roles.near_surface_temperature
    figures: dict[str, Figure] = {}
    if near_surface is not None and near_surface in zonal:
        figures["global_mean_timeseries"] = global_mean_timeseries(zonal, near_surface)
    if diagnostics.sizes.get("perturbation", 0):
        if near_surface is not None and near_surface in response:
            figures["response_map"] = response_map(response, near_surface)
        if "column_warming" in diagnostics:
            figures["column_warming"] = column_warming(diagnostics, reference, reference_name)
        if "land_ocean_warming_ratio" in diagnostics:
            figures["land_ocean_warming"] = land_ocean_warming(
                diagnostics, reference, reference_name
            )
    directory.mkdir(parents=True, exist_ok=True)
    return [save(figure, directory / f"{name}.png") for name, figure in sorted(figures.items())]


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG under a temporary name and move it to `path`."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    figure.savefig(unfinished, format="png", dpi=DOTS_PER_INCH)
    os.replace(unfinished, path)
    return path


def _draw_map(panel: Axes, grid: Grid, field: FloatArray, ocean_fraction: FloatArray) -> Any:
    """Cells of a field from 180°W to 180°E with the coast; the cells at the seam are on both ends."""
    signed = (grid.longitude + 180.0) % 360.0 - 180.0
    order = np.argsort(signed)
    order = np.concatenate([order[-1:], order, order[:1]])
    half = 180.0 / grid.num_lon
    centres = signed[order]
    centres[[0, -1]] += (-360.0, 360.0)
    bounds = grid.latitude_bounds()
    mesh = panel.pcolormesh(
        np.append(centres - half, centres[-1] + half),
        np.append(bounds[:, 0], bounds[-1, 1]),
        field[:, order],
    )
    if ocean_fraction.min() < 0.5 < ocean_fraction.max():
        panel.contour(
            *(centres, grid.latitude, ocean_fraction[:, order]),
            levels=[0.5],
            colors="0.1",
            linewidths=0.7,
        )
    panel.set(xlim=(-180, 180), ylim=(-90, 90), aspect="equal")
    panel.set_xticks(range(-120, 121, 60), [_degrees(x, "°E", "°W") for x in range(-120, 121, 60)])
    panel.set_yticks(range(-60, 61, 30), [_degrees(y, "°N", "°S") for y in range(-60, 61, 30)])
    panel.spines[:].set_visible(True)
    return mesh


def _degrees(angle: int, positive: str, negative: str) -> str:
    return f"{abs(angle)}{positive if angle > 0 else negative if angle < 0 else '°'}"


def _symmetric_steps(values: FloatArray) -> tuple[FloatArray, bool]:
    """Round steps of colour from -limit to limit, and whether some values lie beyond them."""
    from matplotlib.ticker import MaxNLocator

    size = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(size, SHARE_IN_SCALE)) if size.size else 0.0
    limit = limit if limit > 0 else 1.0
    ticks = MaxNLocator(nbins=24, steps=[1, 2, 2.5, 5, 10]).tick_values(-limit, limit)
    step = float(ticks[1] - ticks[0])
    num_steps = math.ceil(limit / step - 1e-9)
    steps: FloatArray = step * np.arange(-num_steps, num_steps + 1, dtype=np.float64)
    return steps, bool(size.size and size.max() > steps[-1] * (1 + 1e-9))


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
    labels = _labels(diagnostics)
    bands = diagnostics["band"]
    num_slots = len(labels) * len(names)
    slot = min(0.2, 0.84 / num_slots)
    for i, (label, color) in enumerate(zip(labels, _line_colors(len(labels)), strict=True)):
        for j, name in enumerate(names):
            place = np.arange(bands.size) + slot * (i * len(names) + j - 0.5 * (num_slots - 1))
            panel.errorbar(
                place,
                diagnostics[name].sel(perturbation=label),
                yerr=_stderr(diagnostics, name, label),
                **_point_style(color, fmt="o", mfc="white" if j else color),
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


def _elapsed(zonal: xr.Dataset) -> tuple[FloatArray, float, str]:
    """Middle of every segment [time] and end of the last, since the run's start, and the label.

    In years, or in days where the run is shorter than one year.
    """
    start = zonal["time_bnds"].values[0, 0]
    days = np.array([_days(moment - start) for moment in zonal["time"].values])
    end = _days(zonal["time_bnds"].values[-1, 1] - start)
    first = zonal["time_bnds"].isel(time=slice(0, 1), bnds=0).dt.strftime("%Y-%m-%d").item()
    if end < 365:
        return days, end, f"Days since {first}"
    return days / 365.25, end / 365.25, f"Years since {first}"


def _days(duration: Any) -> float:
    """A duration of cftime (datetime.timedelta) or numpy in days."""
    return float(np.timedelta64(duration) / np.timedelta64(1, "D"))


def _panels(
    num_rows: int, num_columns: int, height: float, width: float = WIDTH_INCHES, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, inches, and the panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False, **options).ravel().tolist()
    for panel in panels:
        panel.tick_params(labelsize=SMALL_FONT_SIZE)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _title(panel: Axes, title: str, remark: str = "") -> None:
    panel.set_title(title, loc="left", fontsize=FONT_SIZE, fontweight="bold")
    panel.set_title(remark, loc="right", fontsize=SMALL_FONT_SIZE, color="0.35")


def _legend_below(figure: Figure, panel: Axes) -> None:
    """One legend under all panels, with the labels of one of them."""
    handles, names = panel.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=8,
        frameon=False,
        fontsize=FONT_SIZE,
        columnspacing=1.4,
        handletextpad=0.5,
    )


def _line_colors(number: int) -> list[str]:
    return [LINE_COLORS[i % len(LINE_COLORS)] for i in range(number)]


def _point_style(color: str, **options: Any) -> dict[str, Any]:
    return {"color": color, "ms": 4.5, "lw": 1.5, "elinewidth": 1.1, "capsize": 2, **options}


def _labels(dataset: xr.Dataset) -> list[str]:
    """The perturbations' labels. Raises ValueError where there is none to draw."""
    labels = [str(label) for label in dataset["perturbation"].values]
    if not labels:
        raise ValueError("there is no perturbation to draw")
    return labels


def _units(values: xr.DataArray) -> str:
    return str(values.attrs.get("units", "1"))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _axis_label(values: xr.DataArray) -> str:
    return f"{_sentence(str(values.attrs.get('long_name', values.name)))} ({_units(values)})"


def _stderr(diagnostics: xr.Dataset, name: str, label: str) -> FloatArray | None:
    if f"{name}_stderr" not in diagnostics:
        return None
    return np.asarray(diagnostics[f"{name}_stderr"].sel(perturbation=label).values)


def _has(reference: xr.Dataset | None, name: str, label: str) -> TypeGuard[xr.Dataset]:
    return reference is not None and name in reference and label in reference["perturbation"].values


def _matching(reference: xr.Dataset, name: str, label: str, places: xr.DataArray) -> FloatArray:
    """The reference's values at these bands or levels, NaN where it has none."""
    known = reference[name].sel(perturbation=label)
    return np.asarray(known.reindex({str(places.name): places.values}).values)
