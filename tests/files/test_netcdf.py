"""Files as a run writes them: xarray's own content, and little of them kept in memory."""

from __future__ import annotations

import threading
from pathlib import Path

import cftime
import netCDF4
import numpy as np
import pytest
import xarray as xr

from respeval.files.netcdf import NETCDF_LOCK, describe_file, open_saved, write_netcdf


def dataset(lazy: bool) -> xr.Dataset:
    """Numbers of several types, text, dates, a missing value, and a chunk size that is asked for."""
    dates = [cftime.datetime(2001, month, 1, calendar="noleap") for month in (1, 2)]
    field = np.arange(12.0).reshape(2, 2, 3)
    field[0, 0, 0] = np.nan
    made = xr.Dataset(
        {
            "field": (("time", "lat", "lon"), field, {"units": "K", "long_name": "a field"}),
            "mask": (("lat", "lon"), np.eye(2, 3, dtype=np.int8)),
            "count": ((), 3.0),
        },
        {"time": dates, "lat": [10.0, 20.0], "group": ("group", ["baseline", "p4K"])},
        {"title": "a title"},
    )
    made["time"].encoding["chunksizes"] = (512,)
    return made.chunk({"time": 1}) if lazy else made


@pytest.mark.parametrize("lazy", [False, True])
def test_a_file_is_what_xarray_writes(tmp_path: Path, lazy: bool) -> None:
    write_netcdf(dataset(lazy), tmp_path / "own.nc")
    expected = dataset(lazy)
    for name in ("time", "lat"):
        expected[name].encoding["_FillValue"] = None
    expected["group"].encoding["dtype"] = "S1"  # characters, which CDO reads
    expected.to_netcdf(tmp_path / "xarray.nc", engine="netcdf4", unlimited_dims=["time"])
    paths = [tmp_path / name for name in ("own.nc", "xarray.nc")]
    own, plain = (xr.open_dataset(path, decode_cf=False) for path in paths)
    with own, plain:
        assert own.identical(plain)
        assert own.encoding["unlimited_dims"] == plain.encoding["unlimited_dims"] == {"time"}
        for name in plain.variables:
            assert own[name].dtype == plain[name].dtype
            chunks = [file[name].encoding.get("chunksizes") for file in (own, plain)]
            assert chunks[0] == chunks[1], name
        assert own["time"].encoding["chunksizes"] == (512,)


def test_a_file_of_a_run_keeps_few_chunks_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one is opened or written; files of others keep what netCDF keeps of them."""
    usual, during = netCDF4.get_chunk_cache(), []
    original = xr.open_dataset

    def opened(*arguments: object, **options: object) -> xr.Dataset:
        during.append(netCDF4.get_chunk_cache()[0])
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(xr, "open_dataset", opened)
    write_netcdf(dataset(lazy=False), tmp_path / "own.nc")
    with open_saved(tmp_path / "own.nc"):
        assert during == [0]
    assert netCDF4.get_chunk_cache() == usual


def test_what_was_derived_needs_its_source_no_more(tmp_path: Path) -> None:
    source = xr.Dataset({"lat_bnds": (("lat", "bnds"), [[-90.0, 0.0], [0.0, 90.0]])})
    write_netcdf(source.assign_coords(lat=[-45.0, 45.0]), tmp_path / "source.nc")
    derived = xr.Dataset(coords={"lat": [-45.0, 45.0]})
    with open_saved(tmp_path / "source.nc") as opened:
        describe_file(derived, opened, "derived")
    (tmp_path / "source.nc").unlink()
    assert derived["lat_bnds"].values.tolist() == [[-90.0, 0.0], [0.0, 90.0]]


def test_a_saved_file_is_opened_and_closed_while_no_other_thread_is_in_netcdf(
    tmp_path: Path,
) -> None:
    write_netcdf(dataset(lazy=False), tmp_path / "own.nc")
    done = []

    def open_and_close() -> None:
        opened = open_saved(tmp_path / "own.nc")
        done.append("opened")
        may_close.wait(10)
        opened.close()
        done.append("closed")

    may_close = threading.Event()
    other = threading.Thread(target=open_and_close)
    with NETCDF_LOCK:
        other.start()
        other.join(0.2)
        assert done == []
    while other.is_alive() and not done:
        other.join(0.01)
    with NETCDF_LOCK:
        may_close.set()
        other.join(0.2)
        assert done == ["opened"]
    other.join(10)
    assert done == ["opened", "closed"]
