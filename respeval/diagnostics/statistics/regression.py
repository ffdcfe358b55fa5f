"""Regression of monthly anomalies on an index, with what their memory does to its error.

An anomaly is the deviation from the mean over all years of the same calendar month. Arrays are numpy's,
time first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from respeval.diagnostics.statistics.sampling import (
    LARGEST_CORRELATION,
    SMALLEST_NUMBER,
    p_value,
    t_quantile,
)
from respeval.fields.grid import BoolArray, FloatArray

Months = NDArray[np.int64]


def monthly_anomalies(values: FloatArray, month: Months) -> FloatArray:
    """Values [time, …] minus their mean over the times of the same calendar month.

    month: [time], 1 to 12.

    >>> monthly_anomalies(np.array([1.0, 5.0, 3.0, 5.5]), np.array([1, 2, 1, 2])).tolist()
    [-1.0, -0.25, 1.0, 0.25]
    """
    anomalies = np.array(values, dtype=np.float64)
    for number in np.unique(month):
        own = month == number
        anomalies[own] -= anomalies[own].mean(axis=0)
    return anomalies


@dataclass(frozen=True, eq=False)
class Regression:
    """The least-squares line of anomalies on an index, cell by cell.

    slope, stderr, freedom: […], stderr with `freedom` degrees of freedom. residual: [time, …].
    """

    slope: FloatArray
    stderr: FloatArray
    freedom: FloatArray
    residual: FloatArray

    @property
    def pvalue(self) -> FloatArray:
        """Of a t-test that the slope is zero, both sides; 1 where slope and error are both 0."""
        slope, stderr, number = (
            _cells(each) for each in (self.slope, self.stderr, self.freedom + 1.0)
        )
        return np.asarray(p_value(slope, stderr, number).values).reshape(self.slope.shape)

    @property
    def reach(self) -> FloatArray:
        """Half of the slope's interval."""
        quantile = t_quantile(_cells(self.freedom)).values.reshape(self.slope.shape)
        return np.asarray(quantile * self.stderr)


def regress(
    anomalies: FloatArray, index: FloatArray, month: Months, land: BoolArray | None = None
) -> Regression:
    """Regress anomalies x' [time, …] on an index a [time], both as of `monthly_anomalies`.

    b = Σ a x' / Σ a²; its squared standard error is Σ e² / (ν Σ a²), e being the residuals.
    ν = (N − M)/κ − 1 are the degrees of freedom of N months in M calendar months, each of which has a
    mean of its own. κ = (1 + r_a r_e) / (1 − r_a r_e) is what the lag-1 correlations of index and residuals
    make of it (Bartlett 1935, J. R. Statist. Soc. 98, 536-543; Bretherton et al. 1999, J. Climate 12,
    1990-2009); they count from 0 to `LARGEST_CORRELATION`, so that no memory makes an error smaller. ν is
    at least 1.

    land: [lat, lon] of anomalies [time, lat, lon]: r_e is then at least the mean over the cells of the
        same circle that are land too, or not land too. A few years say little of one cell's own, and the
        cells where it is too small by chance would be those that are found significant.
    """
    squares = float(index @ index)
    slope = np.tensordot(index, anomalies, axes=1) / squares
    residual = anomalies - index.reshape(-1, *[1] * slope.ndim) * slope
    return _with_error(slope, residual, index, month, land)


def difference_of(
    first: Regression,
    other: Regression,
    index: FloatArray,
    month: Months,
    land: BoolArray | None = None,
) -> Regression:
    """`other` minus `first`, regressions of two climates that have this index in common.

    It is the regression of their paired difference, since a slope is linear in what is regressed: what
    the climates share of their weather cancels in its residuals. land: as for `regress`.
    """
    slope, residual = other.slope - first.slope, other.residual - first.residual
    return _with_error(slope, residual, index, month, land)


def difference_of_unpaired(first: Regression, other: Regression) -> Regression:
    """`other` minus `first`, regressions on two indices: their errors count as independent.

    Degrees of freedom are Welch's and Satterthwaite's (Satterthwaite 1946, Biometrics Bull. 2, 110-114).
    The residual, of which there is none, is empty.
    """
    parts = [each.stderr**2 for each in (first, other)]
    variance = parts[0] + parts[1]
    spread = parts[0] ** 2 / first.freedom + parts[1] ** 2 / other.freedom
    usual = np.minimum(first.freedom, other.freedom)
    freedom = np.divide(variance**2, spread, out=usual, where=spread > 0)
    return Regression(other.slope - first.slope, np.sqrt(variance), freedom, np.empty(0))


def lag_one(values: FloatArray) -> FloatArray:
    """Lag-1 correlation of deviations [time, …] whose mean is zero; 0 where nothing varies."""
    number = len(values)
    squares = np.einsum("t...,t...->...", values, values) / number
    products = np.einsum("t...,t...->...", values[:-1], values[1:]) / (number - 1)
    found: FloatArray = np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0)
    return found


def _with_error(
    slope: FloatArray,
    residual: FloatArray,
    index: FloatArray,
    month: Months,
    land: BoolArray | None,
) -> Regression:
    memory = lag_one(residual)
    if land is not None:
        memory = np.maximum(memory, _mean_of_alike(memory, land))
    shared = memory.clip(0.0, LARGEST_CORRELATION)
    shared = shared * float(lag_one(index).clip(0.0, LARGEST_CORRELATION))
    stretch = (1.0 + shared) / (1.0 - shared)
    freedom = (len(index) - np.unique(month).size) / stretch - 1.0
    freedom = freedom.clip(min=SMALLEST_NUMBER - 1.0)
    squares = np.einsum("t...,t...->...", residual, residual)
    stderr = np.sqrt(squares / (freedom * float(index @ index)))
    return Regression(slope, stderr, freedom, residual)


def _mean_of_alike(values: FloatArray, land: BoolArray) -> FloatArray:
    """Of every cell [lat, lon] the mean over its circle's cells that are land too, or not land too."""
    means = np.zeros_like(values)
    for alike in (land, ~land):
        number = alike.sum(axis=1, keepdims=True)
        total = np.where(alike, values, 0.0).sum(axis=1, keepdims=True)
        means = np.where(alike, total / number.clip(min=1), means)
    return means


def _cells(values: FloatArray) -> xr.Variable:
    return xr.Variable("cell", values.ravel())
