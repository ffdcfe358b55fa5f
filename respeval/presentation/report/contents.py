"""What the folders hold that a report is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import xarray as xr

from respeval.analysis.comparison import diagnostics_of
from respeval.analysis.comparison_files import COMPARISON
from respeval.analysis.finished_runs import Run, find_runs
from respeval.diagnostics.numbers import usual_diagnostics
from respeval.errors import InputError
from respeval.files.netcdf import open_saved
from respeval.loss_probe.files import PROFILE
from respeval.presentation.report.comparisons import comparison_tables
from respeval.presentation.report.figures import read_figures
from respeval.presentation.report.headline import headline_of
from respeval.presentation.report.parts import Headline, Section
from respeval.presentation.report.probes import probe_section
from respeval.presentation.report.runs import open_run, run_section, told_of_run
from respeval.presentation.report.together import together_section
from respeval.presentation.report.told import Told, told_of_comparison
from respeval.run_folder.names import MANIFEST
from respeval.run_folder.sweep import holds_sweep


@dataclass(frozen=True)
class Contents:
    """The sections of a report, comparisons first, and what stands above them."""

    sections: Sequence[Section]
    headline: Headline

    def count(self, kind: str) -> int:
        return sum(section.kind == kind for section in self.sections)

    @property
    def num_figures(self) -> int:
        own = sum(len(section.figures) for section in self.sections)
        return own + (self.headline.picture is not None)


def collect(
    folders: Sequence[Path], tell: Callable[[str], None], *, literature: bool = True
) -> Contents:
    """The sections of these folders: runs, sweeps (all their finished runs), probes, comparisons.

    Several runs get a comparison of them before all else. The picture of the headline is in no section
    below it. tell: called with a line for each run of a sweep that is left out. literature: whether to
    tell what is published of models. Raises InputError where a folder holds none of these, a run has
    not finished, or a file can't be read.
    """
    probes, compared, others = [], [], []
    for folder in dict.fromkeys(folders):
        if (folder / MANIFEST).is_file():
            others.append(folder)
        elif (folder / PROFILE).is_file():
            probes.append(probe_section(folder))
        elif (folder / COMPARISON).is_file():
            compared.append(_comparison_section(folder))
        else:
            others.append(folder)
    runs = _runs(others, tell) if others else []
    together = [together_section(runs, tell)] if len(runs) > 1 else []
    opened = [open_run(run) for run in runs]
    told = [told_of_run(run) for run in opened] or [one for _, own in compared[:1] for one in own]
    sections = [
        *together,
        *(section for section, _ in compared),
        *(run_section(run, literature) for run in opened),
        *probes,
    ]
    headline = headline_of(sections, told, literature)
    return Contents([_below(section, headline, len(runs)) for section in sections], headline)


def _below(section: Section, headline: Headline, num_runs: int) -> Section:
    """A section without the picture that stands at the top, and without the warnings if they do."""
    figures = [figure for figure in section.figures if figure is not headline.picture]
    is_told = section.kind == "run" and num_runs == 1
    return replace(section, figures=figures, warnings=() if is_told else section.warnings)


def _runs(folders: Sequence[Path], tell: Callable[[str], None]) -> list[Run]:
    for folder in folders:
        if folder.exists() and not holds_sweep(folder):
            find_runs([folder])  # a run that is named has to be finished
    runs, skipped = find_runs(folders)
    for reason in skipped:
        tell(f"left out: {reason}")
    return runs


def _comparison_section(folder: Path) -> tuple[Section, list[Told]]:
    """What `respeval compare` has written into a folder, and what it says of each run."""
    path = folder / COMPARISON
    with open_saved(path) as opened:
        comparison: xr.Dataset = opened.load()
    try:
        tables = comparison_tables(comparison, usual_diagnostics(diagnostics_of(comparison)))
        told = told_of_comparison(comparison)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not what respeval compare writes ({error}); compare again"
        ) from None
    figures = read_figures(folder)
    title = f"Comparison in {folder.resolve().name}"
    provenance = [(str(key), str(value)) for key, value in comparison.attrs.items()]
    return Section("comparison", title, (), (), tables, figures, provenance), told
