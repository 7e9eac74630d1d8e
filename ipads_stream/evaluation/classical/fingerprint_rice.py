"""The likelihood of magnitude fingerprints, whose noise is Rician."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import i0e, i1e

from ipads_stream.evaluation.classical.fingerprint_matching import normalized

STEPS = 5  # of the iteration for amplitude and noise
LEAST = 1e-7  # noise per frame, of norm 1: below the rounding of single precision


def rice_likelihood(
    y: Float[np.ndarray, "B N"], models: Float[np.ndarray, "B M N"]
) -> Float[np.ndarray, "B M"]:
    """ln p(y | x) of magnitudes, at the likeliest amplitude a and noise sigma of every model.

    p(y_n) = y_n / sigma^2 exp(-(y_n^2 + a^2 x_n^2) / 2 sigma^2) I0(a x_n y_n / sigma^2). a and
    sigma^2 come from expectation maximisation over the phases that were lost: with r_n = I1 / I0,
    a <- sum x y r / sum x^2, sigma^2 <- (sum y^2 / 2 + a^2 sum x^2 / 2 - a sum x y r) / N. Taking
    their largest likelihood for the mean over them changes the posterior by one part in N.

    Args:
        y: magnitudes, any norm.
        models: noise-free magnitudes, any norm.

    Source: Rice, Mathematical analysis of random noise, Bell System Technical Journal 24, 1945;
    Dempster, Laird, Rubin, Journal of the Royal Statistical Society B 39, 1977.
    """
    x, y = normalized(models), normalized(y)
    N = y.shape[1]
    xy = x * y[:, None, :]
    amplitude = xy.sum(axis=2)  # x and y have norm 1
    # Circular noise: its variance is per channel, and only one of them lies along the signal.
    variance = np.maximum(1 - amplitude**2, LEAST**2) / N
    for _ in range(STEPS):
        z = xy * (amplitude / variance)[:, :, None]
        along = (xy * (i1e(z) / i0e(z))).sum(axis=2)
        amplitude = along
        variance = np.maximum((1 - along**2) / (2 * N), LEAST**2)
    z = xy * (amplitude / variance)[:, :, None]
    value = (np.log(i0e(z)) + z).sum(axis=2)
    return value - (1 + amplitude**2) / (2 * variance) - N * np.log(variance)
