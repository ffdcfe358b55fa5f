"""Maps of the response."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.fields.grid import BoolArray, FloatArray, Grid
from respeval.plotting.style import (
    FONT_SIZE,
    SMALL_FONT_SIZE,
    WIDTH_INCHES,
    axis_label,
    make_panels,
    perturbation_labels,
    set_letters,
    set_title,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

#: Places in 0 to 1 and colours: ten even samples of the map, and its middle.
VIK = (
    *((0 / 9, "#001261"), (1 / 9, "#023A7A"), (2 / 9, "#1E6F9D"), (3 / 9, "#71A8C4")),
    *((4 / 9, "#C9DDE7"), (1 / 2, "#ECE5E0"), (5 / 9, "#EACEBD")),
    *((6 / 9, "#D39774"), (7 / 9, "#BE6533"), (8 / 9, "#8B2706"), (9 / 9, "#590008")),
)
#: Dots of cells that are not significant stand in at most about this many columns of a map.
DOT_COLUMNS = 90

#: Share of map cells that the colours must tell apart; the rest are beyond the scale's ends.
SHARE_IN_SCALE = 99.5


def response_map(response: xr.Dataset, name: str) -> Figure:
    """Maps of one output's response, one panel per perturbation on a common scale.

    The projection is Mollweide's, in which equal areas of the globe are equal areas of the figure.
    response: as in response.nc; `name` (perturbation, lat, lon), `area_weight` and
        `mean_ocean_fraction` (lat, lon), whose contour 0.5 is the coast.
    The colours are centred on zero. Where `NAME_significant` stands beside the output, cells whose
    response is not significant are dotted. Raises ValueError where there is no perturbation.
    """
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    labels = perturbation_labels(response)
    values = response[name]
    grid = Grid(response["lat"].values, response["lon"].values)
    steps, overflow = symmetric_steps(values.values)
    colors = LinearSegmentedColormap.from_list("vik", VIK)
    norm = BoundaryNorm(steps, colors.N, extend="both" if overflow else "neither")
    num_columns = min(2, len(labels))
    num_rows = -(-len(labels) // num_columns)
    height = (0.46 * WIDTH_INCHES / num_columns + 0.25) * num_rows + 0.7
    figure, panels = make_panels(
        num_rows, num_columns, height, subplot_kw={"projection": "mollweide"}
    )
    for unused in panels[len(labels) :]:
        unused.remove()
    panels = panels[: len(labels)]
    for panel, label in zip(panels, labels, strict=True):
        field = values.sel(perturbation=label)
        mesh = draw_map(panel, grid, field.values, response["mean_ocean_fraction"].values)
        mesh.set(cmap=colors, norm=norm)
        dot(panel, grid, not_significant(response, name, "perturbation", label))
        mean = float((field * response["area_weight"]).sum(skipna=False))
        set_title(panel, label, f"global mean {mean:+.2f} {units(values)}".replace("-", "−"))
    set_letters(panels)
    bar = figure.colorbar(
        mesh, ax=panels, orientation="horizontal", aspect=45, shrink=0.8, pad=0.02
    )
    bar.set_label(axis_label(values) + legend_of_dots(response, name), fontsize=FONT_SIZE)
    mark_round_numbers(bar, steps)
    return figure


def mark_round_numbers(bar: Colorbar, steps: FloatArray, every: int = 2) -> None:
    """Label every other colour of a scale, or every third, …, by its middle, zero among them."""
    middles = 0.5 * (steps[1:] + steps[:-1])
    zero = middles.size // 2
    bar.ax.tick_params(labelsize=SMALL_FONT_SIZE)
    bar.set_ticks(middles[zero % every :: every].tolist())
    bar.ax.minorticks_off()


def draw_map(panel: Axes, grid: Grid, field: FloatArray, ocean_fraction: FloatArray) -> Any:
    """Cells of a field from 180°W to 180°E with the coast; the cells at the seam are on both ends."""
    signed = (grid.longitude + 180.0) % 360.0 - 180.0
    order = np.argsort(signed)
    order = np.concatenate([order[-1:], order, order[:1]])
    half = 180.0 / grid.num_lon
    centres = signed[order]
    centres[[0, -1]] += (-360.0, 360.0)
    bounds = grid.latitude_bounds()
    mesh = panel.pcolormesh(
        np.radians(np.append(centres - half, centres[-1] + half)),
        np.radians(np.append(bounds[:, 0], bounds[-1, 1])),
        field[:, order],
        rasterized=True,  # cells of a fine grid would make a PDF of many megabytes
    )
    if ocean_fraction.min() < 0.5 < ocean_fraction.max():
        panel.contour(
            *(np.radians(centres), np.radians(grid.latitude), ocean_fraction[:, order]),
            levels=[0.5],
            colors="0.1",
            linewidths=0.7,
        )
    panel.set_xticks(np.radians(range(-120, 121, 60)), [])
    parallels = range(-60, 61, 30)
    panel.set_yticks(np.radians(parallels), [degrees(y, "°N", "°S") for y in parallels])
    panel.tick_params(labelsize=SMALL_FONT_SIZE)
    panel.grid(color="0.35", lw=0.3, alpha=0.5)
    panel.set_longitude_grid_ends(90)  # type: ignore[attr-defined]
    return mesh


def not_significant(response: xr.Dataset, name: str, dim: str, label: str) -> BoolArray:
    """Cells that a test has found not significant, [lat, lon]; none where there was no test.

    dim: that the maps are numbered by, of which `label` is one.
    """
    if f"{name}_significant" not in response:
        return np.zeros(response[name].shape[1:], dtype=np.bool_)
    tested = response[f"{name}_pvalue"].sel({dim: label}).notnull()
    found = response[f"{name}_significant"].sel({dim: label}) == 1
    return np.asarray((tested & ~found).values)


def legend_of_dots(response: xr.Dataset, name: str) -> str:
    if f"{name}_significant" not in response:
        return ""
    if not response[f"{name}_pvalue"].notnull().any():
        return "; significance not known"
    return "; dots: not significant"


def dot(panel: Axes, grid: Grid, cells: BoolArray) -> int:
    """A dot in the middle of these cells [lat, lon], or of every second, third, … of a fine grid.

    Returns how many there are. Towards the poles, where meridians meet, fewer of a circle's cells have one.
    """
    stride = -(-grid.num_lon // DOT_COLUMNS)
    thinned = np.zeros_like(cells)
    for row in range(stride // 2, grid.num_lat, stride):
        along = int(stride / max(math.cos(math.radians(grid.latitude[row])), 1 / grid.num_lon))
        thinned[row, min(along, grid.num_lon - 1) // 2 :: along] = True
    lat, lon = np.nonzero(cells & thinned)
    signed = (grid.longitude[lon] + 180.0) % 360.0 - 180.0
    places = np.radians(signed), np.radians(grid.latitude[lat])
    panel.scatter(*places, s=1.6, color="0.25", linewidths=0)
    return int(lat.size)


def degrees(angle: int, positive: str, negative: str) -> str:
    return f"{abs(angle)}{positive if angle > 0 else negative if angle < 0 else '°'}"


def symmetric_steps(values: FloatArray) -> tuple[FloatArray, bool]:
    """Edges of the colours, and whether some values lie beyond them.

    Round numbers lie amid a colour, so that a field that is near one of them has one colour; zero
    lies amid the neutral one.
    """
    from matplotlib.ticker import MaxNLocator

    size = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(size, SHARE_IN_SCALE)) if size.size else 0.0
    limit = limit if limit > 0 else 1.0
    ticks = MaxNLocator(nbins=24, steps=[1, 2, 2.5, 5, 10]).tick_values(-limit, limit)
    step = float(ticks[1] - ticks[0])
    num_steps = math.ceil(limit / step - 0.5 - 1e-9)
    steps: FloatArray = step * (np.arange(-num_steps, num_steps + 2, dtype=np.float64) - 0.5)
    return steps, bool(size.size and size.max() > steps[-1] * (1 + 1e-9))
