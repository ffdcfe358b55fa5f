"""The delete-one jackknife: what every unit of a run does to a statistic of its means.

A unit is one year of one sample. Left out of the baseline and of the perturbed group together it
keeps the pairs, so that weather that the two climates share cancels in the error too; left out of
the baseline alone it shows what the baseline's weather does.
"""

from __future__ import annotations

import xarray as xr

from respeval.fields.perturbation import BASELINE

#: Dimensions that number the units; maps have no `sample`.
UNIT_DIMS = ("sample", "year")


def leave_one_out(totals: xr.Dataset) -> xr.Dataset:
    """Totals of everything but one unit, for every unit: Σ_v S_v − S_u, same dimensions.

    totals: variables and `count` with at least one of the dimensions `sample` and `year`.
    """
    return totals.sum(unit_dims(totals), skipna=False) - totals


def occupied_pairs(count: xr.DataArray) -> xr.DataArray:
    """Units in which the perturbed group or the baseline has steps, (perturbation, unit…), bool.

    count: (group, unit…).
    """
    occupied = count > 0
    either = occupied.drop_sel(group=BASELINE) | occupied.sel(group=BASELINE, drop=True)
    return either.rename(group="perturbation")


def influence(replicates: xr.Variable, occupied: xr.Variable) -> xr.Variable:
    """(n − 1)(f̄ − f_u): how far unit u pulls the statistic, f_u being the statistic without it.

    For a mean of n equal units it is x_u − x̄. For a smooth function of means, ratios among them, it
    is the function's linear part in every unit, so that its error is the error of a mean (Miller
    1974, Biometrika 61, 1-15; Efron and Stein 1981, Ann. Statist. 9, 586-596).

    replicates: (…, unit…, …). occupied: which units exist; at the others the influence is 0.
    """
    dims = unit_dims(occupied)
    num_units = occupied.sum(dims)
    complete = bool(occupied.all())
    known = replicates if complete else replicates.where(occupied, 0.0)
    mean = known.sum(dims, skipna=False) / num_units.where(num_units > 0)
    pull: xr.Variable = (mean - known) * (num_units - 1)
    return pull if complete else pull.where(occupied, 0.0)


def unit_dims(units: xr.Dataset | xr.DataArray | xr.Variable) -> list[str]:
    """Those of `UNIT_DIMS` that it has."""
    return [dim for dim in UNIT_DIMS if dim in units.dims]
