"""The sea surface temperature that the planet is forced with: annual cycle and slow anomalies."""

from __future__ import annotations

import numpy as np

from respeval.fields.grid import FloatArray, Grid
from respeval.planet.insolation import DAYS_PER_YEAR

ANOMALY_DECAY_DAYS = 120.0
NUM_PATTERNS = 12
EL_NINO_K = 0.9


def annual_mean_sst(grid: Grid) -> FloatArray:
    """Annual-mean surface temperature of an ocean everywhere, [lat, lon], K."""
    latitude = np.broadcast_to(grid.latitude[:, None], grid.shape)
    longitude = np.radians(np.broadcast_to(grid.longitude[None, :], grid.shape))
    zonal_mean = 271.5 + 29.0 * np.exp(-((np.abs(latitude) / 50.0) ** 2.8))
    warm_pool = 1.5 * np.exp(-((latitude / 15.0) ** 2)) * np.cos(longitude - np.radians(140.0))
    return np.asarray(zonal_mean + warm_pool)


def seasonal_sst(grid: Grid, day: FloatArray) -> FloatArray:
    """Mean annual cycle [day, lat, lon], K, on days of the year counted from 0.

    A harmonic of up to 4 K with its peak on September 1 in the north; its mean over a year is zero,
    so that the annual mean is `annual_mean_sst`.
    """
    phase = np.cos(2.0 * np.pi * (np.atleast_1d(day) - 243.0) / DAYS_PER_YEAR)
    swing = 4.0 * np.sin(np.radians(2.0 * grid.latitude))
    return np.asarray(annual_mean_sst(grid) + phase[:, None, None] * swing[None, :, None])


def anomaly_patterns(grid: Grid) -> FloatArray:
    """Large-scale patterns [pattern, lat, lon] that slow anomalies are made of, K.

    The first is an El Nino; the others are waves of at most two lengths around the globe.
    """
    latitude = np.radians(np.broadcast_to(grid.latitude[:, None], grid.shape))
    longitude = np.radians(np.broadcast_to(grid.longitude[None, :], grid.shape))
    across = np.angle(np.exp(1j * (longitude - np.radians(235.0))))
    el_nino = np.exp(-((np.degrees(latitude) / 10.0) ** 2) - (np.degrees(across) / 40.0) ** 2)
    patterns = [EL_NINO_K * el_nino]
    for number in range(1, NUM_PATTERNS):
        order, shift = (number + 1) // 2 % 3, number * 1.7
        wave = np.cos(latitude) ** max(order, 1) * np.cos(order * longitude + shift)
        patterns.append(0.4 * wave * np.cos((number % 4) * latitude + shift))
    return np.stack(patterns)


def anomaly_amplitudes(num_days: int, seed: int) -> FloatArray:
    """Amplitudes [day, pattern] of the slow anomalies, stationary with unit variance.

    First-order autoregression in days with `ANOMALY_DECAY_DAYS`.
    """
    generator = np.random.default_rng(seed)
    memory = np.exp(-1.0 / ANOMALY_DECAY_DAYS)
    amplitudes = np.empty((num_days, NUM_PATTERNS))
    amplitudes[0] = generator.standard_normal(NUM_PATTERNS)
    for day in range(1, num_days):
        kick = generator.standard_normal(NUM_PATTERNS)
        amplitudes[day] = memory * amplitudes[day - 1] + np.sqrt(1.0 - memory**2) * kick
    return amplitudes


def present_sst(grid: Grid, num_days: int, first_day: int = 0, seed: int = 0) -> FloatArray:
    """SST of `num_days` consecutive days, [day, lat, lon], K; `first_day` of the year from 0."""
    day = (first_day + np.arange(num_days)) % DAYS_PER_YEAR
    slow = np.einsum("tp,pij->tij", anomaly_amplitudes(num_days, seed), anomaly_patterns(grid))
    return np.asarray(seasonal_sst(grid, day.astype(np.float64)) + slow)
