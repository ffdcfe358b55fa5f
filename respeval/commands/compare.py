"""What `respeval compare` does: find the runs, compare them, show tables, write files."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from rich.console import Console
from rich.progress import track

from respeval.analysis.compared_maps import check_maps, maps_of_runs, outputs_of_runs
from respeval.analysis.compared_reference import (
    REFERENCE_NAME,
    REFERENCE_SOURCE,
    Reference,
    reference_of_runs,
)
from respeval.analysis.comparison import Wishes, compare_runs, diagnostics_of
from respeval.analysis.comparison_files import write_comparison
from respeval.analysis.finished_runs import Run, find_runs
from respeval.analysis.folder import settings_of_folder
from respeval.diagnostics import known_diagnostics
from respeval.diagnostics.numbers import main_rows, usual_diagnostics
from respeval.errors import InputError
from respeval.files.publish import make_folder
from respeval.plotting import compared_maps, diagnostic_of_runs, runs_overview, save
from respeval.presentation.console.compare import (
    comparison_notes,
    comparison_tables,
    error_tables,
)
from respeval.presentation.console.terminal import make_console
from respeval.presentation.console.truth import error_note
from respeval.run_folder.names import FIGURES, MANIFEST


def compare_folders(
    folders: Sequence[Path], output: Path | None, wishes: Wishes, maps: Sequence[str] = ()
) -> None:
    """`respeval compare`: tables, and with an output folder the files.

    maps: outputs whose response is drawn; none: the near-surface temperature.
    """
    if output is None and maps:
        raise InputError(
            f"--map {maps[0]} is drawn into the folder of -o; name one, e.g. -o comparison"
        )
    if output is not None and (output / MANIFEST).exists():
        raise InputError(f"{output} holds a run; choose another folder with -o")
    console = make_console()
    runs, skipped = find_runs(folders)
    for reason in skipped:
        _warn(f"left out: {reason}")
    check_maps(maps, runs)
    comparison = _compare(runs, wishes, console)
    there = {str(name) for name in comparison["run"].values}
    runs = [run for run in runs if run.name in there]
    _show(comparison, runs, wishes, console)
    if output is not None:
        figures = write_compared(comparison, runs, output, wishes, maps)
        console.print(f"files: {output}, figures: {len(figures)} in {output / FIGURES}")


def _show(comparison: xr.Dataset, runs: Sequence[Run], wishes: Wishes, console: Console) -> None:
    """The tables, and what is to know of them."""
    shown = list(dict.fromkeys(wishes.diagnostics)) or usual_diagnostics(diagnostics_of(comparison))
    has_errors = False
    for label in _labels(comparison, wishes):
        errors = error_tables(comparison, shown, label, console.width)
        has_errors = has_errors or bool(errors)
        for table in [*comparison_tables(comparison, shown, label, console.width), *errors]:
            console.print(table)
            console.print()
    for note in comparison_notes(comparison, runs):
        console.print(note, highlight=False)
    if has_errors:
        name, where = (comparison.attrs[key] for key in (REFERENCE_NAME, REFERENCE_SOURCE))
        console.print(textwrap.fill(error_note(name), console.width), highlight=False)
        console.print(f"{name}: {where}", highlight=False)


def _labels(comparison: xr.Dataset, wishes: Wishes) -> list[str]:
    """The perturbations that tables and figures show."""
    every = [str(label) for label in comparison["perturbation"].values]
    return list(dict.fromkeys(wishes.perturbations or every))


def _compare(runs: Sequence[Run], wishes: Wishes, console: Console) -> xr.Dataset:
    """The comparison, with a bar on a terminal."""
    if not console.is_terminal:
        return compare_runs(runs, wishes, _warn)
    steps = iter(track(range(len(runs)), "runs", console=console, transient=True))
    next(steps)
    try:
        return compare_runs(runs, wishes, _warn, lambda: next(steps, None))
    finally:
        steps.close()  # type: ignore[attr-defined]


def _warn(text: str) -> None:
    sys.stderr.write(f"respeval: {' '.join(text.split())}\n")


def write_compared(
    comparison: xr.Dataset,
    runs: Sequence[Run],
    output: Path,
    wishes: Wishes,
    maps: Sequence[str] = (),
) -> list[Path]:
    """Write comparison.nc, comparison.csv and the figures; returns the paths of these.

    runs: those of the comparison. maps: as for `compare_folders`.
    """
    make_folder(output / FIGURES)
    write_comparison(comparison, output)
    there, labels = diagnostics_of(comparison), _labels(comparison, wishes)
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
    return written + _write_maps(runs, reference, output / FIGURES, labels, maps)


def _write_maps(
    runs: Sequence[Run],
    reference: Reference | None,
    folder: Path,
    labels: Sequence[str],
    asked: Sequence[str],
) -> list[Path]:
    """Of each output and perturbation the maps with their differences, and in a figure of their own
    without; of a single map there are no differences."""
    near_surface = settings_of_folder(runs[0].folder, {}).roles.near_surface_temperature
    usual = [near_surface] if near_surface in outputs_of_runs(runs) else []
    written: list[Path] = []
    for name in dict.fromkeys(asked) or usual:
        try:
            maps = maps_of_runs(runs, reference, name, labels, _warn)
        except InputError as reason:
            if asked:
                raise
            _warn(f"left out: maps of {name}, {reason}")
            continue
        for label in labels:
            for differences in (True, False) if maps.sizes["map"] > 1 else (False,):
                figure = compared_maps(maps, name, label, differences=differences)
                end = "" if differences or maps.sizes["map"] == 1 else "_row"
                if figure is not None:
                    written.append(save(figure, folder / f"map_{name}_{label}{end}.png"))
    return written
