"""`respeval.compare`: many runs beside each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from respeval.analysis.compared_maps import check_maps, maps_of_runs
from respeval.analysis.compared_reference import reference_of_runs
from respeval.analysis.comparison import Wishes, compare_runs, diagnostics_of
from respeval.analysis.finished_runs import Run as FinishedRun
from respeval.analysis.finished_runs import find_runs
from respeval.analysis.folder import settings_of_folder
from respeval.api.compared_files import chosen_diagnostics, chosen_labels, write_compared
from respeval.api.plots import shown_in_notebooks
from respeval.api.results import Run, text_of
from respeval.api.view import page
from respeval.case.parsing import check_at_least_one
from respeval.diagnostics.numbers import main_rows
from respeval.errors import InputError
from respeval.plotting import compared_maps, diagnostic_of_runs, runs_overview
from respeval.presentation.console.compare import comparison_notes, show_comparison
from respeval.presentation.console.terminal import make_console
from respeval.presentation.report.comparisons import comparison_tables as html_tables
from respeval.run_folder.names import MANIFEST

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Comparison:
    """Diagnostics of many runs, and how they differ from the first one.

    dataset: NAME (run, perturbation[, band, level, …]) of every diagnostic, with its interval and
        NAME_difference, this run minus the first. warnings: what is left out, and why.
    """

    def __init__(
        self,
        dataset: xr.Dataset,
        runs: Sequence[FinishedRun],
        wishes: Wishes,
        warnings: Sequence[str] = (),
    ) -> None:
        self.dataset, self.warnings = dataset, list(warnings)
        there = {str(name) for name in dataset["run"].values}
        self.finished, self._wishes = [run for run in runs if run.name in there], wishes
        self.runs = [Run(run.folder) for run in self.finished]

    @property
    def perturbations(self) -> list[str]:
        """Those that tables and figures show."""
        return chosen_labels(self.dataset, self._wishes)

    @property
    def diagnostics(self) -> list[str]:
        """Those that tables show."""
        return chosen_diagnostics(self.dataset, self._wishes)

    @property
    def plot(self) -> ComparisonPlots:
        """The figures, as matplotlib's."""
        return ComparisonPlots(self)

    def table(self) -> str:
        """The tables that `respeval compare` shows, as text."""
        return text_of(self._show)

    def _show(self) -> None:
        shown = self.diagnostics, self.perturbations
        show_comparison(make_console(), self.dataset, self.finished, *shown)

    def maps(self, variable: str | None, perturbation: str) -> tuple[str, xr.Dataset]:
        """An output's name, and its responses in all runs, the reference's first; see `maps_of_runs`."""
        usual = settings_of_folder(self.finished[0].folder, {}).roles.near_surface_temperature
        name = variable or usual
        if name is None:
            raise InputError("the runs say no near-surface temperature: name an output")
        check_maps([name], self.finished)
        every = [str(label) for label in self.dataset["perturbation"].values]
        if perturbation not in every:
            raise InputError(f"no run has {perturbation!r} (they have: {', '.join(every)})")
        reference = reference_of_runs(self.finished, self._wishes.reference, every)
        return name, maps_of_runs(self.finished, reference, name, [perturbation])

    def __repr__(self) -> str:
        names = ", ".join(run.name for run in self.finished)
        return f"<respeval comparison of {names}>"

    def _repr_html_(self) -> str:
        chosen = self.dataset.sel(perturbation=self.perturbations)
        notes = comparison_notes(self.dataset, self.finished)[1:]
        tables = html_tables(chosen, self.diagnostics)
        return page(repr(self), (), tables, (), self.warnings, notes)


class ComparisonPlots:
    """A comparison's figures; each method returns a matplotlib Figure of its own, without pyplot."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def overview(self) -> Figure:
        """The main diagnostics of all runs in one figure."""
        dataset, labels = self._comparison.dataset, self._comparison.perturbations
        there = diagnostics_of(dataset)
        main = [n for n in main_rows() if n in there and "level" not in dataset[n].dims]
        return shown_in_notebooks(runs_overview(dataset, main or there, labels))

    def diagnostic(self, name: str) -> Figure:
        """One diagnostic of all runs, a panel for every band, level or surface."""
        dataset, there = self._comparison.dataset, diagnostics_of(self._comparison.dataset)
        if name not in there:
            raise InputError(
                f"the runs have no diagnostic {name!r} (they have: {', '.join(there)})"
            )
        return shown_in_notebooks(diagnostic_of_runs(dataset, name, self._comparison.perturbations))

    def maps(
        self,
        variable: str | None = None,
        perturbation: str | None = None,
        *,
        differences: bool = False,
    ) -> Figure:
        """The response of an output in every run on one scale, the reference's first where one is known.

        variable: by default the near-surface temperature. perturbation: by default the last one.
        differences: whether the differences to the reference, or without one to the first run, stand
        below on a scale of their own.
        """
        label = perturbation or self._comparison.perturbations[-1]
        name, maps = self._comparison.maps(variable, label)
        figure = compared_maps(maps, name, label, differences=differences)
        if figure is None:
            raise InputError(f"the runs have no map of {name}")
        return shown_in_notebooks(figure)


def compare(
    runs: Sequence[Run | str | os.PathLike[str]],
    *,
    diagnostics: Sequence[str] = (),
    perturbations: Sequence[str] = (),
    bands: Mapping[str, tuple[float, float]] | None = None,
    tropical_lat_max: float | None = None,
    reference: str | os.PathLike[str] | Mapping[str, str] | None = None,
    maps: Sequence[str] = (),
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> Comparison:
    """Many runs beside each other, with intervals for their differences to the first one.

    runs: finished ones, their folders, folders of sweeps, or globs. diagnostics, perturbations: what
    tables and figures show; none: the usual ones. bands, tropical_lat_max: degrees; default those of the
    first run. reference: a file of responses or a run's folder that the runs are held against, or one for
    each perturbation; None: what the runs themselves know, "none": nothing. output: folder for
    comparison.nc, comparison.csv and figures, with maps of the outputs in maps (none: of the near-surface
    temperature). workers: processes that read runs.
    Raises InputError where there is nothing to compare.
    """
    if isinstance(runs, str | os.PathLike | Run):
        raise InputError(f"{runs!r} is one run: give a list of them")
    check_at_least_one("workers", workers)
    if output is not None and (Path(output) / MANIFEST).exists():
        raise InputError(f"{output} holds a run; choose another folder for the comparison")
    folders = [each.folder if isinstance(each, Run) else Path(each) for each in runs]
    if not folders:
        raise InputError("no run is given: the list is empty")
    found, skipped = find_runs(folders)
    regions: dict[str, Any] = {}
    if bands is not None:
        regions["bands"] = {name: list(edges) for name, edges in bands.items()}
    if tropical_lat_max is not None:
        regions["tropical_lat_max"] = tropical_lat_max
    held = os.fspath(reference) if isinstance(reference, os.PathLike) else reference
    wishes = Wishes(diagnostics, perturbations, regions, workers, held)
    check_maps(maps, found)
    told = [f"left out: {reason}" for reason in skipped]
    dataset = compare_runs(found, wishes, told.append)
    comparison = Comparison(dataset, found, wishes, told)
    if output is not None:
        write_compared(dataset, comparison.finished, Path(output), wishes, maps, told.append)
        comparison.warnings = told
    return comparison
