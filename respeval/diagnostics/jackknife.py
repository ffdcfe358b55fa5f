"""Standard errors by the delete-one jackknife over paired units.

A unit is one year of one sample, in the baseline and in the perturbed group together. Leaving it
out of both keeps the pairs, so that weather that the two climates share cancels in the error too.
"""

from __future__ import annotations

import xarray as xr

from respeval.diagnostics.totals import BASELINE

#: Dimensions that number the units; maps have no `sample`.
UNIT_DIMS = ("sample", "year")


def leave_one_out(totals: xr.Dataset) -> xr.Dataset:
    """Totals of everything but one unit, for every unit: Σ_v S_v − S_u, same dimensions.

    totals: variables and `count` with at least one of the dimensions `sample` and `year`.
    """
    return totals.sum(_unit_dims(totals), skipna=False) - totals


def occupied_units(count: xr.DataArray) -> xr.DataArray:
    """Units in which the perturbed group or the baseline has steps, (perturbation, unit…), bool.

    count: (group, unit…).
    """
    occupied = count > 0
    either = occupied.drop_sel(group=BASELINE) | occupied.sel(group=BASELINE, drop=True)
    return either.rename(group="perturbation")


def standard_error(replicates: xr.Dataset, occupied: xr.DataArray) -> xr.Dataset:
    """sqrt((n − 1)/n · Σ_u (f_u − f̄)²), where f_u is the statistic without unit u, f̄ their mean.

    Valid for smooth functions of means, ratios among them (Miller 1974, Biometrika 61, 1-15), and
    biased upwards if at all (Efron and Stein 1981, Ann. Statist. 9, 586-596). For a plain mean of n
    equal units it is s/√n. Units are taken as independent: correlation from one year to the next
    is not in it.

    replicates: variables (perturbation, unit…, …), each the statistic without that unit.
    occupied: (perturbation, unit…), which units exist; the others do not count.
    Returns variables without the unit dimensions; NaN where there are fewer than two units.
    """
    dims = _unit_dims(occupied)
    num_units = occupied.sum(dims)
    num_units = num_units.where(num_units >= 2)
    mean = replicates.where(occupied, 0.0).sum(dims, skipna=False) / num_units
    squares = ((replicates - mean) ** 2).where(occupied, 0.0).sum(dims, skipna=False)
    return (squares * ((num_units - 1) / num_units)) ** 0.5


def describe_standard_error(stderr: xr.DataArray, of: xr.DataArray) -> xr.DataArray:
    """`stderr` with the units of the quantity `of` and a name that says what it belongs to."""
    return stderr.assign_attrs(
        long_name=f"standard error of {of.attrs.get('long_name', of.name)}",
        units=of.attrs.get("units", "1"),
    )


def _unit_dims(units: xr.Dataset | xr.DataArray) -> list[str]:
    return [dim for dim in UNIT_DIMS if dim in units.dims]
