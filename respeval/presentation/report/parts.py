"""What a page is made of: sections of facts, tables and figures."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from respeval.diagnostics.numbers import decimals_of, rounded
from respeval.presentation.console.truth import SignedError

Size = Literal["", "small", "middling", "large"]

#: Colour of an error in the terminal -> its size, which colours it on the page.
_SIZES: Mapping[str, Size] = {"": "", "green": "small", "yellow": "middling", "red": "large"}


@dataclass(frozen=True)
class Cell:
    """A cell of a table as it is shown, and what it is sorted by; is_number: whether that is one.

    about: what a pointer on it tells. more: what stands below the text, such as its interval. size: of an
    error, which colours it.
    """

    text: str
    value: str
    is_number: bool = False
    about: str = ""
    more: tuple[str, ...] = ()
    size: Size = ""

    @classmethod
    def of_text(cls, text: str, value: str | None = None, about: str = "") -> Cell:
        return cls(text, text if value is None else value, about=about)

    @classmethod
    def of_number(cls, number: float, decimals: int | None = None, text: str = "") -> Cell:
        """A number with so many decimals, or three digits of it; whole in `value`, empty where NaN."""
        places = decimals_of(number) if decimals is None else decimals
        value = "" if math.isnan(number) else repr(float(number))
        return cls(text or rounded(number, places), value, is_number=True)


@dataclass(frozen=True)
class Table:
    """Rows under headings, which sort them; note: how to read it.

    top: a row that stays above all others. num_labels: columns at the left that say what a row is. folded:
    shown on demand, and not printed.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    top: Sequence[Cell] = ()
    num_labels: int = 1
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture with the question that it answers, and what is seen in it. name: of its file."""

    name: str
    title: str
    caption: str
    png: bytes
    size: tuple[int, int]

    @property
    def uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Headline:
    """What stands at the top of the page.

    statements: (heading, text), made from the numbers. picture: one that shows it. warnings: of the
    runs.
    """

    statements: Sequence[tuple[str, str]]
    picture: Figure | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A run, a probe or a comparison.

    facts: what it is; provenance: where its numbers come from, for the page's end; texts: files in
    full, as (name, content); warnings: what stands before all else.
    """

    kind: Literal["run", "probe", "comparison"]
    title: str
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    provenance: Sequence[tuple[str, str]] = ()
    texts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()


def interval_cells(value: float, low: float, high: float) -> tuple[Cell, Cell]:
    """A number and its interval with the digits that the interval leaves, sorted by the number and
    by the interval's width."""
    decimals = decimals_of(value, low, high)
    ends = f"{rounded(low, decimals)} to {rounded(high, decimals)}"
    interval = Cell.of_number(high - low, text="-" if math.isnan(low) else ends)
    return Cell.of_number(value, decimals), interval


def error_cell(error: SignedError) -> Cell:
    """A signed error, in percent of the truth where that says something, with its mark and colour; it
    is sorted by the share of the truth, or by itself."""
    text = " ".join(filter(None, (*error.texts, error.mark.strip())))
    value = error.error if math.isnan(error.share) else error.share
    cell = Cell.of_number(value, text=text)
    return replace(cell, size=_SIZES[error.color])


def sentence(text: str) -> str:
    """A text with a large first letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
