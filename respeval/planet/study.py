"""The demo's files: the planet's data, its truth, the shipped checkpoints, and a case over them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.files.netcdf import write_netcdf
from respeval.files.publish import write_text
from respeval.planet.datasets import make_forcing, make_initial_conditions, make_record
from respeval.planet.shipped import SHIPPED_CHECKPOINTS, shipped_checkpoint
from respeval.planet.truth import true_response

#: What the demo asks of both checkpoints, K everywhere over the ocean.
AMPLITUDES_K = {"p2K": 2.0, "p4K": 4.0}

#: The first year of a run is left out of the means: the checkpoints settle in it.
SPINUP_YEARS = 1

_TRAINING_DAYS = 365


def write_study(
    folder: Path, num_years: int, num_samples: int, report: Callable[[str], None]
) -> xr.Dataset:
    """Write forcing.nc, initial.nc, training.nc, truth.nc, case.yaml and the checkpoints.

    num_years: years that count in the means, after a year of spin-up.
    Returns the true response to `AMPLITUDES_K`, with the names of response.nc, K and SI units.
    """
    case = _case_text(num_years, num_samples)
    _claim(folder, case)
    write_text(folder / "case.yaml", case)
    grid = Grid.legendre_gauss(24, 48)
    report(
        f"making {SPINUP_YEARS + num_years} years of forcing and {num_samples} initial conditions"
    )
    forcing = make_forcing(grid, SPINUP_YEARS + num_years)
    write_netcdf(forcing, folder / "forcing.nc")
    write_netcdf(make_initial_conditions(forcing, num_samples), folder / "initial.nc")
    write_netcdf(make_record(grid, _TRAINING_DAYS), folder / "training.nc")
    for name in SHIPPED_CHECKPOINTS:
        shutil.copyfile(shipped_checkpoint(name), folder / f"{name}.pt")
    report("computing the planet's true response")
    settled = forcing.isel(time=slice(365 * SPINUP_YEARS, None))
    patterns = {label: np.full(grid.shape, a) for label, a in AMPLITUDES_K.items()}
    truth = true_response(settled, patterns)
    described = {"units": "1", "long_name": "share of the area of the globe"}
    truth["area_weight"] = (("lat", "lon"), grid.area_weights(), described)
    write_netcdf(truth, folder / "truth.nc")
    return truth


def _case_text(num_years: int, num_samples: int) -> str:
    case = {
        "forcing": "forcing.nc",
        "initial_condition": "initial.nc",
        "years": SPINUP_YEARS + num_years,
        "spinup": f"{SPINUP_YEARS} year",
        "perturbations": {
            label: {"type": "uniform", "amplitude_K": amplitude}
            for label, amplitude in AMPLITUDES_K.items()
        },
        "probe_data": "training.nc",
        "reference": "truth.nc",
    }
    origin = f"# respeval demo --years {num_years} --samples {num_samples}\n"
    return origin + yaml.safe_dump(case, sort_keys=False)


def _claim(folder: Path, case: str) -> None:
    """Make the folder. Raises InputError where it holds anything but this very demo."""
    present = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} can't be made ({error.strerror})") from None
    try:
        present = any(folder.iterdir())
        same = present and (folder / "case.yaml").read_text(encoding="utf-8") == case
    except FileNotFoundError:
        same = False
    except OSError as error:
        raise InputError(f"{folder} can't be read ({error.strerror})") from None
    if present and not same:
        raise InputError(f"{folder} is not empty and holds no such demo; choose another folder")
