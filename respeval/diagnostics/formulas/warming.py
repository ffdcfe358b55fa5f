"""Warming of land and ocean by band, of the tropical ocean's two levels, and of the column."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Diagnostic, Ratio, Row
from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    LeftOut,
    near_surface,
    output_of_role,
    region_mean,
)
from respeval.fields.grid import BoolArray, in_band

BYRNE_2013 = "Byrne and O'Gorman 2013, J. Climate 26, 4000-4016"
SUTTON_2007 = "Sutton et al. 2007, Geophys. Res. Lett. 34, L02701"
_SANTER_2005 = "Santer et al. 2005, Science 309, 1551-1556"

#: Cell methods of means over a surface.
OF_LAND, OF_OCEAN = (f"time: mean area: mean where {where}" for where in ("land", "sea"))


def _warming(surface: str, cell_methods: str) -> Diagnostic:
    return Diagnostic(
        name=f"{surface}_warming",
        what=f"Response of near-surface temperature over {surface} by band",
        units="K",
        dims="perturbation, band",
        formula=f"Σ area·ΔT / Σ area over the {surface} cells whose |latitude| is in [low, high), 90 in.",
        source=BYRNE_2013,
        values=lambda response, settings: by_band(response, settings, surface),
        long_name=f"warming of near-surface temperature over {surface}",
        cell_methods=cell_methods,
        row=Row(f"{surface} warming, K"),
        by_season=True,
    )


land_warming = _warming("land", OF_LAND)
ocean_warming = _warming("ocean", OF_OCEAN)

land_ocean_warming_ratio = Diagnostic(
    name="land_ocean_warming_ratio",
    what="Land warming over ocean warming by band",
    units="1",
    dims="perturbation, band",
    formula="`land_warming` / `ocean_warming`, a ratio of means.",
    source=SUTTON_2007,
    values=Ratio(land_warming, ocean_warming),
    long_name="ratio of land warming to ocean warming",
    row=Row("land/ocean ratio"),
    by_season=True,
)

tropical_ocean_surface_warming = Diagnostic(
    name="tropical_ocean_surface_warming",
    what="Response of `surface_level` over tropical ocean",
    units="K",
    formula="Σ area·ΔT / Σ area over the ocean cells with |latitude| < `tropical_lat_max`.",
    source=_SANTER_2005,
    values=lambda response, settings: _over_tropical_ocean(response, settings, "surface_level"),
    long_name="surface warming over tropical ocean",
    cell_methods=OF_OCEAN,
    row=Row("surface level, K", "tropical ocean"),
)

tropical_ocean_upper_warming = Diagnostic(
    name="tropical_ocean_upper_warming",
    what="Response of `upper_level` over tropical ocean",
    units="K",
    formula="Σ area·ΔT / Σ area over the ocean cells with |latitude| < `tropical_lat_max`.",
    source=_SANTER_2005,
    values=lambda response, settings: _over_tropical_ocean(response, settings, "upper_level"),
    long_name="free-troposphere warming over tropical ocean",
    cell_methods=OF_OCEAN,
    row=Row("upper level, K", "tropical ocean"),
)

vertical_warming_ratio_tropical_ocean = Diagnostic(
    name="vertical_warming_ratio_tropical_ocean",
    what="Upper over surface warming of the tropical ocean",
    units="1",
    formula="`tropical_ocean_upper_warming` / `tropical_ocean_surface_warming`: the amplification of "
    "warming with height that a moist adiabat implies.",
    source=_SANTER_2005,
    values=Ratio(tropical_ocean_upper_warming, tropical_ocean_surface_warming),
    long_name="ratio of free-troposphere to surface warming over tropical ocean",
    row=Row("vertical ratio", "tropical ocean"),
)

column_warming = Diagnostic(
    name="column_warming",
    what="Global-mean response of every level of the column",
    units="K",
    dims="perturbation, level",
    formula="Σ area·ΔT / Σ area over all cells. `level` names the variables, top to surface; "
    "`pressure` (hPa) stands beside it where it is known.",
    source=_SANTER_2005,
    values=lambda response, settings: _by_level(
        response, settings, lambda name: region_mean(response, name, "all")
    ).transpose(..., "level"),
    long_name="global-mean warming of air temperature",
    row=Row("column, global, K"),
)

zonal_mean_warming = Diagnostic(
    name="zonal_mean_warming",
    what="Zonal-mean response of every level of the column",
    units="K",
    dims="perturbation, level, lat",
    formula="Mean of ΔT over the cells of a circle of latitude. `level` and `pressure` as in "
    "`column_warming`.",
    source=_SANTER_2005,
    values=lambda response, settings: _by_level(
        response, settings, lambda name: response[name].sel(surface="all", drop=True)
    ).transpose(..., "level", "lat"),
    long_name="zonal-mean warming of air temperature",
    cell_methods="time: mean longitude: mean",
)


def by_band(
    response: xr.Dataset,
    settings: DiagnosticSettings,
    surface: str,
    half: BoolArray | None = None,
) -> xr.DataArray:
    """Warming of a surface, (perturbation, …, band). half: [lat], the circles that count; all of them."""
    name, latitude = near_surface(response, settings), response["lat"].values
    bands = [in_band(latitude, low, high) for low, high in settings.bands.values()]
    circles = bands if half is None else [band & half for band in bands]
    means = [region_mean(response, name, surface, inside) for inside in circles]
    return _with_edges(xr.concat(means, dim="band"), settings).transpose(..., "band")


def _with_edges(value: xr.DataArray, settings: DiagnosticSettings) -> xr.DataArray:
    """Values on `band` with the bands' names and edges as coordinates."""
    low, high = np.array(list(settings.bands.values()), dtype=np.float64).T
    named = value.assign_coords(
        band=("band", list(settings.bands), {"long_name": "band of absolute latitude"}),
        band_low=("band", low, _edge_attributes("lowest", "included")),
        band_high=("band", high, _edge_attributes("highest", "excluded but for 90")),
    )
    return named


def _edge_attributes(which: str, inclusion: str) -> dict[str, str]:
    return {"long_name": f"{which} absolute latitude of the band, {inclusion}", "units": "degrees"}


def _over_tropical_ocean(
    response: xr.Dataset, settings: DiagnosticSettings, role: str
) -> xr.DataArray:
    name = output_of_role(response, role, getattr(settings.roles, role))
    circles = in_band(response["lat"].values, 0.0, settings.tropical_lat_max)
    where = f"{name} over ocean with |latitude| < {settings.tropical_lat_max:g} degrees"
    return region_mean(response, name, "ocean", circles).assign_attrs(comment=where)


def _by_level(
    response: xr.Dataset, settings: DiagnosticSettings, value_of: Callable[[str], xr.DataArray]
) -> xr.DataArray:
    """Values of the column's levels along `level`, top to surface, with their pressure where it is
    known. Raises LeftOut where one is missing."""
    names = list(settings.roles.column_temperature)
    if not names:
        raise LeftOut("no column_temperature is given")
    for name in names:
        output_of_role(response, "column_temperature", name)
    value = xr.concat(list(map(value_of, names)), dim=xr.Variable("level", names))
    value["level"].attrs["long_name"] = "variable of the level, top to surface"
    if settings.levels_hPa:
        attributes = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
        value = value.assign_coords(
            pressure=("level", np.asarray(settings.levels_hPa, np.float64), attributes)
        )
    return value
