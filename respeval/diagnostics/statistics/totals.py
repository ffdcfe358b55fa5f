"""Means of segments to totals by year, and totals to the response: sum first, divide once.

A *total* is Σ count·x with its count beside it, so that totals of years and samples can be added
and taken away. The response divides last. All of it works on maps and on zonal means alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from respeval.errors import InputError
from respeval.fields.perturbation import BASELINE

#: The dimension of a stack of variables, and about how many bytes of it are worked on at once.
STACK_DIM = "output"
STACK_BYTES = 32 * 2**20

#: A lazy variable of no more bytes is read at once, a larger one by year: each reading has its cost.
_READ_AT_ONCE_BYTES = 16 * 2**20

#: A last block of segments that is shorter than this share of the one before it joins it: a unit of a
#: part of a year would differ from the others by its season.
SHORTEST_YEAR = 0.9


def require(dataset: xr.Dataset, names: Iterable[str], source: str) -> None:
    """Raise InputError where `dataset`, which `source` names, lacks one of the variables."""
    for name in names:
        if name not in dataset.variables:
            present = ", ".join(sorted(map(str, dataset.variables)))
            raise InputError(f"{source} has no {name!r} (it has: {present})")


def require_baseline(groups: xr.DataArray) -> None:
    """Raise InputError where none of the labels [group] is the baseline's."""
    if BASELINE not in groups.values:
        labels = ", ".join(map(str, groups.values))
        raise InputError(f"there is no group {BASELINE!r} to compare with (groups: {labels})")


def names_with_dims(dataset: xr.Dataset, dims: Sequence[str]) -> list[str]:
    """Names of the variables on these dimensions, and maybe more; statistics of others left out."""
    statistics = statistics_named_in(dataset)
    return [
        name
        for name, variable in variables_of(dataset).items()
        if set(variable.dims) >= set(dims) and name not in statistics
    ]


def statistics_named_in(dataset: xr.Dataset) -> dict[str, str]:
    """Name of a statistic -> the variable that names it among its `ancillary_variables`."""
    return {
        statistic: name
        for name, variable in variables_of(dataset).items()
        for statistic in str(variable.attrs.get("ancillary_variables", "")).split()
    }


def variables_of(dataset: xr.Dataset) -> dict[str, xr.Variable]:
    """The data variables without coordinates: with them, each costs a walk through the others."""
    return {str(name): dataset.variables[name] for name in dataset.data_vars}


def parts_of_stack(names: Sequence[str], bytes_each: int) -> Iterator[Sequence[str]]:
    """The names in parts whose variables can be stacked within `STACK_BYTES`."""
    length = max(1, STACK_BYTES // max(1, bytes_each))
    for first in range(0, len(names), length):
        yield names[first : first + length]


def stack(variables: Mapping[str, xr.DataArray]) -> xr.DataArray:
    """Variables of one shape as one, (output, …): most of xarray's work is by variable, not by value."""
    first = next(iter(variables.values()))
    values = np.stack([variable.transpose(*first.dims).values for variable in variables.values()])
    coords = {**first.coords, STACK_DIM: list(variables)}
    return xr.DataArray(values, coords=coords, dims=(STACK_DIM, *first.dims))


def year_blocks(means: xr.Dataset) -> list[slice]:
    """Consecutive segments that lie in one year of the run, as slices of `time`.

    A year begins at the first segment's start and at every anniversary of it in the file's own
    calendar, so that a run that starts in July has whole years too; the middle of a segment (the
    coordinate `time`) decides. A segment longer than a year is a block of its own. What is left at
    the end is a year if it is at least `SHORTEST_YEAR` of the one before; else it belongs to that.

    means: `time` and `time_bnds` (time, bnds), decoded, cftime or datetime64.
    Raises InputError where there is no segment, no `time_bnds`, or time does not rise.
    """
    return year_blocks_until(means, [means.sizes.get("time", 0)])[0]


def year_blocks_until(means: xr.Dataset, stops: Sequence[int]) -> list[list[slice]]:
    """The `year_blocks` that there would be if the run had ended after so many segments each."""
    require(means, ("time", "time_bnds"), "the file of means")
    middle = means["time"]
    if middle.size == 0:
        raise InputError("the file of means has no segment (were all of them left out as spin-up?)")
    year = _year_numbers(middle, means)
    if (np.diff(year) < 0).any():
        raise InputError("the segments of the file of means are not in the order of time")
    bounds = means["time_bnds"].transpose("time", "bnds").values
    return [_blocks(year[:stop], bounds) for stop in stops]


def year_ends(means: xr.Dataset) -> list[int]:
    """How many segments there are at the end of every year of the run, and at its own end."""
    require(means, ("time", "time_bnds"), "the file of means")
    edges = np.flatnonzero(np.diff(_year_numbers(means["time"], means))) + 1
    return [*edges.tolist(), means.sizes["time"]]


def num_in_whole_years(means: xr.Dataset) -> int:
    """How many segments lie in years of the run that are whole, all of them where no year is."""
    ends = year_ends(means)
    return ends[-2] if len(ends) > len(year_blocks(means)) else ends[-1]


def _blocks(year: NDArray[np.int64], bounds: NDArray[Any]) -> list[slice]:
    """Segments of one year each, the last one's with the year before it where it is too short.

    year: (time). bounds: (time, bnds), maybe of further segments.
    """
    edges = [0, *(np.flatnonzero(np.diff(year)) + 1), year.size]
    if len(edges) > 2:
        before, last = (bounds[b - 1, 1] - bounds[a, 0] for a, b in pairwise(edges[-3:]))
        if last < SHORTEST_YEAR * before:
            del edges[-2]
    return [slice(int(first), int(last)) for first, last in pairwise(edges)]


def ends_year(means: xr.Dataset) -> bool:
    """Whether a year ends with the last segment: one more of its length would lie in the next year.

    means: as for `year_blocks`.
    """
    begin, end = means["time_bnds"].transpose("time", "bnds").values[-1]
    following = xr.DataArray([begin + (end - begin) / 2, end + (end - begin) / 2], dims="time")
    of_last, of_next = _year_numbers(following, means)
    return bool(of_next > of_last)


def _year_numbers(moments: xr.DataArray, means: xr.Dataset) -> NDArray[np.int64]:
    """How many anniversaries of the first segment's start each of these moments has behind it."""
    start = means["time_bnds"].isel(time=slice(0, 1), bnds=0)
    before_anniversary = _within_year(moments) < _within_year(start)
    return np.asarray(moments.dt.year.values - start.dt.year.values - before_anniversary)


def _within_year(times: xr.DataArray) -> NDArray[np.int64]:
    """A number that orders moments within a calendar year, [time]."""
    moment = times.dt
    days = moment.month.values.astype(np.int64) * 32 + moment.day.values
    hours = days * 24 + moment.hour.values
    return np.asarray((hours * 60 + moment.minute.values) * 60 + moment.second.values)


def yearly_totals(
    variable: xr.DataArray, count: xr.DataArray, blocks: Sequence[slice]
) -> xr.DataArray:
    """Σ count·x over the segments of each block, float64, `time` replaced by `year`.

    variable: (…, time, …), may be lazy: one block at a time is in memory, or all of a small one.
    count: steps in each mean, on `time` and on leading dimensions of `variable`; where it is 0 the
        value is not looked at, so that it may be NaN.
    """
    if variable.nbytes <= _READ_AT_ONCE_BYTES:
        variable = variable.compute()
    totals = list(_totals_of_blocks(variable, count.variable.astype(np.float64), blocks))
    return xr.DataArray(xr.Variable.concat(totals, "year"), _timeless(variable, count))


def stacked_yearly_totals(
    variables: Sequence[xr.DataArray], count: xr.DataArray, blocks: Sequence[slice]
) -> xr.DataArray:
    """The `yearly_totals` of variables that are alike, as one: (output, year, …)."""
    steps, stacked = count.variable.astype(np.float64), None
    for i, variable in enumerate(variables):
        for j, total in enumerate(_totals_of_blocks(variable, steps, blocks)):
            if stacked is None:
                shape = (len(variables), len(blocks), *total.shape)
                stacked = xr.Variable((STACK_DIM, "year", *total.dims), np.empty(shape))
            stacked.values[i, j] = total.transpose(*stacked.dims[2:]).values
    if stacked is None:
        raise ValueError("there is nothing to stack")
    names = [str(variable.name) for variable in variables]
    return xr.DataArray(stacked, {**_timeless(variables[0], count), STACK_DIM: names})


def _totals_of_blocks(
    variable: xr.DataArray, steps: xr.Variable, blocks: Sequence[slice]
) -> Iterator[xr.Variable]:
    """Σ steps·x over the segments of each block, without `time`."""
    # Variables instead of arrays with coordinates, and `einsum` itself instead of `xr.dot`: aligning
    # and looking up would be most of the work.
    axes = {dim: i for i, dim in enumerate(dict.fromkeys([*variable.dims, *steps.dims]))}
    kept = [dim for dim in axes if dim != "time"]
    for block in blocks:
        weight = steps.isel(time=block)
        value = variable.variable.isel(time=block).compute().astype(np.float64, copy=False)
        if not (weight.values > 0).all():
            value = value.where(weight > 0, 0.0)
        total = np.einsum(
            *(value.values, [axes[dim] for dim in value.dims]),
            *(weight.values, [axes[dim] for dim in weight.dims]),
            [axes[dim] for dim in kept],
        )
        yield xr.Variable(kept, total)


def _timeless(variable: xr.DataArray, count: xr.DataArray) -> dict[Hashable, xr.DataArray]:
    """The coordinates of both that don't go with time."""
    coords = {**count.coords, **variable.coords}
    return {name: coord for name, coord in coords.items() if "time" not in coord.dims}


def yearly_counts(count: xr.DataArray, blocks: Sequence[slice]) -> xr.DataArray:
    """Σ count over the segments of each block, float64, `time` replaced by `year`."""
    steps = count.astype(np.float64)
    return xr.concat([steps.isel(time=block).sum("time") for block in blocks], dim="year")


def means_of_totals(totals: xr.Dataset) -> xr.Dataset:
    """Totals divided by their count: variables (group, …). A mean of no step is NaN.

    totals: variables (group, …) and `count` (group, …).
    """
    count = totals["count"]
    return totals.drop_vars("count") / count.where(count > 0)


def response_of_means(means: xr.Dataset, baseline: xr.Dataset | None = None) -> xr.Dataset:
    """Mean of every perturbed group minus mean of the baseline; variables (perturbation, …).

    means: variables (group, …); the labels of the perturbations are those of the groups.
    baseline: means of another baseline to compare with, (…).
    """
    own = means.sel(group=BASELINE, drop=True) if baseline is None else baseline
    return (means.drop_sel(group=BASELINE) - own).rename(group="perturbation")
