"""The planet's weather against its design: variance by degree, memory, drift, vertical rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from respeval.fields.grid import Grid
from respeval.fields.transform import SphericalTransform, sum_over_orders
from respeval.planet.weather import (
    DRIFT_DEGREES_PER_DAY,
    NUM_CHANNELS,
    Smoother,
    Weather,
    degree_memory,
    degree_variance,
)

GRID = Grid.legendre_gauss(16, 32)


def normals(weather: Weather, num_members: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (num_members, *weather.noise_shape)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def harmonic(degree: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos(lat)**l cos(l lon), the sectoral harmonic of degree l, and the same turned by a day."""
    latitude = torch.as_tensor(np.radians(GRID.latitude))[:, None]
    longitude = torch.as_tensor(np.radians(GRID.longitude))
    turn = np.radians(DRIFT_DEGREES_PER_DAY)
    still = torch.cos(latitude) ** degree * torch.cos(degree * longitude)
    return still, torch.cos(latitude) ** degree * torch.cos(degree * (longitude - turn))


def test_variance_falls_with_the_fourth_power_of_the_degree() -> None:
    variance = degree_variance(400)
    assert variance.sum() == pytest.approx(1.0)
    assert variance[0] == 0.0
    slope = np.log(variance[300] / variance[150]) / np.log(2.0)
    assert slope == pytest.approx(-4.0, abs=0.02)


def test_weather_has_the_variance_it_is_designed_with() -> None:
    """In the area mean (Parseval) and in each degree, to five standard errors of a chi-square."""
    weather = Weather(GRID)
    fields = weather.stationary(normals(weather, 100, seed=0))
    area = torch.as_tensor(GRID.area_weights())
    assert (fields.square() * area).sum(dim=(-2, -1)).mean() == pytest.approx(1.0, rel=0.02)
    transform = SphericalTransform(GRID, weather.num_degrees, weather.num_degrees)
    power = sum_over_orders(transform.forward(fields).abs().square()) / (4.0 * np.pi)
    expected = degree_variance(weather.num_degrees)[1:]
    found = power.mean(dim=(0, 1)).numpy()[1:]
    independent = 100.0 * (2.0 * np.arange(1, weather.num_degrees) + 1.0)
    assert (np.abs(found / expected - 1.0) < 5.0 * np.sqrt(2.0 / independent)).all()


@pytest.mark.parametrize("degree", [1, 4, 15])
def test_harmonic_decays_and_drifts_east(degree: int) -> None:
    weather = Weather(GRID)
    still, turned = harmonic(degree)
    expected = degree_memory(weather.num_degrees)[degree] * turned
    torch.testing.assert_close(weather.relax(still), expected, atol=1e-9, rtol=0.0)


def test_what_the_transform_cannot_see_decays_as_well() -> None:
    """A harmonic beyond the last degree of a grid with few latitudes."""
    grid = Grid.legendre_gauss(8, 32)
    weather = Weather(grid)
    latitude = torch.as_tensor(np.radians(grid.latitude))[:, None]
    field = torch.cos(latitude) * torch.cos(12 * torch.as_tensor(np.radians(grid.longitude)))
    expected = degree_memory(weather.num_degrees)[-1] * field
    torch.testing.assert_close(weather.relax(field), expected, atol=1e-9, rtol=0.0)


def test_a_day_leaves_the_statistics_as_they_are() -> None:
    """Relaxing stationary weather and adding the day's noise keeps the variance of each channel."""
    weather = Weather(GRID)
    before = weather.stationary(normals(weather, 150, seed=1))
    after = weather.relax(before) + weather.innovation(normals(weather, 150, seed=2))
    area = torch.as_tensor(GRID.area_weights())
    variance = (after.square() * area).sum(dim=(-2, -1)).mean(dim=0)
    torch.testing.assert_close(variance, torch.ones_like(variance), atol=0.06, rtol=0.0)


def test_noise_has_full_rank_in_the_vertical() -> None:
    weather = Weather(GRID)
    fields = (
        weather.innovation(normals(weather, 60, seed=3)).movedim(1, 0).reshape(NUM_CHANNELS, -1)
    )
    eigenvalues = torch.linalg.eigvalsh(torch.corrcoef(fields))
    assert eigenvalues[0] > 0.1
    assert eigenvalues[-1] > 0.3 * NUM_CHANNELS


@pytest.mark.parametrize("degree", [0, 2, 5])
def test_smoothing_is_the_heat_kernel(degree: int) -> None:
    still, _ = harmonic(degree)
    damping = np.exp(-degree * (degree + 1) * np.radians(15.0) ** 2 / 2.0)
    torch.testing.assert_close(Smoother(GRID, 15.0)(still), damping * still, atol=1e-9, rtol=0.0)
