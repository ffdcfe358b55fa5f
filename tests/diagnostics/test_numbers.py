"""The digits that are shown, against rounding by hand."""

from __future__ import annotations

import math

import pytest

from respeval.diagnostics.numbers import decimals_of, rounded


@pytest.mark.parametrize(
    ("value", "low", "high", "decimals"),
    [
        (1.4416, 1.437, 1.446, 3),  # half an interval of 0.0045
        (1.4416, 1.4, 1.48, 2),
        (5.75, 5.73, 5.77, 3),  # of 0.02: 2 is followed by a second digit
        (12.3, 0.0, 60.0, 0),
        (1234.5, 1000.0, 1500.0, 0),
        (3.2e-8, 2.8e-8, 3.6e-8, 9),
        (2.5, 2.5, 2.5, 2),  # no width: three digits of the number
        (0.0123, math.nan, math.nan, 4),
        (1234.5, math.nan, math.nan, 0),
        (1.5, -math.inf, math.inf, 2),
        (0.0, math.nan, math.nan, 2),
        (math.nan, math.nan, math.nan, 2),
    ],
)
def test_digits_are_those_that_the_interval_leaves(
    value: float, low: float, high: float, decimals: int
) -> None:
    assert decimals_of(value, low, high) == decimals


def test_numbers_are_rounded_and_zero_has_no_sign() -> None:
    assert rounded(1.4416, 3) == "1.442"
    assert rounded(-0.0004, 2) == "0.00"
    assert rounded(1234.5678, 0) == "1235"
    assert rounded(3.21e-8, 10) == "3.21e-08"
    assert rounded(1.5, 9) == "1.500000"
    assert rounded(math.nan, 2) == "-"
    assert (rounded(math.inf, 2), rounded(-math.inf, 2)) == ("∞", "-∞")
