"""The noise of measured images: of what lies outside the body, of what no signal explains, or of
what two measurements of the same do not share."""

import numpy as np
from jaxtyping import Float
from scipy.special import gammaincinv

BACKGROUND, UNEXPLAINED = "of the background", "what no signal of the model explains"  # sources
LEAST = 200  # voxels of a background
LEVELS = 40  # numbers of voxels that are tried
MANY = 20_000  # voxels, of which the noise that no curve explains is found
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
    signals: Float[np.ndarray, "V E"], curves: Float[np.ndarray, "K E"], unknowns: int = 2
) -> float:
    """The noise that the best of many curves, each times a number, leaves: its median over voxels
    beside that of chi-square.

    Args:
        signals: any unit; voxels of less than a tenth of the largest are left out, and of many
            some are taken, evenly.
        curves: noise-free signals in any unit.
        unknowns: what a curve takes from the degrees of freedom.
    """
    rows = np.asarray(signals, np.float64)
    norm = np.linalg.norm(rows, axis=1)
    rows = rows[norm > 0.1 * norm.max(initial=0.0)]
    if not len(rows):
        return 1.0
    rows = rows[:: -(-len(rows) // MANY)]
    curves = curves / np.linalg.norm(curves, axis=1, keepdims=True)
    explained = np.max(rows @ curves.T, axis=1)
    left = np.maximum(np.sum(rows * rows, axis=1) - explained**2, 0.0)
    freedom = max(rows.shape[1] - unknowns, 1)
    middle = 2 * gammaincinv(freedom / 2, 0.5)  # of chi-square
    return float(max(np.sqrt(np.median(left) / middle), 1e-6 * norm.max()))


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
