"""Response maps: the time-mean change of every output in every cell, and where it is significant."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from respeval.diagnostics.statistics.copies import ROUNDING_OF_FLOAT32
from respeval.diagnostics.statistics.jackknife import influence, leave_one_out
from respeval.diagnostics.statistics.sampling import (
    FALSE_DISCOVERY_RATE,
    covariance,
    discoveries,
    effective_number,
    p_value,
    year_correlation,
)
from respeval.diagnostics.statistics.totals import (
    STACK_DIM,
    means_of_totals,
    names_with_dims,
    parts_of_stack,
    require,
    require_baseline,
    response_of_means,
    stacked_yearly_totals,
    year_blocks,
    yearly_counts,
)
from respeval.diagnostics.statistics.uncertainty import STATISTICS, Units, described
from respeval.fields.perturbation import BASELINE
from respeval.fields.standard_names import temperature_metadata

#: What a map of responses needs beside the responses, so that regions can be averaged.
CELL_VARIABLES = ("ocean_mask", "land_mask", "area_weight", "mean_ocean_fraction")

#: Suffix -> attributes of the statistics of a map; `{}` stands for the response's long name.
MAP_STATISTICS: Mapping[str, Mapping[str, object]] = {
    "stderr": {"long_name": f"{STATISTICS['stderr']} {{}}"},
    "pvalue": {"long_name": "p-value of a paired t-test of {}", "units": "1"},
    "significant": {
        "long_name": f"{{}} is significant at a false discovery rate of {FALSE_DISCOVERY_RATE:g}",
        "units": "1",
        "flag_values": np.array([0, 1], dtype=np.int8),
        "flag_meanings": "not_significant significant",
    },
    "noise": {"long_name": f"{STATISTICS['noise']} {{}}"},
}


def response_maps(group_means: xr.Dataset) -> xr.Dataset:
    """Perturbed minus baseline time mean, Σ count·x / Σ count, of every output in every cell.

    group_means: as in group_means.nc; outputs (group, time, lat, lon), `count` (group, time),
        `time_bnds`, and the masks and weights (lat, lon). May be opened lazily: one year of one
        variable at a time is in memory, beside the totals by year of a few variables.

    Returns outputs (perturbation, lat, lon), float64, in their own units, each with `NAME_stderr`,
    `NAME_pvalue` and `NAME_significant` (int8), and with `NAME_noise` (lat, lon), whose area-weighted
    root-mean-square is its attribute `global_rms`. The unit is a year of the run, the mean over its
    samples; with fewer than two the statistics are NaN and nothing is significant. Masks and weights
    as given.
    Raises ValueError where a variable or the group `baseline` is missing.
    """
    require(group_means, ("count", *CELL_VARIABLES), "group_means.nc")
    require_baseline(group_means["group"])
    blocks = year_blocks(group_means)
    # Lazy, it would draw all totals into dask, which copies and hashes every field.
    steps = group_means["count"].compute()
    count = yearly_counts(steps, blocks)
    cells = group_means[list(CELL_VARIABLES)].compute()
    land = (cells["land_mask"] == 1).transpose("lat", "lon").variable
    maps: dict[str, xr.Variable] = {}
    names = names_with_dims(group_means, ("group", "time", "lat", "lon"))
    sizes = group_means.sizes
    bytes_each = 8 * sizes["group"] * len(blocks) * sizes["lat"] * sizes["lon"]
    for part in parts_of_stack(names, bytes_each):
        by_year = stacked_yearly_totals([group_means[n] for n in part], steps, blocks)
        totals = xr.Dataset({"all": by_year, "count": count})
        means = means_of_totals(totals.sum("year", skipna=False))
        responses = response_of_means(means)["all"].variable
        statistics = _statistics(totals, responses, land)
        for i, name in enumerate(part):
            own = {suffix: _of_stack(value, i) for suffix, value in statistics.items()}
            attributes = group_means[name].attrs
            units = attributes.get("units", "1")
            of_response = {
                "units": units,
                **temperature_metadata(units, "difference"),
                "long_name": f"response of {attributes.get('long_name', name)}",
                "cell_methods": "time: mean",
            }
            response = described(_of_stack(responses, i), of_response)
            maps |= _with_statistics(name, response, own, cells["area_weight"].variable)
    labels = group_means["group"].drop_sel(group=BASELINE).rename(group="perturbation")
    return xr.Dataset(maps, labels.coords).merge(cells)


def _statistics(
    totals: xr.Dataset, responses: xr.Variable, land: xr.Variable
) -> dict[str, xr.Variable]:
    """`MAP_STATISTICS` of stacked outputs (output, perturbation, lat, lon) but `significant`, and how
    large the `rounding` of float32 is there."""
    units = Units.of(totals["count"])
    left = means_of_totals(leave_one_out(totals))
    pull = influence(response_of_means(left)["all"].variable, units.pairs)
    number = _number_by_circle(year_correlation(pull, units.pairs), land, units.pairs)
    stderr = covariance(pull, pull, units.pairs, number) ** 0.5
    weather = influence(left["all"].sel(group=BASELINE, drop=True).variable, units.baseline)
    number_alone = _number_by_circle(
        year_correlation(weather, units.baseline), land, units.baseline
    )
    return {
        "stderr": stderr,
        "pvalue": p_value(responses.transpose(*stderr.dims), stderr, number),
        "rounding": ROUNDING_OF_FLOAT32 * abs(_baseline_mean(totals)),
        "noise": (2.0 * covariance(weather, weather, units.baseline, number_alone)) ** 0.5,
    }


def _baseline_mean(totals: xr.Dataset) -> xr.Variable:
    """Time mean of the baseline, (output, lat, lon)."""
    baseline = totals.sel(group=BASELINE, drop=True).sum("year", skipna=False)
    return means_of_totals(baseline)["all"].variable


def _number_by_circle(
    correlation: xr.Variable, land: xr.Variable, occupied: xr.Variable
) -> xr.Variable:
    """Effective number of years in every cell, from the mean correlation of the cells like it.

    A few years say next to nothing of one cell's correlation. Cells are alike that lie on one circle
    of latitude and both are land, or both not. correlation: (…, lat, lon). land: (lat, lon).
    """
    numbers = []
    for alike in (land, ~land):
        known = correlation.notnull() & alike
        total, size = correlation.where(known, 0.0).sum("lon"), known.sum("lon")
        numbers.append(effective_number(total / size.where(size > 0), occupied))
    of_land, of_others = numbers
    number: xr.Variable = of_land.set_dims(correlation.sizes).where(land, of_others)
    return number


def _with_statistics(
    name: str,
    response: xr.Variable,
    statistics: Mapping[str, xr.Variable],
    area_weight: xr.Variable,
) -> dict[str, xr.Variable]:
    """A response and its statistics under their names, with what CF wants to know of them."""
    # Where nothing varies, as under prescribed SST, there is nothing to test, and a change is certain.
    fixed = statistics["stderr"] <= statistics["rounding"]
    changed = abs(response) > statistics["rounding"]
    tested = discoveries(statistics["pvalue"].where(~fixed))
    significant = (tested | (fixed & changed)).astype(np.int8)
    names = " ".join(f"{name}_{suffix}" for suffix in MAP_STATISTICS)
    found = {name: described(response, {**response.attrs, "ancillary_variables": names})}
    for suffix, attributes in MAP_STATISTICS.items():
        statistic = significant if suffix == "significant" else statistics[suffix]
        long_name = str(attributes["long_name"]).format(response.attrs["long_name"])
        units = str(attributes.get("units", response.attrs["units"]))
        kind = temperature_metadata(units, "difference")
        own = {"units": units, **kind, **attributes, "long_name": long_name}
        found[f"{name}_{suffix}"] = described(statistic, own)
    noise = found[f"{name}_noise"]
    mean_square = float((noise**2 * area_weight).sum(skipna=False))
    noise.attrs["global_rms"] = mean_square**0.5
    return found


def _of_stack(stacked: xr.Variable, number: int) -> xr.Variable:
    one = stacked.isel({STACK_DIM: number})
    return one.transpose("perturbation", "lat", "lon", missing_dims="ignore")
