"""The noise of measured images: of what lies outside the body, of what no decay explains, or of
what two measurements of the same do not share."""

import numpy as np
from jaxtyping import Float
from scipy.special import gammaincinv

LEAST = 200  # voxels of a background
LEVELS = 40  # numbers of voxels that are tried
CLOSE = 0.05  # relative difference of two estimates of one noise
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the values, below which quantiles are compared


def background(signals: Float[np.ndarray, "V E"], coils: int = 1) -> float | None:
    """Standard deviation of the noise in a real channel, from voxels without signal, or None.

    There magnitudes have a chi distribution of 2 N degrees of freedom, and the mean of m^2 is
    2 N sigma^2. As many of the darkest voxels are taken as there are, from 200 on, among which all
    of five quantiles say the same noise as m^2 does, to 5 %. Voxels that are 0 in an image are no
    background: somebody has cut them off.

    Args:
        signals: magnitudes, any unit.
        coils: N, whose squares are summed.

    Source: Constantinides, Atalar, McVeigh, Magnetic Resonance in Medicine 38, 852 (1997).
    """
    rows = np.asarray(signals, np.float64)[(signals != 0).all(axis=1)]
    if len(rows) < LEAST:
        return None
    rows = rows[np.argsort(np.mean(rows**2, axis=1), kind="stable")]
    expected = np.sqrt(2 * gammaincinv(coils, SHARES))  # chi of 2 N degrees of freedom
    found = None
    for count in np.unique(np.geomspace(LEAST, len(rows), LEVELS).astype(int)):
        sigma = np.sqrt(np.mean(rows[:count] ** 2) / (2 * coils))
        quantiles = np.quantile(rows[:count], SHARES) / expected
        if np.all(np.abs(quantiles / sigma - 1) < CLOSE):
            found = float(sigma)
    return found


def residual(
    signals: Float[np.ndarray, "V E"], TE: Float[np.ndarray, " E"], T2: tuple[float, float]
) -> float:
    """Median over voxels of the noise that the best of many decays exp(-TE / T2) leaves.

    Args:
        signals: any unit; voxels of less than a tenth of the largest are left out.
        TE: s.
        T2: range of the decays, s.
    """
    rows = np.asarray(signals, np.float64)
    norm = np.linalg.norm(rows, axis=1)
    rows = rows[norm > 0.1 * norm.max(initial=0.0)]
    decays = np.exp(-TE / np.geomspace(*T2, 400)[:, None])
    decays /= np.linalg.norm(decays, axis=1, keepdims=True)
    if not len(rows):
        return 1.0
    explained = np.max(rows @ decays.T, axis=1)
    left = np.maximum(np.sum(rows * rows, axis=1) - explained**2, 0.0)
    left /= 2 * gammaincinv(max(len(TE) - 2, 1) / 2, 0.5)  # median of chi-square
    return float(max(np.sqrt(np.median(left)), 1e-6 * norm.max()))


def of_repeats(one: Float[np.ndarray, "..."], other: Float[np.ndarray, "..."]) -> float:
    """Standard deviation of the noise in one of two measurements: 1.4826 median |d| / sqrt(2), of
    the differences d less their median, where the signal is at least a tenth of the largest.

    Args:
        one, other: real images of the same, of one unit and shape.

    Source: Rousseeuw and Croux, Journal of the American Statistical Association 88, 1273 (1993).
    """
    mean = 0.5 * (np.asarray(one, np.float64) + np.asarray(other, np.float64))
    difference = (np.asarray(one, np.float64) - other)[np.abs(mean) > 0.1 * np.abs(mean).max()]
    if not difference.size:
        return 1.0
    away = np.median(np.abs(difference - np.median(difference)))
    return float(max(1.4826 * away / np.sqrt(2), 1e-6 * np.abs(mean).max()))
