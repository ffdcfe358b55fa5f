"""The diagnostics of a zonal response, and of totals with their statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Formula, Ratio
from respeval.diagnostics.formulas.regions import DiagnosticSettings, LeftOut, with_baseline
from respeval.diagnostics.formulas.registry import known_diagnostics
from respeval.diagnostics.statistics.jackknife import UNIT_DIMS, leave_one_out
from respeval.diagnostics.statistics.totals import means_of_totals, response_of_means
from respeval.diagnostics.statistics.uncertainty import (
    Statistic,
    Units,
    statistics_of,
    statistics_of_ratio,
    with_statistics,
)
from respeval.diagnostics.zonal import forced_in, with_area
from respeval.errors import InputError
from respeval.fields.perturbation import BASELINE


def scalars(
    response: xr.Dataset, settings: DiagnosticSettings, names: Iterable[str] | None = None
) -> xr.Dataset:
    """Those of these diagnostics, or of all, that a zonal response allows; the others are left out."""
    known = known_diagnostics()
    values: dict[str, xr.DataArray] = {}
    indexes: dict[Hashable, Any] = {}
    for name in known if names is None else names:
        with contextlib.suppress(LeftOut):
            values[name] = known[name](response, settings)
            check_places(name, values[name], indexes)
    return xr.Dataset(values)


def check_places(name: str, values: xr.DataArray, indexes: dict[Hashable, Any]) -> None:
    """Raise InputError where a diagnostic has other places on a dimension than those before it: all
    would be brought to the places of both, with NaN. indexes: of those before it; its own are added."""
    for dim, index in values.indexes.items():
        if not indexes.setdefault(dim, index).equals(index):
            raise InputError(
                f"the diagnostic {name} has {dim} {', '.join(map(str, index))}, others have "
                f"{', '.join(map(str, indexes[dim]))}: its dimension needs another name"
            )


def scalars_with_statistics(
    totals: xr.Dataset,
    zonal: xr.Dataset,
    units: Units,
    settings: DiagnosticSettings,
    names: Mapping[str, str] | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """The diagnostics that these totals allow with their statistics, and what they are without each
    unit.

    totals: outputs (group, unit…, …, surface, lat) and `count` (group, unit…, …). zonal: the area
        and the outputs' attributes; of what is `forced_in` it there is the baseline's mean and no
        response. names: of diagnostics -> what each is called here; None: all.
    """
    means, left = means_and_replicates(totals)
    alone_left = left.sel(group=BASELINE, drop=True)
    responses = (
        with_baseline(response_of_means(means), means.sel(group=BASELINE, drop=True)),
        with_baseline(response_of_means(left), alone_left),
        with_baseline(response_of_means(means, alone_left), alone_left),
    )
    forced = [name for name in forced_in(zonal) if name in totals]
    cores = [with_area(response.drop_vars(forced), zonal) for response in responses]
    diagnostics = known_diagnostics()
    called = {name: name for name in diagnostics} if names is None else names
    values, paired, alone = (scalars(core, settings, called) for core in cores)
    known: dict[Formula, Statistic] = {
        diagnostics[str(name)]: Statistic.of(value, paired[name], alone[name])
        for name, value in values.data_vars.items()
    }
    found: dict[str, xr.Variable] = {}
    for name, value in values.data_vars.items():
        diagnostic = diagnostics[str(name)]
        own = units if "perturbation" in value.dims else units.of_baseline()
        if isinstance(diagnostic.values, Ratio):
            parts = diagnostic.values.numerator, diagnostic.values.denominator
            for part in parts:
                if part not in known:
                    known[part] = Statistic.of(*(part(core, settings) for core in cores))
            above, below = (known[part] for part in parts)
            statistics = statistics_of_ratio(known[diagnostic], (above, below), own)
        else:
            statistics = statistics_of(known[diagnostic], own)
        found |= with_statistics(called[str(name)], value.variable, statistics)
    without = paired.rename({name: called[str(name)] for name in paired.data_vars})
    return xr.Dataset(found, values.coords), without


def means_and_replicates(totals: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """The groups' means over all units, and without each of them."""
    everything = totals.sum(UNIT_DIMS, skipna=False)
    return means_of_totals(everything), means_of_totals(leave_one_out(totals))
