"""The diagnostics against time are those of runs that end earlier, and how long is left is a formula."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from respeval import plotting
from respeval.diagnostics import (
    DiagnosticSettings,
    Target,
    check_targets,
    diagnose,
    empty_response,
    ends_year,
    parse_targets,
    relative_half_width,
    running,
    with_period,
    years_left,
    years_summary,
)
from respeval.diagnostics.running import MOST_POINTS, stops_of
from respeval.errors import InputError
from respeval.presentation.console.precision import precision_table
from tests.support.means import GRID, ROLES, SETTINGS, run_of, saved_means, two_levels

RATIO = "land_ocean_warming_ratio"


@pytest.mark.parametrize(
    ("num_times", "blown_up", "stops", "looked_at"),
    [
        (57, 30, [12, 24, 36, 48, 57], [36]),  # three quarters are a year of their own
        (18, 5, [12, 18], [12]),  # half a year is none
    ],
)
def test_every_time_has_the_numbers_of_a_run_that_ended_then(
    num_times: int, blown_up: int | None, stops: list[int], looked_at: list[int]
) -> None:
    zonal = run_of(num_times, blown_up=blown_up)
    diagnostics = diagnose(zonal, SETTINGS)
    found = running(zonal, diagnostics, SETTINGS)
    assert stops_of(zonal) == stops
    ends = zonal["time_bnds"].values[np.array(stops) - 1, 1]
    assert (found["time"].values == ends).all()
    assert (found["time_bnds"].values[:, 1] == ends).all()
    assert (found["time_bnds"].values[:, 0] == zonal["time_bnds"].values[0, 0]).all()
    last = found.isel(time=-1)
    told = [name for name in found.data_vars if name in diagnostics]
    assert {RATIO, f"{RATIO}_low", "land_warming_high", "t_low_mean_num_effective"} <= set(told)
    for name in told:
        assert last[name].values.tobytes() == diagnostics[name].values.tobytes(), name
    for stop in looked_at:
        alone = diagnose(zonal.isel(time=slice(0, stop)), SETTINGS)
        for name in told:
            got = found[name].isel(time=stops.index(stop)).transpose(*alone[name].dims)
            np.testing.assert_allclose(got, alone[name], rtol=1e-9, err_msg=f"{name}, {stop}")


def test_what_is_left_after_the_last_anniversary_belongs_to_a_year() -> None:
    assert stops_of(run_of(64)) == [12, 24, 36, 48, 60, 64]


def test_a_long_run_has_a_bounded_number_of_times_as_evenly_as_they_go() -> None:
    _, zonal = saved_means(two_levels(288.0 + np.zeros((2, 1, 1500, *GRID.shape))))
    stops = stops_of(zonal)
    assert len(stops) == MOST_POINTS
    assert stops[-1] == 1500
    assert {b - a for a, b in pairwise(stops)} == {24, 36}


@pytest.mark.parametrize(
    ("last", "ends"), [(11, False), (12, True), (13, False), (23, False), (24, True)]
)
def test_a_year_ends_at_an_anniversary(last: int, ends: bool) -> None:
    zonal = run_of(26)
    assert ends_year(zonal.isel(time=slice(0, last))) is ends
    from_march = zonal.isel(time=slice(2, last + 2))
    assert ends_year(from_march) is ends


def interval(value: float, half: float, number: float) -> xr.Dataset:
    parts = {"": value, "_low": value - half, "_high": value + half, "_num_effective": number}
    return xr.Dataset({f"r{suffix}": ("perturbation", [x]) for suffix, x in parts.items()})


@pytest.mark.parametrize("number", [3.0, 8.0, 40.0])
def test_the_years_left_bring_the_half_width_to_the_fraction(number: float) -> None:
    """With so many more, t(n - 1)/√n has fallen by what was lacking; scipy's own t says so."""
    years, half = 4.0, 0.6  # of 2: 30 %
    left = float(years_left(interval(2.0, half, number), "r", 0.05, years)[0])
    units = number * (years + left) / years

    def reach(n: float) -> float:
        return float(stats.t.ppf(0.975, n - 1) / np.sqrt(n))

    assert half * reach(units) / reach(number) == pytest.approx(0.05 * 2.0, rel=1e-6)
    assert float(years_left(interval(-2.0, half, number), "r", 0.05, years)[0]) == pytest.approx(
        left
    )


def test_what_is_known_well_enough_needs_no_more_and_the_unbounded_is_unknown() -> None:
    assert years_left(interval(2.0, 0.09, 5.0), "r", 0.05, 3.0).values.tolist() == [0.0]
    assert years_left(interval(2.0, 0.0, 5.0), "r", 0.05, 3.0).values.tolist() == [0.0]
    for values in (
        interval(2.0, np.inf, 5.0),
        interval(2.0, np.nan, np.nan),
        interval(0.0, 0.1, 5.0),
        interval(np.nan, np.nan, 5.0),
    ):
        assert np.isnan(years_left(values, "r", 0.05, 3.0).values).all()
        assert np.isnan(relative_half_width(values, "r").values).all()


def test_summary_and_table_tell_the_years_of_every_ratio() -> None:
    zonal = run_of(60)
    settings = DiagnosticSettings(ROLES, {"none": (0.0, 0.1), "tropics": (0.1, 15.0)})
    found = running(zonal, diagnose(zonal, settings), settings)
    numbers = years_summary(found)
    width = float(relative_half_width(found, RATIO).values[0, 1, -1])
    expected = float(years_left(found, RATIO, 0.05, 5.0).values[0, 1, -1])
    assert numbers[f"p2K/years_to_5_percent/{RATIO}/tropics"] == pytest.approx(expected, rel=0.01)
    assert numbers[f"p2K/years_to_5_percent/{RATIO}/none"] is None
    assert numbers["p4K/years_to_5_percent/vertical_warming_ratio_tropical_ocean"] is not None
    table = precision_table(found)
    cells = [list(column.cells) for column in table.columns]
    assert cells[1] == ["none", "tropics", "tropical ocean"]
    assert cells[2][0] == "unknown"
    more = f"{int(np.ceil(expected))} more" if expected > 0 else "reached"
    assert cells[2][1] == f"{more} ({100 * width:.1f} %)"


@pytest.mark.parametrize(("num_times", "known"), [(3, False), (12, False), (23, False), (24, True)])
def test_nothing_is_reached_before_two_whole_years(num_times: int, known: bool) -> None:
    """However narrow the intervals are: a season's answer is known well, and is another one."""
    zonal = run_of(num_times, 4)
    response = zonal["t_low"].isel(time=0, drop=True).mean("sample")
    noise = zonal["t_low"] - response
    for name in ("t_low", "t_top"):
        zonal[name] = response + 1e-3 * noise
    found = running(zonal, diagnose(zonal, SETTINGS), SETTINGS)
    assert (relative_half_width(found, RATIO).isel(time=-1) < 0.05).all()
    left = found[f"{RATIO}_years_to_5_percent"].isel(time=-1)
    assert (left == 0).all() if known else left.isnull().all()
    numbers = {key: v for key, v in years_summary(found).items() if RATIO in key}
    assert set(numbers.values()) == ({0.0} if known else {None})
    table = precision_table(found)
    cells = [str(cell) for column in table.columns[2:] for cell in column.cells]
    assert all(cell.startswith("reached (" if known else "unknown (") for cell in cells)
    assert ("from two whole years on" in str(table.caption)) is not known


def test_the_figure_has_a_panel_for_every_ratio_and_shades_the_bounded() -> None:
    zonal = run_of(60)
    found = running(zonal, diagnose(zonal, SETTINGS), SETTINGS)
    figure = plotting.running_ratios(found)
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles == [
        "a  Tropics 0–15°",
        "b  Subtropics 15–30°",
        "c  Midlatitudes 30–50°",
        "d  Tropical ocean",
    ]
    panel = figure.axes[1]
    expected = found[RATIO].sel(perturbation="p4K", band="subtropics")
    time, value = panel.lines[1].get_data()
    np.testing.assert_array_equal(time, np.arange(1, 6))  # of 365 days
    ticks = panel.get_xticks()
    np.testing.assert_array_equal(ticks, np.rint(ticks))
    assert {1, 2, 3, 4, 5} <= set(ticks)
    np.testing.assert_array_equal(value, expected)
    shaded = panel.collections[1].get_paths()[0].vertices[:, 1]
    high = found[f"{RATIO}_high"].sel(perturbation="p4K", band="subtropics")
    assert shaded.max() == pytest.approx(float(high.max()))
    for panel in figure.axes:
        low, top = panel.get_ylim()
        for line in panel.lines:
            assert low < np.min(line.get_ydata())
            assert np.max(line.get_ydata()) < top


def test_a_curve_that_begins_far_off_is_held_by_its_axis() -> None:
    zonal = run_of(60)
    found = running(zonal, diagnose(zonal, SETTINGS), SETTINGS)
    found[RATIO][dict(time=0, band=0, perturbation=0)] = -40.0
    low, _ = plotting.running_ratios(found).axes[0].get_ylim()
    assert low < -40.0


def test_a_time_mean_says_of_what_period_it_is() -> None:
    zonal = run_of(12)
    found = with_period(xr.Dataset({"x": ("lat", [1.0])}), zonal)
    assert found["x"].coords["time"].shape == ()
    assert [str(day)[:10] for day in found["time_bnds"].values] == ["2001-01-01", "2002-01-01"]
    assert str(found["time"].values)[:19] == "2001-07-02 12:00:00"


def test_targets_are_read_as_they_are_written() -> None:
    texts = (f"{RATIO}:0.05", f"{RATIO}/tropics:0.1", f"p4K/{RATIO}/tropics:.2")
    assert parse_targets(texts) == (
        Target(RATIO, (), 0.05),
        Target(RATIO, ("tropics",), 0.1),
        Target(RATIO, ("tropics",), 0.2, "p4K"),
    )
    assert [str(target) for target in parse_targets(texts)] == [
        RATIO,
        f"{RATIO}/tropics",
        f"p4K/{RATIO}/tropics",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RATIO, "names no diagnostic"),
        (f"{RATIO}/tropics:", "between 0 and 1"),
        (f"{RATIO}/tropics:5%", "between 0 and 1"),
        (f"{RATIO}/tropics:0", "between 0 and 1"),
        (f"{RATIO}/tropics:1", "between 0 and 1"),
        (f"{RATIO}/tropics:nan", "between 0 and 1"),
        (f"{RATIO}//tropics:0.1", "names no diagnostic"),
        ("ratio:0.1", "names no diagnostic"),
        ("p4K/ratio/tropics:0.1", "names no diagnostic"),
    ],
)
def test_what_is_no_target_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_targets([text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{RATIO}/arctic:0.1", "it has: tropics, subtropics, midlatitudes"),
        (f"{RATIO}/tropics/land:0.1", "a place that"),
        (f"p8K/{RATIO}:0.1", r"no perturbation of this run \(p2K, p4K\)"),
        ("cess_feedback:0.1", "no cess_feedback in this run, because"),
        ("zonal_mean_warming:0.1", "a profile by latitude"),
        ("vertical_warming_ratio_tropical_ocean/tropics:0.1", "it has: none"),
    ],
)
def test_a_target_that_the_run_will_not_have_is_refused(text: str, message: str) -> None:
    empty = empty_response(["t_low", "t_top"], ["p2K", "p4K"])
    check_targets(parse_targets([f"{RATIO}:0.1", "column_warming/t_top:0.2"]), empty, SETTINGS)
    with pytest.raises(InputError, match=message):
        check_targets(parse_targets([text]), empty, SETTINGS)


def test_a_target_is_reached_where_all_that_it_means_is() -> None:
    def known(**halves: float) -> xr.Dataset:
        dims = ("perturbation", "band")
        half = np.array([[halves.get("a", 0.1), 0.1], [halves.get("b", 0.1), halves.get("c", 0.1)]])
        parts: dict[str, Any] = {RATIO: np.full_like(half, 2.0), f"{RATIO}_low": 2.0 - half}
        parts[f"{RATIO}_high"] = 2.0 + half
        coords = {"perturbation": ["p2K", "p4K"], "band": ["tropics", "high"]}
        return xr.Dataset({name: (dims, x) for name, x in parts.items()}, coords)

    every, tropics, of_p2k = parse_targets(
        [f"{RATIO}:0.051", f"{RATIO}/tropics:0.051", f"p2K/{RATIO}/tropics:0.051"]
    )
    assert every.is_reached(known())  # 0.1 of 2 is 5 %
    assert [t.is_reached(known(a=0.11)) for t in (every, tropics, of_p2k)] == [False, False, False]
    assert [t.is_reached(known(b=0.11)) for t in (every, tropics, of_p2k)] == [False, False, True]
    assert [t.is_reached(known(c=0.11)) for t in (every, tropics, of_p2k)] == [False, True, True]
    assert [t.is_reached(known(c=np.inf)) for t in (every, tropics)] == [False, True]
    assert not every.is_reached(known(c=np.nan))
