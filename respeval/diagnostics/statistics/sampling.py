"""How far a mean over (sample, year) units may lie from the truth.

The years of a sample follow each other with a lag-1 correlation r, as a process AR(1) would, and the
samples of the same year share a part ρ of their variance. docs/uncertainty.md says why each of this is
as it is, and shows how often the intervals cover a truth that is known.

Everything is an `xarray.Variable`, which has dimensions but no coordinates: aligning them would be
most of the work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import betainc, stdtr, stdtrit

from respeval.diagnostics.statistics.jackknife import UNIT_DIMS, unit_dims

#: Probability with which an interval shall cover the truth.
CONFIDENCE = 0.95

#: No correlation is taken to be larger: beyond it, a few years can't tell it from a drift.
LARGEST_CORRELATION = 0.95

#: The effective number of units is at least this, so that there is a degree of freedom.
SMALLEST_NUMBER = 2.0

#: Expected share of false ones among the cells that are called significant. In fields that are
#: correlated in space it keeps the chance of any at half of that (Wilks 2016).
FALSE_DISCOVERY_RATE = 0.10


def year_correlation(
    influence: xr.Variable, occupied: xr.Variable, shared: xr.Variable | None = None
) -> xr.Variable:
    """Lag-1 correlation of consecutive years of a sample, over all samples, first-order unbiased.

    With the correlation r of the deviations it is r + (1 + 3r)/n, because they are deviations from a
    mean that is estimated too (Marriott and Pope 1954, Biometrika 41, 390-402; Kendall 1954,
    Biometrika 41, 403-404); n is the number of units as far as samples are independent.

    influence: (…, unit…, …), 0 where not occupied. occupied: (…, unit…). shared: ρ of the samples of a
    year, NaN for 0; None: they are independent.
    Returns the same without the unit dimensions, not clipped; NaN where there is no pair of years
    or no spread.
    """
    r = _correlation_of_deviations(influence, occupied)
    number = effective_number(xr.zeros_like(r), occupied, shared)
    corrected: xr.Variable = r + (1.0 + 3.0 * r) / number
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


@dataclass(frozen=True, eq=False)
class Effective:
    """What units tell of their mean.

    number: of independent units whose mean varies as much as theirs. freedom: degrees of freedom of
    its standard error, fewer than `number` − 1 where little is known of how the units hang together.
    """

    number: xr.Variable
    freedom: xr.Variable


def effective(
    influence: xr.Variable, occupied: xr.Variable, varies: xr.Variable | None = None
) -> Effective:
    """How many units there are in effect, by their correlation from year to year and among samples.

    The standard error of Y years of S samples that share all they do has Y − 1 degrees of freedom,
    that of independent ones SY − 1. In between they are Y − 1 + min(1, 2P)·(SY − Y), P being the p-value
    of the test that samples are independent, which is ½ where nothing speaks for either.

    influence: (…, unit…, …), 0 where not occupied. occupied: (…, unit…). varies: where the influence
    is more than rounding, which has no memory; None: everywhere.
    """
    shared = together(influence, occupied)
    rho = shared.correlation
    r = year_correlation(influence, occupied, rho)
    if varies is not None:
        r, rho = r.where(varies, 0.0), rho.where(varies, 0.0)
    number = effective_number(r, occupied, rho)
    of_time = effective_number(r, occupied) / shared.num_units
    of_years = (shared.num_years * of_time).clip(min=SMALLEST_NUMBER)
    of_units = (shared.num_units * of_time).clip(min=SMALLEST_NUMBER)
    independent = (2.0 * shared.p_value).clip(max=1.0).fillna(1.0)
    if varies is not None:
        independent = independent.where(varies, 1.0)
    freedom = of_years + (of_units - of_years) * independent - 1.0
    return Effective(number, freedom.where(number.notnull()))


@dataclass(frozen=True, eq=False)
class Shared:
    """What samples of the same year have in common, without the unit dimensions.

    correlation: ρ, not clipped; p_value: of the test that it is 0 (F-test of years against samples).
    Both NaN where there is one year, one sample, or no spread.
    """

    correlation: xr.Variable
    p_value: xr.Variable
    num_units: xr.Variable
    num_years: xr.Variable


def together(influence: xr.Variable, occupied: xr.Variable) -> Shared:
    """The share of variance that the samples of a year have in common, by analysis of variance.

    ρ = (MSB − MSW) / (MSB + (k − 1) MSW), MSB and MSW being the mean squares between and within years
    and k the samples a year (Fisher 1925; Searle, Casella and McCulloch 1992, Variance Components,
    3.5); where years have different numbers of samples, their mean over units.

    influence: (…, unit…, …), 0 where not occupied. occupied: (…, unit…).
    """
    dims = unit_dims(occupied)
    num_units = occupied.sum(dims).astype(np.float64)
    if set(dims) != set(UNIT_DIMS):
        unknown = xr.full_like(influence.isel(dict.fromkeys(dims, 0)), np.nan)
        return Shared(unknown, unknown, num_units, num_units)
    in_year = occupied.sum("sample")
    num_years = (in_year > 0).sum("year").astype(np.float64)
    units = num_units.where((num_years > 1) & (num_units > num_years))
    by_year = influence.sum("sample")
    squares = xr.dot(influence, influence, dim=dims)
    # What years have of the sum of squares, times the number of samples.
    common = xr.dot(by_year, by_year, dim="year") / squares.where(squares > 0)
    others = (in_year * (in_year - 1)).sum("year") / units
    # Deviations from a mean that is estimated are too small by what one year has in it.
    varied = units * common / (common + units - units / num_years)
    share = (common * num_years / units).clip(0.0, 1.0)
    freedoms = ((num_years - 1.0) / 2.0, (units - num_years) / 2.0)
    between, within = (half.set_dims(share.sizes).values for half in freedoms)
    tail = share.copy(data=np.asarray(betainc(within, between, 1.0 - share.values)))
    return Shared((varied - 1.0) / others, tail, num_units, num_years)


def effective_number(
    correlation: xr.Variable, occupied: xr.Variable, shared: xr.Variable | None = None
) -> xr.Variable:
    """Independent units whose mean varies as much as that of these: n² / Σ Σ of their correlations.

    Units of one sample that are k years apart correlate by r^k, those of two samples by ρ r^k: n² /
    (n + 2 Σ_k N_k r^k + ρ (M_0 + 2 Σ_k M_k r^k)), N_k and M_k being the numbers of such pairs. For
    independent samples it tends to n(1 − r)/(1 + r) with their length (von Storch and Zwiers 1999,
    Statistical Analysis in Climate Research, 6.6.8), and it is n where each has one year. Samples
    that are one (ρ = 1) count as one. r counts from 0 to `LARGEST_CORRELATION`, ρ from 0 to 1.
    NaN with fewer than two units.

    correlation, shared: r and ρ, (…); shared: None for 0. occupied: (…, unit…).

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
    rho = xr.Variable((), 0.0) if shared is None else shared.fillna(0.0).clip(0.0, 1.0)
    lagged = xr.zeros_like(r * num_units * rho)
    # Arrays, because for a variable each of these operations would cost more than its arithmetic.
    factor, common = (each.set_dims(lagged.sizes).values for each in (r, rho))
    power, total, shares = np.ones_like(factor), lagged.values, common.any()
    for lag in range(occupied.sizes["year"]):
        pairs = _pairs_apart(occupied, lag).set_dims(lagged.sizes).values
        if shares:
            others = _pairs_of_samples(occupied, lag).set_dims(lagged.sizes).values
            pairs = pairs + common * others
        total = total + (1.0 if lag == 0 else 2.0) * power * pairs
        power = power * factor
        if not power.any():
            break
    number: xr.Variable = num_units**2 / lagged.copy(data=total)
    clipped: xr.Variable = number.clip(min=SMALLEST_NUMBER)
    return clipped


def _pairs_apart(occupied: xr.Variable, num_years: int) -> xr.Variable:
    """Pairs of units of one sample that are so many years apart."""
    dims = unit_dims(occupied)
    others = [dim for dim in occupied.dims if dim not in dims]
    values = occupied.transpose("year", ...).values
    both = values[: len(values) - num_years] & values[num_years:]
    summed = tuple(i for i, dim in enumerate(occupied.transpose("year", ...).dims) if dim in dims)
    return xr.Variable(others, both.sum(axis=summed))


def _pairs_of_samples(occupied: xr.Variable, num_years: int) -> xr.Variable:
    """Units of one sample beside those of each other sample, so many years later; 0 without samples."""
    if "sample" not in occupied.dims:
        return xr.zeros_like(occupied.isel(year=0), dtype=np.int64)
    in_year = occupied.sum("sample").transpose("year", ...).values
    pairs = (in_year[: len(in_year) - num_years] * in_year[num_years:]).sum(axis=0)
    own = _pairs_apart(occupied, num_years)
    return own.copy(data=pairs - own.values)


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


def t_quantile(freedom: xr.Variable) -> xr.Variable:
    """Student's t beyond which (1 − `CONFIDENCE`)/2 lies, with so many degrees of freedom.

    >>> [f"{t:.2f}" for t in t_quantile(xr.Variable("freedom", [1.0, 4.0, 29.0])).values]
    ['12.71', '2.78', '2.05']
    """
    upper = 0.5 + 0.5 * CONFIDENCE
    return freedom.copy(data=np.asarray(stdtrit(freedom.values, upper)))


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
