"""How many digits of a number are shown: those that its interval leaves, and one more."""

from __future__ import annotations

import math

#: Digits of a number whose interval is not known.
_DIGITS = 3


def decimals_of(value: float, low: float = math.nan, high: float = math.nan) -> int:
    """Decimal places to show of a number: one significant digit of half its interval, two where the
    first of them is 1 or 2; without an interval three digits of the number itself."""
    half = 0.5 * (high - low)
    if math.isfinite(half) and half > 0:
        return max(0, 1 - math.floor(math.log10(half / 0.3)))
    if math.isfinite(value) and value != 0:
        return max(0, _DIGITS - 1 - math.floor(math.log10(abs(value))))
    return _DIGITS - 1


def rounded(value: float, decimals: int, most: int = 6) -> str:
    """A number with so many decimal places, or with an exponent where they are more than `most`."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if decimals > most and abs(value) < 0.1:
        return f"{value:.{_DIGITS - 1}e}"
    places = min(decimals, most)
    # Adding zero takes the sign off a rounded -0.00.
    return f"{round(value, places) + 0.0:.{places}f}"
