"""Every figure of a run as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from respeval.emulator import Roles
from respeval.plotting.agreement import agreement_with_reference
from respeval.plotting.cross_section import zonal_mean_warming
from respeval.plotting.maps import response_map
from respeval.plotting.running import has_ratios, running_ratios
from respeval.plotting.series import global_mean_timeseries
from respeval.plotting.style import save
from respeval.plotting.warming import column_warming, land_ocean_warming

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(
    directory: Path,
    zonal: xr.Dataset,
    response: xr.Dataset,
    diagnostics: xr.Dataset,
    roles: Roles,
    reference: xr.Dataset | None = None,
    reference_name: str = "reference",
    running: xr.Dataset | None = None,
    agreement: xr.Dataset | None = None,
) -> list[Path]:
    """Write every figure that the run allows as PNG, whole or not at all; return their paths.

    zonal, response, diagnostics, running: as in the files of these names; reference: diagnostics of a
    reference; agreement: as in reference.nc, which reference.png needs. response_map.png and
    global_mean_timeseries.png need the near-surface temperature, column_warming.png,
    zonal_mean_warming.png, land_ocean_warming.png and running.png (of two times or more) their
    diagnostics, all but the time series a perturbation; figures that cannot be drawn are left out.
    """
    near_surface = roles.near_surface_temperature
    figures: dict[str, Figure] = {}
    if near_surface is not None and near_surface in zonal:
        figures["global_mean_timeseries"] = global_mean_timeseries(zonal, near_surface)
    if diagnostics.sizes.get("perturbation", 0):
        if near_surface is not None and near_surface in response:
            figures["response_map"] = response_map(response, near_surface)
        if "column_warming" in diagnostics:
            figures["column_warming"] = column_warming(diagnostics, reference, reference_name)
        if "zonal_mean_warming" in diagnostics:
            figures["zonal_mean_warming"] = zonal_mean_warming(diagnostics)
        if "land_ocean_warming_ratio" in diagnostics:
            figures["land_ocean_warming"] = land_ocean_warming(
                diagnostics, reference, reference_name
            )
        if running is not None and running.sizes["time"] > 1 and has_ratios(running):
            figures["running"] = running_ratios(running)
        if agreement is not None:
            figures["reference"] = agreement_with_reference(agreement)
    directory.mkdir(parents=True, exist_ok=True)
    return [save(figure, directory / f"{name}.png") for name, figure in sorted(figures.items())]
