"""Changes of the sea-surface temperature: pure functions on fields.

A perturbation is a pattern in K, [lat, lon], on the emulator's grid. It is added where the ocean
fraction lies strictly above the cutoff, to copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from respeval.fields.grid import FloatArray, Grid

if TYPE_CHECKING:
    import torch

#: The group whose SST is left as it is; its place among the groups is always the first.
BASELINE = "baseline"

Scope = Literal["ocean", "field", "none"]


def uniform_pattern(grid: Grid, amplitude_K: float) -> FloatArray:
    """The same change everywhere, [lat, lon], K."""
    return np.full(grid.shape, float(amplitude_K))


def patch_pattern(
    grid: Grid,
    amplitude_K: float,
    lat_center: float,
    lon_center: float,
    lat_width: float,
    lon_width: float,
) -> FloatArray:
    """A cosine-squared patch, [lat, lon], K: Bloch-Johnson et al. (2024), eq. 1.

    A·cos²(π/2·Δlat/(lat_width/2))·cos²(π/2·Δlon/(lon_width/2)) inside the box, zero outside. Widths
    are full widths in degrees; longitude differences are taken the short way around.
    """
    distance_lat = (grid.latitude - lat_center) / (lat_width / 2)
    wrapped = (grid.longitude - lon_center + 180.0) % 360.0 - 180.0
    distance_lon = wrapped / (lon_width / 2)
    return amplitude_K * np.outer(_bump(distance_lat), _bump(distance_lon))


def _bump(distance: FloatArray) -> FloatArray:
    return np.where(np.abs(distance) <= 1.0, np.cos(0.5 * np.pi * distance) ** 2, 0.0)


def perturb_over_ocean(
    surface_temperature: torch.Tensor,
    ocean_fraction: torch.Tensor,
    pattern: torch.Tensor,
    cutoff: float,
) -> torch.Tensor:
    """Surface temperature plus the pattern where ocean fraction > cutoff (strictly), a new tensor.

    surface_temperature, ocean_fraction: [..., lat, lon], K and 1.
    pattern: broadcastable to them, K; a NaN over land does not reach the result.
    """
    changed = surface_temperature + pattern.to(surface_temperature)
    return changed.where(ocean_fraction > cutoff, surface_temperature)


def perturb_initial(
    surface_temperature: torch.Tensor,
    ocean_fraction: torch.Tensor,
    pattern: torch.Tensor,
    cutoff: float,
    scope: Scope,
) -> torch.Tensor:
    """A prognostic surface temperature at the start of a perturbed climate, a new tensor.

    scope: `ocean` changes what `perturb_over_ocean` changes, `field` adds the pattern to land too,
    `none` leaves the initial condition as it is. Shapes and units as in `perturb_over_ocean`.
    """
    if scope == "none":
        return surface_temperature.clone()
    if scope == "field":
        return surface_temperature + pattern.to(surface_temperature)
    return perturb_over_ocean(surface_temperature, ocean_fraction, pattern, cutoff)
