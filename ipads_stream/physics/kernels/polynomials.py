"""Cosine and exponential in float64, free of branches and calls: loops over them vectorise."""

import math
from typing import no_type_check

import numpy as np
from numba import njit

_ROUND = 1.5 * 2.0**52  # adding and subtracting it rounds a float64 to an integer without a branch
_SINE = tuple(
    (-1) ** k * (2 * math.pi) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(10)
)
_POWER = tuple(math.log(2) ** k / math.factorial(k) for k in range(13))
_PER_NEPER = 1 / math.log(2)

_inlined = njit(inline="always", error_model="numpy", fastmath={"contract"})


@_inlined
@no_type_check
def cosine(turns):
    """cos(2 pi turns), the sine of what is missing to a quarter turn; error below 1e-15."""
    x = 0.25 - abs(turns - ((turns + _ROUND) - _ROUND))
    y = x * x
    s = _SINE[9] * y + _SINE[8]
    s = (s * y + _SINE[7]) * y + _SINE[6]
    s = (s * y + _SINE[5]) * y + _SINE[4]
    s = (s * y + _SINE[3]) * y + _SINE[2]
    s = (s * y + _SINE[1]) * y + _SINE[0]
    return s * x


@_inlined
@no_type_check
def decayed(nepers):
    """exp(-nepers) for nepers >= 0, down to 2^-1022; relative error below 1e-13."""
    y = max(-nepers * _PER_NEPER, -1022.0)
    whole = (y + _ROUND) - _ROUND
    x = y - whole
    p = _POWER[12] * x + _POWER[11]
    p = (p * x + _POWER[10]) * x + _POWER[9]
    p = (p * x + _POWER[8]) * x + _POWER[7]
    p = (p * x + _POWER[6]) * x + _POWER[5]
    p = (p * x + _POWER[4]) * x + _POWER[3]
    p = (p * x + _POWER[2]) * x + _POWER[1]
    p = p * x + _POWER[0]
    return p * np.int64((np.int64(whole) + 1023) << 52).view(np.float64)
