"""The statistics that stand beside every diagnostic: what they are, and how they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from respeval.diagnostics.statistics.jackknife import influence, occupied_pairs, unit_dims
from respeval.diagnostics.statistics.sampling import (
    CONFIDENCE,
    Effective,
    covariance,
    effective,
    fieller,
    noise_floor,
    t_quantile,
)
from respeval.fields.perturbation import BASELINE
from respeval.fields.standard_names import temperature_metadata

_INTERVAL = f"{100 * CONFIDENCE:g} % interval"

#: Influences on a value that are smaller than this share of it are rounding, which has no memory.
ROUNDING = 1e-12

#: Suffix -> what the statistic is of its quantity. All but `num_effective` have its units.
STATISTICS: Mapping[str, str] = {
    "stderr": "standard error of",
    "low": f"lower end of the {_INTERVAL} of",
    "high": f"upper end of the {_INTERVAL} of",
    "num_effective": "effective number of independent (sample, year) units of",
    "noise": "standard deviation that other weather in two baselines would give to",
}


@dataclass(frozen=True, eq=False)
class Units:
    """The (sample, year) units of a run: those of the pairs and those of the baseline.

    pairs: (perturbation, unit…), bool. baseline: (unit…), bool.
    """

    pairs: xr.Variable
    baseline: xr.Variable

    @classmethod
    def of(cls, count: xr.DataArray) -> Units:
        """count: (group, unit…), steps."""
        return cls(
            occupied_pairs(count).variable, (count.sel(group=BASELINE, drop=True) > 0).variable
        )

    def of_baseline(self) -> Units:
        """The same for what has no perturbation: its units are the baseline's."""
        return Units(self.baseline, self.baseline)


@dataclass(frozen=True, eq=False)
class Statistic:
    """A function of means, with what it is without each unit.

    value: (perturbation, …). paired: (perturbation, unit…, …), the unit left out of both groups.
    alone: the unit left out of the baseline only; of a linear function it may be the baseline's own
        value instead, without `perturbation`.
    """

    value: xr.Variable
    paired: xr.Variable
    alone: xr.Variable

    @classmethod
    def of(cls, value: xr.DataArray, paired: xr.DataArray, alone: xr.DataArray) -> Statistic:
        """From arrays with coordinates, which are alike and not needed any more."""
        return cls(value.variable, paired.variable, alone.variable)


def statistics_of(found: Statistic, units: Units) -> dict[str, xr.Variable]:
    """`STATISTICS` of a function of means that is linear or nearly so: t-interval, suffix -> value."""
    return {
        **interval_of(found.value, influence(found.paired, units.pairs), units.pairs),
        "noise": noise_floor(influence(found.alone, units.baseline), units.baseline),
    }


def interval_of(
    value: xr.Variable, pull: xr.Variable, pairs: xr.Variable
) -> dict[str, xr.Variable]:
    """Standard error, ends of the t-interval and effective number of a function of means.

    value: (perturbation, …). pull: the influence of every unit on it, (perturbation, unit…, …).
    """
    return _interval(value, pull, pairs, _effective(value, pull, pairs))


def _effective(value: xr.Variable, pull: xr.Variable, pairs: xr.Variable) -> Effective:
    varies = abs(pull).max(unit_dims(pairs)) > ROUNDING * abs(value)
    return effective(pull, pairs, varies)


def _interval(
    value: xr.Variable, pull: xr.Variable, pairs: xr.Variable, known: Effective
) -> dict[str, xr.Variable]:
    stderr = covariance(pull, pull, pairs, known.number) ** 0.5
    reach = t_quantile(known.freedom) * stderr
    return {
        "stderr": stderr,
        "low": value - reach,
        "high": value + reach,
        "num_effective": known.freedom + 1.0,
    }


def statistics_of_ratio(
    found: Statistic, parts: tuple[Statistic, Statistic], units: Units
) -> dict[str, xr.Variable]:
    """`STATISTICS` of a ratio: as of any statistic, but Fieller's interval.

    parts: numerator and denominator. The correlation between years is the ratio's own: that of
    numerator − ratio × denominator.
    """
    numerator, denominator = parts
    pull = influence(found.paired, units.pairs)
    own = _effective(found.value, pull, units.pairs)
    number = own.number
    above, below = (influence(part.paired, units.pairs) for part in parts)
    variances = (
        covariance(above, above, units.pairs, number),
        covariance(below, below, units.pairs, number),
        covariance(above, below, units.pairs, number),
    )
    quantile = t_quantile(own.freedom)
    low, high = fieller(numerator.value, denominator.value, variances, quantile)
    known = found.value.notnull()
    return {
        **_interval(found.value, pull, units.pairs, own),
        "low": low.where(known),
        "high": high.where(known),
        "noise": noise_floor(influence(found.alone, units.baseline), units.baseline),
    }


def with_statistics(
    name: str, value: xr.Variable, statistics: Mapping[str, xr.Variable]
) -> dict[str, xr.Variable]:
    """The value under its name and its statistics under NAME_SUFFIX, as CF describes such a set."""
    names = " ".join(f"{name}_{suffix}" for suffix in statistics)
    kind = temperature_metadata(str(value.attrs.get("units", "1")), "difference")
    found = {name: described(value, {**value.attrs, **kind, "ancillary_variables": names})}
    for suffix, statistic in statistics.items():
        attributes = {
            "long_name": f"{STATISTICS[suffix]} {value.attrs.get('long_name', name)}",
            "units": "1" if suffix == "num_effective" else value.attrs.get("units", "1"),
            **({} if suffix == "num_effective" else kind),
        }
        whole = statistic.set_dims(value.sizes)
        found[f"{name}_{suffix}"] = described(whole, attributes)
    return found


def described(variable: xr.Variable, attributes: Mapping[Any, Any]) -> xr.Variable:
    """The variable with these attributes and no others."""
    return xr.Variable(variable.dims, variable.data, attributes)
