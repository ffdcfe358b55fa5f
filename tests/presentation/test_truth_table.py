"""How far runs are from the truth: signed errors, percentages, colours and marks."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import xarray as xr
from rich.console import Console

from respeval.diagnostics.numbers import holds
from respeval.presentation.console.truth import SignedError, error_cells, error_note, truth_table


def column(ratio: float, reach: float) -> xr.Dataset:
    """Diagnostics of one perturbation: a ratio in two bands, of which the second is not known."""
    values = xr.DataArray([ratio, math.nan], {"band": ["midlatitudes", "poles"]}, "band")
    found = {"land_ocean_warming_ratio": values}
    if not math.isnan(reach):
        found["land_ocean_warming_ratio_low"] = values - reach
        found["land_ocean_warming_ratio_high"] = values + reach
    return xr.Dataset(found)


def shown(width: int, *, is_terminal: bool = False) -> list[str]:
    runs = {"perturbed_sst": column(1.4416, 0.0045), "present_day": column(1.0948, 0.081)}
    table = truth_table(column(1.4452, math.nan), runs, "p4K")
    text = io.StringIO()
    color: Any = {"force_terminal": True, "color_system": "standard", "no_color": False}
    Console(file=text, width=width, **(color if is_terminal else {})).print(table)
    return text.getvalue().splitlines()


def test_the_error_stands_beside_the_truth_in_80_columns() -> None:
    rows = [" ".join(line.split()) for line in shown(80)]
    assert rows[0] == "Response to p4K: the truth, and the emulators' errors"
    assert rows[1] == "warming where truth perturbed_sst present_day"
    assert "land/ocean ratio midlatitudes 1.445 -0.004 -0.2 % ✓ -0.35 -24 % ·" in rows
    assert "poles - - -" in rows
    assert error_note("truth") in " ".join(rows)
    assert max(len(line.rstrip()) for line in shown(80)) <= 80


def test_colours_are_by_the_size_of_the_error_and_on_terminals_alone() -> None:
    assert "\033" not in "".join(shown(80))
    row = next(line for line in shown(80, is_terminal=True) if "midlatitudes" in line)
    assert "\033[32m-0.004 -0.2 % ✓\033[0m" in row
    assert "\033[31m-0.35 -24 % ·\033[0m" in row


@pytest.mark.parametrize(
    ("truth", "value", "texts", "color"),
    [
        (2.0, 2.1, ("+0.10", "+5.0 %"), "green"),
        (2.0, 1.9, ("-0.10", "-5.0 %"), "green"),
        (2.0, 2.11, ("+0.11", "+5.5 %"), "yellow"),
        (2.0, 1.7, ("-0.30", "-15 %"), "yellow"),
        (2.0, 1.69, ("-0.31", "-16 %"), "red"),
        (-2.0, -1.0, ("+1.00", "+50 %"), "red"),  # less cooling than in truth
        (-2.0, -3.0, ("-1.00", "-50 %"), "red"),
        (2.0, -2.0, ("-4.00", "-200 %"), "red"),
        (0.0, 1.0, ("+1.00", ""), ""),
        (0.04, 1.0, ("+0.96", ""), ""),  # within the interval's half-width of zero
        (0.09, 1.09, ("+1.00", ""), ""),  # a tenth of the error and less
        (2.0, math.nan, ("-", ""), ""),
        (math.nan, 2.0, ("-", ""), ""),
        (2.0, 2.0, ("0.00", "0.0 %"), "green"),
    ],
)
def test_errors_have_a_sign_and_a_percentage_where_it_says_something(
    truth: float, value: float, texts: tuple[str, str], color: str
) -> None:
    found = SignedError.of(truth, value, value - 0.05, value + 0.05)
    assert found.texts == texts
    assert found.color == color


def test_errors_have_the_digits_that_the_interval_leaves() -> None:
    of = SignedError.of
    assert of(1.0, 1.23456, 1.2, 1.27).texts[0] == "+0.23"
    assert of(1.0, 1.23456, 1.2345, 1.2347).texts[0] == "+0.23456"
    assert of(1.0, 1.23456, 1.2345, 1.2347, 3).texts[0] == "+0.235"
    assert of(1.0, 1.23456, math.nan, math.nan).texts[0] == "+0.23"


def test_marks_say_whether_the_interval_holds_the_truth() -> None:
    marks = [
        SignedError.of(1.0, 1.1, low, high).mark
        for low, high in ((0.9, 1.3), (1.05, 1.15), (-math.inf, math.inf), (math.nan, math.nan))
    ]
    assert marks == ["✓", "·", "✓", " "]
    errors = [SignedError.of(10.0, 9.0, 8.9, 9.1), SignedError.of(1.0, 1.01, 0.9, 1.12)]
    assert [cell.plain for cell in error_cells(errors)] == ["-1.00  -10 % ·", "+0.01 +1.0 % ✓"]


def test_an_interval_holds_its_ends_and_an_unbounded_one_all() -> None:
    assert holds(1.0, 1.0, 2.0) == holds(2.0, 1.0, 2.0) == "yes"
    assert holds(2.1, 1.0, 2.0) == holds(0.9, 1.0, 2.0) == "no"
    assert holds(7.0, -math.inf, math.inf) == "yes"
    assert holds(1.0, math.nan, math.nan) == holds(math.nan, 0.0, 1.0) == "-"
