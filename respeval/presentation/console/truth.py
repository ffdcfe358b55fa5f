"""How far runs are from the truth, or from another reference: signed errors, and their colours."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from respeval.diagnostics.numbers import decimals_of, holds, rounded
from respeval.presentation.console.warming import main_numbers

if TYPE_CHECKING:
    import xarray as xr

#: Shares of the truth up to which an error is small or large, and the colours of small, middling and
#: large ones.
SMALL_ERROR, LARGE_ERROR = 0.05, 0.15
_COLORS = ("green", "yellow", "red")

#: Whether the 95 % interval holds the truth; nothing where either is not known.
MARKS = {"yes": "✓", "no": "·", "-": " "}

#: What stands below a table of errors.
_NOTE = (
    "error: run minus {0}, and in % of it; green up to {1:g} %, yellow up to {2:g} %, red beyond. ✓: the "
    "run's 95 % interval holds the {0}; ·: it does not, the run errs by more than its weather"
)

#: Letters in a line of a caption.
_CAPTION_WIDTH = 79

#: Decimal places at most, of the truth and of errors alike.
_MOST_DECIMALS = 3

#: An error that is so many times the truth says that the truth is next to nothing.
_MOST_SHARE = 10.0


def error_note(reference: str) -> str:
    """How to read errors and their colours. reference: what they are of."""
    return _NOTE.format(reference, 100.0 * SMALL_ERROR, 100.0 * LARGE_ERROR)


@dataclass(frozen=True)
class SignedError:
    """How far a number is from the truth.

    decimals: that the number's interval leaves. share: of the truth; NaN where the truth is next to
    nothing, within the half-width of the interval from zero or a tenth of the error. mark: see `MARKS`.
    """

    error: float
    decimals: int
    share: float
    mark: str

    @classmethod
    def of(
        cls, truth: float, value: float, low: float, high: float, most: int | None = None
    ) -> SignedError:
        """Of value [low, high], without an interval NaN. most: decimal places at most."""
        decimals = decimals_of(value, low, high)
        decimals = decimals if most is None else min(most, decimals)
        error = value - truth
        share = error / abs(truth) if truth else math.nan
        if abs(truth) <= 0.5 * (high - low) or not abs(share) < _MOST_SHARE:
            share = math.nan
        return cls(error, decimals, share, MARKS[holds(truth, low, high)])

    @property
    def texts(self) -> tuple[str, str]:
        """The error, and the same in percent of the truth; nothing where that says nothing."""
        if math.isnan(self.share):
            return _signed(self.error, self.decimals), ""
        percent = 100.0 * self.share
        decimals = 1 if abs(percent) < 9.95 else 0
        return _signed(self.error, self.decimals), f"{_signed(percent, decimals)} %"

    @property
    def color(self) -> str:
        """By the share of the truth; none where there is no share."""
        if math.isnan(self.share):
            return ""
        size = round(abs(self.share), 9)  # 1.05 is 5 % above 1
        return _COLORS[sum(size > most for most in (SMALL_ERROR, LARGE_ERROR))]


def error_cells(errors: Sequence[SignedError]) -> list[Text]:
    """The cells of a column: errors, percentages and marks below each other, coloured by their size."""
    texts = [error.texts for error in errors]
    widths = [max(len(text[i]) for text in texts) for i in (0, 1)]
    return [
        Text(f"{error:>{widths[0]}} {percent:>{widths[1]}} {each.mark}", each.color)
        for each, (error, percent) in zip(errors, texts, strict=True)
    ]


def _signed(number: float, decimals: int) -> str:
    text = rounded(number, decimals)
    return f"+{text}" if number > 0 and text.strip("0.") else text


def truth_table(truth: xr.Dataset, columns: Mapping[str, xr.Dataset], label: str) -> Table:
    """One perturbation's diagnostics of the truth, and beside it how far several runs are from it.

    truth: diagnostics without intervals; columns: name of the run -> its diagnostics.
    """
    table = Table(
        title=f"Response to {label}: the truth, and the emulators' errors",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        caption=textwrap.fill(error_note("truth"), _CAPTION_WIDTH),
        caption_justify="left",
    )
    table.add_column("warming", no_wrap=True)
    table.add_column("where", no_wrap=True)
    table.add_column("truth", justify="right", no_wrap=True)
    exact = list(main_numbers(truth))
    errors = {
        name: [
            SignedError.of(true.value, own.value, own.low, own.high, _MOST_DECIMALS)
            for (_, _, true, _), (_, _, own, _) in zip(exact, main_numbers(column), strict=True)
        ]
        for name, column in columns.items()
    }
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    cells = zip(*map(error_cells, errors.values()), strict=True)
    digits = [max(e.decimals for e in row) for row in zip(*errors.values(), strict=True)]
    for (quantity, place, true, last), own, decimals in zip(exact, cells, digits, strict=True):
        table.add_row(quantity, place, rounded(true.value, decimals), *own, end_section=last)
    return table
