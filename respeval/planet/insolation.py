"""Daily-mean solar irradiance at the top of the atmosphere, from the orbit of the Earth."""

from __future__ import annotations

import numpy as np

from respeval.fields.grid import FloatArray

SOLAR_CONSTANT = 1361.0  # W/m**2
OBLIQUITY = np.radians(23.44)
ECCENTRICITY = 0.0167
PERIHELION = np.radians(282.9)  # longitude of the Sun, counted from the March equinox
DAYS_PER_YEAR = 365
PERIHELION_DAY = 3.0  # January 4, counted from 0


def solar_longitude(day: FloatArray) -> FloatArray:
    """Longitude of the Sun from the March equinox, radians, on days of the year counted from 0.

    Kepler's equation M = E - e sin E, solved by Newton's method.
    """
    mean_anomaly = (
        2.0 * np.pi * (np.asarray(day, dtype=np.float64) - PERIHELION_DAY) / DAYS_PER_YEAR
    )
    eccentric = mean_anomaly
    for _ in range(5):
        excess = eccentric - ECCENTRICITY * np.sin(eccentric) - mean_anomaly
        eccentric = eccentric - excess / (1.0 - ECCENTRICITY * np.cos(eccentric))
    ratio = np.sqrt((1.0 + ECCENTRICITY) / (1.0 - ECCENTRICITY))
    true_anomaly = 2.0 * np.arctan2(ratio * np.sin(eccentric / 2.0), np.cos(eccentric / 2.0))
    return np.asarray(true_anomaly + PERIHELION)


def daily_insolation(latitude: FloatArray, day: FloatArray) -> FloatArray:
    """Irradiance averaged over a day, W/m**2, [day, lat].

    latitude: [lat], degrees_north. day: [day], day of the year counted from 0, taken at noon.
    Berger (1978): S0/pi (a/r)**2 (H sin(lat) sin(dec) + cos(lat) cos(dec) sin(H)).
    """
    longitude = solar_longitude(np.atleast_1d(day) + 0.5)[:, None]
    distance = (1.0 - ECCENTRICITY**2) / (1.0 + ECCENTRICITY * np.cos(longitude - PERIHELION))
    declination = np.arcsin(np.sin(OBLIQUITY) * np.sin(longitude))
    phi = np.radians(np.atleast_1d(latitude))[None, :]
    half_day = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1.0, 1.0))
    height = half_day * np.sin(phi) * np.sin(declination)
    height = height + np.cos(phi) * np.cos(declination) * np.sin(half_day)
    return np.asarray(np.maximum(SOLAR_CONSTANT / np.pi / distance**2 * height, 0.0))


def annual_mean_insolation(latitude: FloatArray) -> FloatArray:
    """Mean of `daily_insolation` over the days of a year, W/m**2, [lat]."""
    return np.asarray(daily_insolation(latitude, np.arange(float(DAYS_PER_YEAR))).mean(axis=0))
