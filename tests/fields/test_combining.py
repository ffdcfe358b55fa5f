"""Several files are one record where they fit together; else the files that don't are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.errors import InputError
from respeval.fields.notices import Notices
from respeval.fields.ranges import RangeCheck, usual
from respeval.fields.records import open_record
from tests.support import studies
from tests.support.inputs import open_forcing


def halves(folder: Path, at: int = 15) -> tuple[xr.Dataset, xr.Dataset]:
    folder.mkdir(exist_ok=True)
    record = studies.forcing(num_times=30)
    return record.isel(time=slice(0, at)), record.isel(time=slice(at, None)).copy(deep=True)


def fields(location: Path) -> torch.Tensor:
    return open_forcing(location, 29).read(0, 29, [0], torch.float64).fields


@pytest.fixture
def whole(tmp_path: Path) -> torch.Tensor:
    studies.forcing(num_times=30).to_netcdf(tmp_path / "whole.nc")
    return fields(tmp_path / "whole.nc")


@pytest.mark.parametrize("how", ["1e-9", "float32", "turned", "rolled", "minus 180"])
def test_coordinates_that_are_the_same_but_for_rounding_and_order_join(
    tmp_path: Path, whole: torch.Tensor, how: str
) -> None:
    folder = tmp_path / "parts"
    first, second = halves(folder)
    if how == "1e-9":
        second = second.assign_coords(lat=second["lat"] + 1e-9, lon=second["lon"] - 1e-9)
    elif how == "float32":
        second = second.assign_coords(
            lat=second["lat"].astype("f4"), lon=second["lon"].astype("f4")
        )
    elif how == "turned":
        second = second.isel(lat=slice(None, None, -1))
    else:
        second = second.roll(lon=5, roll_coords=True)
        if how == "minus 180":
            second = second.assign_coords(lon=(second["lon"] + 180) % 360 - 180).sortby("lon")
    first.to_netcdf(folder / "a.nc")
    second.to_netcdf(folder / "b.nc")
    assert torch.equal(fields(folder), whole)


def test_another_grid_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    first, second = halves(folder)
    first.to_netcdf(folder / "a.nc")
    second.assign_coords(lat=second["lat"] + 0.5).to_netcdf(folder / "b.nc")
    with pytest.raises(
        InputError, match=r"b.nc is on another grid than .*a.nc: lat differs by up to 0.5"
    ):
        open_record(str(folder))
    second.isel(lon=slice(0, 8)).to_netcdf(folder / "b.nc")
    with pytest.raises(InputError, match=r"b.nc is on another grid than .*a.nc: 8 instead of 16"):
        open_record(str(folder))


def test_a_variable_that_one_file_lacks_is_named_with_the_file_where_it_is_wanted(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "parts"
    first, second = halves(folder)
    first.to_netcdf(folder / "a.nc")
    second.drop_vars("sunlight").to_netcdf(folder / "b.nc")
    with pytest.raises(InputError, match=r"b.nc has no 'sunlight', which .*a.nc has"):
        fields(folder)
    names = ("ocean_fraction", "skin")  # nobody wants it: it may lack
    found = open_forcing(folder, 29, names=names).read(0, 29, [0], torch.float64).fields
    np.testing.assert_array_equal(found[:, 1], studies.forcing(num_times=30)["skin"].values)


def test_overlapping_times_name_both_files(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    first, _ = halves(folder)
    _, second = halves(folder, at=12)
    first.to_netcdf(folder / "a.nc")
    second.to_netcdf(folder / "b.nc")
    said = (
        r"a.nc and .*b.nc overlap: the first reaches to 2001-01-15 00:00:00, the second begins at "
        "2001-01-13 00:00:00; leave one out, or cut it"
    )
    with pytest.raises(InputError, match=said):
        open_record(str(folder))


def test_variables_may_be_spread_over_files_and_times(tmp_path: Path, whole: torch.Tensor) -> None:
    folder = tmp_path / "parts"
    for name, part in zip("ab", halves(folder), strict=True):
        part[["skin", "land_fraction"]].to_netcdf(folder / f"sst_{name}.nc")
        part[["sunlight"]].to_netcdf(folder / f"sun_{name}.nc")
    studies.forcing()[["ocean_fraction"]].to_netcdf(folder / "masks.nc")
    assert torch.equal(fields(folder), whole)


def test_standard_and_proleptic_gregorian_are_one_calendar_after_1582(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    for name, part, calendar in zip(
        "ab", halves(folder), ("standard", "proleptic_gregorian"), strict=True
    ):
        part["time"].attrs["calendar"] = calendar
        part.to_netcdf(folder / f"{name}.nc")
    record = open_record(str(folder))
    assert record.attrs["calendar"] == "standard"
    assert (np.diff(record["time"].values) == 86_400).all()
    assert record.sizes["time"] == 30
    folder = tmp_path / "others"
    first, second = halves(folder)
    for name, part, calendar in zip("ab", (first, second), ("standard", "noleap"), strict=True):
        part["time"].attrs["calendar"] = calendar
        part.to_netcdf(folder / f"{name}.nc")
    with pytest.raises(InputError, match=r"differ in calendar \(noleap, standard\); .*b.nc"):
        open_record(str(folder))


def test_the_two_calendars_part_before_1582(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    for name, part, calendar in zip(
        "ab", halves(folder), ("standard", "proleptic_gregorian"), strict=True
    ):
        part["time"].attrs |= {"calendar": calendar, "units": "days since 1500-01-01"}
        part.to_netcdf(folder / f"{name}.nc")
    with pytest.raises(InputError, match="differ in calendar"):
        open_record(str(folder))


def test_fields_without_time_that_differ_between_files_are_refused_where_they_are_read(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "parts"
    first, second = halves(folder)
    first.to_netcdf(folder / "a.nc")
    second["land_fraction"] = 1.0 - second["land_fraction"]
    second["ocean_fraction"] = second["ocean_fraction"].astype("f4").assign_attrs(units="1")
    second.to_netcdf(folder / "b.nc")
    source = open_forcing(folder, 29)  # what is the same but for float32 is the same
    with pytest.raises(InputError, match=r"b.nc: land_fraction is another field than in .*a.nc"):
        source.mean_fraction("land_fraction")


def test_a_file_of_one_time_is_one_time_and_masks_with_a_time_are_masks(
    tmp_path: Path, whole: torch.Tensor
) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    record = studies.forcing(num_times=30)
    along = record[["skin", "sunlight"]]
    along.isel(time=slice(0, 29)).to_netcdf(folder / "a.nc")
    along.isel(time=29).to_netcdf(folder / "b.nc")
    masks = record[["ocean_fraction", "land_fraction"]].assign_coords(time=record["time"][3])
    masks.to_netcdf(folder / "masks.nc")
    assert torch.equal(fields(folder), whole)


def test_what_is_wrong_in_one_of_several_files_names_that_file(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    first, second = halves(folder)
    first.to_netcdf(folder / "a.nc")
    values = second["sunlight"].values.copy()
    values[2, 1, 1] = np.nan
    second["sunlight"] = (second["sunlight"].dims, values)
    second.to_netcdf(folder / "b.nc")
    with pytest.raises(InputError, match=r"parts/b.nc: sunlight is missing at 2001-01-18"):
        fields(folder)
    values[2, 1, 1] = -1e20
    second["sunlight"] = (second["sunlight"].dims, values)
    second.to_netcdf(folder / "c.nc")
    (folder / "b.nc").unlink()
    ranges = RangeCheck({"sunlight": usual("sunlight", "W m-2")}, Notices())
    source = open_forcing(folder, 29, ranges=ranges)
    with pytest.raises(InputError, match=r"parts/c.nc: sunlight can't be right at 2001-01-18"):
        source.read(0, 29, [0], torch.float64)
