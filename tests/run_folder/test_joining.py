"""Older segments become one file a year; no number changes by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import xarray as xr

from respeval.errors import InputError
from respeval.run_folder import joining
from respeval.run_folder.joining import to_merge
from respeval.run_folder.manifest import segment_numbers, verify_folder
from tests.support import studies
from tests.support.studies import run
from tests.support.toy import Interrupted, Toy, plan, stopped, study


def entry(number: int, date: str, spinup: bool = False) -> dict[str, Any]:
    return {"file": f"segments/{number:05d}_{date}.nc", "spinup": spinup}


def months(count: int, num_spinup: int = 0) -> list[dict[str, Any]]:
    """Segments of a run that begins in November."""
    dates = [f"{2000 + (10 + k) // 12}-{(10 + k) % 12 + 1:02d}-01" for k in range(count)]
    return [entry(k + 1, date, k < num_spinup) for k, date in enumerate(dates)]


def test_nothing_is_merged_while_there_are_few() -> None:
    assert to_merge([]) is None
    assert to_merge(months(joining.KEPT_SINGLES)) is None


def test_the_oldest_year_is_merged_first() -> None:
    entries = months(joining.KEPT_SINGLES + 1)
    assert to_merge(entries) == slice(0, 2)
    entries[:2] = [entry(1, "2000-11-01")]
    entries[0]["file"] = "segments/00001-00002_2000-11-01.nc"
    assert to_merge(entries) is None
    entries += months(joining.KEPT_SINGLES + 3)[-2:]
    assert to_merge(entries) == slice(1, 13)


def test_the_end_of_the_spinup_parts_files() -> None:
    assert to_merge(months(joining.KEPT_SINGLES + 1, num_spinup=5)) == slice(0, 2)
    entries = months(joining.KEPT_SINGLES + 3, num_spinup=5)[2:]
    assert to_merge(entries) == slice(0, 3)


def test_a_year_that_goes_on_waits_unless_it_has_very_many() -> None:
    many = [entry(k + 1, "2001-01-01") for k in range(joining.MOST_IN_A_FILE)]
    assert to_merge(many[:-1]) is None
    assert to_merge(many) == slice(0, joining.MOST_IN_A_FILE)


def test_years_of_one_segment_stay_as_they_are() -> None:
    assert to_merge([entry(k + 1, f"{2001 + k}-01-01") for k in range(1000)]) is None


@pytest.mark.parametrize(
    "name",
    ["segments/../00001_2001-01-01.nc", "00001_2001-01-01.nc", "segments/a.nc", "restart/00001.nc"],
)
def test_other_names_are_no_segments(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a segment's file"):
        segment_numbers(name)


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options of a run of 440 days in parts of 12, of which the first ten spin up; few stay single."""
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())
    monkeypatch.setattr(joining, "KEPT_SINGLES", 5)
    folder = study(tmp_path / "study", days=(0, 5))
    studies.forcing(num_times=366).to_netcdf(folder / "forcing.nc")
    options = {"days": 440, "segment": "12 steps", "spinup": "120 days", "repeat": "year"}
    return {"folder": folder, "save_members": True, **options}


def files(out: Path) -> list[str]:
    manifest = json.loads((out / "manifest.json").read_text())
    named = [entry["file"] for entry in manifest["segments"]]
    assert named == [f"segments/{path.name}" for path in sorted((out / "segments").iterdir())]
    return [name.removeprefix("segments/") for name in named]


def test_merged_segments_hold_the_same_numbers(
    long: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr(joining, "KEPT_SINGLES", 100)
        expected = run(plan(emulator=Toy(noise_K=0.5), **long), tmp_path / "single")
    assert len(files(expected)) == 37
    out = run(plan(emulator=Toy(noise_K=0.5), **long), tmp_path / "out")
    merged = files(out)
    assert merged[:3] == [
        "00001-00010_2001-01-01.nc",  # the spin-up
        "00011-00031_2001-05-01.nc",
        "00032_2002-01-08.nc",
    ]
    assert len(merged) == 2 + 6
    verify_folder(out)
    for name in ("group_means.nc", "zonal.nc"):
        with xr.open_dataset(out / name) as got, xr.open_dataset(expected / name) as wanted:
            xr.testing.assert_identical(got, wanted)
    singles = [xr.open_dataset(path) for path in sorted((expected / "segments").iterdir())[10:31]]
    with xr.open_dataset(out / "segments" / merged[1]) as year:
        assert year.sizes["time"] == 21
        for name in ("air", "air_zonal", "air_members", "count", "time_bnds"):
            wanted = xr.concat([single[name] for single in singles], "time")
            xr.testing.assert_equal(year[name].transpose(*wanted.dims), wanted)
        assert np.array_equal(year["ocean_mask"], singles[0]["ocean_mask"])
    for single in singles:
        single.close()
    damaged = out / "segments" / merged[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"00001-00010_2001-01-01.nc is damaged"):
        verify_folder(out)


def test_a_stopped_run_goes_on_after_merged_segments(long: dict[str, Any], tmp_path: Path) -> None:
    expected = run(plan(emulator=Interrupted(), **long), tmp_path / "whole")
    for step in (125, 377, 420):
        stopped(plan(emulator=Interrupted(step), **long), tmp_path / "out")
    run(plan(emulator=Interrupted(), **long), tmp_path / "out")
    assert files(tmp_path / "out") == files(expected)
    studies.assert_equal_runs(tmp_path / "out", expected)


def test_what_a_merge_left_behind_is_removed(long: dict[str, Any], tmp_path: Path) -> None:
    """A kill between the manifest that names the merged file and the removal of the others."""
    out = tmp_path / "out"
    stopped(plan(emulator=Interrupted(377), **long), out)
    left = out / "segments" / "00003_2001-01-25.nc"
    stranger = out / "segments" / "notes.txt"
    for path in (left, stranger):
        path.write_bytes(b"")
    run(plan(emulator=Interrupted(), **long), out)
    assert not left.exists()
    assert stranger.exists()
