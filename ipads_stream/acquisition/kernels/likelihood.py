"""How likely magnitudes are under many signals at once, on the CPU: signals lie along the lanes."""

from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel

# I0(x) for x <= 3.75 in (x / 3.75)^2, and sqrt(x) exp(-x) I0(x) beyond in 3.75 / x, each to 2e-7.
# Source: Abramowitz and Stegun, Handbook of mathematical functions, 9.8.1 and 9.8.2.
KNEE = 3.75
BELOW = (1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813)
ABOVE = (
    0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537,
    -0.01647633, 0.00392377,
)  # fmt: skip
_B0, _B1, _B2, _B3, _B4, _B5, _B6 = map(np.float32, BELOW)
_A0, _A1, _A2, _A3, _A4, _A5, _A6, _A7, _A8 = map(np.float32, ABOVE)
_KNEE, _HALF, _ONE, _ZERO = map(np.float32, (KNEE, 0.5, 1.0, 0.0))


@kernel
@no_type_check
def rician(measured, mask, signal, out):
    """Write the logarithm of the Rician density of the masked echoes into out, (B, n).

    measured: magnitudes over the noise, float32, (B, E); mask: bool, (B, E); signal: n of them over
    the noise, float32, (B, E, n). The factors are multiplied, in double precision, before their one
    logarithm: a hundred of the smallest, 0.4 / sqrt(x), are far above the least number.
    """
    num, echoes, count = signal.shape
    product, exponent = np.empty(count, np.float64), np.empty(count, np.float32)
    for b in range(num):
        constant = 0.0
        for i in range(count):
            product[i], exponent[i] = 1.0, 0.0
        for e in range(echoes):
            if not mask[b, e]:
                continue
            m = measured[b, e]
            constant += np.log(m)
            for i in range(count):
                a = signal[b, e, i]
                x = m * a
                is_small = x <= _KNEE
                t = min(x, _KNEE) / _KNEE
                t = t * t
                u = _KNEE / max(x, _KNEE)
                below = _B0 + t * (_B1 + t * (_B2 + t * (_B3 + t * (_B4 + t * (_B5 + t * _B6)))))
                above = _A4 + u * (_A5 + u * (_A6 + u * (_A7 + u * _A8)))
                above = _A0 + u * (_A1 + u * (_A2 + u * (_A3 + u * above)))
                above = above / np.sqrt(max(x, _KNEE))
                away = m - a
                product[i] *= below if is_small else above
                exponent[i] -= _HALF * away * away + (x if is_small else _ZERO)
        for i in range(count):
            out[b, i] = constant + exponent[i] + np.log(product[i])
