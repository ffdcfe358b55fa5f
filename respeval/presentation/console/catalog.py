"""The list of diagnostics on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from respeval.diagnostics import Entry


#: Longer lines are harder to read.
_MOST_COLUMNS = 100


def catalog_text(
    entries: Iterable[Entry], statistics: Mapping[str, str], width: int = _MOST_COLUMNS
) -> str:
    """Every diagnostic with its units, dimensions, formula and source, and what stands beside it.

    statistics: suffix -> what it is of the diagnostic. width: characters of a line.
    """
    lines: list[str] = []
    for entry in entries:
        lines += _wrapped(f"{entry.name} ({entry.dims}), {entry.units}", width, 0)
        for text in filter(None, (entry.what, entry.formula, entry.source)):
            lines += _wrapped(text, width, 4)
        lines.append("")
    lines.append("Beside each NAME:")
    for suffix, what in statistics.items():
        lines += _wrapped(f"NAME_{suffix}: {what} NAME", width, 4)
    return "\n".join(lines)


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    """Lines that end between words, the first one indented, the others by two more."""
    return textwrap.wrap(
        text,
        min(width, _MOST_COLUMNS),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
