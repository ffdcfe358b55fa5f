"""Every file in ncdump, and in xarray in a Python that never heard of respeval."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest

LABELS = ["p2K", "p4K"]
GROUPS = ["baseline", *LABELS]

#: Opens every file named on standard input, a warning being an error, and says what is in it.
SCRIPT = """
import json, sys, warnings
import xarray as xr
warnings.simplefilter("error")
found = {}
for name in sys.stdin.read().split("\\n"):
    with xr.open_dataset(name) as opened:
        texts = {n: v.values.tolist() for n, v in opened.coords.items() if v.dtype.kind in "OUT"}
        texts = {n: v for n, v in texts.items() if v and isinstance(v, list) and type(v[0]) is str}
        times = opened["time"].values.ravel() if "time" in opened else []
        kinds = {n: v.dtype.kind for n, v in opened.variables.items()}
        found[name] = {
            "sizes": dict(opened.sizes), "texts": texts, "kinds": kinds,
            "times": [t.isoformat() for t in times],
            "units": {n: v.attrs.get("units") for n, v in opened.variables.items()},
        }
print(json.dumps(found))
"""


@pytest.fixture(scope="session")
def opened_by_xarray(folder: Path) -> dict[str, dict]:
    names = "\n".join(str(path) for path in sorted(folder.rglob("*.nc")))
    command = [sys.executable, "-I", "-c", SCRIPT]
    done = subprocess.run(command, input=names, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ncdump_reads_the_header(file: Path) -> None:
    done = subprocess.run(["ncdump", "-h", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with netCDF4.Dataset(file) as opened:
        for name, variable in opened.variables.items():
            dims = f"({', '.join(variable.dimensions)})" if variable.dimensions else ""
            assert f" {name}{dims} ;" in done.stdout


def test_xarray_decodes(file: Path, opened_by_xarray: dict[str, dict]) -> None:
    found = opened_by_xarray[str(file)]
    with netCDF4.Dataset(file) as opened:
        for name, size in found["sizes"].items():
            assert opened.dimensions[name].size == size
        assert set(found["kinds"]) == set(opened.variables)
        texts = {name for name, variable in opened.variables.items() if variable.dtype == "S1"}
        assert texts <= set(found["texts"]) | {"start_date"}
        times = opened.variables.get("time")
        if times is not None:
            dates = netCDF4.num2date(times[:], times.units, times.calendar)
            assert found["times"] == [date.isoformat() for date in np.ravel(dates)]
    for name, kind in found["kinds"].items():
        described = kind in "OUTM" or name.endswith("_bnds") or found["units"][name]
        assert described, f"{name} has no units"


def test_labels_and_times_are_those_of_the_run(run: Path, opened_by_xarray: dict) -> None:
    response = opened_by_xarray[str(run / "response.nc")]
    assert response["texts"] == {"perturbation": LABELS}
    assert response["sizes"] == {"perturbation": 2, "lat": 24, "lon": 48, "bnds": 2}
    diagnostics = opened_by_xarray[str(run / "diagnostics.nc")]["texts"]
    assert diagnostics["band"] == ["tropics", "subtropics", "midlatitudes"]
    for name in ("group_means.nc", "zonal.nc"):
        means = opened_by_xarray[str(run / name)]
        assert means["texts"]["group"] == GROUPS
        assert means["sizes"]["time"] == 12
        assert means["times"][0] == "2002-01-16T12:00:00"
    for number, path in enumerate(sorted((run / "segments").glob("*.nc"))):
        segment = opened_by_xarray[str(path)]
        assert segment["texts"]["group"] == GROUPS
        [time] = segment["times"]
        assert time.startswith(f"{2001 + number // 12}-{number % 12 + 1:02d}-1")


def test_pressure_follows_from_the_formula_terms(folder: Path) -> None:
    """In the run whose manifest make_files.py gave hybrid layers."""
    with netCDF4.Dataset(folder / "exchange" / "run" / "diagnostics.nc") as opened:
        levels = opened.variables["lev"]
        assert levels.standard_name == "atmosphere_hybrid_sigma_pressure_coordinate"
        assert "lev" in opened.variables["column_warming"].coordinates.split()
        terms = dict(re.findall(r"(\w+): (\w+)", levels.formula_terms))
        ap, b, ps = (opened.variables[terms[name]][:].filled() for name in ("ap", "b", "ps"))
        bounds = opened.variables[levels.bounds][:].filled()
    np.testing.assert_allclose(bounds.mean(axis=1), ap / ps + b, rtol=1e-12)
    assert (np.diff(ap + b * ps) > 0).all()
