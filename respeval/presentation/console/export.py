"""The table of a submission."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from respeval.aimip import Report


def report_text(report: Report, experiments: list[str]) -> Group:
    """What a submission holds as a table, then what it lacks, a line each."""
    table = Table(title=f"{report.title}: {report.num_files} files", title_justify="left")
    table.add_column("variable")
    for experiment in experiments:
        table.add_column(experiment)
    for variable in report.variables:
        table.add_row(variable, *(report.cells[variable, name] for name in experiments))
    lines = [Text(f"lacks: {line}", style="red") for line in report.lacks]
    lines += [Text(f"note: {line}", style="yellow") for line in report.notes]
    verdict = f"{len(report.lacks)} faults" if report.lacks else "complete: nothing is missing"
    return Group(table, *lines, Text(verdict, style="bold"))
