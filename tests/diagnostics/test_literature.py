"""What is published: cited, of quantities that a run has, and told with what differs."""

from __future__ import annotations

import math

import pytest
import xarray as xr

from respeval.diagnostics import known_diagnostics
from respeval.diagnostics.literature import PUBLISHED, literature_line, published_beside

GLOBAL, LOW = "global_land_ocean_warming_ratio", "low_latitude_land_ocean_warming_ratio"


def diagnostics(**values: list[float]) -> xr.Dataset:
    """Ratios of two perturbations with intervals of ± 0.05."""
    found = xr.Dataset(coords={"perturbation": ["p2K", "p4K"]})
    for name, own in values.items():
        for end, shift in (("", 0.0), ("_low", -0.05), ("_high", 0.05)):
            found[f"{name}{end}"] = ("perturbation", [value + shift for value in own])
    return found


def test_every_range_is_of_a_diagnostic_and_cited() -> None:
    for entry in PUBLISHED:
        assert known_diagnostics()[entry.diagnostic].dims == "perturbation"
        assert entry.short_source.endswith(f"et al. {entry.year}")
        assert 2000 < int(entry.year) < 2030
        if not math.isnan(entry.low):
            assert entry.low < entry.high
    spread = next(entry for entry in PUBLISHED if "±" in entry.told)
    assert (spread.low, spread.high) == pytest.approx((1.51 - 0.13, 1.51 + 0.13))


def test_the_line_has_the_own_numbers_the_published_and_what_differs() -> None:
    line = literature_line(diagnostics(**{GLOBAL: [1.4, 1.5], LOW: [1.6, math.nan]}))
    assert line.startswith(
        "global land/ocean ratio p2K 1.40 [1.35, 1.45], p4K 1.50 [1.45, 1.55]; published 1.36 to 1.84 "
        "(CMIP3, Sutton et al. 2007), about 1.5 (CMIP6, Toda et al. 2023). "
    )
    assert "p4K -; published 1.51 ± 0.13 (CMIP3, Sutton et al. 2007). " in line
    assert line.endswith("here SST is prescribed, and it alone changes.")


def test_other_quantities_have_no_line() -> None:
    assert literature_line(diagnostics()) == ""
    assert literature_line(diagnostics(**{GLOBAL: [math.nan, math.nan]})) == ""
    told = [entry.diagnostic for entry, _ in published_beside(diagnostics(**{LOW: [1.5, 1.5]}))]
    assert told == [LOW]


@pytest.mark.parametrize(
    ("value", "low", "relation"),
    [
        (1.36, 1.3, "within"),
        (1.84, 1.8, "within"),
        (1.35, 1.3, "below"),
        (1.85, 1.8, "above"),
        (1.5, -math.inf, ""),
        (math.nan, math.nan, ""),
    ],
)
def test_ends_belong_to_a_range(value: float, low: float, relation: str) -> None:
    found = diagnostics(**{GLOBAL: [value, value]})
    found[f"{GLOBAL}_low"] = ("perturbation", [low, low])
    numbers = [numbers for _, numbers in published_beside(found)]
    if numbers:
        assert PUBLISHED[0].relation(numbers[0][0]) == relation
        assert PUBLISHED[1].relation(numbers[0][0]) == ""
    else:
        assert math.isnan(value)
