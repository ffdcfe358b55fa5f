"""Warming of land and ocean by band of each hemisphere."""

from __future__ import annotations

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Diagnostic, Ratio
from respeval.diagnostics.formulas.regions import DiagnosticSettings
from respeval.diagnostics.formulas.warming import (
    BYRNE_2013,
    OF_LAND,
    OF_OCEAN,
    SUTTON_2007,
    by_band,
)

HEMISPHERES = ("northern", "southern")


def _warming(surface: str, cell_methods: str) -> Diagnostic:
    return Diagnostic(
        name=f"{surface}_warming_by_hemisphere",
        what=f"{surface.capitalize()} warming by band of a hemisphere",
        units="K",
        dims="perturbation, hemisphere, band",
        formula=f"As `{surface}_warming`, over the circles of one hemisphere; the equator's is northern.",
        source=BYRNE_2013,
        values=lambda response, settings: _by_hemisphere(response, settings, surface),
        long_name=f"warming of near-surface temperature over {surface} by hemisphere",
        cell_methods=cell_methods,
    )


land_warming_by_hemisphere = _warming("land", OF_LAND)
ocean_warming_by_hemisphere = _warming("ocean", OF_OCEAN)

land_ocean_warming_ratio_by_hemisphere = Diagnostic(
    name="land_ocean_warming_ratio_by_hemisphere",
    what="Land warming over ocean warming by band",
    units="1",
    dims="perturbation, hemisphere, band",
    formula="`land_warming_by_hemisphere` / `ocean_warming_by_hemisphere`.",
    source=SUTTON_2007,
    values=Ratio(land_warming_by_hemisphere, ocean_warming_by_hemisphere),
    long_name="ratio of land warming to ocean warming by hemisphere",
)


def _by_hemisphere(
    response: xr.Dataset, settings: DiagnosticSettings, surface: str
) -> xr.DataArray:
    latitude = np.asarray(response["lat"].values)
    halves = [by_band(response, settings, surface, half) for half in (latitude >= 0, latitude < 0)]
    value = xr.concat(halves, dim=xr.Variable("hemisphere", list(HEMISPHERES)))
    value["hemisphere"].attrs["long_name"] = "hemisphere"
    return value.transpose(..., "hemisphere", "band")
