"""Changes per kelvin of global-mean near-surface warming: polar amplification and water."""

from __future__ import annotations

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.quantities import output_with
from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    LeftOut,
    global_warming,
    in_baseline,
    output_of_role,
    ratio,
    region_mean,
)
from respeval.fields.grid import BoolArray

#: The polar caps begin at this |latitude|, degrees.
POLAR_LAT_MIN = 60.0

_OF_GLOBE = "time: mean area: mean"


def polar_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Response of near-surface temperature in both polar caps, K, (perturbation).

    Σ area·ΔT / Σ area over the cells with |latitude| >= 60 degrees.

    Source: Holland and Bitz 2003, Clim. Dyn. 21, 221-232.
    """
    return _cap_warming(response, settings, np.abs(response["lat"].values) >= POLAR_LAT_MIN, "both")


def arctic_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Response of near-surface temperature in the Arctic, K, (perturbation).

    Σ area·ΔT / Σ area over the cells with latitude >= 60 degrees.

    Source: Holland and Bitz 2003, Clim. Dyn. 21, 221-232.
    """
    return _cap_warming(response, settings, response["lat"].values >= POLAR_LAT_MIN, "northern")


def antarctic_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Response of near-surface temperature in the Antarctic, K, (perturbation).

    Σ area·ΔT / Σ area over the cells with latitude <= -60 degrees.

    Source: Holland and Bitz 2003, Clim. Dyn. 21, 221-232.
    """
    return _cap_warming(response, settings, response["lat"].values <= -POLAR_LAT_MIN, "southern")


def polar_amplification(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Polar over global-mean warming, 1, (perturbation).

    `polar_warming` / global-mean response of near-surface temperature.

    Source: Holland and Bitz 2003, Clim. Dyn. 21, 221-232.
    """
    return _amplification(polar_warming(response, settings), response, settings, "polar")


def arctic_amplification(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Arctic over global-mean warming, 1, (perturbation).

    `arctic_warming` / global-mean response of near-surface temperature.

    Source: Holland and Bitz 2003, Clim. Dyn. 21, 221-232.
    """
    return _amplification(arctic_warming(response, settings), response, settings, "Arctic")


def antarctic_amplification(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Antarctic over global-mean warming, 1, (perturbation).

    `antarctic_warming` / global-mean response of near-surface temperature.

    Source: Holland and Bitz 2003, Clim. Dyn. 21, 221-232.
    """
    return _amplification(antarctic_warming(response, settings), response, settings, "Antarctic")


def precipitation_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of global-mean precipitation, %, (perturbation).

    100 ΔP / P, both global means, P of the baseline.

    Source: Held and Soden 2006, J. Climate 19, 5686-5699.
    """
    return _relative_change(response, settings, "precipitation")


def precipitation_change_per_K(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Hydrological sensitivity: precipitation change per kelvin, % K-1, (perturbation).

    `precipitation_change` / global-mean response of near-surface temperature.

    Source: Held and Soden 2006, J. Climate 19, 5686-5699.
    """
    change = precipitation_change(response, settings)
    return per_K(change, response, settings, "change of global-mean precipitation", "%")


def water_path_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of the global-mean water path, %, (perturbation).

    100 ΔW / W, both global means, W of the baseline.

    Source: Held and Soden 2006, J. Climate 19, 5686-5699.
    """
    return _relative_change(response, settings, "water_path")


def water_path_change_per_K(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Water-path change per kelvin, % K-1, (perturbation).

    `water_path_change` / global-mean response of near-surface temperature; constant relative
    humidity gives about 7.

    Source: Held and Soden 2006, J. Climate 19, 5686-5699.
    """
    change = water_path_change(response, settings)
    return per_K(change, response, settings, "change of the global-mean water path", "%")


def percentage(response: xr.Dataset, name: str, surface: str) -> xr.DataArray:
    """100 Δx / x of an output over a surface, x of the baseline, %.

    Raises LeftOut where the baseline isn't known, as in maps of a response.
    """
    if in_baseline(name) not in response:
        raise LeftOut(f"the baseline's mean of {name} is not known")
    change = 100.0 * region_mean(response, name, surface)
    return ratio(change, region_mean(response, in_baseline(name), surface))


def per_K(
    change: xr.DataArray,
    response: xr.Dataset,
    settings: DiagnosticSettings,
    what: str,
    units: str,
) -> xr.DataArray:
    """A global-mean change over the response of near-surface temperature, in `units` per kelvin."""
    return ratio(change, global_warming(response, settings)).assign_attrs(
        units=f"{units} K-1", long_name=f"{what} per kelvin of global-mean near-surface warming"
    )


def _cap_warming(
    response: xr.Dataset, settings: DiagnosticSettings, circles: BoolArray, caps: str
) -> xr.DataArray:
    name = settings.roles.near_surface_temperature
    name = output_of_role(response, "near_surface_temperature", name)
    which = "both polar caps" if caps == "both" else f"the {caps} polar cap"
    return region_mean(response, name, "all", circles).assign_attrs(
        units="K",
        long_name=f"warming of near-surface temperature in {which}",
        cell_methods=_OF_GLOBE,
        comment=f"cells with |latitude| >= {POLAR_LAT_MIN:g} degrees",
    )


def _amplification(
    warming: xr.DataArray, response: xr.Dataset, settings: DiagnosticSettings, where: str
) -> xr.DataArray:
    return ratio(warming, global_warming(response, settings)).assign_attrs(
        units="1",
        long_name=f"ratio of {where} to global-mean warming of near-surface temperature",
        comment=f"cells with |latitude| >= {POLAR_LAT_MIN:g} degrees",
    )


def _relative_change(
    response: xr.Dataset, settings: DiagnosticSettings, quantity: str
) -> xr.DataArray:
    name = output_with(response, settings, quantity)
    value = percentage(response, name, "all")
    return value.assign_attrs(
        units="%",
        long_name=f"change of global-mean {quantity.replace('_', ' ')}",
        cell_methods=_OF_GLOBE,
        comment=f"{name}, relative to the baseline",
    )
