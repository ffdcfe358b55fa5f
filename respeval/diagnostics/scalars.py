"""The diagnostics of a zonal response, and of totals with their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import xarray as xr

from respeval.diagnostics.formulas.regions import DiagnosticSettings, LeftOut, with_baseline
from respeval.diagnostics.formulas.registry import DIAGNOSTICS, RATIOS
from respeval.diagnostics.statistics.jackknife import UNIT_DIMS, leave_one_out
from respeval.diagnostics.statistics.totals import means_of_totals, response_of_means
from respeval.diagnostics.statistics.uncertainty import (
    Statistic,
    Units,
    statistics_of,
    statistics_of_ratio,
    with_statistics,
)
from respeval.diagnostics.zonal import with_area
from respeval.fields.perturbation import BASELINE

#: Every diagnostic of a response under its own name.
EVERY: Mapping[str, str] = {name: name for name in DIAGNOSTICS}

#: What a diagnostic says of itself. Whatever else its values carry is of what they were made from.
_ATTRIBUTES = ("units", "long_name", "cell_methods", "comment")


def scalars(
    response: xr.Dataset, settings: DiagnosticSettings, names: Iterable[str] = EVERY
) -> xr.Dataset:
    """Those of `DIAGNOSTICS` that a zonal response allows; the others are left out."""
    values: dict[str, xr.DataArray] = {}
    for name in names:
        try:
            values[name] = DIAGNOSTICS[name](response, settings)
        except LeftOut:
            continue
        # A ratio of means is no mean.
        own = [key for key in _ATTRIBUTES if key != "cell_methods" or name not in RATIOS]
        values[name].attrs = {k: values[name].attrs[k] for k in own if k in values[name].attrs}
    return xr.Dataset(values)


def scalars_with_statistics(
    totals: xr.Dataset,
    zonal: xr.Dataset,
    units: Units,
    settings: DiagnosticSettings,
    names: Mapping[str, str] = EVERY,
) -> tuple[xr.Dataset, xr.Dataset]:
    """The diagnostics that these totals allow with their statistics, and what they are without each
    unit.

    totals: outputs (group, unit…, …, surface, lat) and `count` (group, unit…, …). zonal: the area
        and the outputs' attributes. names: of `DIAGNOSTICS` -> what each is called here.
    """
    means, left = means_and_replicates(totals)
    alone_left = left.sel(group=BASELINE, drop=True)
    responses = (
        with_baseline(response_of_means(means), means.sel(group=BASELINE, drop=True)),
        with_baseline(response_of_means(left), alone_left),
        with_baseline(response_of_means(means, alone_left), alone_left),
    )
    cores = [with_area(response, zonal) for response in responses]
    values, paired, alone = (scalars(core, settings, names) for core in cores)
    known = {
        DIAGNOSTICS[str(name)]: Statistic.of(value, paired[name], alone[name])
        for name, value in values.data_vars.items()
    }
    found: dict[str, xr.Variable] = {}
    for name, value in values.data_vars.items():
        statistic = known[DIAGNOSTICS[str(name)]]
        own = units if "perturbation" in value.dims else units.of_baseline()
        if name in RATIOS:
            for part in RATIOS[str(name)]:
                if part not in known:
                    known[part] = Statistic.of(*(part(core, settings) for core in cores))
            above, below = (known[part] for part in RATIOS[str(name)])
            statistics = statistics_of_ratio(statistic, (above, below), own)
        else:
            statistics = statistics_of(statistic, own)
        found |= with_statistics(names[str(name)], value.variable, statistics)
    without = paired.rename({name: names[str(name)] for name in paired.data_vars})
    return xr.Dataset(found, values.coords), without


def means_and_replicates(totals: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """The groups' means over all units, and without each of them."""
    everything = totals.sum(UNIT_DIMS, skipna=False)
    return means_of_totals(everything), means_of_totals(leave_one_out(totals))
