"""Warming of land and ocean by band of each hemisphere."""

from __future__ import annotations

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    output_of_role,
    ratio,
    region_mean,
)
from respeval.diagnostics.formulas.warming import with_band_edges
from respeval.fields.grid import in_band

HEMISPHERES = ("northern", "southern")


def land_warming_by_hemisphere(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Land warming by band of a hemisphere, K, (perturbation, hemisphere, band).

    As `land_warming`, over the circles of one hemisphere; the equator's is northern.

    Source: Byrne and O'Gorman 2013, J. Climate 26, 4000-4016.
    """
    return _warming(response, settings, "land")


def ocean_warming_by_hemisphere(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Ocean warming by band of a hemisphere, K, (perturbation, hemisphere, band).

    As `ocean_warming`, over the circles of one hemisphere; the equator's is northern.

    Source: Byrne and O'Gorman 2013, J. Climate 26, 4000-4016.
    """
    return _warming(response, settings, "ocean")


def land_ocean_warming_ratio_by_hemisphere(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Land warming over ocean warming by band, 1, (perturbation, hemisphere, band).

    `land_warming_by_hemisphere` / `ocean_warming_by_hemisphere`.

    Source: Sutton et al. 2007, Geophys. Res. Lett. 34, L02701.
    """
    land = land_warming_by_hemisphere(response, settings)
    value = ratio(land, ocean_warming_by_hemisphere(response, settings))
    return value.assign_attrs(
        units="1", long_name="ratio of land warming to ocean warming by hemisphere"
    )


def _warming(response: xr.Dataset, settings: DiagnosticSettings, surface: str) -> xr.DataArray:
    name = settings.roles.near_surface_temperature
    name = output_of_role(response, "near_surface_temperature", name)
    latitude = np.asarray(response["lat"].values)
    hemispheres = []
    for inside in (latitude >= 0, latitude < 0):
        means = [
            region_mean(response, name, surface, in_band(latitude, low, high) & inside)
            for low, high in settings.bands.values()
        ]
        hemispheres.append(with_band_edges(xr.concat(means, dim="band"), settings))
    value = xr.concat(hemispheres, dim=xr.Variable("hemisphere", list(HEMISPHERES)))
    value["hemisphere"].attrs["long_name"] = "hemisphere"
    return value.transpose(..., "hemisphere", "band").assign_attrs(
        units="K",
        long_name=f"warming of near-surface temperature over {surface} by hemisphere",
        cell_methods=f"time: mean area: mean where {'land' if surface == 'land' else 'sea'}",
    )
