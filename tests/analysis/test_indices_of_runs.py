"""Indices and regression maps of real runs, against an independent computation from the segments."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import netCDF4
import numpy as np
import pytest
import xarray as xr
import yaml

from respeval.analysis.folder import settings_of_folder
from respeval.analysis.indices import modes_of
from respeval.diagnostics.numbers import indices_summary
from respeval.files.netcdf import open_saved
from tests.support import enso
from tests.support.enso import GRID, SURFACE
from tests.support.invoking import invoke, refused
from tests.support.processes import torchrun

YEARS = 5
NINO4 = [-5.0, 5.0, 160.0, -150.0]
NEW = ("indices.nc", "regressions.nc", "figures/indices.png", "figures/teleconnections.png")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enso")
    checkpoint = enso.write_study(folder, YEARS, sst_boxes={"nino4": NINO4})
    invoke("run", checkpoint, "-o", folder / "out")
    return folder / "out"


@pytest.fixture
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


def segments_of(out: Path, name: str) -> np.ndarray:
    """[month, group, lat, lon], read from one segment after the other."""
    fields = []
    for path in sorted((out / "segments").glob("*.nc")):
        with netCDF4.Dataset(path) as opened:
            fields.append(np.asarray(opened[name][0], np.float64))
    return np.stack(fields)


def anomalies_of(values: np.ndarray) -> np.ndarray:
    """Of whole years of months: minus the mean of every twelfth."""
    by_year = values.reshape(-1, 12, *values.shape[1:])
    return np.asarray((by_year - by_year.mean(axis=0)).reshape(values.shape))


def box_mean(out: Path, sst: np.ndarray, box: list[float]) -> np.ndarray:
    """[month, group], the cells of the box asked for one by one."""
    with netCDF4.Dataset(next((out / "segments").glob("*.nc"))) as opened:
        area, ocean = (np.asarray(opened[name][:]) for name in ("area_weight", "ocean_mask"))
    total, weight = np.zeros(sst.shape[:2]), 0.0
    for i, lat in enumerate(GRID.latitude):
        for j, lon in enumerate(GRID.longitude):
            turn = (lon - box[2]) % 360 < (box[3] - box[2]) % 360
            if box[0] <= lat < box[1] and turn and ocean[i, j] == 1:
                total, weight = total + area[i, j] * sst[:, :, i, j], weight + area[i, j]
    assert weight > 0
    return np.asarray(total / weight)


NAMES = ("air_temperature_0", "air_temperature_1", SURFACE, "rain")


def test_all_equals_an_independent_computation_from_the_segments(finished: Path) -> None:
    sst = segments_of(finished, SURFACE)
    assert sst.shape == (12 * YEARS, 2, *GRID.shape)
    boxes = {
        "nino34": [-5.0, 5.0, -170.0, -120.0],
        "tpi_1": [25.0, 45.0, 140.0, -145.0],
        "tpi_2": [-10.0, 10.0, 170.0, -90.0],
        "tpi_3": [-50.0, -15.0, 150.0, -160.0],
        "nino4": NINO4,
    }
    means = {name: box_mean(finished, sst, box) for name, box in boxes.items()}
    index = anomalies_of(means["nino34"])
    with open_saved(finished / "indices.nc") as opened:
        found = opened.load()
    assert found["box"].values.tolist() == list(boxes)
    for name, expected in means.items():
        got = found["sst"].sel(box=name).values.T
        np.testing.assert_allclose(got, expected, rtol=1e-13)
    np.testing.assert_allclose(found["nino34"].values.T, index, atol=1e-10)
    one, two, three = (anomalies_of(means[f"tpi_{k}"]) for k in (1, 2, 3))
    np.testing.assert_allclose(found["tpi"].values.T, two - (one + three) / 2, atol=1e-10)
    with open_saved(finished / "regressions.nc") as opened:
        maps = opened.load()
    for name in NAMES:
        values = anomalies_of(segments_of(finished, name))
        slopes = np.empty((2, *GRID.shape))
        for group in range(2):
            for i, j in np.ndindex(*GRID.shape):
                slopes[group, i, j] = np.polyfit(index[:, group], values[:, group, i, j], 1)[0]
        size = np.abs(slopes).max()
        np.testing.assert_allclose(maps[name], slopes, rtol=1e-7, atol=1e-9 * size)
        change = slopes[1] - slopes[0]
        np.testing.assert_allclose(maps[f"{name}_change"][0], change, rtol=1e-5, atol=1e-9 * size)
    assert maps["rain"].attrs["units"] == "kg m-2 s-1 K-1"


@pytest.mark.parametrize(("options", "tolerance"), [((), 1e-7), (("--spatial", "2x1"), 1e-4)])
def test_two_processes_find_the_same(
    finished: Path, tmp_path: Path, options: tuple[str, ...], tolerance: float
) -> None:
    """Where fields are split, float32 sums up a network in another order; SST is the forcing's."""
    case = finished.parent / "tiny.pt"
    done = torchrun(2, "run", case, "-o", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    for name in NEW[:2]:
        with open_saved(finished / name) as expected, open_saved(tmp_path / "out" / name) as got:
            assert list(got.variables) == list(expected.variables)
            for variable in ("sst", "nino34", "tpi", *NAMES, *(f"{n}_change" for n in NAMES)):
                if variable in expected:
                    values = expected[variable].values
                    room = 1e-7 if variable in ("sst", "nino34", "tpi") else tolerance
                    # A change is the difference of slopes, and is as exact as they are.
                    size = np.abs(expected[variable.removesuffix("_change")].values).max()
                    np.testing.assert_allclose(got[variable], values, rtol=1e-9, atol=room * size)


def test_the_mode_is_found_in_the_sst(finished: Path) -> None:
    """Its period, its size, and its pattern per kelvin of the index over ocean."""
    told = json.loads((finished / "summary.json").read_text())
    with open_saved(finished / "indices.nc") as found:
        years = (np.arange(12 * YEARS) + 0.5) / 12.0
        own = anomalies_of(enso.amplitude(years)[:, None])[:, 0]
        index = found["nino34"].sel(group="baseline").values
        assert np.corrcoef(index, own)[0, 1] > 0.99
    with open_saved(finished / "regressions.nc") as maps:
        ocean = maps["ocean_mask"].values == 1
        pattern = enso.mode(GRID)
        with open_saved(finished / "indices.nc") as found:
            size = float((found["nino34"][0].values @ own) / (own @ own))
        slope = maps[SURFACE].sel(group="baseline").values
        np.testing.assert_allclose(slope[ocean], pattern[ocean] / size, atol=0.01)
        assert maps[f"{SURFACE}_significant"].values[0][ocean & (pattern > 0.1)].all()
    assert told["baseline/nino34_std"] == pytest.approx(told["p4K/nino34_std"], abs=1e-4)
    assert told["baseline/nino34_period"] == pytest.approx(enso.PERIOD_YEARS, rel=0.06)


def test_the_files_say_what_they_hold(finished: Path) -> None:
    with xr.open_dataset(finished / "regressions.nc", decode_times=False) as maps:
        for name in NAMES:
            for statistic in maps[name].attrs["ancillary_variables"].split():
                assert maps[statistic].dims == ("group", "lat", "lon")
            for statistic in maps[f"{name}_change"].attrs["ancillary_variables"].split():
                assert maps[statistic].dims == ("perturbation", "lat", "lon")
        assert all(
            "long_name" in v.attrs for n, v in maps.data_vars.items() if "_bnds" not in str(n)
        )
        assert all(v.dtype in (np.float64, np.int8) for v in maps.data_vars.values())
    for name in NEW:
        assert (finished / name).is_file()
    page = finished.parent / "report.html"
    invoke("report", finished, "-o", page)
    assert "what goes with El Niño" in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("_without_figures")
def test_a_finished_run_takes_other_boxes(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    invoke("diagnose", out, "--sst-box", "atlantic=-10,10,-30,10")
    with open_saved(out / "indices.nc") as found:
        assert found["box"].values.tolist()[4:] == ["atlantic"]
    before = json.loads((finished / "summary.json").read_text())
    assert json.loads((out / "summary.json").read_text()) == before
    told = refused("diagnose", out, "--sst-box", "inland=10,40,20,60")
    assert "sst_boxes.inland holds no ocean cell of the grid (13 x 24" in told


def test_a_run_of_an_earlier_respeval_gets_the_files_too(finished: Path, tmp_path: Path) -> None:
    """One whose manifest does not say what its SST is, and whose case has no boxes."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    for name in NEW:
        (out / name).unlink()
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest.pop("surface_temperature") == SURFACE
    case = yaml.safe_load((out / "case.yaml").read_text())
    for content in (case, manifest["case"]):
        del content["sst_boxes"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / "case.yaml").write_text(yaml.safe_dump(case))
    invoke("diagnose", out)
    for name in NEW[1:]:
        assert (out / name).read_bytes() == (finished / name).read_bytes(), name
    with open_saved(out / "indices.nc") as got, open_saved(finished / "indices.nc") as expected:
        xr.testing.assert_equal(got.drop_dims("box"), expected.drop_dims("box"))


@pytest.mark.usefixtures("_without_figures")
def test_what_is_left_out_is_said_and_removed(finished: Path, tmp_path: Path) -> None:
    """The same SST every year: box means and an index of nothing, but no maps, and none from before."""
    assert "left out: tpi_filtered, because the run has 5.0 years" in invoke(
        "diagnose", finished, "--all"
    )
    checkpoint = enso.write_study(tmp_path / "study", 2, repeated=True)
    out = tmp_path / "out"
    out_of = invoke("run", checkpoint, "-o", out)
    assert "regressions" not in out_of
    assert (out / NEW[0]).exists()
    assert not (out / NEW[1]).exists()
    for name in NEW[1:]:
        shutil.copy(finished / name, out / name)
    told = invoke("diagnose", out, "--all")
    assert "left out: regressions, because Nino 3.4 has a standard deviation of" in told
    assert not any((out / name).exists() for name in (NEW[1], NEW[3]))


def test_an_sst_that_is_only_a_forcing_is_told_before_the_run(tmp_path: Path) -> None:
    checkpoint = enso.write_study(tmp_path, 1, forced_only=True)
    out = tmp_path / "out"
    told = invoke("run", checkpoint, "-o", out, "--steps", "3").splitlines()
    [line] = [each for each in told if each.startswith("left out: ")]
    assert re.fullmatch(
        rf"left out: \d+ diagnostics; respeval diagnose {out} --all says which and why", line
    )
    listed = invoke("diagnose", out, "--all")
    reason = (
        f"{SURFACE} is only a forcing of the emulator: it is not among the outputs that a run keeps"
    )
    assert f"left out: nino34, tpi, tpi_filtered, regressions, because {reason}" in listed
    assert not any((out / name).exists() for name in NEW)


@pytest.mark.usefixtures("_without_figures")
def test_samples_of_other_dates_have_indices_of_their_own(tmp_path: Path) -> None:
    """From the members of the segments; means over samples would be of no date. One that blew up has none."""
    study = enso.write_study(tmp_path, 4, days=(0, 180), sst_boxes={"nino4": NINO4}, years=3)
    out = tmp_path / "out"
    invoke("run", study, "-o", out, "--save-members")
    members = []
    for path in sorted((out / "segments").glob("*.nc")):
        with netCDF4.Dataset(path) as opened:
            members.append(np.asarray(opened[f"{SURFACE}_members"][:, :, 0]))
    index = anomalies_of(
        np.stack(
            [box_mean(out, np.stack(members)[:, :, s], [-5, 5, -170, -120]) for s in (0, 1)], axis=2
        )
    )
    with open_saved(out / "indices.nc") as found:
        assert found["nino34"].dims == ("group", "sample", "time")
        np.testing.assert_allclose(found["nino34"].values, index.transpose(1, 2, 0), atol=1e-10)
        assert not np.allclose(found["nino34"][0, 0], found["nino34"][0, 1], atol=0.1)
    told = json.loads((out / "summary.json").read_text())
    assert told["baseline/nino34_std/1"] == pytest.approx(index[:, 0, 1].std(), rel=1e-9)
    assert not (out / "regressions.nc").exists()
    told_all = invoke("diagnose", out, "--all")
    assert "left out: regressions, because samples start on other dates" in told_all
    with netCDF4.Dataset(sorted((out / "segments").glob("*.nc"))[-1], "a") as opened:
        opened["count_zonal"][:, 1] = 0.0
    with open_saved(out / "group_means.nc") as means:
        series = modes_of(out, means, settings_of_folder(out, {})).series
    assert series is not None
    assert series["nino34"][:, 1].isnull().all()
    np.testing.assert_allclose(series["nino34"][:, 0], index[:, :, 0].T, atol=1e-10)
    assert indices_summary(series)["p4K/nino34_std/1"] is None
    invoke("run", study, "-o", tmp_path / "without")
    assert not (tmp_path / "without" / "indices.nc").exists()
    told_all = invoke("diagnose", tmp_path / "without", "--all")
    assert "because samples start more than half a month apart, and the run keeps no" in told_all


WRONG: list[tuple[Any, str]] = [
    ({"a": [20, 10, 0, 30]}, "box a of SST: expected [lat_min, lat_max, lon_min, lon_max]"),
    ({"a": [10, 20, 30, 30]}, "other longitudes, got [10.0, 20.0, 30.0, 30.0]"),
    ({"a": [10, 20, 30]}, "sst_boxes.a: expected [lat_min, lat_max, lon_min, lon_max], degrees"),
    ({"a": [10, 120, 30, 40]}, "sst_boxes.a: expected [lat_min, lat_max, lon_min, lon_max]"),
    ({"nino34": [10, 20, 30, 40]}, "'nino34' can't name a box of SST: every run has one"),
    ({"a/b": [10, 20, 30, 40]}, "can't name a box of SST"),
    ({"a": [10, 40, 20, 60]}, "sst_boxes.a holds no ocean cell of the grid (13 x 24"),
]


@pytest.mark.parametrize(("boxes", "told"), WRONG)
def test_wrong_boxes_are_told_in_one_line(boxes: Any, told: str, tmp_path: Path) -> None:
    checkpoint = enso.write_study(tmp_path, 1, sst_boxes=boxes)
    assert told in refused("run", checkpoint, "-o", tmp_path / "out")


@pytest.mark.parametrize("text", ["a=1,2,3", "a", "a=0,10,20,x"])
def test_wrong_options_are_told_in_one_line(text: str, finished: Path) -> None:
    told = refused("diagnose", finished, "--sst-box", text)
    assert f"--sst-box '{text}': expected NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX in degrees" in told
