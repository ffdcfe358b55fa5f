"""`respeval.compare`: many runs beside each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.analysis.comparison import Wishes, compare_runs, diagnostics_of
from respeval.analysis.comparison_files import write_comparison
from respeval.analysis.finished_runs import Run as FinishedRun
from respeval.analysis.finished_runs import find_runs
from respeval.api.plots import shown_in_notebooks
from respeval.api.results import Run, text_of
from respeval.api.view import page
from respeval.case.parsing import check_at_least_one
from respeval.diagnostics.numbers import main_rows, usual_diagnostics
from respeval.errors import InputError
from respeval.files.publish import make_folder
from respeval.plotting import diagnostic_of_runs, response_map, runs_overview
from respeval.presentation.console.compare import comparison_notes, comparison_tables
from respeval.presentation.console.terminal import make_console
from respeval.presentation.report.numbers import comparison_tables as html_tables
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
        self._runs, self._wishes = [run for run in runs if run.name in there], wishes
        self.runs = [Run(run.folder) for run in self._runs]

    @property
    def perturbations(self) -> list[str]:
        """Those that tables and figures show."""
        every = [str(label) for label in self.dataset["perturbation"].values]
        return list(dict.fromkeys(self._wishes.perturbations or every))

    @property
    def diagnostics(self) -> list[str]:
        """Those that tables show."""
        names = list(dict.fromkeys(self._wishes.diagnostics))
        return names or usual_diagnostics(diagnostics_of(self.dataset))

    @property
    def plot(self) -> ComparisonPlots:
        """The figures, as matplotlib's."""
        return ComparisonPlots(self)

    def table(self) -> str:
        """The tables that `respeval compare` shows, as text."""
        return text_of(self._show)

    def _show(self) -> None:
        console = make_console()
        for label in self.perturbations:
            tables = comparison_tables(self.dataset, self.diagnostics, label, console.width)
            console.print(*tables, sep="\n")
        for note in comparison_notes(self.dataset, self._runs):
            console.print(note, highlight=False)

    def __repr__(self) -> str:
        names = ", ".join(run.name for run in self._runs)
        return f"<respeval comparison of {names}>"

    def _repr_html_(self) -> str:
        chosen = self.dataset.sel(perturbation=self.perturbations)
        notes = comparison_notes(self.dataset, self._runs)[1:]
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

    def maps(self, variable: str | None = None, perturbation: str | None = None) -> Figure:
        """The response of an output in every run on one scale, the truth's first where it is known.

        variable: by default the near-surface temperature. perturbation: by default the last one.
        """
        runs, label = self._comparison.runs, perturbation or self._comparison.perturbations[-1]
        name = variable or runs[0].settings.roles.near_surface_temperature or ""
        known = next((run.truth for run in runs if run.truth is not None), None)
        shown = {"truth": known} if known is not None and name in known else {}
        names = [str(each) for each in self._comparison.dataset["run"].values]
        shown |= dict(zip(names, (run.response for run in runs), strict=True))
        maps = _on_one_scale(shown, name, label, runs[0].response)
        return shown_in_notebooks(response_map(maps, name))


def _on_one_scale(
    shown: Mapping[str, xr.Dataset], name: str, label: str, like: xr.Dataset
) -> xr.Dataset:
    """Maps of one perturbation side by side, as `response_map` takes them. Raises InputError."""
    found = []
    for run, maps in shown.items():
        if name not in maps or label not in maps["perturbation"].values:
            raise InputError(f"{run} has no response of {name!r} to {label!r}")
        if maps[name].shape[1:] != like[name].shape[1:]:
            raise InputError(
                f"{run} is on another grid than {like.attrs.get('checkpoint', 'the first')}"
            )
        found.append(maps[name].sel(perturbation=label, drop=True).values)
    cells = like[["area_weight", "mean_ocean_fraction"]]
    stacked = ("perturbation", "lat", "lon"), np.stack(found), like[name].attrs
    return cells.assign_coords(perturbation=list(shown)).assign({name: stacked})


def compare(
    runs: Sequence[Run | str | os.PathLike[str]],
    *,
    diagnostics: Sequence[str] = (),
    perturbations: Sequence[str] = (),
    bands: Mapping[str, tuple[float, float]] | None = None,
    tropical_lat_max: float | None = None,
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> Comparison:
    """Many runs beside each other, with intervals for their differences to the first one.

    runs: finished ones, their folders, folders of sweeps, or globs. diagnostics, perturbations: what
    tables and figures show; none: the usual ones. bands, tropical_lat_max: degrees; default those of the
    first run. output: folder for comparison.nc and comparison.csv. workers: processes that read runs.
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
    wishes = Wishes(diagnostics, perturbations, regions, workers)
    told = [f"left out: {reason}" for reason in skipped]
    dataset = compare_runs(found, wishes, told.append)
    if output is not None:
        make_folder(Path(output))
        write_comparison(dataset, Path(output))
    return Comparison(dataset, found, wishes, told)
