"""Drawn runs of the planet against its own steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from respeval.diagnostics import DiagnosticSettings, diagnose, diagnose_reference
from respeval.fields.grid import FloatArray, Grid
from respeval.planet.climate import PROGNOSTIC, ROLES, SURFACE
from respeval.planet.datasets import make_forcing
from respeval.planet.emulator import PlanetEmulator
from respeval.planet.replicas import (
    Replicas,
    YearlyNoise,
    YearlyWeather,
    linear_step,
    yearly_covariances,
)

GRID = Grid.legendre_gauss(4, 8)


@pytest.fixture(scope="module")
def step() -> tuple[FloatArray, FloatArray]:
    return linear_step(PlanetEmulator(GRID))


def test_the_linear_step_is_the_planets(step: tuple[FloatArray, FloatArray]) -> None:
    """On another day than the one that it was made from, and for a warmer ocean."""
    transition, kick = step
    planet = PlanetEmulator(GRID)
    forcing = make_forcing(GRID, 1).isel(time=[200])
    names = planet.spec.required_forcing
    day = torch.as_tensor(np.stack([forcing[name].values for name in names], axis=1)).double()
    day[:, names.index(SURFACE)] += 3.0
    sst, insolation = day[:, names.index(SURFACE)], day[:, names.index("DSWRFtoa")]
    settled = planet.climate.settled(sst, insolation)[:, : len(PROGNOSTIC)]
    rng = np.random.default_rng(0)
    state = rng.standard_normal(settled.shape)
    state[:, -1] *= ~planet.climate.ocean.numpy()
    normal = rng.standard_normal((1, *planet.weather.noise_shape))
    noise = planet.weather.innovation(torch.as_tensor(normal))
    after = planet.advance(settled + torch.as_tensor(state), day, day, noise)
    change = (after[:, : len(PROGNOSTIC)] - settled).numpy().ravel()
    expected = transition @ state.ravel() + kick @ normal.ravel()
    np.testing.assert_allclose(change, expected, atol=1e-9)


def test_covariances_of_means_are_those_of_the_sums_written_out() -> None:
    rng = np.random.default_rng(1)
    transition = rng.standard_normal((4, 4))
    transition *= 0.5 / np.abs(np.linalg.eigvals(transition)).max()
    kick, observe, num_days = rng.standard_normal((4, 3)), rng.standard_normal((2, 4)), 60
    within, next_year = yearly_covariances(transition, kick, observe, num_days)
    # The response of two years' means to every day's noise, from long before on.
    size = 3 * num_days
    powers = [np.linalg.matrix_power(transition, k) @ kick for k in range(size)]
    years = np.zeros((2, 2, size, 3))
    for day in range(num_days, size):
        for kicked in range(day + 1):
            years[(day - num_days) // num_days, :, kicked] += observe @ powers[day - kicked]
    first, second = (year.reshape(2, -1) / num_days for year in years)
    np.testing.assert_allclose(within, first @ first.T, rtol=1e-9)
    np.testing.assert_allclose(within, second @ second.T, rtol=1e-9)
    np.testing.assert_allclose(next_year, second @ first.T, rtol=1e-9)


def test_series_have_the_covariances_that_were_asked_for() -> None:
    rng = np.random.default_rng(2)
    root = rng.standard_normal((3, 3))
    within = root @ root.T
    next_year = 0.4 * root @ np.diag([1.0, 0.2, 0.0]) @ root.T
    drawn = YearlyNoise(YearlyWeather(GRID, within, next_year), 4).draw(rng, 200_000)
    assert drawn.shape == (200_000, 4, 3)
    for year in range(4):
        for other in range(4):
            found = drawn[:, year].T @ drawn[:, other] / len(drawn)
            expected = {0: within, 1: next_year, -1: next_year.T}.get(year - other, 0.0 * within)
            np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(within).max())


def test_drawn_runs_respond_as_the_planet_does() -> None:
    replicas = Replicas(YearlyWeather.on(GRID), num_years=3)
    settings = DiagnosticSettings(ROLES, {"low": (0.0, 40.0)})
    truth = diagnose_reference(replicas.truth, settings).isel(perturbation=0)
    zonal = replicas.draw(np.random.default_rng(3), 300, 2)
    found = diagnose(zonal, settings).isel(perturbation=0)
    for name in ("land_warming", "ocean_warming", "column_warming"):
        error = (found[name].mean("run") - truth[name]) / found[name].std("run") * 300**0.5
        assert float(abs(error).max()) < 4, name
        inside = (found[f"{name}_low"] <= truth[name]) & (truth[name] <= found[f"{name}_high"])
        assert 0.9 < float(inside.mean()) < 0.995, name


def test_one_run_of_many_has_the_diagnostics_that_it_has_alone() -> None:
    weather = YearlyWeather(GRID, *(np.eye(8 * 3 * 4) * s for s in (0.01, 0.0)))
    settings = DiagnosticSettings(ROLES, {"low": (0.0, 40.0)})
    zonal = Replicas(weather, num_years=4).draw(np.random.default_rng(4), 3, 2, (0.3, 0.6))
    together, alone = diagnose(zonal, settings).isel(run=1), diagnose(zonal.isel(run=1), settings)
    assert set(together) == set(alone)
    for name in alone:
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-7, atol=1e-12)
