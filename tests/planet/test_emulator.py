"""The planet as an emulator: fixed point, linearity, pairing, and its closed-form response."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.emulator.contract import Emulator
from respeval.emulator.noise import CounterNoise
from respeval.fields.grid import Grid
from respeval.planet.climate import FORCING, PROGNOSTIC, SURFACE
from respeval.planet.datasets import make_forcing, make_initial_conditions
from respeval.planet.emulator import LAND_MEMORY_DAYS, PlanetEmulator
from respeval.planet.truth import true_response

GRID = Grid.legendre_gauss(8, 16)
NUM_PROGNOSTIC = len(PROGNOSTIC)
CHANGES_K = {"p2K": 2.0, "p4K": 4.0, "warm_north": 3.0}


@pytest.fixture(scope="module")
def planet() -> PlanetEmulator:
    return PlanetEmulator(GRID)


@pytest.fixture(scope="module")
def forcing() -> xr.Dataset:
    return make_forcing(GRID, 3)


def stacked(forcing: xr.Dataset, planet: Emulator) -> torch.Tensor:
    """[time, 1, required_forcing, lat, lon]."""
    names = planet.spec.required_forcing
    values = np.stack([forcing[name].values for name in names], axis=1)
    return torch.as_tensor(values, dtype=torch.float64)[:, None]


def patterns() -> dict[str, np.ndarray]:
    uniform = {name: np.full(GRID.shape, CHANGES_K[name]) for name in ("p2K", "p4K")}
    north = np.maximum(np.sin(np.radians(GRID.latitude)), 0.0)[:, None] * np.ones(GRID.shape)
    return {**uniform, "warm_north": CHANGES_K["warm_north"] * north}


def test_required_forcing_is_what_the_step_reads(planet: PlanetEmulator) -> None:
    assert planet.spec.required_forcing == (*FORCING, SURFACE)
    assert planet.spec.prescribes_sst


def test_equilibrium_is_a_fixed_point(planet: PlanetEmulator, forcing: xr.Dataset) -> None:
    """Without noise and under constant forcing all outputs, fluxes too, stay where they are."""
    day = stacked(forcing, planet)[50]
    settled = planet.climate.settled(day[:, 3], day[:, 2])
    after = planet.advance(settled[:, :NUM_PROGNOSTIC], day, day, 0.0)
    torch.testing.assert_close(after, settled, atol=1e-9, rtol=1e-12)


def test_state_relaxes_to_equilibrium_from_anywhere(
    planet: PlanetEmulator, forcing: xr.Dataset
) -> None:
    day = stacked(forcing, planet)[50]
    settled = planet.climate.settled(day[:, 3], day[:, 2])
    generator = torch.Generator().manual_seed(0)
    state = settled[:, :NUM_PROGNOSTIC] + 5.0 * torch.randn(
        1, NUM_PROGNOSTIC, *GRID.shape, generator=generator, dtype=torch.float64
    )
    state[:, 8] = 0.01
    for _ in range(400):
        outputs = planet.advance(state, day, day, 0.0)
        state = outputs[:, :NUM_PROGNOSTIC]
    torch.testing.assert_close(outputs, settled, atol=1e-6, rtol=1e-9)


def test_weather_and_land_enter_linearly(planet: PlanetEmulator, forcing: xr.Dataset) -> None:
    """A disturbance of the air and the land has the same effect in any climate."""
    day = stacked(forcing, planet)[50]
    disturbance = torch.randn(
        1, NUM_PROGNOSTIC, *GRID.shape, generator=torch.Generator().manual_seed(1)
    ).double()
    disturbance[:, 8] *= 1e-3
    disturbance[:, 9] *= ~planet.climate.ocean
    effects = []
    for change_K in (0.0, 4.0):
        warm = day.clone()
        warm[:, 3] += change_K
        state = planet.climate.settled(warm[:, 3], warm[:, 2])[:, :NUM_PROGNOSTIC]
        disturbed = planet.advance(state + disturbance, warm, warm, 0.0)
        effects.append(disturbed - planet.advance(state, warm, warm, 0.0))
    torch.testing.assert_close(effects[0], effects[1], atol=1e-9, rtol=1e-9)


def test_surface_is_prescribed_strictly_above_one_half(planet: PlanetEmulator) -> None:
    following = torch.zeros(1, 4, *GRID.shape, dtype=torch.float64)
    # In float32, as everywhere: what lies nearer to one half than that can tell is one half.
    above = float(torch.nextafter(torch.tensor(0.5), torch.tensor(1.0)))
    following[:, 0, 0, :3] = torch.tensor([0.5 + 1e-12, above, 1.0], dtype=torch.float64)
    following[:, 3] = 300.0
    surface = planet.prescribe(torch.full((1, *GRID.shape), 250.0).double(), following)
    assert surface[0, 0, :4].tolist() == [250.0, 300.0, 300.0, 250.0]


def test_step_changes_no_argument_and_a_member_is_the_same_in_any_batch(
    planet: PlanetEmulator, forcing: xr.Dataset
) -> None:
    days = stacked(forcing, planet)[:2].repeat(1, 3, 1, 1, 1)
    initial = make_initial_conditions(forcing, num_samples=3)
    state = torch.as_tensor(np.stack([initial[name].values for name in PROGNOSTIC], axis=1))
    before = [state.clone(), days.clone()]
    together = planet.step(state, days[0], days[1], CounterNoise(0, [(0, 0), (1, 0), (2, 0)], 7))
    alone = planet.step(state[2:], days[0, 2:], days[1, 2:], CounterNoise(0, [(2, 0)], 7))
    torch.testing.assert_close(together[2:], alone, atol=1e-10, rtol=1e-12)
    assert torch.equal(state, before[0])
    assert torch.equal(days, before[1])


def run_groups(
    planet: PlanetEmulator, forcing: xr.Dataset, branches: list[int], num_spinup: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The baseline and every pattern, one branch of noise each.

    Time means [group, output, lat, lon], and states [2, group, prognostic, lat, lon] at both ends of
    the period that is averaged.
    """
    days = stacked(forcing, planet)
    change = torch.as_tensor(np.stack([np.zeros(GRID.shape), *patterns().values()]))
    change = change * planet.climate.ocean
    initial = make_initial_conditions(forcing, num_samples=1)
    state = torch.as_tensor(np.stack([initial[name].values[0] for name in PROGNOSTIC])).double()
    state = state.repeat(len(change), 1, 1, 1)
    state[:, -1] += change
    ends, total = [], torch.zeros((), dtype=torch.float64)
    for step in range(len(days) - 1):
        if step == num_spinup:
            ends.append(state)
        now, following = (days[step + i].repeat(len(change), 1, 1, 1) for i in (0, 1))
        now[:, -1] += change
        following[:, -1] += change
        noise = CounterNoise(0, [(0, branch) for branch in branches], step)
        outputs = planet.step(state, now, following, noise)
        state = outputs[:, :NUM_PROGNOSTIC]
        if step >= num_spinup:
            total = total + outputs
    return total / (len(days) - 1 - num_spinup), torch.stack([*ends, state])


def test_response_is_the_closed_form(planet: PlanetEmulator, forcing: xr.Dataset) -> None:
    """Three experiments with paired noise, two years after one of spin-up, every output and cell.

    The weather cancels in the difference, since the planet is linear in it. What is left is the
    memory of both ends: the state's mean misses the equilibrium's by the change of the response
    between the ends, times the memory (the land's and then the air's 10 days), over the length of
    the period. The fluxes feel the same through the weather, and stay within 2 % of the largest.
    """
    means, ends = run_groups(planet, forcing, [0, 0, 0, 0], num_spinup=365)
    truth = true_response(forcing.isel(time=slice(365, None)), patterns())
    responses = ends[:, 1:] - ends[:, :1]
    drift = (responses[1] - responses[0]).abs().amax(dim=(0, 2, 3)).tolist()
    for index, variable in enumerate(planet.spec.outputs):
        expected = truth[variable.name].values
        found = (means[1:, index] - means[0, index]).numpy()
        bound = 0.02 * np.abs(expected).max()
        if index < NUM_PROGNOSTIC:
            bound = (LAND_MEMORY_DAYS + 10.0) / 730.0 * drift[index]
            assert bound <= 0.02 * np.abs(expected).max()
        error = np.abs(found - expected).max()
        assert error <= bound, f"{variable.name}: {error} exceeds {bound}"


def test_weather_of_its_own_in_each_group_gives_the_sampling_error_it_should(
    planet: PlanetEmulator, forcing: xr.Dataset
) -> None:
    """Cells scatter about the truth as much as the memory says, and far more than with paired noise.

    A mean over N days of weather with memory r has the variance sigma**2 / N (1 + r) / (1 - r), here
    with the largest r, and the difference of two such means has twice that.
    """
    year = forcing.isel(time=slice(0, 396))
    means, _ = run_groups(planet, year, [0, 1, 2, 3], num_spinup=30)
    truth = true_response(year.isel(time=slice(30, None)), patterns())
    memory = float(np.exp(-1.0 / 10.0))
    sigma = planet.climate.weather_amplitude[4]
    stderr = sigma * np.sqrt(2.0 / 365.0 * (1.0 + memory) / (1.0 - memory))
    expected = torch.as_tensor(truth["air_temperature_4"].values)
    scatter = (means[1:, 4] - means[0, 4] - expected) / stderr
    assert 0.3 < scatter.square().mean().sqrt() < 1.3
    assert scatter.abs().max() < 5.0
