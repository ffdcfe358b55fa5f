"""What CDO makes of the files is what respeval says of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from numpy.typing import NDArray

OUTPUT = "air_temperature_7"
LABELS = ["p2K", "p4K"]

#: What CDO may say beside its answer: texts and circles of latitude are no fields to it, nor are
#: second coordinates of an axis.
HARMLESS = ("Unsupported data type (char/string)", "_zonal!", "_members!", "can't be assigned!")


def cdo(*words: object) -> NDArray[np.float64]:
    """Every number of the result."""
    command = ["cdo", "-s", "outputf,%.17g,1", *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return np.array(done.stdout.split(), np.float64)


def test_every_field_is_found(gridded: Path) -> None:
    done = subprocess.run(["cdo", "-s", "sinfon", gridded], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.strip()]
    assert [line for line in warnings if not any(known in line for known in HARMLESS)] == []
    assert "gaussian                 : points=1152 (48x24)" in done.stdout
    with netCDF4.Dataset(gridded) as opened:
        fields = [n for n, v in opened.variables.items() if v.dimensions[-2:] == ("lat", "lon")]
        fields = [name for name in fields if len(opened.variables[name].dimensions) < 5]
    assert fields
    for name in fields:
        assert any(line.split(" : ")[-1].strip() == name for line in done.stdout.splitlines()), name


def test_means_over_the_globe_are_those_of_the_summary(run: Path) -> None:
    """As far as CDO's weights are ours: it takes areas between the cells' edges, respeval Gauss's."""
    summary = json.loads((run / "summary.json").read_text())
    with netCDF4.Dataset(run / "response.nc") as opened:
        response = opened.variables[OUTPUT][:].filled()
        ours = opened.variables["area_weight"][:].filled()
        masks = {"land": opened.variables["land_mask"][:] == 1, "global": np.full(ours.shape, True)}
    area = cdo("-gridarea", f"-selname,{OUTPUT}", run / "response.nc").reshape(ours.shape)
    for number, label in enumerate(LABELS):
        field = f"-sellevidx,{number + 1} -selname,{OUTPUT} {run / 'response.nc'}".split()
        for region, mask in masks.items():
            chosen = ["-ifthen", f"-selname,land_mask {run / 'response.nc'}", *field]
            words = " ".join(chosen).split() if region == "land" else field
            (got,) = cdo("-fldmean", *words)
            theirs, own = (np.where(mask, w, 0) / w[mask].sum() for w in (area, ours))
            assert got == pytest.approx((theirs * response[number]).sum(), rel=1e-12)
            expected = summary[f"{label}/{region}_mean/{OUTPUT}"]
            reach = (np.abs(theirs - own) * np.abs(response[number] - expected)).sum()
            assert reach < 0.01 * abs(expected)
            assert abs(got - expected) <= reach + 1e-12


def test_the_segments_are_the_group_means(run: Path) -> None:
    """Those of the second year: the first is spin-up."""
    files = sorted((run / "segments").glob("*.nc"))[12:]
    with netCDF4.Dataset(run / "group_means.nc") as opened:
        means = opened.variables[OUTPUT][:].filled()
    assert means.shape == (3, len(files), 24, 48) == (3, 12, 24, 48)
    for number, file in enumerate(files):
        got = cdo(f"-selname,{OUTPUT}", file).reshape(3, 24, 48)
        np.testing.assert_array_equal(got, means[:, number])


def test_the_difference_of_the_groups_is_the_response(run: Path, tmp_path: Path) -> None:
    """The months count by their days, which is what CDO's -muldpm does."""
    files = sorted((run / "segments").glob("*.nc"))[12:]
    merge = ["cdo", "-s", "mergetime", *files, tmp_path / "months.nc"]
    subprocess.run(merge, check=True, capture_output=True)
    means = f"-selname,{OUTPUT} {tmp_path / 'months.nc'}"
    for number, label in enumerate(LABELS, start=1):
        with netCDF4.Dataset(run / "response.nc") as opened:
            assert opened.variables["perturbation"][:][number - 1] == label
            expected = opened.variables[OUTPUT][number - 1].filled().ravel()
        difference = f"-sub -sellevidx,{number + 1} {means} -sellevidx,1 {means}"
        got = cdo(*f"-divc,365 -timsum -muldpm {difference}".split())
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


def test_a_submission_has_the_members_of_the_segments(folder: Path) -> None:
    """Single precision, from south to north; the segments' members are no fields of CDO's."""
    [file] = (folder / "exchange" / "submission").rglob("ts_Amon_*_aimip-p4k_r2i1p1f1_*.nc")
    segments = sorted((folder / "exchange" / "run" / "segments").glob("*.nc"))
    assert len(segments) == 2
    for number, segment in enumerate(segments, start=1):
        got = cdo(f"-seltimestep,{number}", file).reshape(24, 48)
        with netCDF4.Dataset(segment) as opened:
            member = opened.variables["surface_temperature_members"][2, 1, 0].filled()
        np.testing.assert_array_equal(got[::-1], member.astype(np.float32).astype(np.float64))
