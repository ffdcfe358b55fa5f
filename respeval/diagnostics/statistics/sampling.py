"""How far a mean over (sample, year) units may lie from the truth.

Samples are independent of one another; the years of a sample follow each other with a lag-1
correlation r, as a process AR(1) would. docs/uncertainty.md says why each of this is as it is, and
shows how often the intervals cover a truth that is known.

Everything is an `xarray.Variable`, which has dimensions but no coordinates: aligning them would be
most of the work.
"""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from scipy.special import stdtr, stdtrit

from respeval.diagnostics.statistics.jackknife import unit_dims

#: Probability with which an interval shall cover the truth.
CONFIDENCE = 0.95

#: No correlation is taken to be larger: beyond it, a few years can't tell it from a drift.
LARGEST_CORRELATION = 0.95

#: The effective number of units is at least this, so that there is a degree of freedom.
SMALLEST_NUMBER = 2.0

#: Expected share of false ones among the cells that are called significant. In fields that are
#: correlated in space it keeps the chance of any at half of that (Wilks 2016).
FALSE_DISCOVERY_RATE = 0.10


def year_correlation(influence: xr.Variable, occupied: xr.Variable) -> xr.Variable:
    """Lag-1 correlation of consecutive years of a sample, over all samples, first-order unbiased.

    With the correlation r of the deviations it is r + (1 + 3r)/n, because they are deviations from a
    mean that is estimated too (Marriott and Pope 1954, Biometrika 41, 390-402; Kendall 1954,
    Biometrika 41, 403-404).

    influence: (…, unit…, …), 0 where not occupied. occupied: (…, unit…).
    Returns the same without the unit dimensions, not clipped; NaN where there is no pair of years
    or no spread.
    """
    r = _correlation_of_deviations(influence, occupied)
    num_units = occupied.sum(unit_dims(occupied))
    corrected: xr.Variable = r + (1.0 + 3.0 * r) / num_units.where(num_units > 0)
    return corrected


def _correlation_of_deviations(deviation: xr.Variable, occupied: xr.Variable) -> xr.Variable:
    """(Σ e_y e_{y+1} / number of pairs) / (Σ e_y² / n), as `year_correlation` takes and returns."""
    dims = unit_dims(occupied)
    num_units, num_pairs = occupied.sum(dims), _pairs_apart(occupied, 1)
    before, after = deviation.isel(year=slice(None, -1)), deviation.isel(year=slice(1, None))
    squares, products = xr.dot(deviation, deviation, dim=dims), xr.dot(before, after, dim=dims)
    spread = squares.where((squares > 0) & (num_pairs > 0))
    correlation: xr.Variable = products / spread * (num_units / num_pairs.where(num_pairs > 0))
    return correlation


def effective_number(correlation: xr.Variable, occupied: xr.Variable) -> xr.Variable:
    """Independent units whose mean varies as much as that of these: n² / (n + 2 Σ_k N_k r^k).

    N_k counts the pairs of units of one sample that are k years apart. It tends to n(1 − r)/(1 + r)
    for long samples (von Storch and Zwiers 1999, Statistical Analysis in Climate Research, 6.6.8)
    and is n where every sample has one year. r counts from 0 to `LARGEST_CORRELATION`.
    NaN with fewer than two units.

    >>> ten_years = xr.Variable("year", np.full(10, True))
    >>> for r in (0.0, 0.3, 0.6):
    ...     print(f"{effective_number(xr.Variable((), r), ten_years).item():.2f}")
    10.00
    5.76
    3.07
    """
    dims = unit_dims(occupied)
    num_units = occupied.sum(dims).astype(np.float64)
    num_units = num_units.where(num_units >= 2)
    r = correlation.fillna(0.0).clip(0.0, LARGEST_CORRELATION)
    lagged = xr.zeros_like(r * num_units)
    # Arrays, because for a variable each of these operations would cost more than its arithmetic.
    factor = r.set_dims(lagged.sizes).values
    power, total = np.ones_like(factor), lagged.values
    for lag in range(1, occupied.sizes["year"]):
        power = power * factor
        total = total + power * _pairs_apart(occupied, lag).set_dims(lagged.sizes).values
    number: xr.Variable = num_units**2 / (num_units + 2.0 * lagged.copy(data=total))
    clipped: xr.Variable = number.clip(min=SMALLEST_NUMBER)
    return clipped


def _pairs_apart(occupied: xr.Variable, num_years: int) -> xr.Variable:
    """Pairs of units of one sample that are so many years apart."""
    dims = unit_dims(occupied)
    others = [dim for dim in occupied.dims if dim not in dims]
    values = occupied.transpose("year", ...).values
    both = values[:-num_years] & values[num_years:]
    summed = tuple(i for i, dim in enumerate(occupied.transpose("year", ...).dims) if dim in dims)
    return xr.Variable(others, both.sum(axis=summed))


def covariance(
    first: xr.Variable, second: xr.Variable, occupied: xr.Variable, num_effective: xr.Variable
) -> xr.Variable:
    """Covariance of two means from the influences of their units: Σ e_u f_u / (n (n_eff − 1)).

    With n_eff = n it is the textbook's s²/n. With fewer it is larger twice: the mean varies more,
    and deviations from it are smaller than those from the truth.
    """
    dims = unit_dims(occupied)
    products = xr.dot(first, second, dim=dims)
    found: xr.Variable = products / (occupied.sum(dims) * (num_effective - 1.0))
    return found


def t_quantile(num_effective: xr.Variable) -> xr.Variable:
    """Student's t beyond which (1 − `CONFIDENCE`)/2 lies, with n_eff − 1 degrees of freedom.

    >>> [f"{t:.2f}" for t in t_quantile(xr.Variable("number", [2.0, 5.0, 30.0])).values]
    ['12.71', '2.78', '2.05']
    """
    upper = 0.5 + 0.5 * CONFIDENCE
    return num_effective.copy(data=np.asarray(stdtrit(num_effective.values - 1.0, upper)))


def p_value(value: xr.Variable, stderr: xr.Variable, num_effective: xr.Variable) -> xr.Variable:
    """Of a t-test that the mean is zero, both sides, n_eff − 1 degrees of freedom; all of one shape.

    1 where value and standard error are both 0; NaN where there is no standard error.

    >>> value, stderr = xr.Variable("cell", [2.0, 0.5]), xr.Variable("cell", [0.5, 0.5])
    >>> [f"{p:.3f}" for p in p_value(value, stderr, xr.Variable("cell", [10.0, 10.0])).values]
    ['0.003', '0.343']
    """
    size = abs(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (size / stderr).where(size > 0, 0.0)
    freedom = (num_effective - 1.0).transpose(*statistic.dims)
    tails = np.asarray(2.0 * stdtr(freedom.values, -statistic.values))
    found: xr.Variable = statistic.copy(data=tails).where(stderr.notnull())
    return found


def discoveries(p_values: xr.Variable, rate: float = FALSE_DISCOVERY_RATE) -> xr.Variable:
    """Cells whose response is significant at this false discovery rate, map by map, bool.

    With the m known p-values of a map in rising order, all up to the last one that is at most
    rate·i/m (Benjamini and Hochberg 1995, J. R. Statist. Soc. B 57, 289-300; Wilks 2016, Bull. Amer.
    Meteor. Soc. 97, 2263-2273). What is NaN is not significant.

    p_values: (perturbation, …); each perturbation is a map of its own.
    """
    values = p_values.values.reshape(p_values.shape[0], math.prod(p_values.shape[1:]))
    ordered = np.sort(values, axis=1)  # NaN last
    num_known = np.isfinite(values).sum(axis=1, keepdims=True)
    line = rate * np.arange(1, values.shape[1] + 1) / np.maximum(num_known, 1)
    threshold = np.where(ordered <= line, ordered, -1.0).max(axis=1, keepdims=True, initial=-1.0)
    return p_values.copy(data=(values <= threshold).reshape(p_values.shape))


def fieller(
    numerator: xr.Variable,
    denominator: xr.Variable,
    variances: tuple[xr.Variable, xr.Variable, xr.Variable],
    quantile: xr.Variable,
) -> tuple[xr.Variable, xr.Variable]:
    """Ends of the interval of a ratio of two means a/b: all ρ with (a − ρb)² ≤ t² var(a − ρb).

    Exact for normal means (Fieller 1954, J. R. Statist. Soc. B 16, 175-185). Where b itself isn't
    significantly different from zero, no finite interval will do: −∞ and ∞.

    variances: of the numerator, of the denominator, and their covariance.

    Warming of 6 K over land and 4 K over ocean, each with a variance of 0.01 K², is a ratio of 1.5
    that lies between 1.41 and 1.59. Over an ocean that warms by 0.1 K it could be anything:

    >>> land, variance, t = xr.Variable((), 6.0), xr.Variable((), 0.01), xr.Variable((), 2.0)
    >>> for ocean in (4.0, 0.1):
    ...     ends = fieller(land, xr.Variable((), ocean), (variance, variance, 0 * variance), t)
    ...     print("{:.2f} {:.2f}".format(*(end.item() for end in ends)))
    1.41 1.59
    -inf inf
    """
    of_numerator, of_denominator, common = (part * quantile**2 for part in variances)
    square: xr.Variable = denominator**2 - of_denominator
    middle = numerator * denominator - common
    root = (middle**2 - square * (numerator**2 - of_numerator)).clip(min=0.0) ** 0.5
    divisor = square.where(square > 0)
    low, high = (middle - root) / divisor, (middle + root) / divisor
    known = square.notnull() & root.notnull()
    bounded = (square > 0) | ~known
    return low.where(bounded, -np.inf), high.where(bounded, np.inf)


def noise_floor(influence: xr.Variable, occupied: xr.Variable) -> xr.Variable:
    """Standard deviation of the difference that other weather in two baselines would make.

    √2 times the standard error of the baseline alone. With two samples or more the spread is taken
    among the samples of a year, so that what the forcing does to all of them is no noise; with one,
    among the years.

    influence: of the baseline's units, (…, unit…, …). occupied: (unit…, …).
    """
    others = [dim for dim in occupied.dims if dim != "sample"]
    if "sample" not in occupied.dims or int(occupied.any(others).sum()) < 2:
        number = effective_number(year_correlation(influence, occupied), occupied)
        return (2.0 * covariance(influence, influence, occupied, number)) ** 0.5
    num_samples = occupied.sum("sample")
    used = occupied & (num_samples > 1)
    known = influence.where(used, 0.0)
    deviation = (known - known.sum("sample") / num_samples.where(num_samples > 0, 1)).where(used, 0)
    freedom = (num_samples - 1).clip(min=0).sum("year")
    squares = xr.dot(deviation, deviation, dim=["sample", "year"])
    number = effective_number(_correlation_of_deviations(deviation, used), occupied)
    variance: xr.Variable = 2.0 * squares / freedom.where(freedom > 0) / number
    return variance**0.5
