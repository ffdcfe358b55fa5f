"""Warming of the land in boxes that the case names, beside the ocean at the same latitudes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Diagnostic, Ratio
from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    LeftOut,
    near_surface,
    region_mean,
)
from respeval.diagnostics.formulas.warming import BYRNE_2013, OF_LAND, OF_OCEAN
from respeval.fields.grid import SURFACES, FloatArray

box_land_warming = Diagnostic(
    name="box_land_warming",
    what="Response of near-surface temperature over the land of a box",
    units="K",
    dims="perturbation, box",
    formula="Σ area·ΔT / Σ area over the land cells of each of `land_boxes`.",
    source=BYRNE_2013,
    values=lambda response, settings: _by_box(response, settings, region_mean),
    long_name="warming of near-surface temperature over the land of a box",
    cell_methods=OF_LAND,
    asked_for=True,
)

box_ocean_warming = Diagnostic(
    name="box_ocean_warming",
    what="Response over the ocean at the latitudes of a box, all around the globe",
    units="K",
    dims="perturbation, box",
    formula="Σ_φ w·ΔT_ocean / Σ_φ w over the circles of latitude φ with ocean: ΔT_ocean is the mean "
    "over the ocean cells of the circle, of any longitude, and w the area of the box's land on it.",
    source=BYRNE_2013,
    values=lambda response, settings: _by_box(response, settings, _ocean_beside),
    long_name="warming of near-surface temperature over the ocean at the latitudes of a box",
    cell_methods=OF_OCEAN,
    asked_for=True,
)

box_land_ocean_warming_ratio = Diagnostic(
    name="box_land_ocean_warming_ratio",
    what="Land warming of a box over ocean warming at its latitudes",
    units="1",
    dims="perturbation, box",
    formula="`box_land_warming` / `box_ocean_warming`.",
    source=BYRNE_2013,
    values=Ratio(box_land_warming, box_ocean_warming),
    long_name="ratio of the land warming of a box to the ocean warming at its latitudes",
    asked_for=True,
)


def boxes_in(response: xr.Dataset) -> list[str]:
    """The boxes among the surfaces of a zonal response, or of zonal.nc."""
    return [str(name) for name in response["surface"].values if name not in SURFACES]


def _by_box(
    response: xr.Dataset,
    settings: DiagnosticSettings,
    mean: Callable[[xr.Dataset, str, str], xr.DataArray],
) -> xr.DataArray:
    """mean: (response, output, box) -> (perturbation, …)."""
    boxes = boxes_in(response)
    if not boxes:
        raise LeftOut("the case names no land_boxes")
    name = near_surface(response, settings)
    value = xr.concat([mean(response, name, box) for box in boxes], xr.Variable("box", boxes))
    value["box"].attrs["long_name"] = "land box"
    return value.transpose(..., "box")


def _ocean_beside(response: xr.Dataset, name: str, box: str) -> xr.DataArray:
    """Mean over the ocean of each circle, the circles weighing by the land of the box."""
    surfaces = response["surface"].values.tolist()
    area: FloatArray = response["area"].transpose("surface", "lat").values
    land, ocean = (area[surfaces.index(surface)] for surface in (box, "ocean"))
    weights = np.where(ocean > 0, land, 0.0)
    beside = response[[name]].assign(area=(("surface", "lat"), weights[None].repeat(len(area), 0)))
    return region_mean(beside, name, "ocean")
