"""Warming of the land in boxes that the case names, beside the ocean at the same latitudes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    NotAsked,
    output_of_role,
    ratio,
    region_mean,
)
from respeval.fields.grid import SURFACES, FloatArray


def box_land_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Response of near-surface temperature over the land of a box, K, (perturbation, box).

    Σ area·ΔT / Σ area over the land cells of each of `land_boxes`.

    Source: Byrne and O'Gorman 2013, J. Climate 26, 4000-4016.
    """
    value = _by_box(response, settings, lambda name, box: region_mean(response, name, box))
    return value.assign_attrs(
        units="K",
        long_name="warming of near-surface temperature over the land of a box",
        cell_methods="time: mean area: mean where land",
    )


def box_ocean_warming(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Response over the ocean at the latitudes of a box, all around the globe, K, (perturbation, box).

    Σ_φ w·ΔT_ocean / Σ_φ w over the circles of latitude φ with ocean: ΔT_ocean is the mean over the
    ocean cells of the circle, of any longitude, and w the area of the box's land on it.

    Source: Byrne and O'Gorman 2013, J. Climate 26, 4000-4016.
    """
    value = _by_box(response, settings, lambda name, box: _ocean_beside(response, name, box))
    return value.assign_attrs(
        units="K",
        long_name="warming of near-surface temperature over the ocean at the latitudes of a box",
        cell_methods="time: mean area: mean where sea",
    )


def box_land_ocean_warming_ratio(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Land warming of a box over ocean warming at its latitudes, 1, (perturbation, box).

    `box_land_warming` / `box_ocean_warming`.

    Source: Byrne and O'Gorman 2013, J. Climate 26, 4000-4016.
    """
    value = ratio(box_land_warming(response, settings), box_ocean_warming(response, settings))
    return value.assign_attrs(
        units="1",
        long_name="ratio of the land warming of a box to the ocean warming at its latitudes",
    )


def boxes_in(response: xr.Dataset) -> list[str]:
    """The boxes among the surfaces of a zonal response, or of zonal.nc."""
    return [str(name) for name in response["surface"].values if name not in SURFACES]


def _by_box(
    response: xr.Dataset,
    settings: DiagnosticSettings,
    mean: Callable[[str, str], xr.DataArray],
) -> xr.DataArray:
    boxes = boxes_in(response)
    if not boxes:
        raise NotAsked("the case names no land_boxes")
    name = settings.roles.near_surface_temperature
    name = output_of_role(response, "near_surface_temperature", name)
    value = xr.concat([mean(name, box) for box in boxes], xr.Variable("box", boxes))
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
