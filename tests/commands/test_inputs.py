"""Inputs that are wrong as people have them: refused before numbers come of them, or told to the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from respeval.files.netcdf import open_saved
from tests.support import studies
from tests.support.invoking import invoke, refused
from tests.support.processes import torchrun

RUN = ("--days", 60, "--window", 10)


def change(path: Path, name: str, how: Callable[[np.ndarray], np.ndarray]) -> None:
    """Remake a file in place with another variable."""
    with xr.open_dataset(path, decode_times=False) as opened:
        record = opened.load()
    values = how(record[name].values.copy())
    record[name] = (record[name].dims, values.astype(record[name].dtype), record[name].attrs)
    record.to_netcdf(path.with_name("new.nc"))
    path.with_name("new.nc").replace(path)


def one_cell(value: float, first: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    def put(values: np.ndarray) -> np.ndarray:
        values[first:, 3, 4] = value
        return values

    return put


def told(folder: Path, name: str = "summary.json") -> list[str]:
    """The warnings about files."""
    warnings = json.loads((folder / name).read_text()).get("warnings", [])
    return [text for text in warnings if ".nc: " in text]


def test_temperatures_in_celsius_are_refused_before_the_first_step(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    out = tmp_path / "out"
    for file, dims in (("forcing.nc", "2001-01-01"), ("initial.nc", "2001-01-01")):
        path = tmp_path / "study" / file
        shutil.copy(path, tmp_path / "kept.nc")
        change(path, "skin", lambda values: values - 273.15)
        line = refused("run", study, "-o", out, *RUN)
        assert f"{path}: skin can't be right at {dims} 00:00:00" in line
        assert "it looks like degrees Celsius" in line
        assert "--allow-out-of-range" in line
        assert not list(out.glob("segments/*"))
        shutil.copy(tmp_path / "kept.nc", path)
    assert told(Path(_finished(study, out))) == []


def _finished(study: Path, out: Path, *options: object) -> Path:
    invoke("run", study, "-o", out, *RUN, *options)
    return out


def test_what_is_out_of_range_stands_below_the_table_in_summary_and_report(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    path = tmp_path / "study" / "forcing.nc"
    change(path, "skin", one_cell(50.0, 43))
    line = refused("run", study, "-o", tmp_path / "out", *RUN)
    assert f"{path}: skin can't be right at 2001-02-13 00:00:00: 50 to 50 K" in line
    # A mistake that shows late: what was done before stays, and the mended run goes on.
    assert len(list((tmp_path / "out" / "segments").glob("*.nc"))) == 1
    shown = invoke("run", study, "-o", tmp_path / "out", *RUN, "--allow-out-of-range")
    (warning,) = told(tmp_path / "out")
    assert warning.startswith(
        f"{path}: skin is out of range at 2001-02-13 00:00:00: up to 23.0 scales"
    )
    table = " ".join(shown[shown.index("Response, ") :].split())
    assert f"warning: {warning}" in table
    assert told(tmp_path / "out", "manifest.json") == [warning]
    invoke("report", tmp_path / "out", "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.index(warning) < page.index("<dl")
    again = " ".join(invoke("diagnose", tmp_path / "out").split())
    assert f"warning: {warning}" in again
    assert told(tmp_path / "out") == [warning]
    estimate = " ".join(invoke("run", study, "-o", tmp_path / "dry", *RUN, "--dry-run").split())
    assert "warning: " not in estimate  # of the first step alone nothing is to be told


def test_the_state_of_every_sample_is_looked_at(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    path = tmp_path / "study" / "initial.nc"
    last = np.arange(3)[:, None, None] == 2
    change(path, "air_temperature_1", lambda values: np.where(last, values + 64, values))
    shown = " ".join(invoke("run", study, "-o", tmp_path / "dry", *RUN, "--dry-run").split())
    assert (
        f"warning: {path}: air_temperature_1 is out of range at 2001-01-01 00:00:00: up to" in shown
    )


def test_a_sample_on_another_process_warns_too(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study", days=20)
    record = studies.initial(days=(0, 60))
    record.to_netcdf(tmp_path / "study" / "initial.nc")
    change(tmp_path / "study" / "forcing.nc", "sunlight", one_cell(1300.0, 70))
    done = torchrun(2, "run", study, "-o", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    invoke("run", study, "-o", tmp_path / "one")
    (warning,) = told(tmp_path / "one")
    assert "sunlight is out of range at 2001-03-12 00:00:00: up to 6.7 scales" in warning
    assert told(tmp_path / "two") == [warning]
    assert done.stderr.count("is out of range") == 1  # at once
    assert done.stdout.count("is out of range") == 1  # below the table


def test_inputs_are_named_where_the_emulator_blows_up_behind_them(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    path = tmp_path / "study" / "forcing.nc"
    change(
        path, "sunlight", lambda values: np.where(np.arange(91)[:, None, None] > 20, 1e9, values)
    )
    line = refused("run", study, "-o", tmp_path / "out", *RUN, "--allow-out-of-range", code=3)
    assert "the emulator blew up in every sample" in line
    assert f"its inputs may be at fault: {path}: sunlight is out of range at 2001-01-22" in line


def test_a_forcing_remade_in_place_is_not_joined_to_what_was_run(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    path = tmp_path / "study" / "forcing.nc"
    out = _finished(study, tmp_path / "out")
    kept = json.loads((out / "manifest.json").read_text())["forcing_fields_sha256"]
    assert list(kept) == ["0", "8", "16", "24", "32", "40", "48", "56"]
    longer = ("run", study, "-o", out, "--days", 75, "--extend")
    shutil.copy(path, tmp_path / "kept.nc")
    change(path, "skin", lambda values: values + 0.5)
    assert path.stat().st_size == (tmp_path / "kept.nc").stat().st_size
    changed = f"{path}: skin at 2001-01-01 00:00:00 is not what the run read there before"
    assert changed in refused(*longer)
    assert changed in " ".join(invoke(*longer, "--dry-run", code=1).split())
    shutil.copy(tmp_path / "kept.nc", path)
    change(
        path,
        "skin",
        lambda values: np.where(np.arange(91)[:, None, None] > 62, values + 0.5, values),
    )
    invoke(*longer)  # what is changed was never read
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["forcing_fields_sha256"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    invoke("run", study, "-o", out, "--days", 80, "--extend")  # as of an earlier respeval


def test_compare_pairs_by_what_was_read(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    path = tmp_path / "study" / "forcing.nc"
    _finished(study, tmp_path / "a")
    with xr.open_dataset(path, decode_times=False) as opened:
        record = opened.load()
    record.to_zarr(tmp_path / "same.zarr")
    _finished(study, tmp_path / "b", "--forcing", tmp_path / "same.zarr")
    change(path, "skin", lambda values: values + 0.25)
    _finished(study, tmp_path / "c")
    shown = invoke("compare", tmp_path / "a", tmp_path / "b", tmp_path / "c", "-o", tmp_path / "ab")
    assert "the forcing's skin" in " ".join(shown.split())
    with open_saved(tmp_path / "ab" / "comparison.nc") as found:
        assert found["paired"].values[:, 0].tolist() == [2, 1, 0]


@pytest.mark.parametrize("name", ["skin", "air_temperature_1"])
def test_the_data_of_a_probe_are_looked_at_too(tmp_path: Path, name: str) -> None:
    study = studies.write_study(tmp_path / "study")
    record = studies.forcing()
    draw = np.random.default_rng(0).normal(280.0, 5.0, (3, 91, *studies.GRID.shape))
    for k, variable in enumerate(("air_temperature_0", "air_temperature_1", "rain")):
        scale = 1e-7 if variable == "rain" else 1.0
        record[variable] = (("time", "lat", "lon"), draw[k] * scale)
    path = tmp_path / "data.nc"
    record.to_netcdf(path)
    probe = ("gradient-probe", study, "-o", tmp_path / "probe", "--data", path)
    sizes = ("--batches", 2, "--batch-size", 2)
    change(path, name, lambda values: values - 273.15)
    line = refused(*probe, *sizes)
    assert f"{path}: {name} can't be right at 2001" in line
    assert "allow_out_of_range: true in the case file" in line


def other_units(folder: Path) -> None:
    """The study's files in units that people have them in."""

    def written(name: str, **changes: tuple[float, float, str]) -> None:
        with xr.open_dataset(folder / name, decode_times=False) as opened:
            record = opened.load()
        for variable, (factor, offset, units) in changes.items():
            values = record[variable].values * factor + offset
            record[variable] = (record[variable].dims, values, {"units": units})
        record.to_netcdf(folder / "new.nc")
        (folder / "new.nc").replace(folder / name)

    written(
        "forcing.nc",
        skin=(1.0, -273.15, "degrees C"),
        sunlight=(1e-3, 0.0, "kW m-2"),
        ocean_fraction=(100.0, 0.0, "%"),
        land_fraction=(100.0, 0.0, "percent"),
    )
    written("initial.nc", skin=(1.8, -459.67, "degF"), air_temperature_0=(1e3, 0.0, "mK"))


def test_a_run_from_files_in_other_units_gives_the_same_numbers(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    expected = json.loads((_finished(study, tmp_path / "a") / "summary.json").read_text())
    remarks = expected.pop("warnings")  # of so short a run
    assert not any("units" in text or "converted" in text for text in remarks)
    other_units(tmp_path / "study")
    shown = " ".join(invoke("run", study, "-o", tmp_path / "b", *RUN).split())
    found = json.loads((tmp_path / "b" / "summary.json").read_text())
    folder = tmp_path / "study"
    warnings = [
        f"{folder}/initial.nc: air_temperature_0 was converted from mK to K",
        f"{folder}/initial.nc: skin was converted from degF to K",
        f"{folder}/forcing.nc: ocean_fraction was converted from % to 1",
        f"{folder}/forcing.nc: sunlight was converted from kW m-2 to W m-2",
        f"{folder}/forcing.nc: skin was converted from degrees C to K",
        f"{folder}/forcing.nc: land_fraction was converted from percent to 1",
    ]
    assert sorted(found.pop("warnings")) == sorted(warnings + remarks)
    for warning in warnings:
        assert shown.count(f"warning: {warning}") == 2  # at once, and below the table
    assert found.keys() == expected.keys()
    known = {key: value for key, value in expected.items() if isinstance(value, float)}
    assert {key: found[key] for key in known} == pytest.approx(known, rel=1e-4, abs=1e-4)


def test_files_of_another_quantity_are_refused_before_the_first_step(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    path = tmp_path / "study" / "forcing.nc"
    with xr.open_dataset(path, decode_times=False) as opened:
        record = opened.load()
    record["sunlight"].attrs["units"] = "J m-2"
    record.to_netcdf(tmp_path / "wrong.nc")
    line = refused("run", study, "-o", tmp_path / "out", "--forcing", tmp_path / "wrong.nc")
    assert "sunlight is in J m-2, the emulator wants W m-2; it is a sum over time" in line
    assert not (tmp_path / "out").exists()


def test_a_reference_in_other_units_is_looked_at_before_the_first_step(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    zeros = np.zeros(studies.GRID.shape)
    reference = xr.Dataset(
        {"skin": (("lat", "lon"), zeros, {"units": "Pa"})},
        {"lat": studies.GRID.latitude, "lon": studies.GRID.longitude},
    )
    reference.to_netcdf(tmp_path / "known.nc")
    options = ("--reference", tmp_path / "known.nc")
    line = refused("run", study, "-o", tmp_path / "out", *RUN, *options)
    assert f"{tmp_path}/known.nc: skin is in Pa, the run's response is in K" in line
    assert not (tmp_path / "out").exists()
    reference["skin"].attrs["units"] = "mK"
    reference.to_netcdf(tmp_path / "milli.nc")
    _finished(study, tmp_path / "out", "--reference", tmp_path / "milli.nc")
    assert f"{tmp_path}/milli.nc: skin was converted from mK to K" in told(tmp_path / "out")


def test_all_files_may_lie_behind_urls(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    study = studies.write_study(tmp_path / "study")
    coords = {"lat": studies.GRID.latitude, "lon": studies.GRID.longitude}
    change = xr.DataArray(
        np.full(studies.GRID.shape, 2.0), coords, ("lat", "lon"), attrs={"units": "K"}
    )
    xr.Dataset({"skin": change}).to_netcdf(tmp_path / "study" / "known.nc")

    def numbers(out: Path, folder: str) -> object:
        options = (
            "--forcing",
            f"{folder}/forcing.nc",
            "--initial-condition",
            f"{folder}/initial.nc",
        )
        pattern = ("--perturb", f"p=pattern:{folder}/known.nc,variable=skin")
        _finished(study, out, *options, *pattern, "--reference", f"{folder}/known.nc")
        return json.loads((out / "summary.json").read_text())

    expected = numbers(tmp_path / "a", f"{tmp_path}/study")
    assert numbers(tmp_path / "b", f"file://{tmp_path}/study") == expected
    assert "p/reference/within_noise/ocean/skin" in json.dumps(expected)
    gone = f"file://{tmp_path}/study/gone.nc"
    assert f"{gone}: no such file" in refused(
        "run", study, "-o", tmp_path / "c", "--reference", gone
    )
