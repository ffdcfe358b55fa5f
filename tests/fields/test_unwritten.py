"""Records that nobody wrote are missing, whether their file says so or not."""

from __future__ import annotations

import re
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

from respeval.errors import InputError
from respeval.fields.initial import read_initial_conditions
from respeval.fields.notices import Notices
from respeval.fields.records import open_record, read_pattern
from tests.support import studies
from tests.support.inputs import kelvin, open_forcing, write


def unwritten(path: Path, name: str, rows: slice, stored: str | None = None) -> Path:
    """Write the forcing with records of a variable left out, and no `_FillValue` anywhere."""
    record = studies.forcing()
    encoding = {v: {"_FillValue": None} for v in record.variables}
    left = record.drop_vars(name) if name in record else record
    left.to_netcdf(path, encoding={v: encoding[v] for v in left.variables})
    values = record[name].values
    with netCDF4.Dataset(path, "a") as file:
        variable = file.createVariable(name, stored or "f4", record[name].dims)
        if stored is not None:
            variable.scale_factor, variable.add_offset = 0.01, 273.15
        for row in range(len(values)):
            if row not in range(*rows.indices(len(values))):
                variable[row] = values[row]
    return path


@pytest.mark.parametrize("stored", [None, "i2", "f8"])
def test_records_of_a_forcing_that_nobody_wrote_are_named(
    tmp_path: Path, stored: str | None
) -> None:
    path = unwritten(tmp_path / "f.nc", "sunlight", slice(20, 25), stored)
    source = open_forcing(path, 40)
    source.read(0, 19, [0], torch.float64)
    with pytest.raises(InputError, match=r"sunlight is missing at 2001-01-21 00:00:00"):
        source.read(19, 10, [0], torch.float64)


def test_bytes_may_be_whatever_they_are(tmp_path: Path) -> None:
    record = studies.forcing()
    record["mask"] = (("lat", "lon"), np.full(studies.GRID.shape, -127, np.int8))
    record.to_netcdf(tmp_path / "f.nc", encoding={"mask": {"_FillValue": None}})
    assert (open_record(str(tmp_path / "f.nc"))["mask"].values == -127).all()


def test_states_and_patterns_that_nobody_wrote_are_named(tmp_path: Path) -> None:
    state = studies.initial(days=(0, 1))
    fill = float(np.float32(netCDF4.default_fillvals["f4"]))
    values = state["skin"].values.astype(np.float32)
    values[1] = fill
    state["skin"] = (state["skin"].dims, values)
    state.to_netcdf(tmp_path / "initial.nc", encoding={"skin": {"_FillValue": None}})
    with pytest.raises(InputError, match="skin has missing values"):
        read_initial_conditions(str(tmp_path / "initial.nc"), kelvin("skin"), studies.GRID)
    pattern = xr.Dataset(
        {"dsst": (("lat", "lon"), np.full(studies.GRID.shape, fill, np.float32))},
        {"lat": studies.GRID.latitude, "lon": studies.GRID.longitude},
    )
    pattern.to_netcdf(tmp_path / "pattern.nc", encoding={"dsst": {"_FillValue": None}})
    assert np.isnan(read_pattern(str(tmp_path / "pattern.nc"), "dsst", studies.GRID)).all()


def test_declared_values_are_left_to_the_file(tmp_path: Path) -> None:
    """A file that says what is missing means everything else."""
    record = studies.forcing()
    values = record["skin"].values.copy()
    values[3] = netCDF4.default_fillvals["f8"]
    record["skin"] = (record["skin"].dims, values)
    record.to_netcdf(tmp_path / "f.nc", encoding={"skin": {"_FillValue": -999.0}})
    assert (open_record(str(tmp_path / "f.nc"))["skin"].values[3] > 1e36).all()


def test_chunks_of_a_store_that_are_not_there_are_told(tmp_path: Path) -> None:
    record = studies.forcing().chunk(time=10)
    whole = tmp_path / "whole.zarr"
    record.to_zarr(whole)
    notices = Notices()
    open_record(str(whole), notices)
    assert notices.texts == ()
    lacking = tmp_path / "lacking.zarr"
    encoding = {name: {"_FillValue": None} for name in record.data_vars}
    record.to_zarr(lacking, encoding=encoding)
    for metadata in lacking.rglob("zarr.json"):
        text = re.sub(r'"fill_value":\s*"NaN"', '"fill_value": 0.0', metadata.read_text())
        metadata.write_text(text)
    chunks = [p for p in lacking.rglob("*") if "sunlight" in p.parts and p.is_file()]
    chunks = [p for p in chunks if p.name[0].isdigit() or "c" in p.parts]
    assert len(chunks) == 10
    for path in sorted(chunks)[:2]:
        path.unlink()
    open_record(str(lacking), notices)
    assert notices.texts == (
        f"{lacking}: 2 of 10 chunks of sunlight are not there and read as 0.0, which the store does not "
        "declare missing (_FillValue)",
    )


def test_what_is_whole_reads_as_before(tmp_path: Path) -> None:
    path = write(tmp_path, studies.forcing())
    with xr.open_dataset(path, decode_times=False) as plain:
        opened = open_record(str(path))
        for name in plain.data_vars:
            assert opened[name].dtype == plain[name].dtype
            assert (opened[name].values == plain[name].values).all()
