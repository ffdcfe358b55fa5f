"""A run's figures, drawn from its files when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import xarray as xr

from respeval.diagnostics import DiagnosticSettings
from respeval.diagnostics.formulas.quantities import find_output
from respeval.errors import InputError
from respeval.plotting import (
    agreement_with_reference,
    annual_cycle,
    column_warming,
    global_mean_timeseries,
    index_series,
    land_ocean_warming,
    response_map,
    running_ratios,
    scalar_figure,
    teleconnection_maps,
    zonal_mean_warming,
)
from respeval.plotting.running import has_ratios
from respeval.plotting.scalars import SCALAR_FIGURES
from respeval.plotting.seasons import has_annual_cycle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOTS_PER_INCH = 110


class Saved(Protocol):
    """What figures are drawn from; see `Run`."""

    @property
    def settings(self) -> DiagnosticSettings: ...
    @property
    def diagnostics(self) -> xr.Dataset: ...
    @property
    def response(self) -> xr.Dataset: ...
    @property
    def zonal(self) -> xr.Dataset: ...
    @property
    def running(self) -> xr.Dataset: ...
    @property
    def indices(self) -> xr.Dataset: ...
    @property
    def regressions(self) -> xr.Dataset: ...
    @property
    def reference(self) -> xr.Dataset: ...
    @property
    def known(self) -> xr.Dataset | None: ...


class RunPlots:
    """A method for every figure of a run; each returns a matplotlib Figure of its own, without pyplot.

    Where the truth is known it is in the figure. Raises InputError where the run has nothing to draw.
    """

    def __init__(self, run: Saved) -> None:
        self._run = run

    def response_map(self, variable: str | None = None) -> Figure:
        """Maps of an output's response, one for each perturbation on one scale.

        variable: by default the near-surface temperature.
        """
        name = variable or self._near_surface()
        response = self._run.response
        if name not in response:
            outputs = [str(n) for n in response.data_vars if f"{n}_stderr" in response]
            raise InputError(f"the run has no output {name!r} (it has: {', '.join(outputs)})")
        return _drawn(lambda: response_map(response, name))

    def global_mean_timeseries(self, variable: str | None = None) -> Figure:
        """The global mean of an output in every climate against time."""
        name = variable or self._near_surface()
        return _drawn(lambda: global_mean_timeseries(self._run.zonal, name))

    def zonal_mean_warming(self) -> Figure:
        """Warming by latitude and level."""
        return _drawn(lambda: zonal_mean_warming(self._run.diagnostics))

    def land_ocean_warming(self) -> Figure:
        """Warming of land and ocean, and their ratio, in every band."""
        return _drawn(lambda: land_ocean_warming(self._run.diagnostics, *self._known()))

    def column_warming(self) -> Figure:
        """Warming of the tropical column by level."""
        return _drawn(lambda: column_warming(self._run.diagnostics, *self._known()))

    def annual_cycle(self) -> Figure:
        """Warming of land and ocean month by month."""
        diagnostics = self._run.diagnostics
        _check(has_annual_cycle(diagnostics), "a whole year")
        return _drawn(lambda: annual_cycle(diagnostics, *self._known()))

    def running_ratios(self) -> Figure:
        """Ratios and their intervals against the length of the run."""
        running = self._run.running
        _check(running.sizes["time"] > 1 and has_ratios(running), "ratios at two lengths or more")
        return _drawn(lambda: running_ratios(running))

    def agreement_with_reference(self) -> Figure:
        """How the response's maps agree with the reference's."""
        return _drawn(lambda: agreement_with_reference(self._run.reference))

    def index_series(self) -> Figure:
        """Indices of SST against time."""
        return _drawn(lambda: index_series(self._run.indices))

    def teleconnection_maps(self, variables: Sequence[str] | None = None) -> Figure:
        """What goes with Niño 3.4, as maps; by default of near-surface temperature and precipitation."""
        maps, names = self._run.regressions, list(variables or ())
        if not names:
            outputs = map(str, maps.data_vars)
            usual = (
                self._near_surface(),
                find_output(outputs, self._run.settings, "precipitation"),
            )
            names = [name for name in usual if name is not None and name in maps]
        return _drawn(lambda: teleconnection_maps(maps, names))

    def scalars(self, figure: str) -> Figure:
        """A figure of single numbers with their intervals.

        figure: amplification, energy or another of `scalar_figures`.
        """
        if figure not in SCALAR_FIGURES:
            raise InputError(
                f"there is no figure {figure!r} (there are: {', '.join(SCALAR_FIGURES)})"
            )
        return _drawn(lambda: scalar_figure(figure, self._run.diagnostics, *self._known()))

    @property
    def scalar_figures(self) -> tuple[str, ...]:
        """Names that `scalars` takes."""
        return tuple(SCALAR_FIGURES)

    def _near_surface(self) -> str:
        name = self._run.settings.roles.near_surface_temperature
        if name is None:
            raise InputError(
                "the run names no near-surface temperature; say which variable to draw"
            )
        return name

    def _known(self) -> tuple[xr.Dataset | None, str]:
        return self._run.known, "truth"


def _check(is_there: bool, what: str) -> None:
    if not is_there:
        raise InputError(f"the run has not what this figure shows: {what}")


def shown_in_notebooks(figure: Figure) -> Figure:
    """The figure, which a notebook shows though pyplot knows nothing of it."""

    def picture() -> bytes:
        written = io.BytesIO()
        figure.savefig(written, format="png", dpi=_DOTS_PER_INCH)
        return written.getvalue()

    shown: Any = figure
    shown._repr_png_ = picture
    return figure


def _drawn(draw: Callable[[], Figure | None]) -> Figure:
    try:
        figure = draw()
    except InputError:
        raise
    except (KeyError, ValueError) as error:
        raise InputError(f"the run has not what this figure shows ({error})") from None
    if figure is None:
        raise InputError("the run has not what this figure shows")
    return shown_in_notebooks(figure)
