"""The whole pipeline on a climate whose response is known: the planet itself as the emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from respeval.case.file import load_case
from respeval.case.roles import settings_of
from respeval.diagnostics import diagnose_reference, summary
from respeval.fields.grid import Grid
from respeval.fields.perturbation import patch_pattern
from respeval.files.netcdf import open_saved
from respeval.plan.plan import plan_run
from respeval.planet.datasets import make_forcing, make_initial_conditions
from respeval.planet.emulator import PlanetEmulator
from respeval.planet.truth import true_response
from tests.support.studies import run

GRID = Grid.legendre_gauss(12, 24)
PATCH = {"lat_center": 5.0, "lon_center": 190.0, "lat_width": 60.0, "lon_width": 120.0}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xr.Dataset]:
    """Forcing and initial conditions of three years, and the truth of the last two."""
    folder = tmp_path_factory.mktemp("world")
    forcing = make_forcing(GRID, 3)
    forcing.to_netcdf(folder / "forcing.nc")
    make_initial_conditions(forcing, 2).to_netcdf(folder / "initial.nc")
    truth = true_response(
        forcing.isel(time=slice(365, None)),
        {"p4K": np.full(GRID.shape, 4.0), "warmpool": patch_pattern(GRID, 3.0, **PATCH)},
    )
    truth["area_weight"] = (("lat", "lon"), GRID.area_weights())
    return folder, truth


def run_planet(folder: Path, out: Path, **changes: Any) -> tuple[Path, Any]:
    options = {
        "forcing": str(folder / "forcing.nc"),
        "initial_condition": str(folder / "initial.nc"),
        "years": 3,
        "spinup": "1 year",
        "perturbations": {
            "p4K": {"type": "uniform", "amplitude_K": 4.0},
            "warmpool": {"type": "patch", "amplitude_K": 3.0, **PATCH},
        },
    }
    planned = plan_run(PlanetEmulator(GRID), load_case(None, {**options, **changes}), "the planet")
    return run(planned, out), settings_of(planned.case, planned.roles, ())


def test_with_paired_noise_the_response_is_the_closed_form(
    world: tuple[Path, xr.Dataset], tmp_path: Path
) -> None:
    """The weather is linear, so that equal noise cancels: what is left is the land's memory of the
    days before the period, some thousandths of a kelvin in a mean over two years."""
    folder, truth = world
    out, settings = run_planet(folder, tmp_path / "out")
    with open_saved(out / "response.nc") as response:
        for name in ("air_temperature_2", "air_temperature_7", "surface_temperature"):
            got = response[name].transpose("perturbation", "lat", "lon").values
            assert np.abs(got - truth[name].values).max() < 0.01, name
            assert np.abs(truth[name].values).max() > 1.0, name
        for name in ("PRATEsfc", "ULWRFtoa", "USWRFtoa", "specific_total_water_7"):
            scale = np.abs(truth[name].values).max()
            assert np.abs(response[name].values - truth[name].values).max() < 0.01 * scale, name
    expected = summary(diagnose_reference(truth, settings))
    got = json.loads((out / "summary.json").read_text())
    for key in expected:
        if key.startswith("p4K/") and "warming" in key:
            assert got[key] == pytest.approx(expected[key], abs=5e-3), key
    for name in (
        "arctic_amplification",
        "antarctic_amplification",
        "precipitation_change_per_K",
        "cess_feedback",
        "cess_feedback_longwave",
        "cess_feedback_shortwave",
        "humidity_change/land",
        "humidity_change/ocean",
    ):
        assert got[f"p4K/{name}"] == pytest.approx(expected[f"p4K/{name}"], rel=2e-3), name


def test_with_unpaired_noise_the_response_is_right_within_its_sampling_error(
    world: tuple[Path, xr.Dataset], tmp_path: Path
) -> None:
    folder, truth = world
    out, settings = run_planet(folder, tmp_path / "out", paired_noise=False)
    expected = summary(diagnose_reference(truth, settings))
    got = json.loads((out / "summary.json").read_text())
    errors = []
    for band in ("tropics", "subtropics", "midlatitudes"):
        for name in ("land_warming", "ocean_warming"):
            stderr = got[f"p4K/{name}_stderr/{band}"]
            difference = abs(got[f"p4K/{name}/{band}"] - expected[f"p4K/{name}/{band}"])
            assert stderr > 1e-3
            errors.append(difference / stderr)
    # Two samples x two years: t with three degrees of freedom; 9 is beyond its 99.8 % interval.
    assert max(errors) < 9
    assert np.median(errors) > 0.05  # they are errors, not zeros
