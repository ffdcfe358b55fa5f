"""Mean responses of every output per kelvin of global-mean near-surface warming."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr

from respeval.diagnostics.regions import SMALLEST_DENOMINATOR
from respeval.diagnostics.uncertainty import Statistic, Units, described, statistics_of_ratio

#: What the means per kelvin are called, after their output's name.
PER_K = "_per_K"


def mean_per_K(
    means: Statistic, warming: Statistic, units: Units
) -> tuple[Statistic, dict[str, xr.Variable]]:
    """Means over the global-mean warming, with `STATISTICS`; their interval is Fieller's.

    means: (…, perturbation, surface) of responses. warming: (perturbation), K. Both with the
        perturbation where the unit is left out of the baseline alone, since a ratio is not linear.
    """
    parts = [
        per_kelvin(above, below)
        for above, below in (
            (means.value, warming.value),
            (means.paired, warming.paired),
            (means.alone, warming.alone),
        )
    ]
    found = Statistic(parts[0].transpose(*means.value.dims), parts[1], parts[2])
    return found, statistics_of_ratio(found, (means, warming), units)


def per_kelvin(mean: xr.Variable, warming: xr.Variable) -> xr.Variable:
    """A mean over the global-mean warming; NaN where that is below 1e-12 K in magnitude."""
    value: xr.Variable = mean / warming.where(abs(warming) >= SMALLEST_DENOMINATOR)
    return value


def described_per_K(
    value: xr.Variable, name: str, attributes: Mapping[Hashable, Any]
) -> xr.Variable:
    """The means of an output per kelvin, with what CF wants to know of them."""
    units = str(attributes.get("units", "1"))
    return described(
        value,
        {
            "units": {"K": "1", "1": "K-1"}.get(units, f"{units} K-1"),
            "long_name": f"mean response of {attributes.get('long_name', name)} per kelvin of "
            "global-mean near-surface warming",
        },
    )
