"""What period a time mean is of, as CF describes it, and how long it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr


def with_period(dataset: xr.Dataset, source: xr.Dataset) -> xr.Dataset:
    """Means over all times of `source` with the scalar `time`, the middle of them, and `time_bnds`."""
    bounds = source["time_bnds"].transpose("time", "bnds").values
    begin, end = bounds[0, 0], bounds[-1, 1]
    encoding = _encoding(source)
    time = xr.Variable((), begin + (end - begin) / 2, source["time"].attrs, encoding)
    # Else xarray would name the scalar as a coordinate of the bounds of all coordinates too.
    alone = {"coordinates": None}
    period = xr.Variable("bnds", np.array([begin, end]), None, {**encoding, **alone})
    found = dataset.assign_coords(time=time).assign(time_bnds=period)
    for name in found.data_vars:
        if str(name).endswith("_bnds"):
            found[name].encoding = {**found[name].encoding, **alone}
    return found


def with_periods(dataset: xr.Dataset, source: xr.Dataset, stops: Sequence[int]) -> xr.Dataset:
    """Means over the first so many times of `source` each, (…, time), with the end of each period as
    `time`, and `time_bnds`."""
    bounds = source["time_bnds"].transpose("time", "bnds").values
    ends = bounds[np.array(stops) - 1, 1]
    periods = np.stack([np.repeat(bounds[:1, 0], len(stops)), ends], axis=1)
    encoding = _encoding(source)
    attributes = {**source["time"].attrs, "long_name": "end of the period"}
    time = xr.Variable("time", ends, attributes, encoding)
    time_bounds = xr.Variable(("time", "bnds"), periods, None, encoding)
    return dataset.assign_coords(time=time).assign(time_bnds=time_bounds)


def with_parts(dataset: xr.Dataset, source: xr.Dataset, parts: Sequence[slice]) -> xr.Dataset:
    """Means over parts of the times of `source`, (…, time), with the middle of each as `time`, and
    `time_bnds`."""
    bounds = source["time_bnds"].transpose("time", "bnds").values
    periods = np.array([[bounds[part.start, 0], bounds[part.stop - 1, 1]] for part in parts])
    encoding = _encoding(source)
    middle = periods[:, 0] + (periods[:, 1] - periods[:, 0]) / 2
    time = xr.Variable("time", middle, source["time"].attrs, encoding)
    time_bounds = xr.Variable(("time", "bnds"), periods, None, encoding)
    return dataset.assign_coords(time=time).assign(time_bnds=time_bounds)


def length_years(source: xr.Dataset, stops: Sequence[int]) -> xr.Variable:
    """Length of the first so many times in years of 365.25 days, (time)."""
    bounds = source["time_bnds"].transpose("time", "bnds").values
    lengths = [_days(bounds[stop - 1, 1] - bounds[0, 0]) / 365.25 for stop in stops]
    return xr.Variable("time", lengths)


def _encoding(source: xr.Dataset) -> dict[str, Any]:
    """How times are written: as in the file that they are made of."""
    own = source["time"].encoding
    return {key: own[key] for key in ("units", "calendar") if key in own} | {"dtype": "float64"}


def _days(duration: Any) -> float:
    return float(np.timedelta64(duration) / np.timedelta64(1, "D"))
