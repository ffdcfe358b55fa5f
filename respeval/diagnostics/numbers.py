"""A diagnostic's numbers: their places, names, and the digits that an interval leaves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Row
from respeval.diagnostics.formulas.registry import known_diagnostics
from respeval.diagnostics.output_means import PER_K
from respeval.diagnostics.statistics.precision import YEARS
from respeval.diagnostics.statistics.totals import statistics_named_in, variables_of
from respeval.fields.grid import FloatArray
from respeval.fields.perturbation import BASELINE
from respeval.files.publish import finite_or_none

#: The ratios to know first: shown where nothing else is asked for, and told how many more years they
#: need.
RATIOS_KNOWN = ("land_ocean_warming_ratio", "vertical_warming_ratio_tropical_ocean")

#: The mean of an output over a surface, in words.
_MEANS = {"all": "global mean", "land": "land mean", "ocean": "ocean mean"}

#: Digits of a number whose interval is not known.
_DIGITS = 3


def main_rows() -> dict[str, Row]:
    """The diagnostics of a run's own table, in its order, and their rows."""
    rows = {name: each.row for name, each in known_diagnostics().items()}
    return {name: row for name, row in rows.items() if row is not None}


def short_name(name: str) -> str:
    """What the row of a diagnostic is called; nothing where it has no row, or none of its own name."""
    row = known_diagnostics()[name].row if name in known_diagnostics() else None
    return "" if row is None else row.label


def usual_diagnostics(present: Sequence[str]) -> list[str]:
    """What a table shows: the ratios, or else the warming, or else the outputs' means."""
    named = [name for name in main_rows() if name in present]
    return [name for name in RATIOS_KNOWN if name in present] or named or list(present)


def is_profile(values: xr.DataArray | xr.Variable) -> bool:
    """Whether a diagnostic is a profile by latitude or an annual cycle: too much for tables."""
    return not {"lat", "month"}.isdisjoint(values.dims)


def places(values: xr.DataArray) -> list[dict[str, Any]]:
    """Where a diagnostic's numbers are, in their order: dimension -> band, level, surface or such."""
    return _places(values.dims, values.coords)


def _places(dims: Iterable[Hashable], coordinates: Mapping[Any, Any]) -> list[dict[str, Any]]:
    own = [str(dim) for dim in dims if dim not in ("run", "perturbation")]
    combined = itertools.product(*(coordinates[dim].values for dim in own))
    return [dict(zip(own, place, strict=True)) for place in combined]


def places_of(values: xr.DataArray) -> list[str]:
    """Names of a diagnostic's places; those of several dimensions joined, nothing where it has none."""
    return [", ".join(map(str, place.values())) for place in places(values)]


def band_limits(dataset: xr.Dataset) -> dict[str, str]:
    """The latitudes of each band in words, folded: tropics -> 0–15°; none where they are not told.

    dataset: with the coordinates `band`, `band_low` and `band_high`, degrees, as diagnostics.nc.
    """
    names = ("band", "band_low", "band_high")
    if any(name not in dataset.coords for name in names):
        return {}
    edges = (np.atleast_1d(dataset[name].values) for name in names)
    return {str(band): f"{low:g}–{high:g}°" for band, low, high in zip(*edges, strict=True)}


def with_limits(place: str, limits: Mapping[str, str]) -> str:
    """A place, as of `places_of`, with the latitudes of its band if it is one of a band.

    >>> with_limits("northern, tropics", {"tropics": "0–15°"}), with_limits("land", {})
    ('northern, tropics, 0–15°', 'land')
    """
    last = place.rpartition(", ")[2]
    return f"{place}, {limits[last]}" if last in limits else place


def place_in_words(place: str) -> str:
    """A place's name as figures and tables have it."""
    return _MEANS.get(place, place)


def heading(name: str, place: str) -> tuple[str, str]:
    """What the numbers of a diagnostic at a place are called, and where they are, as a run's table has it.

    place: as of `places_of`. A diagnostic without a row of its own has its name.
    """
    label = ""
    for other, row in main_rows().items():
        label = row.label or label  # an empty one is like the one before
        if other == name:
            return label, place or row.where
    return name.removesuffix("_mean"), place_in_words(place)


def by_place(dataset: xr.Dataset, name: str, suffix: str = "") -> FloatArray:
    """Numbers of a diagnostic, ([run, perturbation,] place), places in the order of `places`.

    suffix: of a statistic or difference; NaN where there is none.
    """
    values, found = dataset.variables[name], dataset.variables.get(f"{name}{suffix}")
    outer = [dim for dim in ("run", "perturbation") if dim in values.dims]
    inner = [dim for dim in values.dims if dim not in outer]
    shape = [*(values.sizes[dim] for dim in outer), math.prod(values.sizes[dim] for dim in inner)]
    if found is None:
        return np.full(shape, math.nan)
    return np.asarray(found.transpose(*outer, *inner).values, np.float64).reshape(shape)


@dataclass(frozen=True)
class Number:
    """One number of a diagnostic with its statistics; NaN is what there is not.

    label: of the perturbation, or `BASELINE`. where: its place, as of `places_of`.
    """

    label: str
    where: str
    value: float
    stderr: float
    low: float
    high: float
    noise: float


def numbers_of(dataset: xr.Dataset, name: str) -> list[Number]:
    """The numbers of a diagnostic, perturbation by perturbation, place by place.

    dataset: as diagnostics.nc, or of one perturbation, which has no name then.
    """
    values = dataset[name]
    labels = [BASELINE]
    if "perturbation" in values.dims:
        labels = [str(label) for label in values["perturbation"].values]
    columns = [
        by_place(dataset, name, suffix).ravel().tolist()
        for suffix in ("", "_stderr", "_low", "_high", "_noise")
    ]
    heads = itertools.product(labels, places_of(values))
    return [Number(*head, *row) for head, *row in zip(heads, *columns, strict=True)]


def holds(truth: float, low: float, high: float) -> str:
    """Whether an interval holds the truth: yes or no, a stroke where either is not known."""
    if math.isnan(truth) or math.isnan(low) or math.isnan(high):
        return "-"
    return "yes" if low <= truth <= high else "no"


def key_of(label: str, name: str, place: Iterable[object] = ()) -> str:
    """What a number is called in summary.json: `LABEL/NAME/PLACE`, further dimensions likewise."""
    return "/".join(map(str, (label, name, *place)))


def parts_of_key(key: str) -> tuple[str, str, list[str]]:
    """Label, name and place of a key of summary.json."""
    label, _, rest = key.partition("/")
    name, *place = rest.split("/")
    return label, name, place


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
    labels = [str(label) for label in diagnostics["perturbation"].values]
    numbers: dict[str, float | None] = {}
    for i, label in enumerate(labels):
        for name, variable in of_responses.items():
            value, quantity = variable.isel(perturbation=i), belongs.get(name, name)
            if value.dims == ("surface",) and quantity.endswith(("_mean", PER_K)):
                per_K = PER_K if quantity.endswith(PER_K) else ""
                kind = f"{per_K}{name.removeprefix(quantity)}"
                surfaces = diagnostics.variables["surface"].values
                for surface, number in zip(surfaces, value.values, strict=True):
                    called = f"{_MEANS[surface].replace(' ', '_')}{kind}"
                    key = key_of(label, called, [quantity.removesuffix(per_K or "_mean")])
                    numbers[key] = finite_or_none(number)
            else:
                numbers |= _keyed(label, name, value, diagnostics)
    if labels:
        for name, variable in variables.items():
            if name not in of_responses:
                own = name.removeprefix(f"{BASELINE}_")
                numbers |= _keyed(BASELINE, own, variable, diagnostics)
    return numbers


def _keyed(
    label: str, name: str, values: xr.Variable, diagnostics: xr.Dataset
) -> dict[str, float | None]:
    """Key -> number; nothing of a profile."""
    if is_profile(values):
        return {}
    where = _places(values.dims, diagnostics.variables)
    return {
        key_of(label, name, place.values()): finite_or_none(number)
        for place, number in zip(where, values.values.ravel(), strict=True)
    }


def indices_summary(series: xr.Dataset) -> dict[str, float | None]:
    """`GROUP/nino34_std`, `GROUP/nino34_period` and `GROUP/tpi_std` for summary.json, the sample behind
    where each has its own.

    series: as in indices.nc.
    """
    numbers: dict[str, float | None] = {}
    for label in map(str, series["group"].values):
        of_group = series.sel(group=label)
        for name, value in of_group.data_vars.items():
            if {"time", "box"}.isdisjoint(value.dims):
                numbers |= _keyed(label, str(name), value.variable, of_group)
    return numbers


def years_summary(running: xr.Dataset) -> dict[str, float | None]:
    """`LABEL/years_to_5_percent/NAME/PLACE` of the whole run for summary.json, null where unknown.

    running: as in running.nc.
    """
    numbers: dict[str, float | None] = {}
    for name in RATIOS_KNOWN:
        if name in running:
            left = running[f"{name}_{YEARS}"].isel(time=-1)
            for label in map(str, left["perturbation"].values):
                own = left.sel(perturbation=label).variable
                numbers |= _keyed(label, f"{YEARS}/{name}", own, running)
    return numbers


def with_interval(value: float, low: float, high: float, most: int | None = None) -> str:
    """A number [its interval] with the digits that the interval leaves; alone where there is none.

    most: decimal places at most.

    >>> with_interval(1.43827, 1.35, 1.53), with_interval(0.5749, 0.5741, 0.5757)
    ('1.44 [1.35, 1.53]', '0.5749 [0.5741, 0.5757]')
    """
    decimals = decimals_of(value, low, high)
    decimals = decimals if most is None else min(most, decimals)
    shown = rounded(value, decimals)
    if math.isnan(value) or math.isnan(low):
        return shown
    if math.isinf(low):
        return f"{shown} [unbounded]"
    return f"{shown} [{rounded(low, decimals)}, {rounded(high, decimals)}]"


def with_error(value: float, stderr: float) -> str:
    """A number ± its standard error with the digits that the error leaves; alone where there is none.

    >>> with_error(0.5749, 0.0004), with_error(0.5749, 0.0), with_error(0.5749, math.nan)
    ('0.5749 ± 0.0004', '0.575 ± 0', '0.575')
    """
    decimals = decimals_of(value, -stderr, stderr)
    shown = rounded(value, decimals)
    if math.isnan(value) or math.isnan(stderr):
        return shown
    return f"{shown} ± {rounded(stderr, decimals) if stderr else 0}"


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
