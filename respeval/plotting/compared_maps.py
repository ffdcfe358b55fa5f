"""The response maps of many runs beside each other, and their differences to the first of them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.fields.grid import FloatArray, Grid
from respeval.plotting.maps import VIK, dot, draw_map, mark_round_numbers, symmetric_steps
from respeval.plotting.style import (
    EXPONENT,
    FONT_SIZE,
    SMALL_FONT_SIZE,
    TITLE_STYLE,
    make_panels,
    sentence,
    set_letters,
    units,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches of a map, and of what stands above it and below a block of them.
_WIDTH, _TITLE, _SCALE = 2.4, 0.4, 0.65

#: Of a single map.
_WIDTH_ALONE = 4.6

#: Maps side by side, at most, and where that would leave gaps.
_MOST_COLUMNS, _FEWEST_COLUMNS = 4, 3

#: About, of bold titles and of labels in the fonts of the figures.
_TITLE_LETTERS, _LETTERS_PER_INCH = 24, 13

#: Units of more letters stand at the scale alone.
_SHORT_UNIT = 6

#: Numbers at a scale, at most, and as many as have room below a map.
_MOST_MARKS, _MARKS_BELOW_MAP = 14, 6

#: Leaves room for what stands below a title.
_TITLE_STYLE = {**TITLE_STYLE, "pad": 15.0}

#: Units of temperatures, whose maps are centred on the ocean's.
_TEMPERATURES = ("K", "degC")


def compared_maps(
    maps: xr.Dataset, name: str, label: str, *, differences: bool = True
) -> Figure | None:
    """The maps of one output and perturbation on one scale; below them each minus the first map.

    maps: NAME (map, perturbation, lat, lon), maybe NaN, the reference first if there is one
        (attribute `reference_name`); bool `NAME_not_significant` of the same dimensions, whose cells
        are dotted; `area_weight`, `ocean_mask` and `mean_ocean_fraction` (lat, lon).
    differences: whether they are drawn, on a scale of their own that is symmetric about zero.
    Of temperatures the pale colour is the mean over the first map's ocean, so that blue is what warms
    less than the ocean; of all else it is no change. Beside each name stand the area mean and the root
    mean square of the difference. None where no map has the perturbation.
    """
    chosen = maps.sel(perturbation=label)
    there = chosen[name].notnull().any(("lat", "lon")).values
    chosen = chosen.isel(map=np.flatnonzero(there))
    num_maps = chosen.sizes["map"]
    if num_maps == 0:
        return None
    chosen, unit = _with_power(chosen, name)
    num_columns = _num_columns(num_maps)
    num_rows = -(-num_maps // num_columns)
    places = list(range(num_maps))
    if differences and num_maps > 1:
        # In one row each difference stands below its map.
        begin = num_rows * num_columns + (num_rows == 1)
        places += range(begin, begin + num_maps - 1)
    figure, panels = _panels(places, num_columns, 1 if len(places) == num_maps else 2)
    _draw_maps(figure, panels[:num_maps], chosen, name, unit)
    if len(places) > num_maps:
        _draw_differences(figure, panels[num_maps:], chosen, name, unit)
    set_letters(panels, _TITLE_STYLE)
    return figure


def _with_power(chosen: xr.Dataset, name: str) -> tuple[xr.Dataset, str]:
    """The maps in such a power of ten of their units that their numbers are short, and these units."""
    values = chosen[name]
    largest = float(abs(values).max())
    unit = units(values)
    if largest == 0 or 0.01 <= largest < 1e4:
        return chosen, "" if unit == "1" else unit
    power = 3 * math.floor(math.log10(largest) / 3)
    shown = (values / 10.0**power).assign_attrs(values.attrs)
    factor = f"10{str(power).translate(EXPONENT)}"
    return chosen.assign({name: shown}), factor if unit == "1" else f"{factor} {unit}"


def _num_columns(num_maps: int) -> int:
    """All side by side where there are few; else rows of three, or four of many."""
    if num_maps <= _MOST_COLUMNS:
        return num_maps
    return _MOST_COLUMNS if num_maps > 2 * _FEWEST_COLUMNS else _FEWEST_COLUMNS


def _panels(places: Sequence[int], num_columns: int, num_blocks: int) -> tuple[Figure, list[Axes]]:
    """A figure with panels at these places of a grid of so many columns."""
    num_rows = places[-1] // num_columns + 1
    width = _WIDTH * num_columns if num_columns > 1 else _WIDTH_ALONE
    height = num_rows * (0.48 * width / num_columns + _TITLE) + num_blocks * _SCALE
    projection = {"projection": "mollweide"}
    figure, every = make_panels(num_rows, num_columns, height, width, subplot_kw=projection)
    for place, panel in enumerate(every):
        if place not in places:
            panel.remove()
    return figure, [every[place] for place in places]


def _draw_maps(
    figure: Figure, panels: Sequence[Axes], chosen: xr.Dataset, name: str, unit: str
) -> None:
    values, weight = chosen[name], chosen["area_weight"]
    scale, pale = _scale_of_maps(chosen, name)
    dots = chosen[f"{name}_not_significant"].values
    first = str(values["map"].values[0])
    known = chosen.attrs.get("reference_name") == first
    num_dots = 0
    for i, panel in enumerate(panels):
        field = values.isel(map=i)
        _draw(panel, chosen, field, scale)
        num_dots += dot(panel, Grid(chosen["lat"].values, chosen["lon"].values), dots[i])
        told = [f"mean {_told(_mean(field, weight), scale, '+')}"]
        if i > 0:
            what = "RMS error" if known else "RMS difference"
            told += [f"{what} {_told(_rms(field - values.isel(map=0), weight), scale)}"]
        _set_title(panel, str(values["map"].values[i]), told, unit)
    label = sentence(str(values.attrs.get("long_name", name))) + (f" ({unit})" if unit else "")
    if pale:
        label += f"; pale: about the ocean's mean in {first}, {pale:.3g} {unit}"
    if num_dots:
        label += "; dots: not significant"
    _add_scale(figure, panels, scale, label)


def _draw_differences(
    figure: Figure, panels: Sequence[Axes], chosen: xr.Dataset, name: str, unit: str
) -> None:
    values, weight = chosen[name], chosen["area_weight"]
    differences = values.isel(map=slice(1, None)) - values.isel(map=0, drop=True)
    first = str(values["map"].values[0])
    scale = symmetric_steps(differences.values)
    for i, panel in enumerate(panels):
        field = differences.isel(map=i)
        _draw(panel, chosen, field, scale)
        mean, rms = _mean(field, weight), _rms(field, weight)
        told = [f"mean {_told(mean, scale, '+')}", f"RMS {_told(rms, scale)}"]
        run = str(differences["map"].values[i])
        whole = f"{run} − {first}"
        _set_title(panel, whole if len(whole) < _TITLE_LETTERS else run, told, unit)
    label = f"Difference from {first}" + (f" ({unit})" if unit else "")
    _add_scale(figure, panels, scale, label)


def _scale_of_maps(chosen: xr.Dataset, name: str) -> tuple[tuple[FloatArray, bool], float]:
    """Edges of the colours with whether values lie beyond, and the number that the pale one is amid.

    Of temperatures the mean over the first map's ocean, rounded to a whole number of colours.
    """
    values = np.asarray(chosen[name].values, np.float64)
    if chosen[name].attrs.get("units") not in _TEMPERATURES:
        return symmetric_steps(values), 0.0
    ocean = chosen["area_weight"].where(chosen["ocean_mask"] == 1, 0.0)
    mean = _mean(chosen[name].isel(map=0), ocean)
    mean = mean if np.isfinite(mean) else 0.0
    steps, _ = symmetric_steps(values - mean)
    step = float(steps[1] - steps[0])
    pale = step * round(mean / step)
    steps, overflow = symmetric_steps(values - pale)
    return (steps + pale, overflow), pale


def _draw(
    panel: Axes,
    cells: xr.Dataset,
    field: xr.DataArray,
    scale: tuple[FloatArray, bool],
) -> None:
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    steps, overflow = scale
    colors = LinearSegmentedColormap.from_list("vik", VIK)
    grid = Grid(cells["lat"].values, cells["lon"].values)
    mesh = draw_map(panel, grid, field.values, cells["mean_ocean_fraction"].values)
    mesh.set(
        cmap=colors, norm=BoundaryNorm(steps, colors.N, extend="both" if overflow else "neither")
    )
    place = panel.get_subplotspec()
    if place is not None and place.colspan.start > 0:
        panel.set_yticklabels([])


def _set_title(panel: Axes, title: str, told: Sequence[str], unit: str) -> None:
    """The name in lines that are short enough, and below it in small type what is told."""
    lines = textwrap.fill(title, _TITLE_LETTERS, break_on_hyphens=False)
    panel.set_title(lines, **_TITLE_STYLE)
    text = ", ".join(told) + (f" {unit}" if len(unit) <= _SHORT_UNIT else "")
    style: dict[str, Any] = {"fontsize": SMALL_FONT_SIZE, "color": "0.35"}
    note = panel.annotate(text, (0, 1), (0, 4), "axes fraction", "offset points", **style)
    note.set_in_layout(False)


def _add_scale(
    figure: Figure, panels: Sequence[Axes], scale: tuple[FloatArray, bool], label: str
) -> None:
    bar = figure.colorbar(
        panels[0].collections[0],
        ax=list(panels),
        orientation="horizontal",
        aspect=45,
        shrink=0.8,
        pad=0.03,
    )
    width = int(_LETTERS_PER_INCH * figure.get_figwidth())
    bar.set_label(textwrap.fill(label, width), fontsize=FONT_SIZE)
    places = {round(panel.get_position().x0, 6) for panel in panels}
    num_marks = min(_MOST_MARKS, _MARKS_BELOW_MAP * len(places))
    mark_round_numbers(bar, scale[0], every=max(2, -(-scale[0].size // num_marks)))


def _mean(field: xr.DataArray, weight: xr.DataArray) -> float:
    """Mean over the cells where the field is known."""
    weight = weight.where(field.notnull(), 0.0)
    total = float(weight.sum())
    return float((field.fillna(0.0) * weight).sum()) / total if total > 0 else float("nan")


def _rms(field: xr.DataArray, weight: xr.DataArray) -> float:
    return float(np.sqrt(_mean(field**2, weight)))


def _told(number: float, scale: tuple[FloatArray, bool], sign: str = "") -> str:
    """A number with a tenth or a hundredth of the colours' step as its last place."""
    steps = scale[0]
    decimals = max(0, 1 - math.floor(math.log10(float(steps[1] - steps[0]) / 2 + 1e-12)))
    return f"{round(number, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")
