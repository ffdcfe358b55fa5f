"""Whether the numbers of a file of a submission can be monthly means of what it says they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from respeval.aimip.findings import Findings, attribute
from respeval.fields.grid import FloatArray
from respeval.fields.standard_names import CmipVariable

#: Heights at 500 hPa lie within, m; geopotential there is ten times as large.
_HEIGHTS_AT_500 = (4300.0, 6300.0)


def check_numbers(opened: Any, variable: Any, cmip: CmipVariable, found: Findings) -> None:
    """Missing values, constants and values out of range; one time is in memory at once."""
    low, high, num_missing, num_times = np.inf, -np.inf, 0, 0
    last, fill = None, attribute(variable, "_FillValue")
    for values in _times(variable):
        present = values[np.isfinite(values) & (np.abs(values) < 1e19) & (values != fill)]
        num_missing += values.size - present.size
        if present.size:
            low, high = min(low, float(present.min())), max(high, float(present.max()))
        last, num_times = values, num_times + 1
    if last is not None:
        found.digest = hashlib.sha256(np.ascontiguousarray(last, np.float64).data).hexdigest()
    if num_missing and "plev" in variable.dimensions:
        found.notes.append(f"{cmip.name} has missing values, as below the ground")
    elif num_missing:
        found.lacks.append(f"{cmip.name} has {num_missing} missing values")
    if low == high:
        found.lacks.append(f"{cmip.name} is {low:g} everywhere")
    elif np.isfinite(low):
        _check_range(opened, cmip, low, high, found)


def _check_range(opened: Any, cmip: CmipVariable, low: float, high: float, found: Findings) -> None:
    least, most = cmip.low, cmip.high
    levels = opened.variables.get("plev")
    if cmip.name == "zg" and levels is not None and levels.size == 1:
        least, most = _HEIGHTS_AT_500
    if least <= low and high <= most:
        return
    hint = ""
    if cmip.name == "zg" and high > most:
        hint = "; is it geopotential? divide by 9.80665"
    elif cmip.name == "pr" and high > most:
        hint = "; is it in mm/day? divide by 86400"
    elif cmip.name in ("ps", "psl") and high < 2000:
        hint = "; is it in hPa?"
    elif cmip.units == "K" and low < 150:
        hint = "; is it in degrees Celsius?"
    found.lacks.append(
        f"{cmip.name} reaches from {low:.4g} to {high:.4g} {cmip.units}, and monthly means lie within "
        f"{least:g} and {most:g}{hint}"
    )


def _times(variable: Any) -> Iterator[FloatArray]:
    """The values at one time after the other."""
    for row in range(variable.shape[0]):
        yield np.asarray(variable[row], np.float64)
