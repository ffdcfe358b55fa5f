"""What every diagnostic is made with: settings, means over regions, ratios.

A diagnostic takes a zonal response (`zonal.py`), with or without further dimensions for replicates,
and `DiagnosticSettings`; it raises `LeftOut` where the run lacks what it needs. The mean of the
baseline stands beside the response of every output, under `in_baseline(NAME)`, where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import xarray as xr

from respeval.errors import InputError
from respeval.fields.grid import DEFAULT_BANDS, TROPICAL_LAT_MAX, BoolArray
from respeval.fields.variables import Roles

#: No output's name ends so.
_IN_BASELINE = "@baseline"

#: A ratio whose denominator is smaller than this in magnitude is NaN.
_SMALLEST_DENOMINATOR = 1e-12

Values = TypeVar("Values", xr.DataArray, xr.Variable)


class LeftOut(ValueError):
    """A diagnostic cannot be had from this run; the message says what is missing."""


@dataclass(frozen=True)
class DiagnosticSettings:
    """What the diagnostics are asked for.

    roles: which outputs they read.
    bands: folded |latitude| bands, name -> (low, high), degrees; a cell is in by its centre.
    tropical_lat_max: the tropical ocean is |latitude| < this, degrees.
    levels_hPa: pressure of each of `roles.column_temperature`, where known.
    output_names: quantity of `QUANTITIES` -> output, where its name doesn't say what it is.
    amplitudes_K: perturbation -> change of SST, of those that change it alike everywhere.
    surface_temperature: the variable that is SST over ocean, where it is known.
    sst_boxes: name -> (lat_min, lat_max, lon_min, lon_max), degrees, beside those of every run.

    Raises InputError where a band or the number of levels makes no sense.
    """

    roles: Roles = field(default_factory=Roles)
    bands: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(DEFAULT_BANDS))
    tropical_lat_max: float = TROPICAL_LAT_MAX
    levels_hPa: tuple[float, ...] = ()
    output_names: Mapping[str, str] = field(default_factory=dict)
    amplitudes_K: Mapping[str, float] = field(default_factory=dict)
    surface_temperature: str | None = None
    sst_boxes: Mapping[str, tuple[float, float, float, float]] = field(default_factory=dict)

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


def region_mean(
    response: xr.Dataset, name: str, surface: str, circles: BoolArray | None = None
) -> xr.DataArray:
    """Σ area·x / Σ area of one output over the circles of a region; NaN where it has no cell.

    circles: [lat], which latitudes belong to the region; default all of them.
    Returns the output without `surface` and `lat`, units kept.
    """
    at = {"surface": response["surface"].values.tolist().index(surface)}
    area = response["area"].variable.isel(at).values
    inside = np.flatnonzero(area > 0 if circles is None else (area > 0) & circles)
    # Variables instead of arrays with coordinates: aligning those would be most of the work.
    value = response[name].variable.isel({**at, "lat": inside})
    weight = area[inside] / area[inside].sum() if inside.size else np.array([])
    mean = xr.dot(value, xr.Variable("lat", weight), dim="lat")
    if not inside.size:
        mean = xr.full_like(mean, np.nan)
    coords = {dim: response.coords[dim] for dim in mean.dims if dim in response.coords}
    return xr.DataArray(mean, coords)


def global_warming(
    response: xr.Dataset, settings: DiagnosticSettings, surface: str = "all"
) -> xr.DataArray:
    """Response of near-surface temperature over all cells of the globe, or those of a surface, K."""
    return region_mean(response, near_surface(response, settings), surface)


def near_surface(response: xr.Dataset, settings: DiagnosticSettings) -> str:
    """The output that is near-surface temperature. Raises LeftOut where there is none."""
    name = settings.roles.near_surface_temperature
    return output_of_role(response, "near_surface_temperature", name)


def in_baseline(name: str) -> str:
    """What the baseline's own mean of an output is called beside the response."""
    return name + _IN_BASELINE


def outputs_in(response: xr.Dataset) -> list[str]:
    """The outputs of a zonal response: neither the area nor the baseline's means."""
    names = map(str, response.data_vars)
    return [name for name in names if name != "area" and not name.endswith(_IN_BASELINE)]


def with_baseline(response: xr.Dataset, baseline: xr.Dataset) -> xr.Dataset:
    """The response with the baseline's means beside it."""
    return response.assign({in_baseline(str(n)): value for n, value in baseline.data_vars.items()})


def with_forcing(response: xr.Dataset) -> xr.Dataset:
    """The response, and under its own name what only the baseline has: forcing, the same in every climate."""
    every = [str(name) for name in response.data_vars if str(name).endswith(_IN_BASELINE)]
    alone = [name for name in every if name.removesuffix(_IN_BASELINE) not in response]
    return response.assign({n.removesuffix(_IN_BASELINE): response[n] for n in alone})


def ratio(numerator: Values, denominator: Values) -> Values:
    """Numerator over denominator; NaN where the denominator is below 1e-12 in magnitude.

    >>> land, ocean = xr.DataArray([6.0, 0.2], dims="band"), xr.DataArray([4.0, 0.0], dims="band")
    >>> ratio(land, ocean).values.tolist()
    [1.5, nan]
    """
    found: Values = numerator / denominator.where(abs(denominator) >= _SMALLEST_DENOMINATOR)
    return found


def output_of_role(response: xr.Dataset, role: str, name: str | None) -> str:
    """The variable that plays a role. Raises LeftOut where there is none."""
    if name is None:
        raise LeftOut(f"no {role} is given")
    if name not in response:
        raise LeftOut(f"{role} is {name!r}, which is not among the outputs")
    return name
