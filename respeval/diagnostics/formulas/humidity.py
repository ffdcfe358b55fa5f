"""Change of near-surface humidity over land and ocean."""

from __future__ import annotations

import xarray as xr

from respeval.diagnostics.formulas.per_kelvin import percentage
from respeval.diagnostics.formulas.quantities import output_with
from respeval.diagnostics.formulas.regions import DiagnosticSettings, region_mean

#: Part of the globe -> surface of a zonal response.
REGIONS = {"global": "all", "land": "land", "ocean": "ocean"}


def humidity_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of near-surface specific humidity, %, (perturbation, region).

    100 Δq / q of the globe, of land and of ocean, q of the baseline.

    Source: Byrne and O'Gorman 2018, Proc. Natl. Acad. Sci. 115, 4863-4868.
    """
    name = output_with(response, settings, "near_surface_humidity")
    value = _by_region([percentage(response, name, surface) for surface in REGIONS.values()])
    return value.assign_attrs(
        units="%",
        long_name="change of near-surface specific humidity",
        cell_methods="time: mean area: mean",
        comment=f"{name}, relative to the baseline",
    )


def relative_humidity_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of near-surface relative humidity, the output's, (perturbation, region).

    Δ of the mean over the globe, over land and over ocean.

    Source: Byrne and O'Gorman 2018, Proc. Natl. Acad. Sci. 115, 4863-4868.
    """
    name = output_with(response, settings, "near_surface_relative_humidity")
    value = _by_region([region_mean(response, name, surface) for surface in REGIONS.values()])
    return value.assign_attrs(
        units=response[name].attrs.get("units", "1"),
        long_name="change of near-surface relative humidity",
        cell_methods="time: mean area: mean",
        comment=name,
    )


def _by_region(means: list[xr.DataArray]) -> xr.DataArray:
    value = xr.concat(means, dim=xr.Variable("region", list(REGIONS)))
    value["region"].attrs["long_name"] = "part of the globe"
    return value.transpose(..., "region")
