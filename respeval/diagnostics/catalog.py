"""What every diagnostic is, in words."""

from __future__ import annotations

from respeval.diagnostics.formulas.diagnostic import SEASONAL_DIMS, THE_OUTPUTS, Entry
from respeval.diagnostics.formulas.registry import known_diagnostics, known_trends

#: The means of every output stand beside the diagnostics.
_OUTPUT_MEANS = (
    Entry(
        name="OUTPUT_mean",
        what="Mean response of every output",
        units=THE_OUTPUTS,
        dims="perturbation, surface",
        formula="Σ area·Δx / Σ area over all cells, over land and over ocean",
        source="",
    ),
    Entry(
        name="OUTPUT_per_K",
        what="Mean response of every output per kelvin of global-mean near-surface warming",
        units=f"{THE_OUTPUTS} K-1",
        dims="perturbation, surface",
        formula="`OUTPUT_mean` / global-mean response of near-surface temperature",
        source="",
    ),
    Entry(
        name="OUTPUT_zonal_mean",
        what="Zonal-mean response of every output",
        units=THE_OUTPUTS,
        dims="perturbation, surface, lat",
        formula="mean of Δx over the cells of a latitude circle: all, land, ocean",
        source="",
    ),
)


def catalog() -> tuple[Entry, ...]:
    """Every diagnostic of diagnostics.nc, in its order."""
    whole = known_diagnostics().values()
    seasonal = [each for each in whole if each.by_season]
    by_season = [each.by(dim) for dim in SEASONAL_DIMS for each in seasonal]
    return (*whole, *known_trends().values(), *by_season, *_OUTPUT_MEANS)
