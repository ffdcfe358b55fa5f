"""What the figures draw: the artists' numbers against the Datasets that they were made from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import BoundaryNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from respeval import plotting
from respeval.diagnostics import (
    DiagnosticSettings,
    diagnose,
    diagnose_reference,
    global_mean_series,
    response_maps,
)
from respeval.fields.grid import Grid
from respeval.fields.variables import Roles
from tests.support.means import GRID, ROLES, SETTINGS, continents, saved_means, two_levels, weather

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
        "diagnostics": diagnose(
            zonal, dataclasses.replace(SETTINGS, amplitudes_K={"p2K": 2.0, "p4K": 4.0})
        ),
        "reference": reference,
    }


def meshes(figure: Figure) -> list:
    return [
        artist
        for panel in figure.axes
        for artist in panel.collections
        if type(artist).__name__ == "QuadMesh" and panel.name == "mollweide"
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
        assert corners[..., 0].min() < -np.pi
        assert corners[..., 0].max() > np.pi
        assert {corners[0, 0, 1], corners[-1, 0, 1]} == {0.5 * np.pi, -0.5 * np.pi}
    assert [panel.get_title(loc="left") for panel in figure.axes[:2]] == ["a  p2K", "b  p4K"]
    titles = [panel.get_title(loc="right") for panel in figure.axes[:2]]
    weights = GRID.area_weights()
    for title, field in zip(titles, response["t_low"].values, strict=True):
        assert title == f"global mean +{(field * weights).sum():.2f} K"
    label = figure.axes[-1].get_xlabel()
    assert label == "Response of air temperature (K); dots: not significant"


def test_equal_areas_of_the_globe_are_equal_areas_of_the_map(saved) -> None:
    """Areas of the cells as drawn, against the differences of sin(latitude)."""
    mesh = meshes(plotting.response_map(saved["response"], "t_low"))[0]
    corners = mesh.get_coordinates()
    to_map = mesh.axes.transProjection
    for row in range(0, GRID.num_lat, 5):
        # A fine outline of one cell away from the seam: its sides are curved.
        (west, south), (east, north) = corners[row, 7], corners[row + 1, 8]
        up = np.linspace(south, north, 200)
        outline = np.concatenate(
            [
                np.stack([np.full(200, west), up], 1),
                np.stack([np.full(200, east), up[::-1]], 1),
            ]
        )
        x, y = to_map.transform(outline).T
        area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        expected = (east - west) * abs(np.sin(north) - np.sin(south))
        assert area == pytest.approx(expected, rel=2e-3)


def dots(figure: Figure, unit: float = 180.0 / np.pi) -> list[set[tuple[float, float]]]:
    """Places of the dots of every panel; of maps longitude and latitude in degrees."""
    return [
        {(round(unit * float(x), 3), round(unit * float(y), 3)) for x, y in artist.get_offsets()}
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
    corners = np.degrees(np.concatenate([path.vertices for path in lines[0].get_paths()]))
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
        assert panel.get_title(loc="left").endswith(f"  {label}")
        bottom, top = panel.get_ylim()
        assert bottom > top
    north = [(round(float(GRID.latitude[i]), 3), 200.0) for i in (2, 5)]
    assert dots(figure, 1.0) == [set(), set(north)]
    unnamed = plotting.zonal_mean_warming(diagnostics.drop_vars("pressure")).axes[0]
    assert [text.get_text() for text in unnamed.get_yticklabels()] == ["t_top", "t_low"]
    untested = plotting.zonal_mean_warming(diagnostics.drop_vars("zonal_mean_warming_low"))
    assert dots(untested, 1.0) == [set(), set()]


def test_dots_thin_out_towards_the_poles(saved) -> None:
    """Of a grid that is finer than the dots, so that they do not run into each other."""
    fine = Grid.legendre_gauss(90, 180)
    ones = np.ones((1, *fine.shape))
    dims = ("perturbation", "lat", "lon")
    response = xr.Dataset(
        {
            "t": (dims, ones),
            "t_significant": (dims, 0 * ones),
            "t_pvalue": (dims, ones),
            "mean_ocean_fraction": (dims[1:], ones[0]),
            "area_weight": (dims[1:], fine.area_weights()),
        },
        {"perturbation": ["p4K"], "lat": fine.latitude, "lon": fine.longitude},
    )
    (places,) = dots(plotting.response_map(response, "t"))
    rows = {y: sum(1 for _, other in places if other == y) for _, y in places}
    assert len(rows) == 45
    for latitude, number in rows.items():
        if abs(latitude) < 80.0:
            assert number == pytest.approx(90 * np.cos(np.radians(latitude)), abs=1, rel=0.5)
    assert rows[max(rows)] < 10 < rows[min(rows, key=abs)]


def test_the_column_draws_the_diagnostics_and_the_reference(saved) -> None:
    diagnostics, reference = saved["diagnostics"], saved["reference"]
    figure = plotting.column_warming(diagnostics, reference, "truth")
    panel, aloft = figure.axes
    bars = panel.containers[:2]
    for bar, label in zip(bars, LABELS, strict=True):
        line, _, (spans,) = bar
        values = diagnostics["column_warming"].sel(perturbation=label)
        low, high = (
            diagnostics[f"column_warming_{end}"].sel(perturbation=label).values
            for end in ("low", "high")
        )
        np.testing.assert_allclose(line.get_xdata(orig=False), values)
        np.testing.assert_allclose(line.get_ydata(orig=False), [200.0, 980.0])
        for segment, *interval in zip(spans.get_segments(), low, high, strict=True):
            np.testing.assert_allclose(segment[:, 0], interval)
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
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["p2K", "p4K", "truth"]
    ratio = diagnostics["vertical_warming_ratio_tropical_ocean"]
    for bar, stroke, value in zip(aloft.containers, aloft.collections[1::2], ratio, strict=True):
        np.testing.assert_allclose(bar[0].get_ydata(orig=False), [value])
        np.testing.assert_allclose(stroke.get_segments()[0][:, 1], value + 1.0)
    alone = diagnostics.drop_vars("vertical_warming_ratio_tropical_ocean")
    assert len(plotting.column_warming(alone).axes) == 1
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


@pytest.mark.parametrize("number", [2, 5])
def test_a_bar_is_seen_behind_its_dot_however_short_it_is(saved, number: int) -> None:
    one = saved["diagnostics"].isel(perturbation=0)
    labels = [f"p{k}K" for k in range(number)]
    diagnostics = xr.concat([one] * number, xr.IndexVariable("perturbation", labels))
    figure = plotting.land_ocean_warming(diagnostics)
    width = figure.axes[0].get_position().width * 72.0 * figure.get_figwidth()
    slot = width / 3.2 * min(0.2, 0.84 / (2 * number))  # three bands and a margin
    for dot, caps, _ in figure.axes[0].containers:
        assert len(caps) == 2
        for cap in caps:
            assert 1.5 * dot.get_markersize() < cap.get_markersize() < slot
    assert figure.axes[0].get_title(loc="right") == "bars: 95 % interval"
    for end in ("low", "high"):
        diagnostics[f"ocean_warming_{end}"][:] = np.nan
    assert not plotting.land_ocean_warming(diagnostics).axes[0].get_title(loc="right")


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


def test_scalars_are_drawn_with_their_intervals_and_the_reference(saved) -> None:
    diagnostics, reference = saved["diagnostics"], saved["reference"]
    figure = plotting.scalar_figure("amplification", diagnostics, reference, "truth")
    polar, contrast = figure.axes
    assert [text.get_text() for text in polar.get_yticklabels()] == [
        "Arctic",
        "Antarctic",
        "both caps",
    ]
    assert contrast.get_yticklabels()[0].get_text() == "northern, tropics"
    found = iter(polar.containers)
    for row, name in enumerate(("arctic", "antarctic", "polar")):
        for label in LABELS:
            at = diagnostics.sel(perturbation=label)
            low, high = (float(at[f"{name}_amplification_{end}"]) for end in ("low", "high"))
            line, _, (bar,) = next(found)
            value = float(at[f"{name}_amplification"])
            assert line.get_xdata(orig=False) == [value]
            assert abs(line.get_ydata(orig=False)[0] - row) < 0.5
            np.testing.assert_allclose(bar.get_segments()[0][:, 0], [low, high])
    assert next(found, None) is None
    lines = np.concatenate([collection.get_segments() for collection in polar.collections])
    is_stroke = (lines[:, 0, 0] == lines[:, 1, 0]) & (lines[:, 0, 1] < lines[:, 1, 1])
    drawn = sorted(lines[is_stroke, 0, 0])
    known = [reference[f"{n}_amplification"].values for n in ("arctic", "antarctic", "polar")]
    np.testing.assert_allclose(drawn, np.sort(np.concatenate(known)))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["p2K", "p4K", "truth", "95 % interval"]


def test_numbers_that_a_run_lacks_have_no_row_and_no_colour(saved) -> None:
    diagnostics = saved["diagnostics"]
    assert plotting.scalar_figure("water", diagnostics) is None
    figure = plotting.scalar_figure("linearity", diagnostics)
    (panel,) = figure.axes
    assert [text.get_text() for text in panel.get_yticklabels()] == [
        "global warming",
        "land warming",
        "ocean warming",
        "tropical ocean upper warming",
    ]
    # The smallest change has no linearity, as it is what the others are held against.
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["p4K", "95 % interval"]
    of_baseline = plotting.scalar_figure("balance", diagnostics)
    assert [text.get_text() for text in of_baseline.axes[0].get_yticklabels()[:2]] == [
        "baseline, global",
        "baseline, land",
    ]
    assert of_baseline.axes[0].get_xlabel() == "K decade⁻¹"


def test_an_unbounded_interval_has_no_bar(saved) -> None:
    diagnostics = saved["diagnostics"].copy(deep=True)
    diagnostics["arctic_amplification_low"][0] = -np.inf
    panel = plotting.scalar_figure("amplification", diagnostics).axes[0]
    (first,), (second,) = (bar[2][0].get_segments() for bar in panel.containers[:2])
    assert len(first) == 0
    assert np.isfinite(second).all()
    assert len(second) == 2


def test_the_annual_cycle_draws_land_ocean_and_their_ratio(saved) -> None:
    diagnostics = saved["diagnostics"].copy(deep=True)
    ratio = "land_ocean_warming_ratio_by_month"
    diagnostics[f"{ratio}_low"], diagnostics[f"{ratio}_high"] = (
        diagnostics[ratio] + reach for reach in (-0.3, 0.2)
    )
    panels = plotting.annual_cycle(diagnostics).axes
    assert [p.get_title(loc="left") for p in panels[:2]] == ["a  tropics", "b  subtropics"]
    for column, band in enumerate(diagnostics["band"].values):
        upper, lower = panels[column], panels[3 + column]
        lines = iter(upper.lines)
        for label, line in zip(LABELS, lower.lines, strict=False):
            at = diagnostics.sel(perturbation=label, band=band)
            for name in ("land", "ocean"):
                drawn = next(lines)
                np.testing.assert_array_equal(drawn.get_ydata(), at[f"{name}_warming_by_month"])
            np.testing.assert_array_equal(line.get_ydata(), at["land_ocean_warming_ratio_by_month"])
        shade = lower.collections[0].get_paths()[0].vertices
        values = diagnostics[ratio].isel(perturbation=0, band=column).values
        expected = np.round(np.concatenate([values - 0.3, values + 0.2]), 9)
        assert set(np.round(shade[:, 1], 9)) == set(expected)


def test_the_annual_cycle_draws_what_a_reference_knows(saved) -> None:
    diagnostics = saved["diagnostics"]
    names = [f"{n}_by_month" for n in ("land_warming", "ocean_warming", "land_ocean_warming_ratio")]
    by_month = diagnostics[names].sel(perturbation=["p4K"], band=["tropics"]) + 0.5
    figure = plotting.annual_cycle(diagnostics, by_month, "truth")
    squares = [
        (i, line.get_ydata()[0], len(line.get_ydata()))
        for i, panel in enumerate(figure.axes)
        for line in panel.lines
        if line.get_marker() == "s" and len(line.get_ydata())
    ]
    first = [by_month[name].isel(month=0).item() for name in names]
    assert squares == [(0, first[0], 12), (0, first[1], 12), (3, first[2], 12)]
    assert figure.legends[0].get_texts()[-1].get_text() == "truth"

    reference = saved["reference"]  # as maps know it: of the whole year
    figure = plotting.annual_cycle(diagnostics, reference, "truth")
    for column, band in enumerate(diagnostics["band"].values):
        for row, own in enumerate(
            (("land_warming", "ocean_warming"), ("land_ocean_warming_ratio",))
        ):
            panel = figure.axes[3 * row + column]
            strokes = [
                collection.get_segments()[0]
                for collection in panel.collections
                if type(collection).__name__ == "LineCollection"
            ]
            expected = [
                float(reference[name].sel(perturbation=label, band=band))
                for label in LABELS
                for name in own
            ]
            np.testing.assert_allclose([stroke[0, 1] for stroke in strokes], expected)
            assert min(stroke[0, 0] for stroke in strokes) > 12.3
            assert panel.get_xlim()[1] > max(stroke[1, 0] for stroke in strokes)
    assert figure.legends[0].get_texts()[-1].get_text() == "truth, whole year"


def test_units_are_written_with_exponents() -> None:
    def written(units: str) -> str:
        return plotting.style.units(xr.DataArray(0.0, attrs={"units": units}))

    assert written("W m-2 K-1") == "W m⁻² K⁻¹"
    assert written("kg m-2") == "kg m⁻²"
    assert written("m2 s-2") == "m² s⁻²"
    assert written("% K-1") == "% K⁻¹"
    assert written("1") == "1"


@pytest.fixture
def coarse(monkeypatch) -> None:
    """Small pictures where only their presence counts."""
    monkeypatch.setattr(plotting.style, "DOTS_PER_INCH", 40)


def write(directory: Path, saved: dict[str, xr.Dataset], roles: Roles = ROLES) -> set[str]:
    pictures = plotting.Pictures(roles, saved.get("reference"))
    pictures.plan_diagnostics(saved["zonal"], saved["diagnostics"])
    pictures.plan_maps(saved["response"])
    paths = pictures.write(directory)
    expected = [path.with_suffix(kind) for path in paths for kind in (".png", ".pdf")]
    assert sorted(directory.iterdir()) == sorted(expected)  # nothing unfinished is left
    return {path.name for path in paths}


def test_every_figure_is_written_and_not_blank(saved, tmp_path) -> None:
    names = write(tmp_path / "figures", saved)
    assert names == {
        "response_map.png",
        "column_warming.png",
        "land_ocean_warming.png",
        "zonal_mean_warming.png",
        "global_mean_timeseries.png",
        "amplification.png",
        "annual_cycle.png",
        "balance.png",
        "linearity.png",
    }
    for name in names:
        pdf = (tmp_path / "figures" / name).with_suffix(".pdf").read_bytes()
        assert pdf.startswith(b"%PDF-")
        assert b"CreationDate" not in pdf
        assert len(pdf) < 200_000, name  # maps and sections are pictures in it
        picture = imread(tmp_path / "figures" / name)[..., :3]
        assert picture.shape[1] >= 800
        border = np.concatenate([picture[:, [0, -1]].ravel(), picture[[0, -1]].ravel()])
        assert (border == 1.0).all(), f"{name} is cut"
        colourful = np.ptp(picture, axis=-1) > 0.2
        assert 1e-3 < colourful.mean() < 0.9, name


def test_a_figure_is_saved_as_matplotlib_would_save_it(saved, tmp_path) -> None:
    """The PDF with the PNG's layout."""
    written = plotting.save(
        plotting.response_map(saved["response"], "t_low"), tmp_path / "ours.png"
    )
    figure = plotting.response_map(saved["response"], "t_low")
    figure.savefig(tmp_path / "theirs.png", dpi=200, metadata={"Software": None})
    figure.set_layout_engine("none")
    nothing = {"CreationDate": None, "Creator": None}
    figure.savefig(tmp_path / "theirs.pdf", dpi=200, metadata=nothing)
    for kind in ("png", "pdf"):
        theirs = (tmp_path / f"theirs.{kind}").read_bytes()
        assert written.with_suffix(f".{kind}").read_bytes() == theirs, kind


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
    assert len(write(tmp_path, files)) == 6
    assert len(meshes(plotting.response_map(files["response"], "t_low"))) == number


@pytest.mark.usefixtures("coarse")
def test_figures_that_cannot_be_drawn_are_left_out(saved, tmp_path) -> None:
    bare = {**saved, "diagnostics": saved["diagnostics"].drop_vars("column_warming")}
    half_a_year = bare["diagnostics"].isel(month=slice(6))
    names = write(tmp_path / "no_levels", {**bare, "diagnostics": half_a_year})
    assert names.isdisjoint({"column_warming.png", "annual_cycle.png", "water.png", "energy.png"})
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
