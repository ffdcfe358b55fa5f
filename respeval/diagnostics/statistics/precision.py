"""How well a diagnostic is known, and how much longer a run must be for it to be known better."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from respeval.diagnostics.statistics.sampling import CONFIDENCE, SMALLEST_NUMBER
from respeval.diagnostics.statistics.uncertainty import described

#: How well the ratios to know first shall be known.
KNOWN_TO = 0.05

#: No number is called known before a run has so many years: one does not show how years differ. Two of
#: any calendar, of which that of 360 days is the shortest, have more days than 1.95 of 365.25.
FEWEST_YEARS_TO_KNOW = 1.95

#: What the number of years is called, in files.
YEARS = "years_to_5_percent"

#: No run is thought of that has more units than this.
_MOST_UNITS = 1e9


def relative_half_width(values: xr.Dataset, name: str) -> xr.Variable:
    """(high − low) / 2 / |value|: how well a diagnostic is known; NaN where that isn't bounded."""
    value, low, high = (values[key].variable for key in (name, f"{name}_low", f"{name}_high"))
    known = np.isfinite(low) & np.isfinite(high) & (abs(value) > 0)
    width: xr.Variable = (high.where(known) - low.where(known)) / 2.0 / abs(value).where(known)
    return width


def years_left(
    values: xr.Dataset, name: str, fraction: float, length: xr.Variable | float
) -> xr.Variable:
    """Further years after which the half-width of a diagnostic's interval is `fraction` of its value.

    With n effective units in a run of Y years the half-width goes as t(n − 1) / √n, t being Student's
    quantile, and n as Y. So it is Y (m/n − 1), m being the number of units with
    t(m − 1) / √m = t(n − 1) / √n · fraction / half-width; 0 where that is reached, NaN where the
    interval is not bounded.

    values: the diagnostic with its interval and `NAME_num_effective`. length: Y, years.
    """
    width = relative_half_width(values, name)
    number = values[f"{name}_num_effective"].variable.set_dims(width.sizes)
    wanted = fraction / width.where(width > 0)
    needed = number.copy(data=_units_for((_reach(number) * wanted).values))
    more = (length * (needed / number - 1.0)).clip(min=0.0)
    left: xr.Variable = more.where(wanted.notnull(), 0.0).where(width.notnull())
    about = values[name].attrs.get("long_name", name)
    attributes = {
        "long_name": f"years that a run would need further until {about} is known to "
        f"{100 * fraction:g} %",
        "units": "year",
    }
    return described(left.transpose(*values[name].dims), attributes)


def _reach(number: xr.Variable | np.ndarray) -> xr.Variable | np.ndarray:
    """Half-width of the interval of a mean of so many units, in standard deviations of one."""
    quantile = stdtrit(np.asarray(number, np.float64) - 1.0, 0.5 + 0.5 * CONFIDENCE)
    reach: xr.Variable | np.ndarray = quantile / number**0.5
    return reach


def _units_for(reach: np.ndarray) -> np.ndarray:
    """The number of units with this `_reach`, by bisection: it falls all the way. NaN stays."""
    low = np.full(reach.shape, SMALLEST_NUMBER)
    high = np.full(reach.shape, _MOST_UNITS)
    for _ in range(100):
        middle = np.sqrt(low * high)
        too_few = np.asarray(_reach(middle)) > reach
        low, high = np.where(too_few, middle, low), np.where(too_few, high, middle)
    return np.where(np.isnan(reach), np.nan, high)
