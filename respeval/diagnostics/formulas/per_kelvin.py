"""Changes per kelvin of global-mean near-surface warming: polar amplification and water."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Diagnostic, Formula, Ratio, Row
from respeval.diagnostics.formulas.quantities import output_with
from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    LeftOut,
    global_warming,
    in_baseline,
    near_surface,
    ratio,
    region_mean,
)
from respeval.fields.grid import BoolArray, FloatArray

#: The polar caps begin at this |latitude|, degrees.
POLAR_LAT_MIN = 60.0

_HOLLAND_2003 = "Holland and Bitz 2003, Clim. Dyn. 21, 221-232"
_HELD_2006 = "Held and Soden 2006, J. Climate 19, 5686-5699"


def per_kelvin(
    name: str,
    what: str,
    change: Diagnostic,
    changed: str,
    remark: str = ".",
    comment: str = "",
    row: Row | None = None,
) -> Diagnostic:
    """A global-mean change over the response of near-surface temperature, in its units per kelvin.

    changed: what changes, for the name in files. remark: the end of the formula.
    """
    return Diagnostic(
        name=name,
        what=what,
        units=f"{change.units} K-1",
        formula=f"`{change.name}` / global-mean response of near-surface temperature{remark}",
        source=change.source,
        values=Ratio(change, global_warming),
        long_name=f"change of {changed} per kelvin of global-mean near-surface warming",
        comment=comment,
        row=row,
    )


def _cap_warming(inside: Callable[[FloatArray], BoolArray]) -> Formula:
    """inside: latitudes -> whether they are in the cap."""

    def values(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
        name = near_surface(response, settings)
        circles = inside(response["lat"].values)
        where = f"cells with |latitude| >= {POLAR_LAT_MIN:g} degrees"
        return region_mean(response, name, "all", circles).assign_attrs(comment=where)

    return values


polar_warming = Diagnostic(
    name="polar_warming",
    what="Response of near-surface temperature in both polar caps",
    units="K",
    formula="Σ area·ΔT / Σ area over the cells with |latitude| >= 60 degrees.",
    source=_HOLLAND_2003,
    values=_cap_warming(lambda latitude: np.abs(latitude) >= POLAR_LAT_MIN),
    long_name="warming of near-surface temperature in both polar caps",
)

arctic_warming = Diagnostic(
    name="arctic_warming",
    what="Response of near-surface temperature in the Arctic",
    units="K",
    formula="Σ area·ΔT / Σ area over the cells with latitude >= 60 degrees.",
    source=_HOLLAND_2003,
    values=_cap_warming(lambda latitude: latitude >= POLAR_LAT_MIN),
    long_name="warming of near-surface temperature in the northern polar cap",
)

antarctic_warming = Diagnostic(
    name="antarctic_warming",
    what="Response of near-surface temperature in the Antarctic",
    units="K",
    formula="Σ area·ΔT / Σ area over the cells with latitude <= -60 degrees.",
    source=_HOLLAND_2003,
    values=_cap_warming(lambda latitude: latitude <= -POLAR_LAT_MIN),
    long_name="warming of near-surface temperature in the southern polar cap",
)


def _amplification(where: str, warming: Diagnostic, row: Row | None = None) -> Diagnostic:
    return Diagnostic(
        name=f"{where.lower()}_amplification",
        what=f"{where[:1].upper()}{where[1:]} over global-mean warming",
        units="1",
        formula=f"`{warming.name}` / global-mean response of near-surface temperature.",
        source=warming.source,
        values=Ratio(warming, global_warming),
        long_name=f"ratio of {where} to global-mean warming of near-surface temperature",
        row=row,
    )


polar_amplification = _amplification("polar", polar_warming)
arctic_amplification = _amplification(
    "Arctic", arctic_warming, Row("amplification", "Arctic", ends=False)
)
antarctic_amplification = _amplification("Antarctic", antarctic_warming, Row("", "Antarctic"))


def percentage(response: xr.Dataset, name: str, surface: str) -> xr.DataArray:
    """100 Δx / x of an output over a surface, x of the baseline, %.

    Raises LeftOut where the baseline isn't known, as in maps of a response.
    """
    if in_baseline(name) not in response:
        raise LeftOut(f"the baseline's mean of {name} is not known")
    change = 100.0 * region_mean(response, name, surface)
    return ratio(change, region_mean(response, in_baseline(name), surface))


def _relative_change(quantity: str) -> Formula:
    def values(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
        name = output_with(response, settings, quantity)
        found = percentage(response, name, "all")
        return found.assign_attrs(comment=f"{name}, relative to the baseline")

    return values


precipitation_change = Diagnostic(
    name="precipitation_change",
    what="Change of global-mean precipitation",
    units="%",
    formula="100 ΔP / P, both global means, P of the baseline.",
    source=_HELD_2006,
    values=_relative_change("precipitation"),
)

precipitation_change_per_K = per_kelvin(
    "precipitation_change_per_K",
    "Hydrological sensitivity: precipitation change per kelvin",
    precipitation_change,
    "global-mean precipitation",
    row=Row("precipitation, %/K", "global", ends=False),
)

water_path_change = Diagnostic(
    name="water_path_change",
    what="Change of the global-mean water path",
    units="%",
    formula="100 ΔW / W, both global means, W of the baseline.",
    source=_HELD_2006,
    values=_relative_change("water_path"),
    long_name="change of global-mean water path",
)

water_path_change_per_K = per_kelvin(
    "water_path_change_per_K",
    "Water-path change per kelvin",
    water_path_change,
    "the global-mean water path",
    "; constant relative humidity gives about 7.",
    row=Row("water path, %/K", "global", ends=False),
)
