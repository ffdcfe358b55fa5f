"""The planet's pieces against known values, conservation laws and independent integrations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from respeval.fields.grid import Grid
from respeval.planet.climate import LEVELS_HPA, PROGNOSTIC, Climate
from respeval.planet.geography import MASK_SHAPE, Geography, land_fraction_on, read_land_mask
from respeval.planet.insolation import (
    ECCENTRICITY,
    SOLAR_CONSTANT,
    annual_mean_insolation,
    daily_insolation,
)
from respeval.planet.sea import (
    ANOMALY_DECAY_DAYS,
    annual_mean_sst,
    anomaly_amplitudes,
    present_sst,
    seasonal_sst,
)
from respeval.planet.thermodynamics import (
    HEAT_CAPACITY,
    LATENT_HEAT,
    moist_adiabat,
    saturation_humidity,
    saturation_vapour_pressure,
)

GRID = Grid.legendre_gauss(12, 24)
YEAR = np.arange(365.0)


@pytest.fixture(scope="module")
def climate() -> Climate:
    return Climate(GRID)


def test_land_fraction_keeps_the_land_area() -> None:
    """Averaging into cells moves no land, on any grid; the Earth's share of land is 29.2 %."""
    edges = np.sin(np.radians(np.linspace(90.0, -90.0, MASK_SHAPE[0] + 1)))
    stored = float((read_land_mask().mean(axis=1) * -np.diff(edges)).sum() / 2.0)
    assert stored == pytest.approx(0.292, abs=0.005)
    for grid in (GRID, Grid.legendre_gauss(31, 50), Grid.legendre_gauss(400, 800)):
        bounds = np.sin(np.radians(grid.latitude_bounds()))
        area = np.abs(bounds[:, 1] - bounds[:, 0]) / 2.0
        assert (land_fraction_on(grid).mean(axis=1) * area).sum() == pytest.approx(stored, rel=1e-9)


@pytest.mark.parametrize(
    ("place", "is_land"),
    [
        ((23, 10), True),
        ((-25, 135), True),
        ((-85, 0), True),
        ((0, 210), False),
        ((-50, 220), False),
    ],
)
def test_continents_lie_where_they_are(place: tuple[int, int], is_land: bool) -> None:
    grid = Grid.legendre_gauss(90, 180)
    row = int(np.abs(grid.latitude - place[0]).argmin())
    column = int(np.abs(grid.longitude - place[1]).argmin())
    assert land_fraction_on(grid)[row, column] == float(is_land)


def test_grid_from_south_to_north_turns_every_map() -> None:
    flipped = Grid(GRID.latitude[::-1], GRID.longitude, "legendre-gauss")
    one, other = Geography.on(GRID), Geography.on(flipped)
    np.testing.assert_allclose(one.land_fraction[::-1], other.land_fraction, atol=1e-12)
    sst = torch.as_tensor(annual_mean_sst(GRID))[None]
    light = torch.full((1, *GRID.shape), 300.0, dtype=torch.float64)
    north = Climate(GRID).settled(sst, light)
    south = Climate(flipped).settled(sst.flip(-2), light)
    torch.testing.assert_close(north, south.flip(-2), atol=1e-9, rtol=1e-9)


def test_insolation_matches_an_integral_over_the_hours() -> None:
    """Against Spencer's (1971) series for the Sun and a sum of cos(zenith angle) over a day."""
    latitude = np.array([-80.0, -35.0, 0.0, 20.0, 66.0, 85.0])
    angle = 2.0 * np.pi * (YEAR + 0.5) / 365.0
    declination = 0.006918 - 0.399912 * np.cos(angle) + 0.070257 * np.sin(angle)
    declination += -0.006758 * np.cos(2 * angle) + 0.000907 * np.sin(2 * angle)
    declination += -0.002697 * np.cos(3 * angle) + 0.00148 * np.sin(3 * angle)
    nearness = 1.000110 + 0.034221 * np.cos(angle) + 0.001280 * np.sin(angle)
    nearness += 0.000719 * np.cos(2 * angle) + 0.000077 * np.sin(2 * angle)
    hours = np.linspace(-np.pi, np.pi, 2000, endpoint=False)
    phi, dec = np.radians(latitude)[None, :, None], declination[:, None, None]
    height = np.sin(phi) * np.sin(dec) + np.cos(phi) * np.cos(dec) * np.cos(hours)
    expected = SOLAR_CONSTANT * nearness[:, None] * np.maximum(height, 0.0).mean(axis=2)
    np.testing.assert_allclose(daily_insolation(latitude, YEAR), expected, atol=3.0)


def test_insolation_adds_up_to_a_quarter_of_the_solar_constant() -> None:
    """Over the sphere and the year it is S0 / 4 / sqrt(1 - e**2)."""
    grid = Grid.legendre_gauss(64, 128)
    mean = (annual_mean_insolation(grid.latitude) * grid.area_weights().sum(axis=1)).sum()
    assert mean == pytest.approx(SOLAR_CONSTANT / 4.0 / np.sqrt(1.0 - ECCENTRICITY**2), rel=2e-4)


def test_saturation_against_tables() -> None:
    """WMO tables: 6.11 hPa at 0 degrees, 23.37 at 20, 42.43 at 30."""
    celsius = torch.tensor([0.0, 20.0, 30.0])
    hectopascals = saturation_vapour_pressure(celsius + 273.15) / 100.0
    torch.testing.assert_close(
        hectopascals, torch.tensor([6.11, 23.37, 42.43]), rtol=3e-3, atol=0.0
    )


def test_moist_adiabat_against_an_integration_in_height() -> None:
    """Small Euler steps in height with the moist lapse rate in K/m and hydrostatic pressure."""
    temperature, pressure, step_m = 300.0, 1.0e5, 1.0
    targets = [85000.0, 52000.0, 23000.0]
    reached = []
    while targets:
        celsius = temperature - 273.15
        vapour = 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))
        mixing = 0.622 * vapour / (pressure - vapour)
        wet = 1.0 + 2.501e6 * mixing / (287.04 * temperature)
        dry = 1004.64 + 2.501e6**2 * mixing * 0.622 / (287.04 * temperature**2)
        pressure *= np.exp(-9.81 * step_m / (287.04 * temperature))
        temperature -= 9.81 * wet / dry * step_m
        if pressure <= targets[0]:
            reached.append((targets.pop(0), temperature))
    found = moist_adiabat([300.0], [p for p, _ in reached])[0]
    np.testing.assert_allclose(found, [t for _, t in reached], atol=0.1)


def test_adiabat_table_against_the_integration(climate: Climate) -> None:
    """Between entries the table is right to the interpolation's error, far below 1e-3 K."""
    base = np.array([271.37, 295.11, 303.89])
    exact = moist_adiabat(base, np.array(LEVELS_HPA[2:]) * 100.0)
    table = climate.adiabat(torch.as_tensor(base)[:, None, None])[:, :, 0, 0]
    np.testing.assert_allclose(table.numpy(), exact, atol=1e-3)


def test_land_and_ocean_keep_the_same_change_of_moist_static_energy(climate: Climate) -> None:
    """cp dT + L dq over every land cell equals that of the uniform ocean, and land warms more."""
    light = torch.full((2, *GRID.shape), 300.0, dtype=torch.float64)
    sst = torch.tensor([290.0, 293.0], dtype=torch.float64)
    state = climate.settled(sst[:, None, None].expand(2, *GRID.shape), light)
    change = state[1] - state[0]
    surface, humidity = change[PROGNOSTIC.index("surface_temperature")], change[8]
    land = ~climate.ocean
    energy = HEAT_CAPACITY * surface[land] + LATENT_HEAT * humidity[land]
    sea_humidity = 0.8 * saturation_humidity(sst)
    expected = HEAT_CAPACITY * 3.0 + LATENT_HEAT * (sea_humidity[1] - sea_humidity[0])
    torch.testing.assert_close(energy, expected.expand_as(energy), rtol=1e-9, atol=0.0)
    assert surface[land].min() > 3.3
    assert surface[~land].sub(3.0).abs().max() < 1e-9


def test_land_warms_most_in_the_deserts(climate: Climate) -> None:
    light = torch.full((2, *GRID.shape), 300.0, dtype=torch.float64)
    sst = torch.stack([torch.as_tensor(annual_mean_sst(GRID))] * 2)
    sst[1] += 4.0
    warming = climate.settled(sst, light).diff(dim=0)[0, 9].numpy()
    land = climate.geography.land_fraction > 0.5
    row, column = np.unravel_index(np.where(land, warming, 0.0).argmax(), GRID.shape)
    assert 15.0 < abs(GRID.latitude[row]) < 35.0
    assert climate.geography.aridity[row, column] > 0.5


def test_stratosphere_does_not_follow_the_surface_and_the_tropics_amplify(climate: Climate) -> None:
    light = torch.full((2, *GRID.shape), 300.0, dtype=torch.float64)
    sst = torch.stack([torch.as_tensor(annual_mean_sst(GRID))] * 2)
    sst[1] += 4.0
    warming = climate.settled(sst, light).diff(dim=0)[0]
    assert warming[:2].abs().max() == 0.0
    tropical = climate.ocean & torch.as_tensor(np.abs(GRID.latitude) < 15.0)[:, None]
    profile = warming[:8, tropical].mean(dim=1)
    assert bool((profile[2:].diff() < 0.0).all())
    assert 1.8 < profile[2] / profile[7] < 3.0


def test_patch_of_warm_ocean_warms_the_land_nearby_most(climate: Climate) -> None:
    """The land feels the ocean around it, not only its latitude."""
    light = torch.full((2, *GRID.shape), 300.0, dtype=torch.float64)
    sst = torch.stack([torch.as_tensor(annual_mean_sst(GRID))] * 2)
    near_africa = np.abs(GRID.longitude - 60.0) < 25.0
    sst[1, np.abs(GRID.latitude) < 25.0, :] += 2.0 * torch.as_tensor(near_africa).double()
    warming = climate.settled(sst, light).diff(dim=0)[0, 9]
    equator = int(np.abs(GRID.latitude).argmin())
    assert not climate.ocean[equator, [2, 20]].any()
    assert warming[equator, 2] > 10.0 * warming[equator, 20].abs()


def test_mean_sst_over_a_year_is_the_annual_mean() -> None:
    mean = seasonal_sst(GRID, YEAR).mean(axis=0)
    np.testing.assert_allclose(mean, annual_mean_sst(GRID), atol=1e-9)


def test_slow_anomalies_are_stationary_and_remember() -> None:
    amplitudes = anomaly_amplitudes(40_000, seed=3)
    assert amplitudes.var() == pytest.approx(1.0, abs=0.1)
    lagged = (amplitudes[60:] * amplitudes[:-60]).mean() / amplitudes.var()
    assert lagged == pytest.approx(np.exp(-60.0 / ANOMALY_DECAY_DAYS), abs=0.05)


def test_forcing_sst_starts_on_the_day_that_is_asked() -> None:
    late = present_sst(GRID, 2, first_day=180, seed=1)
    early = present_sst(GRID, 2, first_day=0, seed=1)
    difference = seasonal_sst(GRID, np.array([180.0]))[0] - seasonal_sst(GRID, np.array([0.0]))[0]
    np.testing.assert_allclose(late[0] - early[0], difference, atol=1e-9)


@pytest.mark.parametrize("shape", [(6, 12), (8, 16), (24, 48), (40, 64)])
def test_climate_is_sensible_on_any_grid(shape: tuple[int, int]) -> None:
    """No ringing of a kernel that the grid can't resolve, no cell far from all ocean."""
    grid = Grid.legendre_gauss(*shape)
    climate = Climate(grid)
    light = torch.as_tensor(annual_mean_insolation(grid.latitude))[:, None].expand(shape)[None]
    settled = climate.settled(torch.as_tensor(annual_mean_sst(grid))[None], light)[0]
    land = settled[9][~climate.ocean]
    assert 225.0 < land.min() < 275.0
    assert 295.0 < land.max() < 315.0
    mean = (settled[:8] * torch.as_tensor(grid.area_weights())).sum(dim=(-2, -1))
    assert 285.0 < mean[7] < 292.0
    assert bool((mean[1:].diff() > 0.0).all())
    assert bool((settled[10:] >= 0.0).all())
