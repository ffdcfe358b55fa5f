"""The comparison of a page's runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import xarray as xr

from respeval.analysis.compared_maps import maps_of_runs, outputs_of_runs
from respeval.analysis.compared_reference import reference_of_runs
from respeval.analysis.comparison import Wishes, compare_runs, diagnostics_of
from respeval.analysis.finished_runs import Run
from respeval.analysis.folder import settings_of_folder
from respeval.diagnostics.numbers import main_rows, usual_diagnostics
from respeval.errors import InputError
from respeval.plotting import compared_maps, runs_overview
from respeval.presentation.console.compare import comparison_notes
from respeval.presentation.report.comparisons import comparison_tables
from respeval.presentation.report.figures import drawn, name_of_maps
from respeval.presentation.report.parts import Figure, Section

#: Maps of more runs than this are too small to be read beside each other.
_MOST_MAPS = 8


def together_section(runs: Sequence[Run], tell: Callable[[str], None]) -> Section:
    """The comparison of these runs; only a note where they have nothing in common.

    tell: called with a line for what the maps lack.
    """
    remarks: list[str] = []
    try:
        comparison = compare_runs(runs, Wishes(), remarks.append)
    except InputError as reason:
        return Section("comparison", "Comparison", notes=[str(reason)])
    there = {str(name) for name in comparison["run"].values}
    kept = [run for run in runs if run.name in there]
    names = diagnostics_of(comparison)
    return Section(
        "comparison",
        "Comparison of the runs",
        notes=[*comparison_notes(comparison, kept)[1:], *remarks],
        tables=comparison_tables(comparison, usual_diagnostics(names)),
        figures=[*_maps(kept, comparison, tell), *_overview(comparison)],
    )


def _overview(comparison: xr.Dataset) -> Iterator[Figure]:
    names = diagnostics_of(comparison)
    labels = [str(label) for label in comparison["perturbation"].values]
    main = [name for name in main_rows() if name in names and "level" not in comparison[name].dims]
    if labels and main:
        yield drawn(runs_overview(comparison, main, labels), "comparison")


def _maps(
    runs: Sequence[Run], comparison: xr.Dataset, tell: Callable[[str], None]
) -> Iterator[Figure]:
    """Of every perturbation the maps of near-surface temperature on one scale."""
    name = settings_of_folder(runs[0].folder, {}).roles.near_surface_temperature
    if len(runs) > _MOST_MAPS or name is None or name not in outputs_of_runs(runs):
        return
    labels = [str(label) for label in comparison["perturbation"].values]
    try:
        maps = maps_of_runs(runs, reference_of_runs(runs, None, labels), name, labels, tell)
    except InputError as reason:
        tell(f"no maps of {name} beside each other: {reason}")
        return
    for label in labels:
        figure = compared_maps(maps, name, label, differences=False)
        if figure is not None:
            yield drawn(figure, name_of_maps(name, label))
