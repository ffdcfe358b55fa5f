"""What `respeval compare` does: find the runs, compare them, show tables, write files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from rich.progress import track

from respeval.analysis.compared_maps import check_maps
from respeval.analysis.comparison import Wishes, compare_runs
from respeval.analysis.finished_runs import Run, find_runs
from respeval.api.compared_files import chosen_diagnostics, chosen_labels, write_compared
from respeval.errors import InputError
from respeval.presentation.console.compare import show_comparison
from respeval.presentation.console.json_output import answer, comparison_content
from respeval.presentation.console.streams import say_line
from respeval.presentation.console.terminal import (
    CommandConsole,
    make_console,
    make_notes_console,
)
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
        say_line(f"left out: {reason}")
    check_maps(maps, runs)
    comparison = _compare(runs, wishes, make_notes_console())
    there = {str(name) for name in comparison["run"].values}
    runs = [run for run in runs if run.name in there]
    names, labels = chosen_diagnostics(comparison, wishes), chosen_labels(comparison, wishes)
    show_comparison(console, comparison, runs, names, labels)
    if output is not None:
        figures = write_compared(comparison, runs, output, wishes, maps, say_line)
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
