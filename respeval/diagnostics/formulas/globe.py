"""Land over ocean warming of the whole globe and of its low latitudes, as studies of many models tell it."""

from __future__ import annotations

import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Diagnostic, Ratio
from respeval.diagnostics.formulas.regions import DiagnosticSettings, near_surface, region_mean
from respeval.diagnostics.formulas.warming import SUTTON_2007
from respeval.fields.grid import in_band

#: Low latitudes reach from this one south to this one north, degrees.
LOW_LATITUDES = 40.0


def _mean(
    surface: str, response: xr.Dataset, settings: DiagnosticSettings, highest: float
) -> xr.DataArray:
    """Warming of a surface over the circles with |latitude| < highest, or of all where that is 90."""
    circles = in_band(response["lat"].values, 0.0, highest)
    return region_mean(response, near_surface(response, settings), surface, circles)


def _ratio(highest: float) -> Ratio:
    return Ratio(
        lambda response, settings: _mean("land", response, settings, highest),
        lambda response, settings: _mean("ocean", response, settings, highest),
    )


global_land_ocean_warming_ratio = Diagnostic(
    name="global_land_ocean_warming_ratio",
    what="Land warming over ocean warming of the globe",
    units="1",
    formula="Mean of ΔT over all land cells / mean of ΔT over all ocean cells.",
    source=SUTTON_2007,
    values=_ratio(90.0),
    long_name="ratio of land warming to ocean warming of the globe",
)

low_latitude_land_ocean_warming_ratio = Diagnostic(
    name="low_latitude_land_ocean_warming_ratio",
    what="Land warming over ocean warming between 40° S and 40° N",
    units="1",
    formula="Mean of ΔT over the land cells / over the ocean cells with |latitude| < 40 degrees.",
    source=SUTTON_2007,
    values=_ratio(LOW_LATITUDES),
    long_name="ratio of land warming to ocean warming between 40 degrees south and north",
)
