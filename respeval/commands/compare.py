"""What `respeval compare` does: find the runs, compare them, show tables, write files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from rich.progress import track

from respeval.analysis.comparison import Wishes, compare_runs, diagnostics_of
from respeval.analysis.comparison_files import write_comparison
from respeval.analysis.finished_runs import Run, find_runs
from respeval.diagnostics import known_diagnostics
from respeval.diagnostics.numbers import main_rows, usual_diagnostics
from respeval.errors import InputError
from respeval.files.publish import make_folder
from respeval.plotting import diagnostic_of_runs, runs_overview, save
from respeval.presentation.console.compare import comparison_notes, comparison_tables
from respeval.presentation.console.json_output import answer, comparison_content
from respeval.presentation.console.streams import say_line
from respeval.presentation.console.terminal import (
    CommandConsole,
    make_console,
    make_notes_console,
)
from respeval.run_folder.names import FIGURES, MANIFEST


def compare_folders(folders: Sequence[Path], output: Path | None, wishes: Wishes) -> None:
    """`respeval compare`: tables, and with an output folder the files."""
    if output is not None and (output / MANIFEST).exists():
        raise InputError(f"{output} holds a run; choose another folder with -o")
    console = make_console()
    runs, skipped = find_runs(folders)
    for reason in skipped:
        say_line(f"left out: {reason}")
    comparison = _compare(runs, wishes, make_notes_console())
    every = [str(label) for label in comparison["perturbation"].values]
    labels = list(dict.fromkeys(wishes.perturbations or every))
    names = list(dict.fromkeys(wishes.diagnostics))
    for label in labels:
        shown = names or usual_diagnostics(diagnostics_of(comparison))
        for table in comparison_tables(comparison, shown, label, console.width):
            console.print(table)
            console.print()
    there = {str(name) for name in comparison["run"].values}
    for note in comparison_notes(comparison, [run for run in runs if run.name in there]):
        console.print(note, highlight=False)
    if output is not None:
        figures = _write(comparison, output, names, labels)
        console.print(f"files: {output}, figures: {len(figures)} in {output / FIGURES}")
    answer(lambda: comparison_content(comparison))


def _compare(runs: Sequence[Run], wishes: Wishes, console: CommandConsole) -> xr.Dataset:
    """The comparison, with a bar on a terminal."""
    if not console.has_bars:
        return compare_runs(runs, wishes, say_line)
    steps = iter(track(range(len(runs)), "runs", console=console, transient=True))
    next(steps)
    try:
        return compare_runs(runs, wishes, say_line, lambda: next(steps, None))
    finally:
        steps.close()  # type: ignore[attr-defined]


def _write(
    comparison: xr.Dataset, output: Path, names: Sequence[str], labels: Sequence[str]
) -> list[Path]:
    make_folder(output / FIGURES)
    write_comparison(comparison, output)
    there = diagnostics_of(comparison)
    each = list(names or [name for name in known_diagnostics() if name in there] or there)
    main = [name for name in each if name in main_rows() and "level" not in comparison[name].dims]
    together = names or main or each
    overview = runs_overview(comparison, together, labels)
    written = [save(overview, output / FIGURES / "comparison.png")]
    for name in each:
        figure = diagnostic_of_runs(comparison, name, labels)
        written.append(save(figure, output / FIGURES / f"{name}.png"))
    return written
