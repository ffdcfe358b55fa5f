"""The list of diagnostics on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from respeval.diagnostics import Entry


_WIDTH = 100


def catalog_text(entries: Iterable[Entry], statistics: Mapping[str, str]) -> str:
    """Every diagnostic with its units, dimensions, formula and source, and what stands beside it.

    statistics: suffix -> what it is of the diagnostic.
    """
    lines: list[str] = []
    for entry in entries:
        lines += [f"{entry.name} ({entry.dims}), {entry.units}"]
        for text in filter(None, (entry.what, entry.formula, entry.source)):
            lines += textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")
        lines.append("")
    lines.append("Beside each NAME:")
    lines += [f"    NAME_{suffix}: {what} NAME" for suffix, what in statistics.items()]
    return "\n".join(lines)
