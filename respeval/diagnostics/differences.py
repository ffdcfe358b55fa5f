"""How the diagnostics of one run differ from those of another, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from respeval.diagnostics.evaluate import Replicated
from respeval.diagnostics.statistics.jackknife import influence
from respeval.diagnostics.statistics.sampling import p_value, t_quantile
from respeval.diagnostics.statistics.uncertainty import described, interval_of, with_statistics

#: What the difference of a diagnostic is called, after its name.
DIFFERENCE = "_difference"


def differences(first: Replicated, other: Replicated, pairs: Mapping[str, bool]) -> xr.Dataset:
    """Other run minus first, for what both have: NAME_difference (perturbation, …) with statistics.

    pairs: perturbation -> whether the runs' samples are the same, so that their units pair. Where
        they do, the difference is a function of the pairs' means, and its influence is the
        difference of the two influences: weather that the runs share cancels. Elsewhere, and where
        a unit is missing in one of them, the runs are independent and the interval is Welch's.
    Returns beside each difference `_stderr`, `_low`, `_high`, `_num_effective` and `_pvalue`, of the
    t-test that there is no difference; and `paired` (perturbation), bool. The interval of a
    difference of ratios is that of its linear part in the units; where one ratio's own interval is
    unbounded, so is the difference's, and its p-value is NaN. Levels are the first run's.
    """
    labels = [str(p) for p in first.diagnostics["perturbation"].values]
    theirs = [str(p) for p in other.diagnostics["perturbation"].values]
    common = [label for label in labels if label in theirs]
    at = [[own.index(label) for label in common] for own in (labels, theirs)]
    ours, others = (_chosen(run, i) for run, i in zip((first, other), at, strict=True))
    others = _with_places_of(others, ours)
    paired = xr.DataArray(
        [pairs[label] and _same_units(ours, others, i) for i, label in enumerate(common)],
        {"perturbation": common},
    )
    parts = [
        _differences(_chosen(ours, i), _chosen(others, i), paired=kind)
        for kind in (True, False)
        if (i := np.flatnonzero(paired.values == kind).tolist())
    ]
    found = xr.concat(parts, "perturbation").sel(perturbation=common) if parts else xr.Dataset()
    return found.assign(paired=paired)


def _chosen(run: Replicated, numbers: list[int]) -> Replicated:
    """The perturbations with these numbers."""
    at = {"perturbation": numbers}
    units = type(run.units)(run.units.pairs.isel(at), run.units.baseline)
    return Replicated(run.diagnostics.isel(at), run.without.isel(at), units)


def _with_places_of(run: Replicated, first: Replicated) -> Replicated:
    """The run's numbers at the levels and boxes of the first."""
    both = [
        dim
        for dim in ("level", "box", "quantity")
        if dim in run.diagnostics.dims and dim in first.diagnostics.dims
    ]
    ours, theirs = (r.diagnostics for r in (first, run))
    at = {dim: ours[dim].values for dim in both if not theirs[dim].equals(ours[dim])}
    if not at:
        return run
    return Replicated(run.diagnostics.reindex(at), run.without.reindex(at), run.units)


def _same_units(first: Replicated, other: Replicated, number: int) -> bool:
    a, b = (run.units.pairs.isel(perturbation=number) for run in (first, other))
    return a.dims == b.dims and a.shape == b.shape and bool((a == b).all())


def _differences(first: Replicated, other: Replicated, *, paired: bool) -> xr.Dataset:
    found: dict[str, xr.Variable] = {}
    for name in _comparable(first, other):
        value = other.diagnostics[name].variable - first.diagnostics[name].variable
        statistics = (
            _paired_statistics(name, value, first, other)
            if paired
            else _independent_statistics(name, value, first.diagnostics, other.diagnostics)
        )
        statistics = _unbounded_where_a_run_is(name, statistics, first, other)
        stderr, number = statistics["stderr"], statistics["num_effective"].set_dims(value.sizes)
        tested = p_value(value, stderr, number).where(np.isfinite(statistics["low"]))
        own = dict(first.diagnostics[name].attrs)
        own.pop("cell_methods", None)
        quantity = own.get("long_name", name)
        own["long_name"] = f"difference to the first run of {quantity}"
        found |= with_statistics(f"{name}{DIFFERENCE}", described(value, own), statistics)
        about = f"p-value of no difference to the first run of {quantity}"
        found[f"{name}{DIFFERENCE}_pvalue"] = described(tested, {"units": "1", "long_name": about})
        found[f"{name}{DIFFERENCE}"].attrs["ancillary_variables"] += f" {name}{DIFFERENCE}_pvalue"
    return xr.Dataset(found, first.diagnostics.coords)


def _comparable(first: Replicated, other: Replicated) -> Iterator[str]:
    """Responses that both runs have, of one shape (by latitude there are none: grids may differ)."""
    for name, values in first.without.data_vars.items():
        dims = first.diagnostics[name].dims
        responds = "perturbation" in dims and "lat" not in dims
        alike = name in other.without and set(values.dims) == set(other.without[name].dims)
        if responds and alike:
            yield str(name)


def _paired_statistics(
    name: str, value: xr.Variable, first: Replicated, other: Replicated
) -> dict[str, xr.Variable]:
    pairs = first.units.pairs
    pull = influence(other.without[name].variable - first.without[name].variable, pairs)
    return interval_of(value, pull, pairs)


def _independent_statistics(
    name: str, value: xr.Variable, first: xr.Dataset, other: xr.Dataset
) -> dict[str, xr.Variable]:
    """Of the difference of two independent means (Welch 1947, Biometrika 34, 28-35).

    Its degrees of freedom are (v₁ + v₂)² / (v₁²/f₁ + v₂²/f₂), v being a squared standard error and f
    its own number of degrees of freedom; f₁ + f₂ where nothing varies.
    """
    variances = [run[f"{name}_stderr"].variable ** 2 for run in (first, other)]
    freedoms = [run[f"{name}_num_effective"].variable - 1.0 for run in (first, other)]
    total = variances[0] + variances[1]
    below = variances[0] ** 2 / freedoms[0] + variances[1] ** 2 / freedoms[1]
    freedom = (total**2 / below.where(below > 0)).where(below > 0, freedoms[0] + freedoms[1])
    freedom = freedom.where(total.notnull())
    number, stderr, reach = freedom + 1.0, total**0.5, t_quantile(freedom) * total**0.5
    return {
        "stderr": stderr,
        "low": value - reach,
        "high": value + reach,
        "num_effective": number,
    }


def _unbounded_where_a_run_is(
    name: str, statistics: dict[str, xr.Variable], first: Replicated, other: Replicated
) -> dict[str, xr.Variable]:
    """Linearization says nothing of a ratio whose denominator may be zero."""
    unbounded = np.isinf(first.diagnostics[f"{name}_low"].variable) | np.isinf(
        other.diagnostics[f"{name}_low"].variable
    )
    low, high = statistics["low"], statistics["high"]
    return {
        **statistics,
        "low": low.where(~unbounded, -np.inf),
        "high": high.where(~unbounded, np.inf),
    }
