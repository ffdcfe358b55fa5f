"""The figures of a run, as PNG and PDF."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from respeval.errors import unexpected
from respeval.fields.variables import Roles
from respeval.plotting.agreement import agreement_with_reference
from respeval.plotting.cross_section import zonal_mean_warming
from respeval.plotting.maps import response_map
from respeval.plotting.modes import INDEX_FIGURES, index_series, teleconnection_maps
from respeval.plotting.running import has_ratios, running_ratios
from respeval.plotting.scalars import SCALAR_FIGURES, scalar_figure
from respeval.plotting.seasons import annual_cycle, has_annual_cycle
from respeval.plotting.series import global_mean_timeseries
from respeval.plotting.style import pictures_of, write_pictures
from respeval.plotting.warming import column_warming, land_ocean_warming

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Pictures:
    """The figures of a run: planned when their data is there, drawn when there is time, then written.

    reference: diagnostics of a reference, called `reference_name`. Figures that would be empty are
    left out. tell: called with why a figure can't be drawn; without it that is raised.
    """

    def __init__(
        self,
        roles: Roles,
        reference: xr.Dataset | None = None,
        reference_name: str = "reference",
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._tell = tell
        self._near_surface = roles.near_surface_temperature
        self._known = reference, reference_name
        self._planned: dict[str, Callable[[], Figure | None]] = {}
        self._drawn: dict[str, dict[str, bytes]] = {}

    def plan_diagnostics(
        self, zonal: xr.Dataset, diagnostics: xr.Dataset, running: xr.Dataset | None = None
    ) -> None:
        """All but the maps. zonal, diagnostics, running: as in the files of these names.

        global_mean_timeseries needs the near-surface temperature, running two times or more, all
        others their diagnostics, and all but the time series a perturbation.
        """
        plan, near_surface = self._planned, self._near_surface
        if near_surface is not None and near_surface in zonal:
            plan["global_mean_timeseries"] = partial(global_mean_timeseries, zonal, near_surface)
        if not diagnostics.sizes.get("perturbation", 0):
            return
        if "zonal_mean_warming" in diagnostics:
            plan["zonal_mean_warming"] = partial(zonal_mean_warming, diagnostics)
        if has_annual_cycle(diagnostics):
            plan["annual_cycle"] = partial(annual_cycle, diagnostics, *self._known)
        if "column_warming" in diagnostics:
            plan["column_warming"] = partial(column_warming, diagnostics, *self._known)
        if "land_ocean_warming_ratio" in diagnostics:
            plan["land_ocean_warming"] = partial(land_ocean_warming, diagnostics, *self._known)
        if running is not None and running.sizes["time"] > 1 and has_ratios(running):
            plan["running"] = partial(running_ratios, running)
        for name in SCALAR_FIGURES:
            plan[name] = partial(scalar_figure, name, diagnostics, *self._known)

    def plan_maps(self, response: xr.Dataset, agreement: xr.Dataset | None = None) -> None:
        """The map of the near-surface temperature's response, and how it agrees with a reference.

        response, agreement: as in response.nc and reference.nc.
        """
        if not response.sizes.get("perturbation", 0):
            return
        if self._near_surface is not None and self._near_surface in response:
            self._planned["response_map"] = partial(response_map, response, self._near_surface)
        if agreement is not None:
            self._planned["reference"] = partial(agreement_with_reference, agreement)

    def plan_modes(
        self, series: xr.Dataset | None, maps: xr.Dataset | None, precipitation: str | None = None
    ) -> None:
        """The indices of SST, and what goes with Niño 3.4: near-surface temperature and precipitation.

        series, maps: as in indices.nc and regressions.nc; None where a run has none.
        """
        of_series, of_maps = INDEX_FIGURES
        if series is not None and "nino34" in series:
            self._planned[of_series] = partial(index_series, series)
        shown = [name for name in (self._near_surface, precipitation) if name is not None]
        if maps is not None and any(name in maps for name in shown):
            names = [name for name in shown if name in maps]
            self._planned[of_maps] = partial(teleconnection_maps, maps, names)

    def draw(self, is_enough: Callable[[], bool] = lambda: False) -> None:
        """Draw what is planned, until a figure is done and it is enough."""
        while self._planned and not is_enough():
            name = next(iter(self._planned))
            try:
                figure = self._planned.pop(name)()
                if figure is not None:
                    self._drawn[name] = pictures_of(figure)
            except Exception as error:
                if self._tell is None:
                    raise
                self._tell(f"the figure {name} can't be drawn: {unexpected(error)}")

    def write(self, directory: Path) -> list[Path]:
        """Draw what is left, and write all as PNG and PDF; return the paths of the PNGs."""
        self.draw()
        directory.mkdir(parents=True, exist_ok=True)
        return [
            write_pictures(files, directory / f"{name}.png")
            for name, files in sorted(self._drawn.items())
        ]
