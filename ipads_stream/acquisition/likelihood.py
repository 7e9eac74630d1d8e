"""How likely measured samples are under noise-free signals: the exact density of thermal noise.

Samples and signals are over the standard deviation of the noise in one real channel. One text on
the array API, which torch differentiates; magnitudes of one coil in single precision on the CPU
have a kernel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.special import hyp1f1

from ipads_stream.acquisition.kernels import likelihood as lanes
from ipads_stream.core.backend import is_numpy, namespace

TERMS = 30  # of the continued fraction of Bessel functions beyond the last that is asked for
FAR = 30.0  # signal over the noise from which the mean of a magnitude has its limit
LEAST = 1e-6  # magnitude, over the noise, below which its logarithm is taken


def gaussian(
    measured: Num[Any, "B E"], signal: Num[Any, "B E n"], mask: Bool[Any, "B E"]
) -> Float[Any, "B n"]:
    """log p = sum_e -|y_e - s_e|^2 / 2 - c log(2 pi) / 2, c channels: 1 real or 2 of complex data.

    Args:
        measured: y, real or complex, over the noise of a real channel, (B, E).
        signal: s, n of them for each sample, (B, E, n).
        mask: which echoes were measured, (B, E).

    Source: Kay, Fundamentals of statistical signal processing: estimation theory, 1993, Eq. (3.3).
    """
    xp = namespace(measured, signal)
    away = measured[:, :, None] - signal
    is_complex = xp.isdtype(away.dtype, "complex floating")
    square = xp.real(away) ** 2 + xp.imag(away) ** 2 if is_complex else away * away
    constant = (2 if is_complex else 1) * 0.5 * math.log(2 * math.pi)
    return _summed(xp, -0.5 * square - constant, mask)


def noncentral_chi(
    measured: Float[Any, "B E"],
    signal: Float[Any, "B E n"],
    mask: Bool[Any, "B E"],
    coils: int = 1,
) -> Float[Any, "B n"]:
    """log p = sum_e log a + N log(m / a) - (m^2 + a^2) / 2 + log I_(N-1)(m a); N = 1 is Rician.

    I_(N-1) is I_0 times the ratios q_k = I_k / (x I_(k-1)) = 1 / (2 k + x^2 q_(k+1)), so that
    nothing is divided by a signal of 0: log p = (2 N - 1) log m - ... + log I_0 + sum log q_k. The
    root of a sum of squares over coils of equal, uncorrelated noise has this density.

    Args:
        measured: m, magnitudes, 0 or more, over the noise of a real channel, (B, E).
        signal: a, n of them for each sample, 0 or more, (B, E, n).
        mask: which echoes were measured, (B, E).
        coils: N.

    Source: Constantinides, Atalar, McVeigh, Magnetic Resonance in Medicine 38, 852 (1997), Eq. (1).
    """
    if coils == 1 and is_numpy(signal) and signal.dtype == measured.dtype == np.float32:
        out = np.empty((signal.shape[0], signal.shape[2]), np.float32)
        measured = np.maximum(measured, np.float32(LEAST))
        lanes.rician(measured, mask, np.ascontiguousarray(signal), out)
        return out
    xp = namespace(measured, signal)
    m = xp.clip(measured, LEAST, None)[:, :, None]
    x = m * signal
    small, large = xp.clip(x, None, lanes.KNEE), xp.clip(x, lanes.KNEE, None)
    is_small, away = x <= lanes.KNEE, m - signal
    log_bessel = xp.where(
        is_small,
        xp.log(_polynomial((small / lanes.KNEE) ** 2, lanes.BELOW)) - x,
        xp.log(_polynomial(lanes.KNEE / large, lanes.ABOVE)) - 0.5 * xp.log(large),
    )
    terms = (2 * coils - 1) * xp.log(m) - 0.5 * away * away + log_bessel
    if coils > 1:
        last = coils - 1 + TERMS
        ratio = 1.0 / (last - 0.5 + xp.sqrt((last + 0.5) ** 2 + x * x))
        for k in range(last - 1, 0, -1):
            ratio = 1.0 / (2 * k + x * x * ratio)
            terms = terms + xp.log(ratio) if k < coils else terms
    return _summed(xp, terms, mask)


def magnitude_moments(
    signal: Float[np.ndarray, "..."], coils: int = 1
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Mean and variance of a magnitude, over the noise: of N coils

    sqrt(pi / 2) (2 N - 1)!! / (2^(N-1) (N - 1)!) 1F1(-1/2, N, -a^2 / 2), and 2 N + a^2 less its
    square.

    Args:
        signal: a, without noise, 0 or more.
        coils: N.

    Source: Constantinides, Atalar, McVeigh, Magnetic Resonance in Medicine 38, 852 (1997).
    """
    a = np.asarray(signal, np.float64)
    low = np.minimum(a, FAR)
    first = math.sqrt(2) * math.exp(math.lgamma(coils + 0.5) - math.lgamma(coils))
    near = first * hyp1f1(-0.5, coils, -0.5 * low**2)
    mean = np.where(a < FAR, near, np.sqrt(a**2 + 2 * coils - 1))
    return mean, np.where(a < FAR, 2 * coils + low**2 - near**2, 1.0)


def _polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """sum_k c_k x^k."""
    value = coefficients[-1] * x + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        value = value * x + coefficient
    return value


def _summed(xp: Any, terms: Any, mask: Any) -> Any:
    return xp.sum(xp.where(mask[:, :, None], terms, xp.zeros_like(terms)), axis=1)
