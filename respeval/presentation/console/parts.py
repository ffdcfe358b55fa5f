"""Tables that are wider than the terminal, in parts that fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.table import Table

Column = TypeVar("Column")

#: So that a table has all the room that it asks for.
_ANY_WIDTH = 10_000

#: Added to the title of every part but the first.
FURTHER = ", further columns"

#: What a name takes of a table's width at most; longer ones are folded.
_NAMES_SHARE = 0.4


def natural_width(table: Table) -> int:
    """Characters that a table takes where nothing in it is broken."""
    return Console(width=_ANY_WIDTH).measure(table).maximum


def in_parts(
    columns: Sequence[Column], table_of: Callable[[Sequence[Column], bool], Table], width: int
) -> list[Table]:
    """The columns in as few tables as fit into so many characters, at least one column in each.

    table_of: (columns, whether it is a further part) -> their table, with what stands in every part.
    """
    parts: list[list[Column]] = [[]]
    for column in columns:
        longer = [*parts[-1], column]
        if parts[-1] and natural_width(table_of(longer, len(parts) > 1)) > width:
            parts.append([column])
        else:
            parts[-1] = longer
    return [table_of(part, number > 0) for number, part in enumerate(parts)]


def room_for_names(width: int) -> int:
    """Characters of the longest name that a table of this width shows in one line."""
    return int(_NAMES_SHARE * width)
