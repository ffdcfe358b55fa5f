"""The low-pass filter of decadal indices, and the period of an index."""

from __future__ import annotations

import numpy as np

from respeval.fields.grid import FloatArray

#: Edge of the pass band, months: what is slower passes.
CUTOFF_MONTHS = 13 * 12

#: An odd order passes what does not vary as it is, an even one would take the ripple off it.
ORDER = 5

#: Ripple of the pass band in each of the two passes, dB.
RIPPLE_dB = 0.1

#: A shorter series, months, has no part that is a cutoff away from both of its ends.
FEWEST_MONTHS = 2 * CUTOFF_MONTHS

#: A period is told where so many of it lie in the series.
_FEWEST_PERIODS = 3

#: The periodogram has its ordinates so many times as close as the series' length has them.
_FINER = 8


def low_pass(series: FloatArray) -> FloatArray:
    """A monthly series [time, …] without what is faster than 13 years.

    A Chebyshev filter of type I, `ORDER`, `RIPPLE_dB`, edge at 1/`CUTOFF_MONTHS`, run forwards and
    backwards, so that nothing is delayed and its gain is that of one pass squared: 0.977 to 1 from 13
    years on, 0.08 at 10 years, 0.0003 at half the cutoff and 1e-12 at a year. Before that the series is
    continued at both ends by its mirror image (Mann 2004, Geophys. Res. Lett. 31, L07214: minimum slope)
    over 13 years; what lies that near to an end leans on it.
    Raises ValueError where the series is shorter than `FEWEST_MONTHS`.
    """
    from scipy.signal import cheby1, sosfiltfilt  # late: it is slow to load

    if len(series) < FEWEST_MONTHS:
        raise ValueError(f"{len(series)} months are too few for the filter")
    sections = cheby1(ORDER, RIPPLE_dB, 2.0 / CUTOFF_MONTHS, output="sos")
    return np.asarray(sosfiltfilt(sections, series, axis=0, padtype="even", padlen=CUTOFF_MONTHS))


def period_years(series: FloatArray) -> float:
    """The period, years, at which a monthly series [time] has most variance.

    That is where its periodogram, with Hann's window, is largest. NaN where the series doesn't vary, or
    is shorter than three such periods.
    """
    number = len(series)
    window = np.hanning(number + 2)[1:-1]
    power = np.abs(np.fft.rfft(series * window, _FINER * number)) ** 2
    power[0] = 0.0
    at = int(np.argmax(power))
    if power[at] == 0.0 or at < _FEWEST_PERIODS * _FINER:
        return float("nan")
    return _FINER * number / at / 12.0
