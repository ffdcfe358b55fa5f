"""Where files may lie and what their times may be called: each gives the same fields."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.errors import InputError
from respeval.fields.locations import is_remote, sizes_at, stored_at
from respeval.fields.records import open_record, read_pattern
from tests.support import studies
from tests.support.inputs import open_forcing


@pytest.fixture
def record() -> xr.Dataset:
    return studies.forcing(num_times=30)


@pytest.fixture
def whole(tmp_path: Path, record: xr.Dataset) -> torch.Tensor:
    record.to_netcdf(tmp_path / "whole.nc")
    return fields(tmp_path / "whole.nc")


def fields(location: Path | str) -> torch.Tensor:
    return open_forcing(location, 29).read(0, 29, [0], torch.float64).fields


def parts(record: xr.Dataset) -> list[xr.Dataset]:
    return [record.isel(time=slice(first, first + 10)) for first in (0, 10, 20)]


def test_folders_globs_and_endings(
    tmp_path: Path, record: xr.Dataset, whole: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for year, part in zip((1, 2, 3), parts(record), strict=True):
        (home / "deep" / str(year)).mkdir(parents=True)
        part.to_netcdf(home / "deep" / str(year) / "part.nc4")
        (home / "flat").mkdir(exist_ok=True)
        part.to_netcdf(home / "flat" / f"{year}.nc4")
        part.to_zarr(home / "stores" / f"{year}.zarr")
    (home / "flat" / "notes.txt").write_text("no data")
    for location in (
        home / "flat",
        f"{home}/flat/*.nc4",
        "~/flat",
        "~/flat/*.nc4",
        f"{home}/deep/**/*.nc4",
        f"{home}/deep/**",
        home / "stores",
        f"{home}/stores/*.zarr",
        f"{home}/stores/**",
    ):
        assert torch.equal(fields(location), whole), location
    assert list(sizes_at(f"{home}/deep/**/*.nc4")) == ["1/part.nc4", "2/part.nc4", "3/part.nc4"]
    assert sizes_at(f"{home}/stores") == {f"{year}.zarr": None for year in (1, 2, 3)}


def test_valid_time_is_the_time(tmp_path: Path, record: xr.Dataset, whole: torch.Tensor) -> None:
    record.rename(time="valid_time").to_netcdf(tmp_path / "valid.nc")
    assert torch.equal(fields(tmp_path / "valid.nc"), whole)
    began = record.rename(time="valid_time").assign_coords(time=0.0)
    began["time"].attrs = {"units": "days since 1990-01-01", "calendar": "noleap"}
    began.to_netcdf(tmp_path / "forecast.nc")
    assert torch.equal(fields(tmp_path / "forecast.nc"), whole)


def test_a_scalar_time_of_a_pattern_does_not_matter(tmp_path: Path) -> None:
    pattern = xr.Dataset(
        {"tos": (("lat", "lon"), np.full(studies.GRID.shape, 2.0), {"units": "K"})},
        {"lat": studies.GRID.latitude, "lon": studies.GRID.longitude},
    )
    for name, time in (("number", 3.0), ("text", "2014"), ("wrong", float("nan"))):
        pattern.assign_coords(time=time).to_netcdf(tmp_path / f"{name}.nc")
        assert (read_pattern(str(tmp_path / f"{name}.nc"), "tos", studies.GRID) == 2.0).all()


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing.nc: no such file or zarr store"):
        open_record(str(tmp_path / "nothing.nc"))
    with pytest.raises(InputError, match="no such file or zarr store"):
        open_record(str(tmp_path / "**" / "*.nc4"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no netCDF files"):
        open_record(str(tmp_path / "empty"))


def test_far_away_through_fsspec(record: xr.Dataset, whole: torch.Tensor, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    try:
        record.to_zarr("memory://bucket/forcing.zarr")
        for year, part in zip((1, 2, 3), parts(record), strict=True):
            part.to_netcdf(tmp_path / "part.nc")
            memory.put_file(str(tmp_path / "part.nc"), f"/bucket/files/{year}.nc")
        assert torch.equal(fields("memory://bucket/forcing.zarr"), whole)
        assert torch.equal(fields("memory://bucket/files/*.nc"), whole)
        assert len(stored_at("memory://bucket/files/*.nc")) == 3
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("location", "package"),
    [("s3://bucket/forcing.zarr", "s3fs"), ("gs://bucket/x.nc", "gcsfs"), ("az://b/x.nc", "adlfs")],
)
def test_what_can_not_be_reached_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, location: str, package: str
) -> None:
    assert is_remote(location)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError) as info:
        open_record(location)
    line = str(info.value)
    assert line.startswith(location)
    assert package in line
    assert "install" in line
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match="fsspec"):
        open_record(location)
