"""The core of the diagnostics: the response averaged over the cells of each latitude circle.

A `zonal response` is a Dataset of every output's response (perturbation, …, surface, lat) with the
area (surface, lat) that each mean stands for. Every scalar is a function of it: of the estimate, of
the leave-one-out replicates that give its error, and of a reference known from maps only.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.regions import in_baseline, outputs_in
from respeval.diagnostics.statistics.copies import alike_samples, merge_alike
from respeval.diagnostics.statistics.totals import (
    means_of_totals,
    names_with_dims,
    require,
    require_baseline,
    response_of_means,
    year_blocks,
    yearly_counts,
    yearly_totals,
)
from respeval.fields.grid import SURFACES


def zonal_totals(zonal: xr.Dataset) -> xr.Dataset:
    """Σ count·x over the segments of each year, for every group and sample.

    Samples that have become one are one (see `copies`); their outputs say which, not what forces them.

    zonal: as in zonal.nc; outputs (group, sample, time, surface, lat), `count` (group, sample,
        time), `area` (surface, lat), `time_bnds`; maybe `forced_in` it.
    Returns outputs and what is forced (group, sample, surface, lat, year) and `count` (group, sample,
    year), float64. Circles without a cell of the surface are NaN. Raises ValueError where a variable or
    the group `baseline` is missing.
    """
    require(zonal, ("count", "area"), "zonal.nc")
    require_baseline(zonal["group"])
    blocks = year_blocks(zonal)
    names = names_with_dims(zonal, ("group", "sample", "time", "surface", "lat"))
    totals = {name: yearly_totals(zonal[name], zonal["count"], blocks) for name in names}
    whole = xr.Dataset({**totals, "count": yearly_counts(zonal["count"], blocks)})
    forced = {name: yearly_totals(zonal[name], zonal["count"], blocks) for name in forced_in(zonal)}
    return merge_alike(whole.assign(forced), alike_samples(whole))


def forced_in(zonal: xr.Dataset) -> list[str]:
    """Names of the forcing in zonal.nc, (sample, time, surface, lat): it is the same in every group."""
    names = names_with_dims(zonal, ("sample", "time", "surface", "lat"))
    return [name for name in names if "group" not in zonal[name].dims]


def zonal_response(zonal: xr.Dataset) -> xr.Dataset:
    """Zonal response of a run, over all years and samples: (perturbation, surface, lat), `area`.

    zonal: as for `zonal_totals`; attributes of the outputs are kept.
    """
    totals = zonal_totals(zonal).sum(("sample", "year"), skipna=False)
    means = means_of_totals(totals.drop_vars(forced_in(zonal)))
    return with_area(response_of_means(means), zonal)


def with_area(response: xr.Dataset, zonal: xr.Dataset) -> xr.Dataset:
    """`response` with the area and the variables' attributes of `zonal`."""
    found = {"area": zonal["area"].compute()}
    for name in [*outputs_in(response), *forced_in(zonal)]:
        for full_name in (name, in_baseline(name)):
            if full_name in response:
                found[full_name] = response[full_name].assign_attrs(zonal[name].attrs)
    return response.assign(found)


def zonal_response_of_maps(maps: xr.Dataset) -> xr.Dataset:
    """Zonal response from response maps: Σ_lon weight·x / Σ_lon weight over each surface's cells.

    maps: as in response.nc or a reference's file; outputs (perturbation, lat, lon), `ocean_mask`,
        `land_mask` and `area_weight` (lat, lon); `NAME_baseline` (lat, lon) where it is known.
        Standard errors and p-values are not used.
    Returns outputs (perturbation, surface, lat), NaN on circles without a cell, and `area`.
    Raises ValueError where a mask or the weights are missing.
    """
    require(maps, ("ocean_mask", "land_mask", "area_weight"), "the file of responses")
    everywhere = xr.ones_like(maps["land_mask"], dtype=bool)
    masks = xr.concat(
        [everywhere, maps["land_mask"] == 1, maps["ocean_mask"] == 1],
        dim=xr.Variable("surface", list(SURFACES)),
    ).compute()
    weights = maps["area_weight"].compute().where(masks, 0.0)
    area = weights.sum("lon")
    response = xr.Dataset({"area": area})
    for name in names_with_dims(maps, ("perturbation", "lat", "lon")):
        for found, map_name in ((name, name), (in_baseline(name), f"{name}_baseline")):
            if map_name in maps:
                values = maps[map_name].compute().astype(np.float64)
                sums = (values * weights).where(masks, 0.0).sum("lon", skipna=False)
                response[found] = (sums / area.where(area > 0)).assign_attrs(maps[name].attrs)
    return response


def global_mean_series(zonal: xr.Dataset, name: str) -> xr.DataArray:
    """Global mean of one output in every segment, over all samples: (group, time).

    zonal: as in zonal.nc. Samples are weighted by their count; NaN where a group has none.
    """
    area = zonal["area"].sel(surface="all", drop=True)
    circles = zonal[name].sel(surface="all", drop=True).compute()
    count = zonal["count"].astype(np.float64)
    means = (circles * area).where(area > 0, 0.0).sum("lat", skipna=False) / area.sum("lat")
    total = (means * count).where(count > 0, 0.0).sum("sample", skipna=False)
    series = total / count.sum("sample").where(count.sum("sample") > 0)
    return series.transpose("group", "time").assign_attrs(zonal[name].attrs)
