"""Warming of land and ocean by band, of the tropical ocean's two levels, and of the column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    LeftOut,
    output_of_role,
    ratio,
    region_mean,
)
from respeval.fields.grid import in_band


def land_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Response of near-surface temperature over land by band, K, (perturbation, band).

    Σ area·ΔT / Σ area over the land cells whose |latitude| is in [low, high).

    Source: Byrne and O'Gorman 2013, J. Climate 26, 4000-4016.
    """
    return _banded_warming(response, settings, "land")


def ocean_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Response of near-surface temperature over ocean by band, K, (perturbation, band).

    Σ area·ΔT / Σ area over the ocean cells whose |latitude| is in [low, high).

    Source: Byrne and O'Gorman 2013, J. Climate 26, 4000-4016.
    """
    return _banded_warming(response, settings, "ocean")


def land_ocean_warming_ratio(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Land warming over ocean warming by band, 1, (perturbation, band).

    `land_warming` / `ocean_warming`, a ratio of means.

    Source: Sutton et al. 2007, Geophys. Res. Lett. 34, L02701.
    """
    value = ratio(land_warming(response, settings), ocean_warming(response, settings))
    return value.assign_attrs(units="1", long_name="ratio of land warming to ocean warming")


def tropical_ocean_surface_warming(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Response of `surface_level` over tropical ocean, K, (perturbation).

    Σ area·ΔT / Σ area over the ocean cells with |latitude| < `tropical_lat_max`.

    Source: Santer et al. 2005, Science 309, 1551-1556.
    """
    name = output_of_role(response, "surface_level", settings.roles.surface_level)
    return _tropical_ocean_warming(response, settings, name, "surface")


def tropical_ocean_upper_warming(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Response of `upper_level` over tropical ocean, K, (perturbation).

    Σ area·ΔT / Σ area over the ocean cells with |latitude| < `tropical_lat_max`.

    Source: Santer et al. 2005, Science 309, 1551-1556.
    """
    name = output_of_role(response, "upper_level", settings.roles.upper_level)
    return _tropical_ocean_warming(response, settings, name, "free-troposphere")


def vertical_warming_ratio_tropical_ocean(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Upper over surface warming of the tropical ocean, 1, (perturbation).

    `tropical_ocean_upper_warming` / `tropical_ocean_surface_warming`: the amplification of warming
    with height that a moist adiabat implies.

    Source: Santer et al. 2005, Science 309, 1551-1556.
    """
    value = ratio(
        tropical_ocean_upper_warming(response, settings),
        tropical_ocean_surface_warming(response, settings),
    )
    return value.assign_attrs(
        units="1",
        long_name="ratio of free-troposphere to surface warming over tropical ocean",
        comment=f"{settings.roles.upper_level} over ocean with |latitude| < "
        f"{settings.tropical_lat_max:g} degrees",
    )


def column_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Global-mean response of every level of the column, K, (perturbation, level).

    Σ area·ΔT / Σ area over all cells. `level` names the variables, top to surface; `pressure` (hPa)
    stands beside it where it is known.

    Source: Santer et al. 2005, Science 309, 1551-1556.
    """
    names = _column(response, settings)
    means = [region_mean(response, name, "all") for name in names]
    return (
        _with_levels(means, settings)
        .transpose(..., "level")
        .assign_attrs(
            units="K",
            long_name="global-mean warming of air temperature",
            cell_methods="time: mean area: mean",
        )
    )


def zonal_mean_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Zonal-mean response of every level of the column, K, (perturbation, level, lat).

    Mean of ΔT over the cells of a circle of latitude. `level` and `pressure` as in `column_warming`.

    Source: Santer et al. 2005, Science 309, 1551-1556.
    """
    names = _column(response, settings)
    circles = [response[name].sel(surface="all", drop=True) for name in names]
    return (
        _with_levels(circles, settings)
        .transpose(..., "level", "lat")
        .assign_attrs(
            units="K",
            long_name="zonal-mean warming of air temperature",
            cell_methods="time: mean longitude: mean",
        )
    )


def _column(response: xr.Dataset, settings: DiagnosticSettings) -> tuple[str, ...]:
    """The levels' outputs, top to surface. Raises LeftOut where one is missing."""
    names = settings.roles.column_temperature
    if not names:
        raise LeftOut("no column_temperature is given")
    for name in names:
        output_of_role(response, "column_temperature", name)
    return names


def _with_levels(values: Sequence[xr.DataArray], settings: DiagnosticSettings) -> xr.DataArray:
    """Values of the column's levels along `level`, with their pressure where it is known."""
    names = list(settings.roles.column_temperature)
    value = xr.concat(list(values), dim=xr.Variable("level", names))
    value["level"].attrs["long_name"] = "variable of the level, top to surface"
    if settings.levels_hPa:
        attributes = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
        value = value.assign_coords(
            pressure=("level", np.asarray(settings.levels_hPa, np.float64), attributes)
        )
    return value


def with_band_edges(value: xr.DataArray, settings: DiagnosticSettings) -> xr.DataArray:
    """Values on `band` with the bands' names and edges as coordinates."""
    low, high = np.array(list(settings.bands.values()), dtype=np.float64).T
    named = value.assign_coords(
        band=("band", list(settings.bands), {"long_name": "band of absolute latitude"}),
        band_low=("band", low, _edge_attributes("lowest", "included")),
        band_high=("band", high, _edge_attributes("highest", "excluded")),
    )
    return named


def _banded_warming(
    response: xr.Dataset, settings: DiagnosticSettings, surface: str
) -> xr.DataArray:
    name = settings.roles.near_surface_temperature
    name = output_of_role(response, "near_surface_temperature", name)
    latitude = response["lat"].values
    means = [
        region_mean(response, name, surface, in_band(latitude, low, high))
        for low, high in settings.bands.values()
    ]
    value = with_band_edges(xr.concat(means, dim="band"), settings)
    return value.transpose(..., "band").assign_attrs(
        units="K",
        long_name=f"warming of near-surface temperature over {surface}",
        cell_methods=f"time: mean area: mean where {'land' if surface == 'land' else 'sea'}",
    )


def _edge_attributes(which: str, inclusion: str) -> dict[str, str]:
    return {"long_name": f"{which} absolute latitude of the band, {inclusion}", "units": "degrees"}


def _tropical_ocean_warming(
    response: xr.Dataset, settings: DiagnosticSettings, name: str, where: str
) -> xr.DataArray:
    circles = in_band(response["lat"].values, 0.0, settings.tropical_lat_max)
    return region_mean(response, name, "ocean", circles).assign_attrs(
        units="K",
        long_name=f"{where} warming over tropical ocean",
        cell_methods="time: mean area: mean where sea",
        comment=f"{name} over ocean with |latitude| < {settings.tropical_lat_max:g} degrees",
    )
