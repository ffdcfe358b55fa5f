"""`respeval report`; heavy imports wait inside the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from respeval.exits import one_line_errors


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="Folders of finished runs, of sweeps (all their runs), of gradient probes and of "
            "comparisons.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path(
        "report.html"
    ),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
) -> None:
    """Write one HTML page with the numbers, figures and provenance of runs, probes and comparisons.

    It needs no other file and no network. Several runs are compared at its top.
    """
    with one_line_errors():
        from respeval.report_command import report_folders

        report_folders(folders, output, title)
