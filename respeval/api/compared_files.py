"""What a comparison leaves in a folder: its numbers, figures of each, and maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from respeval.analysis.compared_maps import maps_of_runs, outputs_of_runs
from respeval.analysis.compared_reference import Reference, reference_of_runs
from respeval.analysis.comparison import Wishes, diagnostics_of
from respeval.analysis.comparison_files import write_comparison
from respeval.analysis.finished_runs import Run
from respeval.analysis.folder import settings_of_folder
from respeval.diagnostics import known_diagnostics
from respeval.diagnostics.numbers import main_rows, usual_diagnostics
from respeval.errors import InputError
from respeval.files.publish import make_folder
from respeval.plotting import compared_maps, diagnostic_of_runs, runs_overview, save
from respeval.run_folder.names import FIGURES

Tell = Callable[[str], None]

#: Runs in a figure of maps: more could not be told apart.
_MOST_MAPS = 24


def chosen_labels(comparison: xr.Dataset, wishes: Wishes) -> list[str]:
    """The perturbations that tables and figures show."""
    every = [str(label) for label in comparison["perturbation"].values]
    return list(dict.fromkeys(wishes.perturbations or every))


def chosen_diagnostics(comparison: xr.Dataset, wishes: Wishes) -> list[str]:
    """The diagnostics that tables show."""
    asked = list(dict.fromkeys(wishes.diagnostics))
    return asked or usual_diagnostics(diagnostics_of(comparison))


def write_compared(
    comparison: xr.Dataset,
    runs: Sequence[Run],
    output: Path,
    wishes: Wishes,
    maps: Sequence[str],
    tell: Tell,
) -> list[Path]:
    """Write comparison.nc, comparison.csv and the figures; returns the paths of these.

    runs: those of the comparison. maps: outputs whose response is drawn; none: the near-surface
    temperature. tell: called with a line for what is left out.
    """
    make_folder(output / FIGURES)
    write_comparison(comparison, output)
    there, labels = diagnostics_of(comparison), chosen_labels(comparison, wishes)
    names = list(dict.fromkeys(wishes.diagnostics))
    each = list(names or [name for name in known_diagnostics() if name in there] or there)
    main = [name for name in each if name in main_rows() and "level" not in comparison[name].dims]
    together = names or main or each
    overview = runs_overview(comparison, together, labels)
    written = [save(overview, output / FIGURES / "comparison.png")]
    for name in each:
        figure = diagnostic_of_runs(comparison, name, labels)
        written.append(save(figure, output / FIGURES / f"{name}.png"))
    every = [str(label) for label in comparison["perturbation"].values]
    reference = reference_of_runs(runs, wishes.reference, every)
    return written + _write_maps(runs, reference, output / FIGURES, labels, maps, tell)


def _write_maps(
    runs: Sequence[Run],
    reference: Reference | None,
    folder: Path,
    labels: Sequence[str],
    asked: Sequence[str],
    tell: Tell,
) -> list[Path]:
    """Of each output and perturbation the maps with their differences, and in a figure of their own
    without; of a single map there are no differences."""
    if len(runs) > _MOST_MAPS:
        tell(f"maps show the first {_MOST_MAPS} of {len(runs)} runs")
        runs = runs[:_MOST_MAPS]
    near_surface = settings_of_folder(runs[0].folder, {}).roles.near_surface_temperature
    usual = [near_surface] if near_surface in outputs_of_runs(runs) else []
    written: list[Path] = []
    for name in dict.fromkeys(asked) or usual:
        try:
            maps = maps_of_runs(runs, reference, name, labels, tell)
        except InputError as reason:
            if asked:
                raise
            tell(f"left out: maps of {name}, {reason}")
            continue
        for label in labels:
            for differences in (True, False) if maps.sizes["map"] > 1 else (False,):
                figure = compared_maps(maps, name, label, differences=differences)
                end = "" if differences or maps.sizes["map"] == 1 else "_row"
                if figure is not None:
                    written.append(save(figure, folder / f"map_{name}_{label}{end}.png"))
    return written
