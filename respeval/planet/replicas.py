"""Many runs of the planet at once, exactly: the yearly circle means that their zonal.nc would hold.

The weather and the land's memory of it are a linear system with normal noise. So the yearly means of
a run are jointly normal about their equilibrium, and their covariance follows from what one step
makes of unit vectors. It costs seconds where runs of hundreds of samples would take hours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cftime
import numpy as np
import torch
import xarray as xr

from respeval.emulator.contract import OCEAN_CUTOFF
from respeval.fields.fractions import LAND_CUTOFF, is_above
from respeval.fields.grid import SURFACES, BoolArray, FloatArray, Grid
from respeval.planet.climate import PROGNOSTIC, SURFACE, TEMPERATURES
from respeval.planet.datasets import make_forcing
from respeval.planet.emulator import CALENDAR, PlanetEmulator
from respeval.planet.insolation import DAYS_PER_YEAR
from respeval.planet.truth import true_response

BATCH = 256

#: Share of the largest variance below which a pattern of noise is rounding.
SMALLEST_VARIANCE = 1e-12


@dataclass(frozen=True, eq=False)
class YearlyWeather:
    """What the weather adds to the yearly circle means of the temperatures: normal, of mean 0.

    within: covariance of a year's means, [value, value], values being [level, surface, lat] as one.
    next_year: covariance of a year's means (rows) with those of the year before (columns). Years
    further apart are independent.
    """

    grid: Grid
    within: FloatArray
    next_year: FloatArray

    @classmethod
    def on(cls, grid: Grid) -> YearlyWeather:
        """Of the planet on this grid; some seconds on 12 x 24 cells, and the cube of their number."""
        planet = PlanetEmulator(grid)
        transition, kick = linear_step(planet)
        observe = _observed(_surface_masks(planet), len(transition))
        return cls(grid, *yearly_covariances(transition, kick, observe, DAYS_PER_YEAR))


class YearlyNoise:
    """Series of years of `YearlyWeather`."""

    def __init__(self, weather: YearlyWeather, num_years: int) -> None:
        variances, axes = np.linalg.eigh(weather.within)
        kept = variances > SMALLEST_VARIANCE * variances.max()
        scale = np.sqrt(variances[kept])
        self._patterns = axes[:, kept] * scale
        whitener = axes[:, kept] / scale
        memory = whitener.T @ weather.next_year @ whitener
        # The Cholesky factor of a covariance that is block-tridiagonal has two blocks a row.
        own = np.eye(len(memory))
        self._factors = [(own, np.zeros_like(memory))]
        for _ in range(num_years - 1):
            before = np.linalg.solve(own, memory.T).T
            own = np.linalg.cholesky(np.eye(len(memory)) - before @ before.T)
            self._factors.append((own, before))

    def draw(self, generator: np.random.Generator, num_series: int) -> FloatArray:
        """Independent series, [series, year, value]."""
        shape = (len(self._factors), num_series, self._patterns.shape[1])
        normal = generator.standard_normal(shape)
        years = [
            normal[y] @ own.T + (normal[y - 1] @ before.T if y else 0.0)
            for y, (own, before) in enumerate(self._factors)
        ]
        return np.asarray(np.stack(years, axis=1) @ self._patterns.T)


def yearly_covariances(
    transition: FloatArray, kick: FloatArray, observe: FloatArray, num_days: int
) -> tuple[FloatArray, FloatArray]:
    """`within` and `next_year` of `YearlyWeather`, of means over `num_days` of y = C x.

    x' = A x + B ε day by day, ε standard normal.

    transition: A, [state, state], whose memory of a year ago is nothing. kick: B, [state, noise].
    observe: C, [value, state].

    With the stationary covariance P = A P Aᵀ + B Bᵀ and n days: a year's sum has the covariance
    C (n P + S P + P Sᵀ) Cᵀ, S = Σ_{k=1}^{n-1} (n − k) A^k, and with the year before
    C Σ_{k=1}^{2n-1} min(k, 2n − k) A^k P Cᵀ.
    """
    stationary = _stationary(transition, kick)
    seen = stationary @ observe.T
    identity = np.eye(len(transition))
    once = np.linalg.inv(identity - transition)
    decayed = transition @ (once @ (once @ seen))  # Σ k A^k P Cᵀ, all k
    lagged = observe @ (num_days * (transition @ (once @ seen)) - decayed)
    within = num_days * (observe @ seen) + lagged + lagged.T
    return within / num_days**2, observe @ decayed / num_days**2


def _stationary(transition: FloatArray, kick: FloatArray) -> FloatArray:
    """P = A P Aᵀ + B Bᵀ by doubling: P_2m = P_m + A^m P_m (A^m)ᵀ."""
    covariance, power = kick @ kick.T, transition
    while True:
        added = power @ covariance @ power.T
        covariance = covariance + added
        if np.abs(added).max() <= 1e-15 * np.abs(covariance).max():
            return covariance
        power = power @ power


class Replicas:
    """Runs of the planet, its baseline and a uniform SST change with weather of their own.

    Only the temperatures are kept.
    """

    def __init__(
        self,
        weather: YearlyWeather,
        num_years: int,
        amplitude_K: float = 4.0,
        own_sst: bool = False,
    ) -> None:
        """num_years: the runs' length. own_sst: every year has its own SST, as make_forcing gives
        it, so that the response changes a little from year to year; else the first one's again."""
        self.grid, self.num_years = weather.grid, num_years
        forcing = make_forcing(self.grid, num_years if own_sst else 1)
        change = {"change": np.full(self.grid.shape, amplitude_K)}
        self.truth = true_response(forcing, change)
        self.truth["area_weight"] = (("lat", "lon"), self.grid.area_weights())
        self._masks = _surface_masks(PlanetEmulator(self.grid))
        firsts = range(0, forcing.sizes["time"] - 1, DAYS_PER_YEAR)
        years = [forcing.isel(time=slice(day, day + DAYS_PER_YEAR + 1)) for day in firsts]
        responses = [self._circle_means(true_response(year, change)) for year in years]
        self._responses = np.stack(responses)
        self._noise = YearlyNoise(weather, num_years)
        self._times = _years(num_years)

    def draw(
        self,
        generator: np.random.Generator,
        num_runs: int,
        num_samples: int,
        slow: tuple[float, float] = (0.0, 0.0),
        shared: float = 0.0,
    ) -> xr.Dataset:
        """zonal.nc of many runs: temperatures (run, group, sample, time, surface, lat), `count`
        (group, sample, time), `area`, `time_bnds`; the segments are years.

        slow: standard deviation, K, and correlation from year to year of a further anomaly, the same
        in all temperatures of a year, as a slow ocean would make it. shared: share of the variance that
        the samples of a climate have in common; 1 for samples that have run together.
        """
        num_lat, members = self.grid.num_lat, (num_runs, 2, num_samples)
        shape = (*members, self.num_years, len(TEMPERATURES), len(SURFACES), num_lat)
        noise = self._noise.draw(generator, math.prod(members)).reshape(shape)
        if shared:
            common = self._noise.draw(generator, 2 * num_runs)
            common = common.reshape(num_runs, 2, 1, *shape[3:])
            noise = np.sqrt(shared) * common + np.sqrt(1.0 - shared) * noise
        noise[:, 1] += self._responses
        noise += _slow_anomaly(generator, shape[:4], *slow)[..., None, None, None]
        area = (self.grid.area_weights() * self._masks).sum(axis=-1)
        coords = {"group": ["baseline", "change"], "surface": list(SURFACES)}
        zonal = self._times.assign_coords(coords).assign_coords(lat=self.grid.latitude)
        for level, name in enumerate(TEMPERATURES):
            dims = ("run", "group", "sample", "time", "surface", "lat")
            zonal[name] = (
                dims,
                np.where(area > 0, noise[..., level, :, :], np.nan),
                {"units": "K"},
            )
        steps = np.full(shape[1:4], float(DAYS_PER_YEAR))
        zonal["count"] = (("group", "sample", "time"), steps)
        zonal["area"] = (("surface", "lat"), area)
        return zonal

    def _circle_means(self, response: xr.Dataset) -> FloatArray:
        """Temperatures of the one perturbation, [level, surface, lat]; 0 without a cell."""
        fields = np.stack([response[name].values[0] for name in TEMPERATURES])
        return np.asarray(np.einsum("clo,slo->csl", fields, _shares(self._masks)))


def _slow_anomaly(
    generator: np.random.Generator, shape: tuple[int, ...], spread_K: float, correlation: float
) -> FloatArray:
    """A stationary process AR(1) along the last dimension, [..., year], K."""
    anomaly = generator.standard_normal(shape)
    for year in range(1, shape[-1]):
        new = np.sqrt(1.0 - correlation**2) * anomaly[..., year]
        anomaly[..., year] = correlation * anomaly[..., year - 1] + new
    return np.asarray(spread_K * anomaly)


def _surface_masks(planet: PlanetEmulator) -> BoolArray:
    """Cells of each of `SURFACES`, [surface, lat, lon]."""
    geography = planet.climate.geography
    land = is_above(geography.land_fraction, LAND_CUTOFF)
    ocean = is_above(geography.ocean_fraction, OCEAN_CUTOFF)
    return np.stack([np.ones_like(land), land, ocean])


def _shares(masks: BoolArray) -> FloatArray:
    """Weight of every cell in the mean over its circle, [surface, lat, lon]."""
    return np.asarray(masks / np.maximum(masks.sum(axis=-1, keepdims=True), 1))


def _years(num_years: int) -> xr.Dataset:
    edges = np.array(
        [cftime.datetime(2001 + n, 1, 1, calendar=CALENDAR) for n in range(num_years + 1)]
    )
    bounds = np.stack([edges[:-1], edges[1:]], axis=1)
    middle = edges[:-1] + (edges[1:] - edges[:-1]) / 2
    return xr.Dataset({"time_bnds": (("time", "bnds"), bounds)}, {"time": middle})


def _observed(masks: BoolArray, num_states: int) -> FloatArray:
    """What takes the circle means of the temperatures from a state, [value, state]."""
    num_surfaces, num_lat, num_lon = masks.shape
    shares, num_cells, num_levels = _shares(masks), num_lat * num_lon, len(TEMPERATURES)
    by_circle = np.zeros((num_surfaces, num_lat, num_lat, num_lon))
    for lat in range(num_lat):
        by_circle[:, lat, lat] = shares[:, lat]
    circles = by_circle.reshape(num_surfaces * num_lat, num_cells)
    observe = np.zeros((num_levels, len(circles), num_states))
    for level in range(num_levels):
        observe[level, :, level * num_cells : (level + 1) * num_cells] = circles
    return observe.reshape(-1, num_states)


def linear_step(planet: PlanetEmulator) -> tuple[FloatArray, FloatArray]:
    """A and B of the planet's step about its equilibrium, x' = A x + B ε.

    x: the prognostic variables [channel, lat, lon] as one; the ocean's surface is prescribed, so
    that it is always 0. ε: the standard normal numbers of a day.
    """
    grid = planet.spec.grid
    forcing = make_forcing(grid, 1).isel(time=slice(0, 1))
    day = torch.as_tensor(
        np.stack([forcing[name].values for name in planet.spec.required_forcing], axis=1)
    )
    sst, insolation = (
        torch.as_tensor(forcing[name].values, dtype=torch.float64) for name in (SURFACE, "DSWRFtoa")
    )
    num_channels = len(PROGNOSTIC)
    settled = planet.climate.settled(sst, insolation)[:, :num_channels]

    def step(state: torch.Tensor, kick: torch.Tensor | float) -> FloatArray:
        whole = day.expand(len(state), -1, -1, -1)
        after = planet.advance(settled + state, whole, whole, kick)[:, :num_channels]
        return np.asarray((after - settled).flatten(1).numpy())

    shape = (num_channels, *grid.shape)
    prescribed = torch.zeros(shape, dtype=torch.bool)
    prescribed[-1] = planet.climate.ocean
    units = torch.eye(prescribed.numel(), dtype=torch.float64)
    units[prescribed.flatten()] = 0.0
    columns = [step(part.reshape(-1, *shape), 0.0) for part in units.split(BATCH)]
    normals = torch.eye(math.prod(planet.weather.noise_shape), dtype=torch.float64)
    kicks = [
        step(
            torch.zeros(len(part), *shape, dtype=torch.float64),
            planet.weather.innovation(part.reshape(-1, *planet.weather.noise_shape)),
        )
        for part in normals.split(BATCH)
    ]
    return np.concatenate(columns).T, np.concatenate(kicks).T
