"""A diagnostic's numbers: their places, names, and the digits that an interval leaves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import xarray as xr

from respeval.diagnostics.output_means import PER_K
from respeval.diagnostics.statistics.totals import statistics_named_in, variables_of
from respeval.fields.perturbation import BASELINE
from respeval.files.publish import finite_or_none

#: Rows of the table: (what, diagnostic, where unless a dimension says it, ends a section).
QUANTITIES = (
    ("land, K", "land_warming", "", True),
    ("ocean, K", "ocean_warming", "", True),
    ("land/ocean ratio", "land_ocean_warming_ratio", "", True),
    ("surface level, K", "tropical_ocean_surface_warming", "tropical ocean", True),
    ("upper level, K", "tropical_ocean_upper_warming", "tropical ocean", True),
    ("vertical ratio", "vertical_warming_ratio_tropical_ocean", "tropical ocean", True),
    ("column, global, K", "column_warming", "", True),
    ("amplification", "arctic_amplification", "Arctic", False),
    ("", "antarctic_amplification", "Antarctic", True),
    ("precipitation, %/K", "precipitation_change_per_K", "global", False),
    ("water path, %/K", "water_path_change_per_K", "global", False),
    ("Cess, W/m²/K", "cess_feedback", "global", True),
)

#: What is shown where nothing else is asked for.
_USUAL = ("land_ocean_warming_ratio", "vertical_warming_ratio_tropical_ocean")


#: The diagnostics of a run's own table.
MAIN = tuple(name for _, name, *_ in QUANTITIES)

#: What the mean of an output over a surface is called in the summary.
MEAN_LABELS = {"all": "global_mean", "land": "land_mean", "ocean": "ocean_mean"}

#: Digits of a number whose interval is not known.
_DIGITS = 3


def usual_diagnostics(present: Sequence[str]) -> list[str]:
    """What a table shows: the ratios, or else the warming, or else the outputs' means."""
    named = [name for name in MAIN if name in present]
    return [name for name in _USUAL if name in present] or named or list(present)


def holds(truth: float, low: float, high: float) -> str:
    """Whether an interval holds the truth: yes or no, a stroke where either is not known."""
    if math.isnan(truth) or math.isnan(low) or math.isnan(high):
        return "-"
    return "yes" if low <= truth <= high else "no"


def summary(diagnostics: xr.Dataset) -> dict[str, float | None]:
    """Flat keys and numbers for summary.json; what is not finite becomes None (JSON's null).

    `LABEL/NAME` of a scalar, `LABEL/NAME/BAND` by band, `LABEL/NAME/VARIABLE` by level, and so on
    with further dimensions; `baseline/NAME` of `baseline_NAME`, which no perturbation has;
    `LABEL/global_mean/NAME`, `LABEL/land_mean/NAME` and `LABEL/ocean_mean/NAME` of the outputs, and
    `LABEL/global_mean_per_K/NAME` and so on.
    Statistics: `_stderr`, `_low` and so on after the diagnostic's name, as in
    `LABEL/land_warming_stderr/BAND` and `LABEL/global_mean_low/NAME`. Zonal means and annual
    cycles are left out.
    """
    belongs = statistics_named_in(diagnostics)
    variables = variables_of(diagnostics)
    of_responses = {n: v for n, v in variables.items() if "perturbation" in v.dims}
    labels = diagnostics["perturbation"].values
    numbers: dict[str, float | None] = {}
    for i, label in enumerate(labels):
        for name, variable in of_responses.items():
            value = variable.isel(perturbation=i)
            if value.dims == ("surface",):
                quantity = belongs.get(name, name)
                suffix, output = name.removeprefix(quantity), quantity.removesuffix("_mean")
                if quantity.endswith(PER_K):
                    suffix, output = f"{PER_K}{suffix}", quantity.removesuffix(PER_K)
                surfaces = diagnostics.variables["surface"].values
                for surface, number in zip(surfaces, value.values, strict=True):
                    numbers[f"{label}/{MEAN_LABELS[surface]}{suffix}/{output}"] = finite_or_none(
                        number
                    )
            else:
                numbers |= _numbers_by_place(f"{label}/{name}", value, diagnostics)
    if len(labels):
        for name, variable in variables.items():
            if name not in of_responses:
                own = name.removeprefix(f"{BASELINE}_")
                numbers |= _numbers_by_place(f"{BASELINE}/{own}", variable, diagnostics)
    return numbers


def _numbers_by_place(
    key: str, value: xr.Variable, diagnostics: xr.Dataset
) -> dict[str, float | None]:
    """`KEY/PLACE/…` of every value, the places being texts; nothing of a profile by latitude or month."""
    if {"lat", "month"} & set(value.dims):
        return {}
    places = itertools.product(*(diagnostics.variables[dim].values for dim in value.dims))
    return {
        "/".join([key, *map(str, place)]): finite_or_none(number)
        for place, number in zip(places, value.values.ravel(), strict=True)
    }


def places_of(values: xr.DataArray) -> list[str]:
    """Names of a diagnostic's places, band, level or surface; those of several dimensions joined."""
    dims = [dim for dim in values.dims if dim not in ("run", "perturbation")]
    places = itertools.product(*(values[dim].values for dim in dims))
    return [", ".join(map(str, place)) for place in places]


def decimals_of(value: float, low: float = math.nan, high: float = math.nan) -> int:
    """Decimal places to show of a number: one significant digit of half its interval, two where the
    first of them is 1 or 2; without an interval three digits of the number itself.

    >>> rounded(1.43827, decimals_of(1.43827, low=1.35, high=1.53)), decimals_of(1.43827)
    ('1.44', 2)
    >>> rounded(1.43827, decimals_of(1.43827, low=1.0, high=1.9))
    '1.4'
    """
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
