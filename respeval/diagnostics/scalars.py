"""The named diagnostics: pure functions of a zonal response, in a registry.

Every function takes a zonal response (`zonal.py`), with or without further dimensions for
replicates, and `DiagnosticSettings`; it raises `LeftOut` where the run lacks what it needs.

`catalog.py` reads the docstrings: the first line is "what, units, (dimensions)."; then come the
formula and, after "Source:", where it is from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from respeval.emulator import Roles
from respeval.errors import InputError
from respeval.grid import BoolArray, in_band

#: Folded |latitude| bands, degrees, half-open [low, high).
DEFAULT_BANDS: Mapping[str, tuple[float, float]] = {
    "tropics": (0.0, 15.0),
    "subtropics": (15.0, 30.0),
    "midlatitudes": (30.0, 50.0),
}

#: A ratio whose denominator is smaller than this in magnitude is NaN.
SMALLEST_DENOMINATOR = 1e-12


class LeftOut(ValueError):
    """A diagnostic cannot be had from this run; the message says what is missing."""


@dataclass(frozen=True)
class DiagnosticSettings:
    """What the diagnostics are asked for.

    roles: which outputs they read.
    bands: folded |latitude| bands, name -> (low, high), degrees; a cell is in by its centre.
    tropical_lat_max: the tropical ocean is |latitude| < this, degrees.
    levels_hPa: pressure of each of `roles.column_temperature`, where known.

    Raises InputError where a band or the number of levels makes no sense.
    """

    roles: Roles = field(default_factory=Roles)
    bands: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(DEFAULT_BANDS))
    tropical_lat_max: float = 15.0
    levels_hPa: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.bands:
            raise InputError("at least one latitude band is needed, for example tropics: [0, 15]")
        for name, (low, high) in self.bands.items():
            if not 0 <= low < high <= 90:
                raise InputError(
                    f"band {name!r} is [{low:g}, {high:g}] but must rise within 0 to 90 degrees"
                )
        if not 0 < self.tropical_lat_max <= 90:
            raise InputError(
                f"tropical_lat_max is {self.tropical_lat_max:g} but must lie in 0 to 90 degrees"
            )
        num_levels = len(self.roles.column_temperature)
        if self.levels_hPa and len(self.levels_hPa) != num_levels:
            raise InputError(
                f"{len(self.levels_hPa)} pressures for {num_levels} levels of column temperature"
            )


Diagnostic = Callable[[xr.Dataset, DiagnosticSettings], xr.DataArray]


def region_mean(
    response: xr.Dataset, name: str, surface: str, circles: BoolArray | None = None
) -> xr.DataArray:
    """Σ area·x / Σ area of one output over the circles of a region; NaN where it has no cell.

    circles: [lat], which latitudes belong to the region; default all of them.
    Returns the output without `surface` and `lat`, units kept.
    """
    area = response["area"].sel(surface=surface, drop=True)
    if circles is not None:
        area = area.where(xr.DataArray(circles, dims="lat"), 0.0)
    value = response[name].sel(surface=surface, drop=True)
    total = (value * area).where(area > 0, 0.0).sum("lat", skipna=False)
    return total / area.sum("lat").where(area.sum("lat") > 0)


def ratio(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    """Numerator over denominator; NaN where the denominator is below 1e-12 in magnitude."""
    return numerator / denominator.where(np.abs(denominator) >= SMALLEST_DENOMINATOR)


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
    value = _ratio_of("land_ocean_warming_ratio", response, settings)
    return value.assign_attrs(units="1", long_name="ratio of land warming to ocean warming")


def tropical_ocean_surface_warming(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Response of `surface_level` over tropical ocean, K, (perturbation).

    Σ area·ΔT / Σ area over the ocean cells with |latitude| < `tropical_lat_max`.

    Source: Santer et al. 2005, Science 309, 1551-1556.
    """
    name = _role(response, "surface_level", settings.roles.surface_level)
    return _tropical_ocean_warming(response, settings, name, "surface")


def tropical_ocean_upper_warming(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Response of `upper_level` over tropical ocean, K, (perturbation).

    Σ area·ΔT / Σ area over the ocean cells with |latitude| < `tropical_lat_max`.

    Source: Santer et al. 2005, Science 309, 1551-1556.
    """
    name = _role(response, "upper_level", settings.roles.upper_level)
    return _tropical_ocean_warming(response, settings, name, "free-troposphere")


def vertical_warming_ratio_tropical_ocean(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Upper over surface warming of the tropical ocean, 1, (perturbation).

    `tropical_ocean_upper_warming` / `tropical_ocean_surface_warming`: the amplification of warming
    with height that a moist adiabat implies.

    Source: Santer et al. 2005, Science 309, 1551-1556.
    """
    value = _ratio_of("vertical_warming_ratio_tropical_ocean", response, settings)
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
    names = settings.roles.column_temperature
    if not names:
        raise LeftOut("no column_temperature is given")
    for name in names:
        _role(response, "column_temperature", name)
    means = [region_mean(response, name, "all") for name in names]
    value = xr.concat(means, dim=xr.Variable("level", list(names)))
    value["level"].attrs["long_name"] = "variable of the level, top to surface"
    if settings.levels_hPa:
        attributes = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
        value = value.assign_coords(
            pressure=("level", np.asarray(settings.levels_hPa, np.float64), attributes)
        )
    return value.transpose(..., "level").assign_attrs(
        units="K",
        long_name="global-mean warming of air temperature",
        cell_methods="time: mean area: mean",
    )


#: Name in diagnostics.nc -> function. A new scalar diagnostic is one more line here.
DIAGNOSTICS: Mapping[str, Diagnostic] = {
    "land_warming": land_warming,
    "ocean_warming": ocean_warming,
    "land_ocean_warming_ratio": land_ocean_warming_ratio,
    "tropical_ocean_surface_warming": tropical_ocean_surface_warming,
    "tropical_ocean_upper_warming": tropical_ocean_upper_warming,
    "vertical_warming_ratio_tropical_ocean": vertical_warming_ratio_tropical_ocean,
    "column_warming": column_warming,
}

#: Ratio -> its numerator and its denominator, which Fieller's interval is made from.
RATIOS: Mapping[str, tuple[Diagnostic, Diagnostic]] = {
    "land_ocean_warming_ratio": (land_warming, ocean_warming),
    "vertical_warming_ratio_tropical_ocean": (
        tropical_ocean_upper_warming,
        tropical_ocean_surface_warming,
    ),
}


def _ratio_of(name: str, response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    numerator, denominator = RATIOS[name]
    return ratio(numerator(response, settings), denominator(response, settings))


def _role(response: xr.Dataset, role: str, name: str | None) -> str:
    """The variable that plays a role. Raises LeftOut where there is none."""
    if name is None:
        raise LeftOut(f"no {role} is given")
    if name not in response:
        raise LeftOut(f"{role} is {name!r}, which is not among the outputs")
    return name


def _banded_warming(
    response: xr.Dataset, settings: DiagnosticSettings, surface: str
) -> xr.DataArray:
    name = _role(response, "near_surface_temperature", settings.roles.near_surface_temperature)
    latitude = response["lat"].values
    means = [
        region_mean(response, name, surface, in_band(latitude, low, high))
        for low, high in settings.bands.values()
    ]
    low, high = np.array(list(settings.bands.values()), dtype=np.float64).T
    value = xr.concat(means, dim=xr.Variable("band", list(settings.bands))).assign_coords(
        band_low=("band", low, _edge_attributes("lowest", "included")),
        band_high=("band", high, _edge_attributes("highest", "excluded")),
    )
    value["band"].attrs["long_name"] = "band of absolute latitude"
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
