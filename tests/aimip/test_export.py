"""`respeval export aimip`: the files of a run's members, held against the run's segments."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import respeval.aimip.files
from respeval.aimip.cells import Cells
from respeval.case.file import load_case
from respeval.cli import app
from respeval.distributed.comm import Comm
from respeval.fields.grid import Grid
from respeval.plan.execution import Execution
from respeval.plan.plan import prepare
from respeval.plan.resume import open_output
from respeval.runner import Reporter, execute
from tests.support.invoking import invoke, refused
from tests.support.studies import checkpoint, forcing, initial, write_study

SUBMITTED = ["--model", "Tiny-1", "--institute", "us", "--version", "v20261231"]
NAMES = [*SUBMITTED, "--no-spinup"]
MAP = ["--map", "air_temperature_1=tas", "--map", "skin=ts", "--map", "rain=pr"]
PATCH = "box=patch:2,lat_center=0,lon_center=90,lat_width=60,lon_width=90"
FOLDER = "us/Tiny-1/{experiment}/{member}/Amon/{variable}/gn/v20261231"
FILE = FOLDER + "/{variable}_Amon_Tiny-1_{experiment}_{member}_gn_{months}.nc"
GROUPS = {"aimip": "baseline", "aimip-p2k": "warm", "aimip-p4k": "p4K"}


def path(root: Path, variable: str, experiment: str, member: int, months: str) -> Path:
    words = {"variable": variable, "experiment": experiment, "months": months}
    return root / FILE.format(member=f"r{member}i1p1f1", **words)


def execute_run(model: Path, **case: Any) -> Path:
    """What `respeval run` publishes beside a study's checkpoint, without diagnostics and figures."""
    folder = model.parent / "out"
    planned = prepare(model, load_case(model.parent / "case.yaml", case))
    output = open_output(planned, model, folder, Comm())
    output.open()
    execute(planned, output, Comm(), Execution(), Reporter())
    output.join()
    output.finish()
    output.close()
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three months with members, of which one is spin-up; labels are not those of AIMIP."""
    folder = tmp_path_factory.mktemp("export")
    write_study(folder, days=90, spinup="1 month")
    model = checkpoint(folder / "levels.pt", levels_hPa=[300.0, 900.0])
    perturb = [f"--perturb={text}" for text in ("p4K=uniform:4", PATCH, "warm=uniform:2")]
    invoke(
        "run",
        model,
        "--case",
        folder / "case.yaml",
        "-o",
        folder / "out",
        "--save-members",
        *perturb,
    )
    return folder / "out"


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("submission")
    return root, invoke("export", "aimip", run, "-o", root, *NAMES, *MAP)


def segment(run: Path, number: int) -> xr.Dataset:
    return xr.open_dataset(next((run / "segments").glob(f"{number:05d}_*.nc")))


@pytest.mark.parametrize(
    ("variable", "output"),
    [("tas", "air_temperature_1"), ("pr", "rain"), ("ts", "skin")],
)
@pytest.mark.parametrize("experiment", GROUPS)
def test_monthly_means_are_those_of_the_segments(
    run: Path, exported: tuple[Path, str], variable: str, output: str, experiment: str
) -> None:
    for sample in range(3):
        file = path(exported[0], variable, experiment, sample + 1, "200102-200103")
        with xr.open_dataset(file) as got:
            for row, number in enumerate((2, 3)):
                with segment(run, number) as saved:
                    members = saved[f"{output}_members"].sel(group=GROUPS[experiment])
                    expected = members.isel(sample=sample, time=0).sortby("lat")
                    np.testing.assert_array_equal(
                        got[variable].values[row], expected.values.astype(np.float32)
                    )
                    np.testing.assert_array_equal(got["lat"], expected["lat"])


def test_a_column_has_its_layers_from_the_top(run: Path, exported: tuple[Path, str]) -> None:
    file = path(exported[0], "ta", "aimip-p4k", 2, "200102-200103")
    with xr.open_dataset(file) as got, segment(run, 3) as saved:
        assert got["ta"].dims == ("time", "lev", "lat", "lon")
        assert got["lev"].values.tolist() == [0.0, 1.0]
        assert got["layer_pressure"].values.tolist() == [30_000.0, 90_000.0]
        for layer in (0, 1):
            members = saved[f"air_temperature_{layer}_members"].sel(group="p4K")
            expected = members.isel(sample=1, time=0).sortby("lat").values.astype(np.float32)
            np.testing.assert_array_equal(got["ta"].values[1, layer], expected)


def test_a_submission_has_exactly_these_files(exported: tuple[Path, str]) -> None:
    expected = {
        path(exported[0], variable, experiment, member, "200102-200103")
        for variable in ("ta", "tas", "ts", "pr")
        for experiment in GROUPS
        for member in (1, 2, 3)
    }
    assert {file for file in exported[0].rglob("*") if file.is_file()} == expected


def test_the_runs_own_files_have_standard_names(run: Path) -> None:
    with segment(run, 2) as saved, xr.open_dataset(run / "group_means.nc") as means:
        for name in ("air_temperature_0", "air_temperature_0_members", "air_temperature_0_zonal"):
            assert saved[name].attrs["standard_name"] == "air_temperature"
        assert means["air_temperature_1"].attrs["standard_name"] == "air_temperature"
        assert "standard_name" not in means["skin"].attrs


def test_what_is_left_out_is_said(exported: tuple[Path, str]) -> None:
    output = " ".join(exported[1].split())
    assert "left out: the spin-up; AIMIP asks for the whole period" in output
    assert "left out: box, which is no experiment of AIMIP (uniform 2 or 4 K)" in output
    assert "note: initial_condition_scope is not none" in output
    assert "note: 3 members; AIMIP asks for 5" in output
    assert "files: 36 of 2 months" in output


def test_attributes_and_coordinates_are_cmips(exported: tuple[Path, str]) -> None:
    file = path(exported[0], "tas", "aimip-p2k", 3, "200102-200103")
    with xr.open_dataset(file, decode_times=False) as got:
        tas = got["tas"]
        assert tas.dtype == np.float32
        assert tas.dims == ("time", "lat", "lon")
        assert tas.attrs["standard_name"] == "air_temperature"
        assert tas.attrs["long_name"] == "Near-Surface Air Temperature"
        assert (tas.attrs["units"], tas.attrs["cell_methods"]) == ("K", "area: time: mean")
        assert tas.attrs["original_name"] == "air_temperature_1"
        assert tas.encoding["_FillValue"] == tas.encoding["missing_value"] == np.float32(1e20)
        assert (float(got["height"]), got["height"].attrs["units"]) == (2.0, "m")
        assert got["time"].attrs["units"] == "days since 2001-01-01"
        assert got["time"].attrs["calendar"] == "noleap"
        assert got["time_bnds"].values.tolist() == [[31.0, 59.0], [59.0, 90.0]]
        assert got["time"].values.tolist() == [45.0, 74.5]
        assert got["lat_bnds"].values[0, 0] == -90.0
        assert (got["lat_bnds"].values[:, 0] < got["lat"].values).all()
        expected = {
            "Conventions": "CF-1.7 CMIP-6.2",
            "activity_id": "AIMIP",
            "experiment_id": "aimip-p2k",
            "frequency": "mon",
            "grid_label": "gn",
            "institution_id": "us",
            "realization_index": 3,
            "source_id": "Tiny-1",
            "table_id": "Amon",
            "variable_id": "tas",
            "variant_label": "r3i1p1f1",
            "nominal_resolution": "2500 km",
        }
        assert {name: got.attrs[name] for name in expected} == expected


def test_every_file_has_a_tracking_id_of_its_own(exported: tuple[Path, str]) -> None:
    files = sorted(exported[0].rglob("*.nc"))
    found = set()
    for file in files:
        with xr.open_dataset(file) as opened:
            found.add(opened.attrs["tracking_id"])
    assert len(found) == len(files) == 36


def test_the_spinup_is_there_unless_it_is_left_out(run: Path, tmp_path: Path) -> None:
    output = invoke("export", "aimip", run, "-o", tmp_path, *SUBMITTED, *MAP[:2])
    assert "spin-up" not in output
    file = path(tmp_path, "tas", "aimip", 1, "200101-200103")
    with xr.open_dataset(file) as got, segment(run, 1) as saved:
        expected = saved["air_temperature_1_members"].values[0, 0, 0, ::-1].astype(np.float32)
        np.testing.assert_array_equal(got["tas"].values[0], expected)


def test_segments_that_were_merged_and_part_of_a_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respeval.run_folder.joining.KEPT_SINGLES", 0)
    out = execute_run(write_study(tmp_path, spinup="2 months", save_members=True))
    merged = out / "segments" / "00001-00002_2001-01-01.nc"
    output = invoke("export", "aimip", out, "-o", tmp_path / "s", *SUBMITTED, *MAP[4:])
    assert "left out: 2001-03-01 00:00 to 2001-03-17 00:00, which is no whole month" in output
    file = path(tmp_path / "s", "pr", "aimip-p2k", 2, "200101-200102")
    with xr.open_dataset(file) as got, xr.open_dataset(merged) as saved:
        members = saved["rain_members"].sel(group="p2K").isel(sample=1).sortby("lat")
        np.testing.assert_array_equal(got["pr"].values, members.values.astype(np.float32))


def test_pressure_levels_on_request(run: Path, tmp_path: Path) -> None:
    invoke("export", "aimip", run, "-o", tmp_path, *NAMES, "--pressure-levels")
    file = path(tmp_path, "ta", "aimip", 1, "200102-200103")
    with xr.open_dataset(file) as got, segment(run, 2) as saved:
        assert got["ta"].dims == ("time", "plev", "lat", "lon")
        assert got["plev"].values.tolist() == [90_000.0, 30_000.0]
        assert (got["plev"].attrs["units"], got["plev"].attrs["positive"]) == ("Pa", "down")
        lowest = saved["air_temperature_1_members"].values[0, 0, 0, ::-1].astype(np.float32)
        np.testing.assert_array_equal(got["ta"].values[0, 0], lowest)


def test_a_factor_is_applied_and_files_are_replaced_on_request_only(
    run: Path, tmp_path: Path
) -> None:
    command = ["export", "aimip", run, "-o", tmp_path, *NAMES, "--map", "rain=pr:0.5"]
    invoke(*command)
    line = refused(*command)
    assert "pr_Amon_Tiny-1_aimip_r1i1p1f1_gn_200102-200103.nc" in line
    assert "is there already (and 17 more); give --overwrite, or another --version" in line
    invoke(*command, "--overwrite", "--spinup")
    files = list(tmp_path.rglob("pr_*.nc"))
    assert {file.name.rpartition("_")[2] for file in files} == {"200101-200103.nc"}
    assert len(files) == 9
    with xr.open_dataset(path(tmp_path, "pr", "aimip", 1, "200101-200103")) as got:
        with segment(run, 1) as saved:
            expected = 0.5 * saved["rain_members"].values[0, 0, 0, ::-1]
        np.testing.assert_array_equal(got["pr"].values[0], expected.astype(np.float32))


def changed(run: Path, folder: Path, **case: Any) -> Path:
    """A copy of a run whose manifest says another case, or status."""
    shutil.copytree(run, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["status"] = case.pop("status", manifest["status"])
    manifest["case"] |= case
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({"save_members": False}, "save_members: false; run it again with --save-members"),
        ({"segment": "year"}, "has segments of year, and AIMIP asks for monthly means"),
        ({"status": "stopped"}, "its run is stopped, not finished"),
        (
            {"perturbations": {n: {"type": "uniform", "amplitude_K": 4.0} for n in "abc"}},
            "two experiments aimip-p4k: b is the second",
        ),
    ],
)
def test_runs_that_are_of_no_use_are_refused(
    run: Path, tmp_path: Path, case: dict[str, Any], expected: str
) -> None:
    folder = changed(run, tmp_path / "run", **case)
    assert expected in refused("export", "aimip", folder, "-o", tmp_path / "s", *NAMES)
    assert not (tmp_path / "s").exists()


def test_samples_of_different_dates_are_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path, days=40, save_members=True)
    (tmp_path / "initial.nc").unlink()
    initial(days=(0, 1)).to_netcdf(tmp_path / "initial.nc")
    execute_run(study)
    line = refused("export", "aimip", tmp_path / "out", "-o", tmp_path / "s", *NAMES)
    assert "start on different dates (2001-01-01 00:00:00 to 2001-01-02 00:00:00)" in line


def test_a_damaged_segment_is_refused(run: Path, tmp_path: Path) -> None:
    folder = changed(run, tmp_path / "run")
    file = next((folder / "segments").glob("00002_*.nc"))
    file.write_bytes(file.read_bytes()[:-7])
    line = refused("export", "aimip", folder, "-o", tmp_path / "s", *NAMES)
    assert "00002_2001-02-01.nc is damaged (its checksum differs)" in line


def test_a_sample_that_blew_up_is_left_out(tmp_path: Path) -> None:
    study = write_study(tmp_path, days=40, save_members=True, allow_out_of_range=True)
    broken = initial()
    broken["air_temperature_0"][1] = 1e30
    (tmp_path / "initial.nc").unlink()
    broken.to_netcdf(tmp_path / "initial.nc")
    execute_run(study)
    output = invoke("export", "aimip", tmp_path / "out", "-o", tmp_path / "s", *NAMES)
    assert "left out: sample 1, which blew up" in output
    members = {file.parts[-6] for file in (tmp_path / "s").rglob("*.nc")}
    assert members == {"r1i1p1f1", "r3i1p1f1"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--model", "Tiny_1"], "--model 'Tiny_1': expected letters, digits"),
        (["--institute", "a b"], "--institute 'a b': expected letters"),
        (["--version", "1"], "--version '1': expected v and a date"),
        (["--grid-label", "gx"], "--grid-label 'gx': expected gn or gr"),
        (["--map", "rain"], "--map 'rain': expected OUTPUT=CMIP"),
        (["--map", "rain=rainfall"], "no variable 'rainfall' (known: ta, hus"),
        (["--map", "rain=pr", "--map", "rain=ps"], "--map gives 'rain' twice"),
        (["--map", "snow=pr"], "the run has no output 'snow' (it has: air_temperature_0"),
        (["--map", "rain=tas"], "units 'kg m-2 s-1' of rain do not fit tas in 'K'; give a factor"),
        (["--map", "skin=ta"], "ta needs a level in hPa, as in ta@500"),
        (["--map", "skin=ts@500"], "ts has no levels; leave out @500"),
    ],
)
def test_mistaken_options_get_one_line(
    run: Path, tmp_path: Path, options: list[str], expected: str
) -> None:
    assert expected in refused("export", "aimip", run, "-o", tmp_path, *NAMES, *options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    line = refused("export", "aimip", tmp_path, "-o", tmp_path / "s", *NAMES)
    assert "is no folder of a run: it has no manifest.json" in line


def test_the_protocol_runs_and_its_export_is_complete_in_members(tmp_path: Path) -> None:
    write_study(tmp_path)
    case = {"forcing": "forcing.nc", "initial_condition": "initial.nc", "days": 120}
    (tmp_path / "case.yaml").write_text(json.dumps({**case, "protocol": "aimip"}))
    for name, content in (("forcing", forcing(num_times=121)), ("initial", initial(days=(0,) * 5))):
        (tmp_path / f"{name}.nc").unlink()
        content.to_netcdf(tmp_path / f"{name}.nc")
    execute_run(tmp_path / "tiny.pt")
    output = invoke("export", "aimip", tmp_path / "out", "-o", tmp_path / "s", *NAMES, *MAP[:2])
    assert "note:" not in output
    files = sorted((tmp_path / "s").rglob("tas_*.nc"))
    assert len(files) == 15
    assert files[0].name == "tas_Amon_Tiny-1_aimip_r1i1p1f1_gn_200104-200104.nc"


def test_cells_are_stored_from_south_and_from_greenwich() -> None:
    longitude = np.arange(8) * 45.0 - 180.0
    grid = Grid(np.array([60.0, 0.0, -60.0]), longitude)
    field = 1000.0 * grid.latitude[:, None] + longitude % 360.0
    cells = Cells(grid)
    assert cells.latitude.tolist() == [-60.0, 0.0, 60.0]
    assert cells.longitude.tolist() == (np.arange(8) * 45.0).tolist()
    assert cells.latitude_bounds.tolist() == [[-90.0, -30.0], [-30.0, 30.0], [30.0, 90.0]]
    expected = 1000.0 * cells.latitude[:, None] + cells.longitude
    np.testing.assert_array_equal(cells.stored(field), expected)


@pytest.mark.parametrize(("num_lat", "expected"), [(180, "100 km"), (96, "250 km"), (64, "500 km")])
def test_resolutions_are_named_as_cmip_names_them(num_lat: int, expected: str) -> None:
    """CMIP6 has GFDL-CM4's regridded degree as 100 km, MPI-ESM1-2-LR as 250 km, CanESM5 as 500 km."""
    edges = np.linspace(-90, 90, num_lat + 1)
    grid = Grid(0.5 * (edges[1:] + edges[:-1]), np.arange(2 * num_lat) * 180.0 / num_lat)
    assert Cells(grid).nominal_resolution() == expected


def test_a_killed_export_goes_on_with_the_same_command(
    run: Path, exported: tuple[Path, str], tmp_path: Path
) -> None:
    """Killed as by SIGKILL in the second variable's months: nothing half lies in CMIP's folders."""
    root = tmp_path / "submission"
    command = ["export", "aimip", str(run), "-o", str(root), *NAMES, *MAP]
    pid = os.fork()
    if pid == 0:
        calls = itertools.count()

        def stored(*arguments: Any) -> Any:
            if next(calls) == 25:
                os._exit(9)
            return original(*arguments)

        original = respeval.aimip.files._stored
        with patch("respeval.aimip.files._stored", stored), contextlib.suppress(BaseException):
            CliRunner().invoke(app, command)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    left = [file for file in (root / "us").rglob("*") if file.is_file()]
    assert left
    assert not [file for file in left if file.name.startswith(".")]
    before = {file: file.stat().st_mtime_ns for file in left}
    invoke(*command)
    assert all(file.stat().st_mtime_ns == then for file, then in before.items())
    names = {file.relative_to(root) for file in root.rglob("*") if file.is_file()}
    assert names == {f.relative_to(exported[0]) for f in exported[0].rglob("*") if f.is_file()}
    assert not list(root.glob(".*"))
    assert "is there already (and 35 more); give --overwrite" in refused(*command)
