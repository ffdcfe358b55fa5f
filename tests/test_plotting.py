"""What the figures draw: the artists' numbers against the Datasets that they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import BoundaryNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from test_diagnostics import GRID, ROLES, SETTINGS, continents, saved_means, two_levels, weather

from respeval import plotting
from respeval.diagnostics import (
    DiagnosticSettings,
    diagnose,
    diagnose_reference,
    global_mean_series,
    response_maps,
)
from respeval.emulator import Roles

LABELS = ("p2K", "p4K")


def run_of(
    amplitudes: tuple[float, ...], labels: tuple[str, ...], num_times: int = 24
) -> tuple[xr.Dataset, xr.Dataset]:
    """group_means.nc and zonal.nc of warmings that are 1.5 times as large on land, with weather."""
    land, _ = continents(GRID)
    shape = (1 + len(amplitudes), 2, num_times, *GRID.shape)
    warming = np.array([0.0, *amplitudes])[:, None, None, None, None]
    low = 288.0 + weather(shape) + warming * np.where(land, 1.5, 1.0)
    return saved_means(two_levels(low, low - 70.0 + warming), groups=("baseline", *labels))


@pytest.fixture(scope="module")
def saved() -> dict[str, xr.Dataset]:
    group_means, zonal = run_of((2.0, 4.0), LABELS)
    response = response_maps(group_means)
    # The reference is of other levels and labels too, and in another order.
    reference = diagnose_reference(response, SETTINGS) + 1.0
    reference = reference.isel(level=slice(None, None, -1), perturbation=[1, 0])
    return {
        "zonal": zonal,
        "response": response,
        "diagnostics": diagnose(zonal, SETTINGS),
        "reference": reference,
    }


def meshes(figure: Figure) -> list:
    return [
        artist
        for panel in figure.axes
        for artist in panel.collections
        if type(artist).__name__ == "QuadMesh" and panel.get_xlim() == (-180.0, 180.0)
    ]


def test_the_map_is_centred_on_zero_and_shows_every_cell(saved) -> None:
    response = saved["response"]
    figure = plotting.response_map(response, "t_low")
    panels = meshes(figure)
    assert len(panels) == 2
    for mesh, label in zip(panels, LABELS, strict=True):
        assert isinstance(mesh.norm, BoundaryNorm)
        steps = mesh.norm.boundaries
        np.testing.assert_allclose(steps, -steps[::-1], atol=1e-12)
        step = steps[1] - steps[0]
        assert abs(steps).min() == pytest.approx(0.5 * step)  # zero lies amid a colour
        assert mesh.norm is panels[0].norm
        neutral, again = mesh.cmap(mesh.norm([-0.4 * step, 0.4 * step]))[:, :3]
        assert (neutral == again).all()
        below, above = mesh.cmap(mesh.norm([-step, step]))[:, :3]
        assert below[2] > below[0]  # blue
        assert above[0] > above[2]  # red
        drawn = mesh.get_array().reshape(GRID.num_lat, GRID.num_lon + 2)
        # Columns run from 180°W; the first and the last are repeated beyond the seam.
        expected = np.roll(response["t_low"].sel(perturbation=label).values, 12, axis=1)
        np.testing.assert_array_equal(drawn[:, 1:-1], expected)
        np.testing.assert_array_equal(drawn[:, 0], drawn[:, -2])
        np.testing.assert_array_equal(drawn[:, -1], drawn[:, 1])
        corners = mesh.get_coordinates()
        assert corners[..., 0].min() < -180.0
        assert corners[..., 0].max() > 180.0
        assert {corners[0, 0, 1], corners[-1, 0, 1]} == {90.0, -90.0}
    titles = [panel.get_title(loc="right") for panel in figure.axes[:2]]
    weights = GRID.area_weights()
    for title, field in zip(titles, response["t_low"].values, strict=True):
        assert title == f"global mean +{(field * weights).sum():.2f} K"
    label = figure.axes[-1].get_xlabel()
    assert label == "Response of air temperature (K); dots: not significant"


def dots(figure: Figure) -> list[set[tuple[float, float]]]:
    """Longitude and latitude of the dots of every map."""
    return [
        {(round(float(x), 3), round(float(y), 3)) for x, y in artist.get_offsets()}
        for panel in figure.axes
        for artist in panel.collections
        if type(artist).__name__ == "PathCollection"
    ]


def test_cells_that_are_not_significant_are_dotted(saved) -> None:
    response = saved["response"].copy(deep=True)
    response["t_low_significant"][:] = 1
    response["t_low_significant"][1, 2, [3, 20]] = 0  # 45 and 300 degrees east
    north = round(float(GRID.latitude[2]), 3)
    assert dots(plotting.response_map(response, "t_low")) == [
        set(),
        {(45.0, north), (-60.0, north)},
    ]
    response["t_low_pvalue"][:] = np.nan
    figure = plotting.response_map(response, "t_low")
    assert dots(figure) == [set(), set()]
    assert "significance not known" in figure.axes[-1].get_xlabel()
    untested = plotting.response_map(response.drop_vars("t_low_significant"), "t_low")
    assert dots(untested) == [set(), set()]
    assert untested.axes[-1].get_xlabel() == "Response of air temperature (K)"


def test_the_coast_is_where_the_ocean_fraction_is_half(saved) -> None:
    def coasts(figure: Figure) -> list:
        return [
            artist
            for panel in figure.axes
            for artist in panel.collections
            if type(artist).__name__ == "QuadContourSet"
        ]

    lines = coasts(plotting.response_map(saved["response"], "t_low"))
    assert len(lines) == 2
    assert list(lines[0].levels) == [0.5]
    corners = np.concatenate([path.vertices for path in lines[0].get_paths()])
    # Land lies between 0 and 100 degrees east: cells are 15 degrees wide.
    east_west = corners[np.abs(corners[:, 1]) < 40.0, 0]
    assert set(np.round(east_west, 3)) == {-7.5, 97.5}
    no_land = saved["response"].assign(
        mean_ocean_fraction=xr.ones_like(saved["response"]["mean_ocean_fraction"])
    )
    assert coasts(plotting.response_map(no_land, "t_low")) == []


def test_the_map_of_a_few_extremes_keeps_its_scale(saved) -> None:
    response = saved["response"].copy(deep=True)
    response["t_low"][1, 3, 5] = 500.0
    mesh = meshes(plotting.response_map(response, "t_low"))[0]
    assert mesh.norm.boundaries[-1] < 10.0
    assert mesh.norm.extend == "both"
    response["t_low"][:] = 0.0
    edges = meshes(plotting.response_map(response, "t_low"))[0].norm.boundaries
    assert edges[-1] == pytest.approx(1.0 + 0.5 * (edges[1] - edges[0]))


def test_the_section_draws_every_level_and_circle(saved) -> None:
    diagnostics = saved["diagnostics"].copy(deep=True)
    diagnostics["zonal_mean_warming_low"][:] = 1.0
    diagnostics["zonal_mean_warming_low"][1, 0, [2, 5]] = -1.0
    figure = plotting.zonal_mean_warming(diagnostics)
    panels = figure.axes[:2]
    for panel, label in zip(panels, LABELS, strict=True):
        (mesh,) = (a for a in panel.collections if type(a).__name__ == "QuadMesh")
        values = diagnostics["zonal_mean_warming"].sel(perturbation=label)
        np.testing.assert_array_equal(mesh.get_array().reshape(2, GRID.num_lat), values)
        corners = mesh.get_coordinates()
        assert corners[:, 0, 1].tolist() == [0.0, 590.0, 1000.0]  # halfway from 200 to 980 hPa
        assert (corners[0, 1:-1, 0] > GRID.latitude[1:]).all()
        assert (corners[0, 1:-1, 0] < GRID.latitude[:-1]).all()
        assert panel.get_title(loc="left") == label
        bottom, top = panel.get_ylim()
        assert bottom > top
    north = [(round(float(GRID.latitude[i]), 3), 200.0) for i in (2, 5)]
    assert dots(figure) == [set(), set(north)]
    unnamed = plotting.zonal_mean_warming(diagnostics.drop_vars("pressure")).axes[0]
    assert [text.get_text() for text in unnamed.get_yticklabels()] == ["t_top", "t_low"]
    untested = plotting.zonal_mean_warming(diagnostics.drop_vars("zonal_mean_warming_low"))
    assert dots(untested) == [set(), set()]


def test_the_column_draws_the_diagnostics_and_the_reference(saved) -> None:
    diagnostics, reference = saved["diagnostics"], saved["reference"]
    figure = plotting.column_warming(diagnostics, reference, "truth")
    (panel,) = figure.axes
    bars = panel.containers[:2]
    for bar, label in zip(bars, LABELS, strict=True):
        line, _, (spans,) = bar
        values = diagnostics["column_warming"].sel(perturbation=label)
        stderr = diagnostics["column_warming_stderr"].sel(perturbation=label)
        np.testing.assert_allclose(line.get_xdata(orig=False), values)
        np.testing.assert_allclose(line.get_ydata(orig=False), [200.0, 980.0])
        for segment, value, error in zip(
            spans.get_segments(), values.values, stderr.values, strict=True
        ):
            np.testing.assert_allclose(segment[:, 0], [value - error, value + error])
        (dashed,) = [
            other
            for other in panel.lines
            if other.get_linestyle() == "--"
            and other.get_color() == line.get_color()
            and len(other.get_xdata())
        ]
        np.testing.assert_allclose(dashed.get_xdata(orig=False), values + 1.0)
    bottom, top = panel.get_ylim()
    assert bottom > top  # pressure falls upwards
    names = [text.get_text() for text in panel.get_legend().get_texts()]
    assert names == ["p2K", "p4K", "truth"]
    unnamed = plotting.column_warming(diagnostics.drop_vars("pressure")).axes[0]
    assert [text.get_text() for text in unnamed.get_yticklabels()] == ["t_top", "t_low"]
    assert unnamed.get_ylim()[0] > unnamed.get_ylim()[1]


def test_the_bands_draw_land_ocean_and_their_ratio(saved) -> None:
    diagnostics, reference = saved["diagnostics"], saved["reference"]
    figure = plotting.land_ocean_warming(diagnostics, reference, "truth")
    warming, contrast = figure.axes
    expected = [
        (warming, name, label) for label in LABELS for name in ("land_warming", "ocean_warming")
    ] + [(contrast, "land_ocean_warming_ratio", label) for label in LABELS]
    dots = [*warming.containers, *contrast.containers]
    places = []
    for bar, (panel, name, label) in zip(dots, expected, strict=True):
        line = bar[0]
        values = diagnostics[name].sel(perturbation=label)
        np.testing.assert_allclose(line.get_ydata(orig=False), values)
        np.testing.assert_allclose(np.round(line.get_xdata(orig=False)), [0.0, 1.0, 2.0])
        assert (to_hex(line.get_markerfacecolor()) == "#ffffff") == (name == "ocean_warming")
        strokes = [s for c in panel.collections for s in c.get_segments()]
        for place, value in zip(line.get_xdata(orig=False), values.values, strict=True):
            assert any(
                stroke[0, 0] < place < stroke[1, 0] and np.allclose(stroke[:, 1], value + 1.0)
                for stroke in strokes
            )
        places.append(tuple(line.get_xdata(orig=False)))
    assert len(set(places[:4])) == 4  # nothing hides behind anything
    assert warming.get_xticklabels()[1].get_text() == "subtropics\n15–30°"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["p2K", "p4K", "land", "ocean", "truth"]


def test_the_time_series_draws_every_group_and_the_response(saved) -> None:
    zonal = saved["zonal"]
    series = global_mean_series(zonal, "t_low")
    upper, lower = plotting.global_mean_timeseries(zonal, "t_low").axes
    for line, label in zip(upper.lines, ("baseline", *LABELS), strict=True):
        np.testing.assert_allclose(line.get_ydata(orig=False), series.sel(group=label))
        assert line.get_label() == label
    for line, label in zip(lower.lines[:2], LABELS, strict=True):
        response = series.sel(group=label) - series.sel(group="baseline")
        np.testing.assert_allclose(line.get_ydata(orig=False), response)
    time = upper.lines[0].get_xdata()
    assert time[0] == pytest.approx(15.5 / 365.25)
    assert time[12] - time[0] == pytest.approx(365 / 365.25)
    assert lower.get_xlabel() == "Years since 2001-01-01"
    short = plotting.global_mean_timeseries(zonal.isel(time=slice(0, 2)), "t_low").axes[1]
    assert short.get_xlabel() == "Days since 2001-01-01"
    assert short.get_xlim() == (0.0, 59.0)


@pytest.fixture
def coarse(monkeypatch) -> None:
    """Small pictures where only their presence counts."""
    monkeypatch.setattr(plotting.style, "DOTS_PER_INCH", 40)


def write(directory: Path, saved: dict[str, xr.Dataset], roles: Roles = ROLES) -> set[str]:
    paths = plotting.write_figures(
        directory,
        saved["zonal"],
        saved["response"],
        saved["diagnostics"],
        roles,
        saved.get("reference"),
    )
    assert sorted(directory.iterdir()) == sorted(paths)  # nothing unfinished is left
    return {path.name for path in paths}


def test_every_figure_is_written_and_not_blank(saved, tmp_path) -> None:
    names = write(tmp_path / "figures", saved)
    assert names == {
        "response_map.png",
        "column_warming.png",
        "land_ocean_warming.png",
        "zonal_mean_warming.png",
        "global_mean_timeseries.png",
    }
    for name in names:
        picture = imread(tmp_path / "figures" / name)[..., :3]
        assert picture.shape[1] >= 800
        colourful = np.ptp(picture, axis=-1) > 0.2
        assert 1e-3 < colourful.mean() < 0.9, name


@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize("number", [1, 5])
def test_any_number_of_perturbations_has_its_panels(number: int, tmp_path) -> None:
    labels = tuple(f"p{k}K" for k in range(1, number + 1))
    group_means, zonal = run_of(tuple(range(1, number + 1)), labels, num_times=1)
    # One segment and a band without a cell: no errors to draw, and gaps.
    settings = DiagnosticSettings(ROLES, {"none": (0.0, 0.1), "tropics": (0.1, 15.0)})
    files = {
        "zonal": zonal,
        "response": response_maps(group_means),
        "diagnostics": diagnose(zonal, settings),
    }
    assert len(write(tmp_path, files)) == 5
    assert len(meshes(plotting.response_map(files["response"], "t_low"))) == number


@pytest.mark.usefixtures("coarse")
def test_figures_that_cannot_be_drawn_are_left_out(saved, tmp_path) -> None:
    bare = {**saved, "diagnostics": saved["diagnostics"].drop_vars("column_warming")}
    assert "column_warming.png" not in write(tmp_path / "no_levels", bare)
    nameless = diagnose(saved["zonal"], DiagnosticSettings())
    assert write(tmp_path / "no_roles", {**saved, "diagnostics": nameless}, Roles()) == set()
    group_means, zonal = run_of((), ())
    alone = {
        "zonal": zonal,
        "response": response_maps(group_means),
        "diagnostics": diagnose(zonal, SETTINGS),
    }
    assert write(tmp_path / "baseline", alone) == {"global_mean_timeseries.png"}
    with pytest.raises(ValueError, match="no perturbation"):
        plotting.response_map(alone["response"], "t_low")
