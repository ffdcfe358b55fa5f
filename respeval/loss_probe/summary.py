"""What a gradient profile says in a few numbers, and how sure of them the batches make us."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from respeval.files.publish import finite_or_none

FloatArray = NDArray[np.float64]

NUM_RESAMPLES = 1000
#: Intervals from fewer batches are too narrow: so few hardly ever hold both tails.
FEWEST_BATCHES = 6
#: Ends of the intervals: 95 %.
INTERVAL = (2.5, 97.5)


def ends(num_degrees: int) -> tuple[slice, slice]:
    """The lowest and the highest eighth of the degrees, degree 0 left out; at least one each."""
    size = max(1, round((num_degrees - 1) / 8))
    return slice(1, 1 + size), slice(num_degrees - size, num_degrees)


def low_to_high_ratio(profile: FloatArray) -> float:
    """Mean over the lowest eighth of the degrees over the mean of the highest, of [degree].

    >>> low_to_high_ratio(np.array([9.0, 8.0, 6.0, 4.0, 2.0]))  # of degree 1 and degree 4
    4.0
    """
    low, high = ends(profile.size)
    below = float(profile[high].mean())
    return float(profile[low].mean()) / below if below > 0 else math.nan


def rank_correlation(profile: FloatArray) -> float:
    """Spearman's rank correlation of [degree] with the degree, degree 0 left out; ties share ranks.

    >>> falling, bent = np.array([0.0, 9.0, 4.0, 1.0]), np.array([0.0, 9.0, 1.0, 4.0])
    >>> print(f"{rank_correlation(falling):.2f} {rank_correlation(bent):.2f}")
    -1.00 -0.50
    """
    values = profile[1:]
    if values.size < 2 or not np.isfinite(values).all():
        return math.nan
    ranks = _ranks(values)
    if ranks.std() == 0:
        return math.nan
    return float(np.corrcoef(np.arange(values.size), ranks)[0, 1])


def _ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    ranks: FloatArray = (first + 0.5 * (counts - 1))[inverse]
    return ranks


def log_slope(profile: FloatArray) -> float:
    """Least-squares slope of log(profile) against log(degree), degree 0 left out."""
    return _fit(profile)[0]


def log_slope_stderr(profile: FloatArray) -> float:
    """Standard error of `log_slope` from the residuals about the line; NaN for two degrees."""
    return _fit(profile)[1]


def _fit(profile: FloatArray) -> tuple[float, float]:
    values = profile[1:]
    if values.size < 2 or not (values > 0).all():
        return math.nan, math.nan
    x = np.log(np.arange(1, values.size + 1, dtype=np.float64))
    y = np.log(values)
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    if values.size < 3:
        return slope, math.nan
    residual = y - slope * x
    return slope, float(np.sqrt(residual @ residual / (values.size - 2) / (x @ x)))


#: Name in summary.json -> what is computed of an arm's gradient RMS [degree], mean over layers.
STATISTICS: dict[str, Callable[[FloatArray], float]] = {
    "gradient_low_to_high_ratio": low_to_high_ratio,
    "gradient_rank_correlation": rank_correlation,
    "gradient_log_slope": log_slope,
}


def told_of_batches(num_batches: int) -> str | None:
    """What to know of intervals over so many batches; None where there is nothing."""
    if num_batches >= FEWEST_BATCHES:
        return None
    if num_batches < 2:
        return "there are no intervals, as there is one batch; give --batches"
    return f"intervals are from {num_batches} batches, too narrow: give --batches {FEWEST_BATCHES} or more"


def mean_profile(batch_square: FloatArray) -> FloatArray:
    """Gradient RMS over batches, averaged over layers: [..., degree] of [..., batch, layer, degree].

    Only the degrees that every layer has.
    """
    everywhere = np.isfinite(batch_square[..., 0, :, :]).all(axis=-2)
    shared = int(everywhere.reshape(-1, everywhere.shape[-1]).all(axis=0).sum())
    rms: FloatArray = np.sqrt(batch_square[..., :shared].mean(axis=-3)).mean(axis=-2)
    return rms


def summarize(
    batch_square: FloatArray,
    loss: FloatArray,
    arms: Sequence[str],
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, float | list[float] | None]:
    """The content of summary.json: `ARM/STATISTIC`, its `_interval`, and differences between arms.

    batch_square: [arm, batch, layer, degree]; loss: [arm, batch]. Intervals are 95 % percentile
    bootstraps over batches. All arms see the same draws, so that the difference of an arm from the
    first one (`_minus_FIRST`) has an interval of its own, narrower than of two separate probes.
    None stands where a number does not exist, as an interval from one batch.
    """
    num_batches = loss.shape[1]
    draws = np.random.default_rng(seed).integers(num_batches, size=(num_resamples, num_batches))
    result: dict[str, float | list[float] | None] = {}
    full, again = mean_profile(batch_square), _resampled(batch_square, draws)
    losses, losses_again = loss.mean(axis=1), loss[:, draws].mean(axis=-1)
    first: dict[str, tuple[float, FloatArray]] = {}
    for i, arm in enumerate(arms):
        values = {"loss": (float(losses[i]), losses_again[i])}
        for name, statistic in STATISTICS.items():
            drawn = np.array([statistic(profile) for profile in again[i]])
            values[name] = (statistic(full[i]), drawn)
        for name, (value, drawn) in values.items():
            _enter(result, f"{arm}/{name}", value, drawn, num_batches)
            if i:
                base, base_drawn = first[name]
                key = f"{arm}/{name}_minus_{arms[0]}"
                _enter(result, key, value - base, drawn - base_drawn, num_batches)
        result[f"{arm}/gradient_log_slope_stderr"] = finite_or_none(log_slope_stderr(full[i]))
        low, high = ends(full.shape[-1])
        result[f"{arm}/gradient_rms_low"] = finite_or_none(float(full[i, low].mean()))
        result[f"{arm}/gradient_rms_high"] = finite_or_none(float(full[i, high].mean()))
        first = first or values
    return result


def _resampled(batch_square: FloatArray, draws: NDArray[np.int64]) -> FloatArray:
    """`mean_profile` of batches drawn again, [arm, draw, degree]; draws: [draw, batch]."""
    return np.stack([mean_profile(batch_square[:, draw]) for draw in draws], axis=1)


def _enter(
    result: dict[str, float | list[float] | None],
    key: str,
    value: float,
    drawn: FloatArray,
    num_batches: int,
) -> None:
    result[key] = finite_or_none(value)
    known = num_batches > 1 and bool(np.isfinite(drawn).all())
    interval = [float(edge) for edge in np.percentile(drawn, INTERVAL)] if known else None
    result[f"{key}_interval"] = interval
