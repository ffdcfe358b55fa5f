"""Samples that are one: copies of an initial state, or trajectories that have run together.

A deterministic emulator under prescribed SST may forget where it began. Its samples then tell what one
of them tells, and count as one.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from respeval.diagnostics.statistics.totals import variables_of

#: Samples whose yearly means differ by no more than this share of the largest are alike but for the
#: rounding of float32, eight units in its last place.
ROUNDING_OF_FLOAT32 = 8 * 2.0**-23


def alike_samples(totals: xr.Dataset) -> list[list[int]]:
    """The samples in sets of those that are one: alike in every year, group, circle and output.

    totals: outputs (group, sample, year, …) and `count` (group, sample, year), Σ count·x.
    """
    count = totals["count"].variable
    outputs = [value for name, value in variables_of(totals).items() if name != "count"]
    sets: list[list[int]] = []
    for sample in range(totals.sizes["sample"]):
        for known in sets:
            steps, others = (count.isel(sample=each).values for each in (known[0], sample))
            if np.array_equal(steps, others) and all(
                _alike(output, count, known[0], sample) for output in outputs
            ):
                known.append(sample)
                break
        else:
            sets.append([sample])
    return sets


def merge_alike(totals: xr.Dataset, sets: list[list[int]]) -> xr.Dataset:
    """Totals in which each of these sets is one sample, with the steps of all of them."""
    if len(sets) == totals.sizes["sample"]:
        return totals
    merged = [totals.isel(sample=own).sum("sample", skipna=False) for own in sets]
    first = totals["sample"].isel(sample=[own[0] for own in sets])
    return xr.concat(merged, dim=first).transpose(*totals.dims)


def _alike(total: xr.Variable, count: xr.Variable, first: int, other: int) -> bool:
    """Whether the yearly means of two samples are the same but for rounding."""
    ours, theirs = (total.isel(sample=sample) for sample in (first, other))
    steps = count.isel(sample=first).clip(min=1.0)
    known = np.isfinite(ours.values)
    if not known.any():
        return True
    largest = (abs(ours) / steps).transpose(*ours.dims).values[known].max()
    furthest = (abs(ours - theirs) / steps).transpose(*ours.dims).values[known].max()
    return bool(furthest <= ROUNDING_OF_FLOAT32 * largest)  # not where the other's is NaN
