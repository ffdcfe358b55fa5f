"""What is told of a finished run: its tables, and what is left out of them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import xarray as xr

from respeval.analysis.folder import told_quarantined, warnings_of_folder
from respeval.analysis.indices import modes_left_out
from respeval.diagnostics import (
    DiagnosticSettings,
    catalog,
    left_out,
    seasons_left_out,
)
from respeval.diagnostics.literature import literature_line
from respeval.diagnostics.numbers import main_rows
from respeval.files.netcdf import open_saved
from respeval.presentation.console.precision import precision_tables
from respeval.presentation.console.reference import agreement_tables
from respeval.presentation.console.terminal import (
    CommandConsole,
    make_console,
    tell_left_out,
)
from respeval.presentation.console.warming import (
    full_tables,
    means_tables,
    perturbation_columns,
    warming_tables,
)
from respeval.run_folder.names import DIAGNOSTICS_FILE, REFERENCE, RUNNING, ZONAL


def show_table(
    folder: Path,
    settings: DiagnosticSettings | None = None,
    known: xr.Dataset | None = None,
    *,
    literature: bool = True,
) -> None:
    """The table of a run from its diagnostics.nc.

    settings: those of the run where every diagnostic is asked for, and why others are left out.
    known: what diagnostics.nc has, where it need not be read. literature: whether to tell what is
    published of the same quantities.
    """
    console = make_console()
    opened = open_saved(folder / DIAGNOSTICS_FILE) if known is None else nullcontext(known)
    with opened as diagnostics, open_saved(folder / ZONAL) as zonal:
        columns = perturbation_columns(diagnostics, everything=settings is not None)
        has_rows = any(name in diagnostics for name in main_rows())
        tables_of = warming_tables if has_rows else means_tables
        console.print(*tables_of(columns, f"Response, {folder}", console.width), sep="\n")
        published = literature_line(diagnostics) if literature else ""
        if published:
            console.print(published, highlight=False)
        _show_precision(console, folder)
        _show_agreement(console, folder, diagnostics, settings)
        if settings is not None:
            names = [entry.name for entry in catalog()]
            console.print(*full_tables(columns, names, console.width), sep="\n")
            reasons = left_out(map(str, zonal.data_vars), settings)
            reasons |= seasons_left_out(zonal, settings) | modes_left_out(folder, settings)
            tell_left_out(console, reasons)
    for told in told_quarantined(folder):
        console.print(f"left out of the means: {told}", style="yellow", highlight=False)
    for text in warnings_of_folder(folder):
        console.warn(text)


def _show_precision(console: CommandConsole, folder: Path) -> None:
    """How well the ratios are known; nothing for a run of a respeval that did not tell."""
    if not (folder / RUNNING).is_file():
        return
    with open_saved(folder / RUNNING) as running:
        for table in precision_tables(running, console.width):
            console.print(table)


def _show_agreement(
    console: CommandConsole,
    folder: Path,
    diagnostics: xr.Dataset,
    settings: DiagnosticSettings | None,
) -> None:
    """The tables of reference.nc, where a run was held against a reference."""
    if not (folder / REFERENCE).is_file():
        return
    first = None
    if settings is None:
        levels = diagnostics["level"].values if "level" in diagnostics.coords else ()
        first = [str(name) for name in levels][::-1]
    with open_saved(folder / REFERENCE) as agreement:
        console.print(*agreement_tables(agreement.load(), first, console.width), sep="\n")
