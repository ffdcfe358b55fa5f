"""Random bits to normal numbers, by operations whose results IEEE 754 fixes to the last bit.

These are float64 additions, multiplications, divisions and square roots, one after the other, and
operations on integers. Logarithms, sines and fused operations differ between libraries and devices, so
that none is used. The same lines compute with numpy on a CPU and with torch on a GPU. (torch's square
root on a CPU may be MKL's, whose last bit is not always that of IEEE 754.)
"""

from __future__ import annotations

import math
from typing import Any

# Both interpolate at the Chebyshev nodes of x² (test_box_muller.py finds them again), and are off by at
# most 3e-11 and 5e-12 of the value; float32 rounds at 6e-8.
#: sin(πx/2) / x for |x| <= 1, by powers of x².
SINE = (
    1.570796326768066,
    -0.645964095574125,
    0.07969260368557585,
    -0.004681657707277992,
    0.00016025459023725092,
    -3.431788991798387e-06,
)
#: -4 artanh(x) / x for |x| <= (√2 - 1)/(√2 + 1), by powers of x².
LOGARITHM = (
    -4.000000000016719,
    -1.3333333049497504,
    -0.8000076934475038,
    -0.5707010207563262,
    -0.4723271819829197,
)

_ROOT_OF_HALF = 0x3FE6A09E667F3BCD  # the bits of √½
_EXPONENT_20, _EXPONENT_22 = (1023 + 20) << 52, (1023 + 22) << 52  # the bits of 2^20 and 2^22


def normal_pairs(words: Any, xp: Any) -> Any:
    """Two independent standard normal numbers from each word, [2, ..., word], float64.

    words: [..., word], int64, of random bits: 63 is the sign of both numbers, 31 to 62 give the radius
        and 1 to 30 the angle, within a half circle. They are not changed.
    xp: numpy or torch, whichever the words are of.

    With u = (bits + ½) / 2^32 they are ±√(-2 ln u) (cos φ, sin φ), Box and Muller (1958,
    doi:10.1214/aoms/1177706645): none is 0, and none is beyond 6.77 standard deviations.
    """
    radius = _radius(words, xp)
    signed = radius.view(xp.int64)
    signed ^= words & -(2**63)
    # x = 2φ/π is odd multiples of 2^-30, from 2^-30 - 1 to 1 - 2^-30.
    bits = words & (2**31 - 1)
    bits |= _EXPONENT_22 | 1
    x = bits.view(xp.float64)
    x -= 2.0**22 + 1
    # cos φ is the sine of the angle that is left to the quarter circle.
    x = xp.stack((1 - abs(x), x))
    pairs = _polynomial(x * x, SINE)
    pairs *= x
    pairs *= radius
    return pairs


def _radius(words: Any, xp: Any) -> Any:
    """√(-2 ln u), where u = 2^exponent · mantissa, from √½ to √2, and x = (mantissa - 1)/(mantissa + 1)."""
    bits = words >> 31
    bits &= 2**32 - 1
    bits |= _EXPONENT_20
    u = bits.view(xp.float64)
    u -= 2.0**20 - 2.0**-33
    exponent = bits - _ROOT_OF_HALF
    exponent >>= 52
    bits -= exponent << 52
    mantissa = u  # what the bits are now
    x = mantissa - 1
    mantissa += 1
    x /= mantissa
    square = _polynomial(x * x, LOGARITHM)
    square *= x
    square += xp.asarray(exponent, dtype=xp.float64) * (-2 * math.log(2))
    return xp.sqrt(square)


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """The sum of coefficients[k] · x^k, by Horner's rule."""
    *others, last = coefficients
    value = x * last
    for coefficient in reversed(others[1:]):
        value += coefficient
        value *= x
    value += others[0]
    return value
