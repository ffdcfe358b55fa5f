"""Every figure of a run, as PNG and PDF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from respeval.emulator import Roles
from respeval.plotting.agreement import agreement_with_reference
from respeval.plotting.cross_section import zonal_mean_warming
from respeval.plotting.maps import response_map
from respeval.plotting.running import has_ratios, running_ratios
from respeval.plotting.scalars import SCALAR_FIGURES, scalar_figure
from respeval.plotting.seasons import annual_cycle, has_annual_cycle
from respeval.plotting.series import global_mean_timeseries
from respeval.plotting.style import pictures_of, write_pictures
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
    when_drawn: Callable[[], object] = lambda: None,
) -> list[Path]:
    """Write every figure that the run allows as PNG and PDF; return the paths of the PNGs.

    zonal, response, diagnostics, running: as in the files of these names; reference: diagnostics of a
    reference; agreement: as in reference.nc. response_map and global_mean_timeseries need the
    near-surface temperature, running two times or more, all others their diagnostics, and all but
    the time series a perturbation; figures that would be empty are left out.
    when_drawn: called when all are drawn and none is written.
    """
    near_surface = roles.near_surface_temperature
    figures: dict[str, Figure | None] = {}
    if near_surface is not None and near_surface in zonal:
        figures["global_mean_timeseries"] = global_mean_timeseries(zonal, near_surface)
    if diagnostics.sizes.get("perturbation", 0):
        if near_surface is not None and near_surface in response:
            figures["response_map"] = response_map(response, near_surface)
        if "zonal_mean_warming" in diagnostics:
            figures["zonal_mean_warming"] = zonal_mean_warming(diagnostics)
        if has_annual_cycle(diagnostics):
            figures["annual_cycle"] = annual_cycle(diagnostics)
        known = reference, reference_name
        if "column_warming" in diagnostics:
            figures["column_warming"] = column_warming(diagnostics, *known)
        if "land_ocean_warming_ratio" in diagnostics:
            figures["land_ocean_warming"] = land_ocean_warming(diagnostics, *known)
        if running is not None and running.sizes["time"] > 1 and has_ratios(running):
            figures["running"] = running_ratios(running)
        if agreement is not None:
            figures["reference"] = agreement_with_reference(agreement)
        for name in SCALAR_FIGURES:
            figures[name] = scalar_figure(name, diagnostics, *known)
    drawn = {n: pictures_of(figure) for n, figure in sorted(figures.items()) if figure is not None}
    when_drawn()
    directory.mkdir(parents=True, exist_ok=True)
    return [write_pictures(pictures, directory / f"{n}.png") for n, pictures in drawn.items()]
