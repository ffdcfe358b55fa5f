"""Change of near-surface humidity over land and ocean."""

from __future__ import annotations

import xarray as xr

from respeval.diagnostics.formulas.diagnostic import THE_OUTPUTS, Diagnostic
from respeval.diagnostics.formulas.per_kelvin import percentage
from respeval.diagnostics.formulas.quantities import output_with
from respeval.diagnostics.formulas.regions import DiagnosticSettings, region_mean

#: Part of the globe -> surface of a zonal response.
REGIONS = {"global": "all", "land": "land", "ocean": "ocean"}

_BYRNE_2018 = "Byrne and O'Gorman 2018, Proc. Natl. Acad. Sci. 115, 4863-4868"


def _specific(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    name = output_with(response, settings, "near_surface_humidity")
    value = by_region([percentage(response, name, surface) for surface in REGIONS.values()])
    return value.assign_attrs(comment=f"{name}, relative to the baseline")


def _relative(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    name = output_with(response, settings, "near_surface_relative_humidity")
    value = by_region([region_mean(response, name, surface) for surface in REGIONS.values()])
    return value.assign_attrs(units=response[name].attrs.get("units", "1"), comment=name)


humidity_change = Diagnostic(
    name="humidity_change",
    what="Change of near-surface specific humidity",
    units="%",
    dims="perturbation, region",
    formula="100 Δq / q of the globe, of land and of ocean, q of the baseline.",
    source=_BYRNE_2018,
    values=_specific,
)

relative_humidity_change = Diagnostic(
    name="relative_humidity_change",
    what="Change of near-surface relative humidity",
    units=THE_OUTPUTS,
    dims="perturbation, region",
    formula="Δ of the mean over the globe, over land and over ocean.",
    source=_BYRNE_2018,
    values=_relative,
)


def by_region(means: list[xr.DataArray]) -> xr.DataArray:
    """The means over each of `REGIONS` as one, (…, region)."""
    value = xr.concat(means, dim=xr.Variable("region", list(REGIONS)))
    value["region"].attrs["long_name"] = "part of the globe"
    return value.transpose(..., "region")
