"""Maps of many runs beside each other: one scale for all, and differences that are differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from respeval.fields.grid import Grid
from respeval.plotting import compared_maps

GRID = Grid.legendre_gauss(8, 16)
LAND = np.broadcast_to(np.arange(16) < 4, GRID.shape)
NAME = "air_temperature_7"


def maps_of(
    land: list[float], units: str = "K", ocean: float = 4.0, reference: str | None = "truth"
) -> xr.Dataset:
    """Maps of these responses over land, a quarter of the globe, and of `ocean` elsewhere."""
    values = np.stack([np.where(LAND, x, ocean) for x in land])[:, None]
    dims, plane = ("map", "perturbation", "lat", "lon"), ("lat", "lon")
    names = [*([reference] if reference else []), *(f"run{i}" for i in range(len(land)))]
    return xr.Dataset(
        {
            NAME: (dims, values, {"units": units, "long_name": "response of air temperature"}),
            f"{NAME}_not_significant": (dims, np.zeros(values.shape, bool)),
            "area_weight": (plane, GRID.area_weights()),
            "ocean_mask": (plane, (~LAND).astype(np.int8)),
            "mean_ocean_fraction": (plane, (~LAND).astype(float)),
        },
        {
            "map": names[: len(land)],
            "perturbation": ["p4K"],
            "lat": GRID.latitude,
            "lon": GRID.longitude,
        },
        {"reference_name": reference} if reference else {},
    )


def drawn(maps: xr.Dataset, **options: Any) -> Figure:
    figure = compared_maps(maps, NAME, "p4K", **options)
    assert figure is not None
    return figure


def panels_of(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.name == "mollweide"]


def edges(panel: Any) -> np.ndarray:
    return np.asarray(panel.collections[0].norm.boundaries)


def field(panel: Any) -> np.ndarray:
    """What a panel shows, west to east from 180 W, [lat, lon]."""
    return np.asarray(panel.collections[0].get_array()).reshape(GRID.num_lat, -1)[:, 1:-1]


def turned(values: np.ndarray) -> np.ndarray:
    """A field as maps have it."""
    return np.asarray(values[:, np.argsort((GRID.longitude + 180.0) % 360.0 - 180.0)])


def notes(panel: Any) -> str:
    return " ".join(text.get_text() for text in panel.texts)


def titles(figure: Figure) -> list[str]:
    return [panel.get_title(loc="left") for panel in panels_of(figure)]


def test_all_maps_have_one_scale_and_all_differences_another() -> None:
    figure = drawn(maps_of([6.0, 6.5, 1.0]))
    panels = panels_of(figure)
    assert titles(figure) == [
        *("a  truth", "b  run0", "c  run1", "d  run0 − truth", "e  run1 − truth"),
    ]
    for block in (panels[:3], panels[3:]):
        for panel in block:
            np.testing.assert_array_equal(edges(panel), edges(block[0]))
            assert edges(panel)[0] <= field(panel).min() <= field(panel).max() <= edges(panel)[-1]
    for panel, land in zip(panels[:3], (6.0, 6.5, 1.0), strict=True):
        np.testing.assert_array_equal(field(panel), turned(np.where(LAND, land, 4.0)))
    for panel, change in zip(panels[3:], (0.5, -5.0), strict=True):
        np.testing.assert_allclose(field(panel), turned(np.where(LAND, change, 0.0)))
    np.testing.assert_allclose(edges(panels[3]), -edges(panels[3])[::-1], atol=1e-12)
    assert len({round(panel.get_position().x0, 6) for panel in panels}) == 3


def test_a_difference_stands_below_its_map() -> None:
    figure = drawn(maps_of([6.0, 6.5, 1.0]))
    FigureCanvasAgg(figure).draw()
    places = [panel.get_position() for panel in panels_of(figure)]
    for above, below in ((1, 3), (2, 4)):
        assert places[above].x0 == pytest.approx(places[below].x0)
        assert places[above].y0 > places[below].y1


def test_below_each_name_stand_the_mean_and_the_error() -> None:
    """Land is a quarter of the globe: an error of d there has a root mean square of d / 2."""
    panels = panels_of(drawn(maps_of([6.0, 7.0, 2.0])))
    assert notes(panels[0]) == "mean +4.50 K"
    assert notes(panels[1]) == "mean +4.75, RMS error 0.50 K"
    assert notes(panels[2]) == "mean +3.50, RMS error 2.00 K"
    assert notes(panels[3]) == "mean +0.25, RMS 0.50 K"
    assert notes(panels[4]) == "mean −1.00, RMS 2.00 K"
    without = panels_of(drawn(maps_of([6.0, 7.0], reference=None)))
    assert notes(without[1]) == "mean +4.75, RMS difference 0.50 K"


def test_blue_is_what_warms_less_than_the_oceans_mean() -> None:
    panels = panels_of(drawn(maps_of([6.0, 6.5, 1.0])))
    steps = edges(panels[0])
    assert 0.5 * (steps[0] + steps[-1]) == pytest.approx(4.0)
    mesh = panels[2].collections[0]
    red, _, blue, _ = mesh.cmap(mesh.norm(1.0))
    assert blue > red
    red, _, blue, _ = mesh.cmap(mesh.norm(6.5))
    assert red > blue
    label = panels[0].figure.axes[-2].get_xlabel().replace("\n", " ")
    assert label == ("Response of air temperature (K); pale: about the ocean's mean in truth, 4 K")


@pytest.mark.parametrize(("ocean", "units"), [(4.0, "W m-2"), (0.02, "K")])
def test_of_all_else_the_pale_colour_is_no_change(ocean: float, units: str) -> None:
    figure = drawn(maps_of([6.0, 1.0], units, ocean))
    steps = edges(panels_of(figure)[0])
    np.testing.assert_allclose(steps, -steps[::-1], atol=1e-12)
    assert "pale" not in "".join(axes.get_xlabel() for axes in figure.axes)


def test_small_numbers_are_shown_in_a_power_of_ten() -> None:
    figure = drawn(maps_of([3e-6, 4e-6], "kg m-2 s-1", 2e-6))
    panels = panels_of(figure)
    np.testing.assert_allclose(field(panels[0]), turned(np.where(LAND, 3.0, 2.0)))
    assert notes(panels[1]) == "mean +2.50, RMS error 0.50"
    assert "(10⁻⁶ kg m⁻² s⁻¹)" in figure.axes[-1].get_xlabel()


def test_dots_are_where_a_map_is_not_significant() -> None:
    maps = maps_of([6.0, 6.5])
    assert "dots" not in drawn(maps).axes[-2].get_xlabel()
    maps[f"{NAME}_not_significant"][1, 0, 3, 2] = True
    figure = drawn(maps)
    assert "dots: not significant" in figure.axes[-2].get_xlabel().replace("\n", " ")
    of_panels = [panel.collections[-1].get_offsets() for panel in panels_of(figure)[:2]]
    assert [len(offsets) for offsets in of_panels] == [0, 1]
    np.testing.assert_allclose(of_panels[1][0], np.radians([GRID.longitude[2], GRID.latitude[3]]))


def test_many_runs_wrap_and_stay_large() -> None:
    figure = drawn(maps_of([6.0, *np.linspace(1.0, 7.0, 12)]))
    FigureCanvasAgg(figure).draw()
    panels = panels_of(figure)
    assert len(panels) == 13 + 12
    assert titles(figure)[13].startswith("n  run0")
    for panel in panels:
        assert panel.get_position().width * figure.get_figwidth() > 2.0
        np.testing.assert_array_equal(
            edges(panel), edges(panels[0 if panel in panels[:13] else 13])
        )
    lowest = min(panel.get_position().y0 for panel in panels[:13])
    assert max(panel.get_position().y1 for panel in panels[13:]) < lowest


def test_a_row_is_the_maps_alone_and_a_single_map_has_no_difference() -> None:
    figure = drawn(maps_of([6.0, 6.5, 1.0]), differences=False)
    assert titles(figure) == ["a  truth", "b  run0", "c  run1"]
    tops = {round(panel.get_position().y0, 6) for panel in panels_of(figure)}
    assert len(tops) == 1
    assert titles(drawn(maps_of([6.0], reference=None))) == ["run0"]


def test_a_map_without_the_perturbation_is_left_out() -> None:
    maps = maps_of([6.0, 6.5, 1.0])
    maps[NAME][1] = math.nan
    assert titles(drawn(maps, differences=False)) == ["a  truth", "b  run1"]
    without = maps_of([6.0, 6.5, 1.0])
    without[NAME][0] = math.nan
    assert "RMS difference" in notes(panels_of(drawn(without))[1])  # of two runs, and no error
    maps[NAME][:] = math.nan
    assert compared_maps(maps, NAME, "p4K") is None
