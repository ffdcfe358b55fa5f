"""Saturation and moist adiabats."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from respeval.fields.grid import FloatArray

GAS_CONSTANT = 287.04  # dry air, J/kg/K
VAPOUR_GAS_CONSTANT = 461.5  # J/kg/K
HEAT_CAPACITY = 1004.64  # J/kg/K
LATENT_HEAT = 2.501e6  # J/kg
EPSILON = GAS_CONSTANT / VAPOUR_GAS_CONSTANT
SURFACE_PRESSURE = 1.0e5  # Pa


def saturation_vapour_pressure(temperature: torch.Tensor) -> torch.Tensor:
    """Pa, over water, temperature in K. Bolton (1980), eq. 10."""
    celsius = temperature - 273.15
    return 611.2 * torch.exp(17.67 * celsius / (celsius + 243.5))


def saturation_humidity(
    temperature: torch.Tensor, pressure: float = SURFACE_PRESSURE
) -> torch.Tensor:
    """Specific humidity at saturation, kg/kg; temperature in K, pressure in Pa."""
    vapour = saturation_vapour_pressure(temperature)
    return EPSILON * vapour / (pressure - (1.0 - EPSILON) * vapour)


def moist_lapse(temperature: FloatArray, pressure: float) -> FloatArray:
    """dT/dln(p) of the saturated pseudoadiabat, K; temperature in K, pressure in Pa.

    With the mixing ratio r: (R T + L r) / (cp + L**2 r eps / (R T**2)), AMS glossary
    "moist-adiabatic lapse rate" in pressure coordinates.
    """
    celsius = temperature - 273.15
    vapour = 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))
    mixing = EPSILON * vapour / (pressure - vapour)
    heating = GAS_CONSTANT * temperature + LATENT_HEAT * mixing
    capacity = HEAT_CAPACITY + LATENT_HEAT**2 * mixing * EPSILON / (GAS_CONSTANT * temperature**2)
    return np.asarray(heating / capacity)


def moist_adiabat(base_K: ArrayLike, pressures: ArrayLike, steps: int = 400) -> FloatArray:
    """Temperature, K, [base, pressure], of air lifted saturated from 1000 hPa.

    base_K: [base], temperature at 1000 hPa. pressures: [pressure], Pa, at most 1000 hPa, any order.
    Fourth-order Runge-Kutta in ln(p), `steps` steps to each pressure.
    """
    base = np.atleast_1d(np.asarray(base_K, dtype=np.float64))
    columns = [_lift(base, float(pressure), steps) for pressure in np.atleast_1d(pressures)]
    return np.stack(columns, axis=1)


def _lift(temperature: FloatArray, pressure: float, steps: int) -> FloatArray:
    step = np.log(pressure / SURFACE_PRESSURE) / steps
    for number in range(steps):
        start = SURFACE_PRESSURE * np.exp(number * step)
        middle, end = start * np.exp(step / 2.0), start * np.exp(step)
        first = moist_lapse(temperature, start)
        second = moist_lapse(temperature + step / 2.0 * first, middle)
        third = moist_lapse(temperature + step / 2.0 * second, middle)
        fourth = moist_lapse(temperature + step * third, end)
        temperature = temperature + step / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
    return temperature
