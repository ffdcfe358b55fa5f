"""Mean responses of every output over surfaces and circles of latitude, and per kelvin of warming."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import xarray as xr

from respeval.diagnostics.formulas.regions import DiagnosticSettings, outputs_in, ratio
from respeval.diagnostics.scalars import means_and_replicates
from respeval.diagnostics.statistics.totals import STACK_DIM, response_of_means, stack
from respeval.diagnostics.statistics.uncertainty import (
    Statistic,
    Units,
    described,
    statistics_of,
    statistics_of_ratio,
    with_statistics,
)
from respeval.fields.perturbation import BASELINE

#: What the means per kelvin are called, after their output's name.
PER_K = "_per_K"


def output_means(response: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """Mean response of every output over each surface, and its zonal mean, in its own units.

    `NAME_mean` (perturbation, …, surface): Σ area·x / Σ area; NaN where the surface has no cell.
    `NAME_zonal_mean` (perturbation, …, surface, lat): the zonal response itself.
    `NAME_per_K` (perturbation, …, surface): that mean per kelvin of global-mean warming.
    """
    area = response["area"]
    means: dict[str, xr.Variable] = {}
    for name in outputs_in(response):
        value = response[name]
        mean = surface_means(value, area).variable
        means |= _described_means(name, value.attrs, mean, value.variable)
    near_surface = settings.roles.near_surface_temperature
    if near_surface in response:
        warming = surface_means(response[near_surface], area).sel(surface="all").variable
        for name in outputs_in(response):
            per_K = ratio(means[f"{name}_mean"], warming)
            means[f"{name}{PER_K}"] = described_per_K(per_K, name, response[name].attrs)
    return xr.Dataset(means, response.coords)


def surface_means(value: xr.DataArray, area: xr.DataArray) -> xr.DataArray:
    """Σ area·x / Σ area of a zonal response (…, surface, lat): (…, surface)."""
    whole = area.sum("lat").where(area.sum("lat") > 0)
    mean: xr.DataArray = (value * area).where(area > 0, 0.0).sum("lat", skipna=False) / whole
    return mean.transpose(..., "surface")


def _described_means(
    name: str, attributes: Mapping[Hashable, Any], mean: xr.Variable, zonal_mean: xr.Variable
) -> dict[str, xr.Variable]:
    """An output's two means under their names, with what CF wants to know of them."""
    units, quantity = attributes.get("units", "1"), attributes.get("long_name", name)
    of_mean = {
        "units": units,
        "long_name": f"mean response of {quantity}",
        "cell_methods": "time: mean area: mean",
    }
    of_circles = {
        "units": units,
        "long_name": f"zonal-mean response of {quantity}",
        "cell_methods": "time: mean longitude: mean",
    }
    return {
        f"{name}_mean": described(mean, of_mean),
        f"{name}_zonal_mean": described(zonal_mean.transpose(..., "surface", "lat"), of_circles),
    }


def means_with_statistics(
    totals: xr.Dataset,
    zonal: xr.Dataset,
    units: Units,
    names: Sequence[str],
    zonal_means: bool,
    warming: Statistic | None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """`output_means` of these outputs with their statistics, all outputs at once, and the means over
    surfaces without each unit; and both per kelvin of `warming`, the globe's, where it is known."""
    area = zonal["area"].sel(surface=totals["surface"]).compute()
    circles, per_climate = _circles_of(stack({name: totals[name] for name in names}), totals)
    means = Statistic.of(*(surface_means(each, area) for each in circles))
    of_circles = Statistic.of(*circles)
    statistics = {"mean": statistics_of(means, units)}
    if zonal_means:
        statistics["zonal_mean"] = statistics_of(of_circles, units)
    found: dict[str, xr.Variable] = {}
    for i, name in enumerate(names):
        at = {STACK_DIM: i}
        mean, zonal_mean = (x.value.isel(at) for x in (means, of_circles))
        for full_name, value in _described_means(name, zonal[name].attrs, mean, zonal_mean).items():
            of_kind = statistics.get(full_name.removeprefix(f"{name}_"))
            if of_kind is not None:
                own = {suffix: s.isel(at) for suffix, s in of_kind.items()}
                found |= with_statistics(full_name, value, own)
    coords = circles[0].drop_vars(STACK_DIM).coords
    without = {f"{name}_mean": means.paired.isel({STACK_DIM: i}) for i, name in enumerate(names)}
    if warming is not None:
        of_response = surface_means(per_climate, area).variable
        above = Statistic(means.value, means.paired, of_response)
        per_K, of_ratio = mean_per_K(above, warming, units)
        for i, name in enumerate(names):
            value = described_per_K(per_K.value.isel({STACK_DIM: i}), name, zonal[name].attrs)
            own = {suffix: s.isel({STACK_DIM: i}) for suffix, s in of_ratio.items()}
            found |= with_statistics(f"{name}{PER_K}", value, own)
            without[f"{name}{PER_K}"] = per_K.paired.isel({STACK_DIM: i})
    return xr.Dataset(found, coords), xr.Dataset(without, {"surface": coords["surface"]})


def _circles_of(
    outputs: xr.DataArray, totals: xr.Dataset
) -> tuple[tuple[xr.DataArray, xr.DataArray, xr.DataArray], xr.DataArray]:
    """Responses of circle means, without each pair, and the baseline without each unit; and the
    responses to that baseline."""
    groups, left = means_and_replicates(xr.Dataset({"all": outputs, "count": totals["count"]}))
    alone = left.sel(group=BASELINE, drop=True)
    circles = (response_of_means(groups)["all"], response_of_means(left)["all"], alone["all"])
    return circles, response_of_means(groups, alone)["all"]


def warming_of_globe(
    totals: xr.Dataset, zonal: xr.Dataset, settings: DiagnosticSettings
) -> Statistic | None:
    """Response of the near-surface temperature's global mean; None without such an output."""
    name = settings.roles.near_surface_temperature
    if name is None or name not in totals:
        return None
    area = zonal["area"].sel(surface=totals["surface"]).compute()
    circles, per_climate = _circles_of(totals[name], totals)
    parts = (
        surface_means(each, area).sel(surface="all", drop=True)
        for each in (*circles[:2], per_climate)
    )
    return Statistic.of(*parts)


def mean_per_K(
    means: Statistic, warming: Statistic, units: Units
) -> tuple[Statistic, dict[str, xr.Variable]]:
    """Means over the global-mean warming, with `STATISTICS`; their interval is Fieller's.

    means: (…, perturbation, surface) of responses. warming: (perturbation), K. Both with the
        perturbation where the unit is left out of the baseline alone, since a ratio is not linear.
    """
    parts = [
        ratio(above, below)
        for above, below in (
            (means.value, warming.value),
            (means.paired, warming.paired),
            (means.alone, warming.alone),
        )
    ]
    found = Statistic(parts[0].transpose(*means.value.dims), parts[1], parts[2])
    return found, statistics_of_ratio(found, (means, warming), units)


def described_per_K(
    value: xr.Variable, name: str, attributes: Mapping[Hashable, Any]
) -> xr.Variable:
    """The means of an output per kelvin, with what CF wants to know of them."""
    units = str(attributes.get("units", "1"))
    return described(
        value,
        {
            "units": units_per_K(units),
            "long_name": f"mean response of {attributes.get('long_name', name)} per kelvin of "
            "global-mean near-surface warming",
        },
    )


def units_per_K(units: str) -> str:
    """The units of a quantity per kelvin."""
    return {"K": "1", "1": "K-1"}.get(units, f"{units} K-1")
