"""Forcing from real files: layouts, windows, repeated years, and each refusal in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pytest
import torch
import xarray as xr

from respeval.distributed.comm import Comm
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.initial import read_initial_conditions
from respeval.fields.records import open_record, read_pattern
from respeval.fields.variables import DerivedForcing
from tests.support import studies
from tests.support.inputs import kelvin, open_forcing, start_dates, write
from tests.support.studies import GRID


def test_windows_join_to_the_whole_record(tmp_path: Path) -> None:
    path = write(tmp_path, studies.forcing())
    source = open_forcing(path, 50)
    whole = source.read(0, 50, [0], torch.float32)
    assert whole.fields.shape == (51, 3, *GRID.shape)
    expected = studies.forcing()["skin"].values[:51].astype(np.float32)
    assert (whole.fields[:, 2].numpy() == expected).all()
    seen = []
    for window in source.windows(0, 50, [0], 7, torch.float32, Comm()):
        now = window.fields[window.index[0, :-1]]
        following = window.fields[window.index[0, 1:]]
        first = window.first_step
        assert torch.equal(now, whole.fields[first : first + window.num_steps])
        assert torch.equal(following, whole.fields[first + 1 : first + window.num_steps + 1])
        seen += range(first, first + window.num_steps)
    assert seen == list(range(50))


def test_samples_with_other_dates_read_their_own_times(tmp_path: Path) -> None:
    path = write(tmp_path, studies.forcing())
    source = open_forcing(path, 20, starts=start_dates(0, 11, 3))
    window = source.read(4, 3, [1, 2], torch.float64)
    skin = studies.forcing()["skin"].values
    got = window.fields[window.index[0], 2].numpy()
    assert (got == skin[[15, 16, 17, 18]]).all()
    assert (window.fields[window.index[1], 2].numpy() == skin[[7, 8, 9, 10]]).all()


def test_globs_zarr_and_other_orientation_give_the_same_fields(tmp_path: Path) -> None:
    dataset = studies.forcing()
    plain = open_forcing(write(tmp_path, dataset)).read(0, 20, [0], torch.float64).fields
    (tmp_path / "parts").mkdir()
    for i in range(3):
        part = dataset.isel(time=slice(10 * i, 10 * i + 10))
        shifted = part.assign_coords(
            time=("time", part["time"].values - 5.0 * i, {"calendar": "noleap"})
        )
        shifted["time"].attrs["units"] = f"days since 2001-01-{1 + 5 * i:02d}"
        shifted.to_netcdf(tmp_path / "parts" / f"part{2 - i}.nc")
    dataset.to_zarr(tmp_path / "forcing.zarr")
    turned = tmp_path / "turned.nc"
    renamed = dataset.isel(lat=slice(None, None, -1)).rename(lat="grid_yt", lon="grid_xt")
    renamed.transpose("grid_xt", "time", "grid_yt").to_netcdf(turned)
    (tmp_path / "parts" / "notes.txt").write_text("no netCDF")
    parts = tmp_path / "parts"
    for location in (parts / "*.nc", parts, tmp_path / "forcing.zarr", turned):
        assert torch.equal(open_forcing(location).read(0, 20, [0], torch.float64).fields, plain)


def test_yearly_files_in_the_layout_of_fme_are_read_as_a_folder(tmp_path: Path) -> None:
    """Scalars of the vertical coordinate and fields without time stand in every file."""
    dataset = studies.forcing(num_times=20, start="2001-12-20", calendar="julian")
    steady = {"ak_0": 1.0, "bk_0": 0.5, "ocean_fraction": dataset["ocean_fraction"]}
    for year, rows in (("2001", slice(0, 12)), ("2002", slice(12, None))):
        part = dataset.drop_vars("ocean_fraction").isel(time=rows).assign(steady)
        dates = xr.decode_cf(part).convert_calendar("julian", use_cftime=True)
        dates.to_netcdf(tmp_path / f"{year}.nc", unlimited_dims=["time"])
    record = open_record(str(tmp_path))
    assert record.attrs["calendar"] == "julian"
    assert record["ak_0"].dims == ()
    assert float(record["bk_0"]) == 0.5
    starts = [cftime.datetime(2001, 12, 25, calendar="julian")]
    found = open_forcing(tmp_path, 10, starts=starts).read(0, 10, [0], torch.float64)
    expected = dataset["skin"].values[5:16]
    np.testing.assert_allclose(found.fields[:, 2].numpy(), expected, rtol=1e-6)


def test_a_derived_forcing_is_computed_from_dates_and_what_it_needs(tmp_path: Path) -> None:
    """The file need not hold it, but must hold what it needs; a series in time is spread over cells."""
    record = studies.forcing(num_times=20).drop_vars("sunlight")
    record["constant"] = ("time", 1000.0 + np.arange(20.0))
    path = write(tmp_path, record)

    def compute(dates: Any, fields: Any) -> Any:
        day = np.array([date.dayofyr for date in dates], dtype=np.float64)
        return fields["constant"] * day[:, None, None]

    derived = [DerivedForcing("sunlight", ("constant",), compute)]
    source = open_forcing(path, 5, derived=derived, starts=start_dates(3))
    fields = source.read(1, 4, [0], torch.float64).fields
    expected = np.array([(1000.0 + 3 + k) * (4 + k) for k in range(1, 6)])
    assert fields.shape == (5, 3, *GRID.shape)
    np.testing.assert_array_equal(
        fields[:, 1].numpy(), expected[:, None, None] + np.zeros(GRID.shape)
    )
    np.testing.assert_array_equal(fields[:, 2].numpy(), record["skin"].values[4:9])
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="has no 'constant'"):
        open_forcing(write(other, studies.forcing(num_times=20)), 5, derived=derived)


def test_a_year_can_be_repeated(tmp_path: Path) -> None:
    path = write(tmp_path, studies.forcing(num_times=365))
    source = open_forcing(path, 365 * 3, starts=start_dates(10), repeat_year=True)
    once = source.read(0, 300, [0], torch.float64)
    later = source.read(2 * 365, 300, [0], torch.float64)
    assert torch.equal(once.fields[once.index[0]], later.fields[later.index[0]])


def test_a_repeated_year_gives_29_february_the_28ths_forcing(tmp_path: Path) -> None:
    dataset = studies.forcing(num_times=365, calendar="standard")
    start = [cftime.datetime(2004, 2, 27, calendar="standard")]
    source = open_forcing(write(tmp_path, dataset), 3, starts=start, repeat_year=True)
    window = source.read(0, 3, [0], torch.float64)
    skin = dataset["skin"].values
    assert (window.fields[window.index[0], 2].numpy() == skin[[57, 58, 58, 59]]).all()


def test_masks_are_means_over_at_most_400_times(tmp_path: Path) -> None:
    dataset = studies.forcing(num_times=801)
    moving = np.broadcast_to(np.arange(801.0)[:, None, None] / 800, (801, *GRID.shape))
    dataset["ocean_fraction"] = (("time", "lat", "lon"), moving)
    source = open_forcing(write(tmp_path, dataset), 800)
    mean = source.mean_fraction("ocean_fraction")
    assert mean is not None
    assert mean == pytest.approx(0.5, abs=2e-3)
    assert source.mean_fraction("no_such_fraction") is None


def test_sst_may_be_missing_over_land_only(tmp_path: Path) -> None:
    dataset = studies.forcing()
    ocean = dataset["ocean_fraction"] > 0.5
    masked = dataset.assign(skin=dataset["skin"].where(ocean))
    fields = open_forcing(write(tmp_path, masked)).read(0, 5, [0], torch.float64).fields
    assert fields[:, 2].isnan().any()
    with pytest.raises(InputError, match="skin is missing at 2001-01-01"):
        open_forcing(tmp_path / "forcing.nc", ocean_only=None).read(0, 5, [0], torch.float64)


def _with_gap(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(time=[*range(8), *range(9, 60)])


def _with_missing_sst(dataset: xr.Dataset) -> xr.Dataset:
    skin = dataset["skin"].values.copy()
    skin[7, 2, 3] = np.nan
    return dataset.assign(skin=(("time", "lat", "lon"), skin))


def _backwards(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(time=slice(None, None, -1))


def _offset(dataset: xr.Dataset) -> xr.Dataset:
    time = dataset["time"]
    return dataset.assign_coords(time=("time", time.values - 0.5, time.attrs))


REFUSALS: list[tuple[str, Callable[[xr.Dataset], xr.Dataset], str]] = [
    (
        "no ocean fraction",
        lambda d: d.drop_vars("ocean_fraction"),
        r"has no 'ocean_fraction' \(it has: .*skin.*\); name it with roles.ocean_fraction",
    ),
    ("no sunlight", lambda d: d.drop_vars("sunlight"), r"has no 'sunlight' \(it has: [^)]*\)$"),
    (
        "too short",
        lambda d: d.isel(time=slice(0, 20)),
        "too short: the run reads 2001-01-01 00:00:00 to 2001-01-21 .* its end\\), the record has "
        "2001-01-01 00:00:00 to 2001-01-20 .*repeat: year",
    ),
    ("starts later", lambda d: d.isel(time=slice(1, 60)), "too short"),
    ("gap", _with_gap, "has a gap: no times between 2001-01-08 .* and 2001-01-10"),
    ("other step", lambda d: d.isel(time=slice(0, 80, 2)), "time step .*: 48 h instead of 24 h"),
    ("other hour", _offset, "has no value at 2001-01-01"),
    ("backwards", _backwards, "time does not rise after"),
    (
        "other grid",
        lambda d: d.isel(lon=slice(0, 16, 2)),
        "another grid than the emulator's 8 x 16 .*: 8 x 8 cells instead of 8 x 16",
    ),
    ("no longitude", lambda d: d.isel(lon=0), "has no lon dimension"),
    ("missing SST", _with_missing_sst, "skin is missing over ocean at 2001-01-08 .*latitude .*lon"),
    (
        "levels",
        lambda d: d.assign(sunlight=d["sunlight"].expand_dims(z=2)),
        r"sunlight has dimensions .*expected \(time, lat, lon\)",
    ),
    (
        "another quantity",
        lambda d: d.assign(skin=d["skin"].assign_attrs(units="Pa")),
        "skin is in Pa, the emulator wants K; convert it, or mend its units",
    ),
    ("no times", lambda d: d.isel(time=slice(0, 0)), "has 0 times"),
    ("text", lambda d: d.assign(sunlight=d["sunlight"].astype(str)), "sunlight holds no numbers"),
    ("no time units", lambda d: d.assign_coords(time=d["time"].values), "time has no units"),
    (
        "unknown calendar",
        lambda d: d.assign_coords(
            time=("time", d["time"].values, {**d["time"].attrs, "calendar": "martian"})
        ),
        "unknown calendar 'martian'",
    ),
]


@pytest.mark.parametrize(
    ("change", "message"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
def test_what_a_run_can_not_use_is_refused(
    tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    path = write(tmp_path, change(studies.forcing(num_times=60)))
    with pytest.raises(InputError, match=message) as refused:
        open_forcing(path).read(0, 20, [0], torch.float64)
    assert "\n" not in str(refused.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_record(str(tmp_path / "nothing.nc"))
    with pytest.raises(InputError, match="no such file"):
        open_record(str(tmp_path / "*.nc"))
    with pytest.raises(InputError, match="no such file"):
        open_record(str(tmp_path / "nothing.zarr"))
    with pytest.raises(InputError, match="holds no netCDF files .* and is no zarr store"):
        open_record(str(tmp_path))
    broken = tmp_path / "broken.nc"
    broken.write_bytes(b"CDF\x01 and no more")
    with pytest.raises(InputError, match="can't be read as netCDF or zarr"):
        open_record(str(broken))


def test_initial_conditions_are_chosen_by_date(tmp_path: Path) -> None:
    path = tmp_path / "initial.nc"
    studies.initial(days=(0, 7, 9)).to_netcdf(path)
    names = kelvin("skin", "air_temperature_0")
    every = read_initial_conditions(str(path), names, GRID)
    assert every.state.shape == (3, 2, *GRID.shape)
    assert [date.day for date in every.dates] == [1, 8, 10]
    picked = read_initial_conditions(str(path), names, GRID, ["2001-01-10", "2001-01-01"])
    assert (picked.state == every.state[[2, 0]]).all()
    with pytest.raises(
        InputError, match=re.escape("at 2001-02-01 (it has: 2001-01-01 00:00:00, 2001-01-08")
    ):
        read_initial_conditions(str(path), names, GRID, ["2001-02-01"])
    with pytest.raises(InputError, match="start names 2001-01-10 twice"):
        read_initial_conditions(str(path), names, GRID, ["2001-01-10", "2001-01-10"])
    with pytest.raises(InputError, match="is no date"):
        read_initial_conditions(str(path), names, GRID, ["tomorrow"])


def test_initial_conditions_along_time_and_a_single_one(tmp_path: Path) -> None:
    dataset = studies.initial(days=(0, 7))
    along = dataset.swap_dims(sample="time")
    along.to_netcdf(tmp_path / "along.nc")
    got = read_initial_conditions(str(tmp_path / "along.nc"), kelvin("skin"), GRID)
    assert (got.state[:, 0] == dataset["skin"].values).all()
    dataset.isel(sample=1).to_netcdf(tmp_path / "single.nc")
    single = read_initial_conditions(str(tmp_path / "single.nc"), kelvin("skin"), GRID)
    assert (single.state[0, 0] == dataset["skin"].values[1]).all()
    assert single.dates[0].day == 8


def test_initial_conditions_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "initial.nc"
    dataset = studies.initial()
    dataset["skin"][1, 2, 3] = np.nan
    dataset.to_netcdf(path)
    with pytest.raises(InputError, match="skin has missing values"):
        read_initial_conditions(str(path), kelvin("skin"), GRID)
    with pytest.raises(InputError, match="has no 'wind'"):
        read_initial_conditions(str(path), kelvin("wind"), GRID)
    with pytest.raises(InputError, match="another grid"):
        read_initial_conditions(str(path), kelvin("air_temperature_0"), Grid.legendre_gauss(8, 18))
    dataset.drop_vars("time").to_netcdf(tmp_path / "timeless.nc")
    with pytest.raises(InputError, match="has no time"):
        read_initial_conditions(str(tmp_path / "timeless.nc"), kelvin("air_temperature_0"), GRID)


def test_patterns_are_read_on_the_emulators_grid(tmp_path: Path) -> None:
    path = tmp_path / "pattern.nc"
    anomaly = studies.forcing().isel(time=3)[["skin"]] - 290.0
    anomaly.isel(lat=slice(None, None, -1)).to_netcdf(path)
    got = read_pattern(str(path), "skin", GRID)
    assert (got == anomaly["skin"].values).all()
    with pytest.raises(InputError, match="has no 'tos'"):
        read_pattern(str(path), "tos", GRID)
    with pytest.raises(InputError, match="another grid"):
        read_pattern(str(path), "skin", Grid.legendre_gauss(16, 32))
