"""Response maps: the time-mean change of every output in every cell."""

from __future__ import annotations

import xarray as xr

from respeval.diagnostics.jackknife import (
    describe_standard_error,
    leave_one_out,
    occupied_units,
    standard_error,
)
from respeval.diagnostics.totals import (
    STACK_DIM,
    names_with_dims,
    parts_of_stack,
    require,
    response_of_totals,
    stack,
    year_blocks,
    yearly_counts,
    yearly_totals,
)

#: What a map of responses needs beside the responses, so that regions can be averaged.
CELL_VARIABLES = ("ocean_mask", "land_mask", "area_weight", "mean_ocean_fraction")


def response_maps(group_means: xr.Dataset) -> xr.Dataset:
    """Perturbed minus baseline time mean, Σ count·x / Σ count, of every output in every cell.

    group_means: as in group_means.nc; outputs (group, time, lat, lon), `count` (group, time),
        `time_bnds`, and the masks and weights (lat, lon). May be opened lazily: one year of one
        variable at a time is in memory, beside the totals by year of a few variables.

    Returns outputs (perturbation, lat, lon), float64, in their own units, each with `NAME_stderr`:
    the jackknife over the years of the run, NaN with fewer than two; masks and weights as given.
    Raises ValueError where a variable or the group `baseline` is missing.
    """
    require(group_means, ("count", *CELL_VARIABLES), "group_means.nc")
    blocks = year_blocks(group_means)
    count = yearly_counts(group_means["count"], blocks)
    maps: dict[str, xr.DataArray] = {}
    names = names_with_dims(group_means, ("group", "time", "lat", "lon"))
    sizes = group_means.sizes
    bytes_each = 8 * sizes["group"] * len(blocks) * sizes["lat"] * sizes["lon"]
    for part in parts_of_stack(names, bytes_each):
        by_year = {n: yearly_totals(group_means[n], group_means["count"], blocks) for n in part}
        totals = xr.Dataset({"all": stack(by_year), "count": count})
        responses = response_of_totals(totals.sum("year", skipna=False))["all"]
        replicates = response_of_totals(leave_one_out(totals))
        errors = standard_error(replicates, occupied_units(count))["all"]
        for i, name in enumerate(part):
            attributes = group_means[name].attrs
            maps[name] = _of_stack(responses, i).assign_attrs(
                units=attributes.get("units", "1"),
                long_name=f"response of {attributes.get('long_name', name)}",
                cell_methods="time: mean",
                ancillary_variables=f"{name}_stderr",
            )
            stderr = _of_stack(errors, i)
            maps[f"{name}_stderr"] = describe_standard_error(stderr, of=maps[name])
    cells = {name: group_means[name].compute() for name in CELL_VARIABLES}
    return xr.Dataset({**maps, **cells})


def _of_stack(stacked: xr.DataArray, number: int) -> xr.DataArray:
    return stacked.isel({STACK_DIM: number}, drop=True).transpose("perturbation", "lat", "lon")
