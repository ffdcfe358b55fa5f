"""What is told of how far a run's numbers can be trusted: of its samples, its length and its ocean."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

from respeval.analysis.remarks import remarks
from respeval.diagnostics import diagnose
from tests.support.means import SETTINGS, run_of

UNIFORM = dataclasses.replace(SETTINGS, amplitudes_K={"p2K": 2.0, "p4K": 4.0})


def told(zonal: xr.Dataset) -> list[str]:
    return remarks(zonal, diagnose(zonal, UNIFORM), UNIFORM)


def starting(zonal: xr.Dataset, *dates: str) -> xr.Dataset:
    return zonal.assign(start_date=("sample", [f"{date} 00:00:00" for date in dates]))


@pytest.mark.parametrize("num_times", [24, 60])
def test_a_run_of_whole_years_and_samples_of_their_own_has_no_remark(num_times: int) -> None:
    assert told(run_of(num_times, 3)) == []
    same = starting(run_of(num_times, 3), *["2001-01-01"] * 3)
    assert told(same) == []


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([0, 0, 0, 0], "4 samples have become one; counted as 1"),
        ([0, 1, 1, 0], "4 samples have become 2; counted as 2"),
    ],
)
def test_samples_that_have_become_one_are_told(samples: list[int], expected: str) -> None:
    assert told(run_of(36, 2).isel(sample=samples)) == [expected]


@pytest.mark.parametrize(
    ("num_times", "expected"),
    [
        (3, "shorter than a year (90 days)"),
        (11, "shorter than a year (334 days)"),
        (17, "not of whole years (1.41)"),
        (23, "not of whole years (1.91)"),
    ],
)
def test_a_length_that_is_not_of_whole_years_is_told(num_times: int, expected: str) -> None:
    first, *others = told(run_of(num_times, 3))
    assert expected in first
    # A year and a half, or less than two, is one unit of every sample.
    assert [text.split(":")[0] for text in others] == (
        ["intervals are from samples of one year"] if 12 < num_times < 23 else []
    )


def test_one_year_of_several_samples_is_told() -> None:
    (text,) = told(run_of(12, 3))
    assert text.startswith("intervals are from samples of one year")
    assert told(run_of(12, 1)) == []  # no interval


def test_samples_of_different_dates_are_told() -> None:
    (text,) = told(starting(run_of(24, 3), "2001-01-01", "2001-04-01", "2000-10-01"))
    assert text.startswith("samples start on different dates (2000-10-01 to 2001-04-01)")


@pytest.mark.parametrize(
    ("share", "expected"), [(-0.1, "against it"), (0.2, "less than a third"), (0.5, None)]
)
def test_air_over_ocean_that_does_not_follow_the_sst_is_told(
    share: float, expected: str | None
) -> None:
    zonal = run_of(60, 3)
    zonal["count"].values[:] = 4.0
    baseline = zonal["t_low"].isel(group=0, drop=True)
    amplitude = xr.DataArray([0.0, 2.0, 4.0], dims="group")
    moved = baseline + amplitude * xr.where(zonal["surface"] == "ocean", share, 1.0)
    zonal["t_low"] = moved.transpose(*zonal["t_low"].dims).assign_attrs(zonal["t_low"].attrs)
    found = told(zonal)
    if expected is None:
        assert found == []
        return
    assert [text.split(":")[0] for text in found] == ["p2K", "p4K"]
    assert all(expected in text for text in found)
    assert f"changes by {4 * share:+.2g} K where the prescribed SST changes by +4 K" in found[1]
    of_patches = remarks(zonal, diagnose(zonal, SETTINGS), SETTINGS)
    assert of_patches == []  # no surface temperature to hold it against


def test_a_patchs_sst_is_the_surface_temperatures_own() -> None:
    """Where the SST is not changed alike, its mean over ocean counts, and an interval must tell."""
    zonal = run_of(60, 3)
    ts = zonal["t_low"].copy()
    zonal["ts"] = ts.assign_attrs(standard_name="surface_temperature", units="K")
    zonal["t_low"] = (
        zonal["t_low"]
        .isel(group=[0, 0, 0])
        .drop_vars("group")
        .assign_coords(group=zonal["group"])
        .assign_attrs(zonal["t_low"].attrs)
    )
    noise = np.random.default_rng(0).normal(0.0, 1e-2, zonal["count"].shape)
    zonal["t_low"] = zonal["t_low"] + zonal["count"].copy(data=noise)
    found = remarks(zonal, diagnose(zonal, SETTINGS), SETTINGS)
    assert [text.split(":")[0] for text in found] == ["p2K", "p4K"]
    zonal["t_low"] = zonal["t_low"] + zonal["count"].copy(data=3000.0 * noise)
    assert remarks(zonal, diagnose(zonal, SETTINGS), SETTINGS) == []  # it can't be told
