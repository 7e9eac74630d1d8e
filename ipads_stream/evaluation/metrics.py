"""How far an estimate is from its reference: relative error, peak correlation, intervals."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Num
from numpy.typing import ArrayLike


def rlne(
    estimate: Num[np.ndarray, "..."], reference: Num[np.ndarray, "..."], axis: int | None = None
) -> np.floating | Float[np.ndarray, "..."]:
    """Give the relative l2-norm error ||estimate - reference|| / ||reference||, dimensionless.

    It is the same in time and in frequency where the Fourier transform is orthonormal. ``axis`` is
    that of the norm; None takes the whole array, -1 gives one value per row. NaN where the
    reference is zero.

    Raises:
        ValueError: the shapes differ.

    Source: Qu et al., Angew Chem Int Ed 59, 10297 (2020).
    """
    _check_same_shape(estimate, reference)
    error = np.sqrt((np.abs(estimate - reference) ** 2).sum(axis=axis))
    norm = np.sqrt((np.abs(reference) ** 2).sum(axis=axis))
    return np.where(norm > 0, error / np.where(norm > 0, norm, 1), np.nan)[()]


def find_peaks(
    magnitude: Float[np.ndarray, "..."], threshold: float = 0.03
) -> Int[np.ndarray, "peaks axes"]:
    """Find the local maxima above a fraction of the largest value, as indices in array order.

    A point is a peak where it exceeds threshold * max and none of its neighbours (2 in a spectrum,
    8 in a plane; the spectrum is periodic, so the edges are neighbours) is larger. Of equal
    neighbours the first in array order is the peak.

    Raises:
        ValueError: more than two axes, a complex array, or a threshold out of 0 <= threshold < 1.
    """
    if magnitude.ndim not in (1, 2) or np.iscomplexobj(magnitude):
        raise ValueError(
            f"magnitude has shape {magnitude.shape} and type {magnitude.dtype}; "
            "allowed: real, one or two axes"
        )
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold={threshold}; allowed: 0 <= threshold < 1")
    is_peak = (magnitude > threshold * magnitude.max()) & (magnitude > 0)
    for offset in np.ndindex(*(3,) * magnitude.ndim):
        shift = tuple(1 - step for step in offset)
        if any(shift):
            neighbour = np.roll(magnitude, shift, axis=tuple(range(magnitude.ndim)))
            earlier = shift > (0,) * magnitude.ndim
            is_peak &= magnitude > neighbour if earlier else magnitude >= neighbour
    return np.argwhere(is_peak)


def peak_correlation(
    estimate: Num[np.ndarray, "..."], reference: Num[np.ndarray, "..."], threshold: float = 0.03
) -> tuple[float, float, int]:
    """Correlate the peak intensities of an estimate with those of the reference: r, r^2, peaks.

    r is Pearson's coefficient of estimate and reference at the reference's peaks, the maxima of its
    magnitude above a fraction of the largest; NaN with fewer than two peaks. The arrays decide the
    intensity: real arrays (the absorptive part of a phased spectrum) are compared with their sign,
    complex arrays by their magnitude.

    Raises:
        ValueError: the shapes differ, or one array is real and the other complex.
    """
    _check_same_shape(estimate, reference)
    if np.iscomplexobj(estimate) != np.iscomplexobj(reference):
        raise ValueError(
            f"estimate is {estimate.dtype} and reference {reference.dtype}; "
            "allowed: both real (phased) or both complex (magnitude)"
        )
    at = tuple(find_peaks(np.abs(reference), threshold).T)
    is_complex = np.iscomplexobj(reference)
    x, y = (np.abs(a[at]) if is_complex else a[at] for a in (estimate, reference))
    num_peaks = len(at[0])
    if num_peaks < 2 or x.std() == 0 or y.std() == 0:
        return float("nan"), float("nan"), num_peaks
    r = float(np.corrcoef(x.astype(np.float64), y.astype(np.float64))[0, 1])
    return r, r**2, num_peaks


def confidence_interval(
    values: ArrayLike,
    statistic: Callable[..., np.ndarray] = np.median,
    level: float = 0.95,
    num_resamples: int = 2000,
    key: int = 0,
) -> tuple[float, float]:
    """Give the percentile bootstrap interval of a statistic of independent values, in their unit.

    Args:
        values: (values,).
        statistic: function of an array with the keyword `axis`, such as np.median or np.mean.
        level: probability of the interval, 0 < level < 1.
        num_resamples: number of resamples.
        key: of the counter-based generator; the same key gives the same interval.

    Raises:
        ValueError: no values, non-finite values, or a level out of range.

    Source: Efron, Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"values has shape {values.shape}; allowed: one axis, finite, not empty")
    if not 0 < level < 1:
        raise ValueError(f"level={level}; allowed: 0 < level < 1")
    random = np.random.Generator(np.random.Philox(key=key))
    resamples = values[random.integers(values.size, size=(num_resamples, values.size))]
    low, high = np.quantile(statistic(resamples, axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_same_shape(estimate: np.ndarray, reference: np.ndarray) -> None:
    if estimate.shape != reference.shape:
        raise ValueError(
            f"estimate has shape {estimate.shape} and reference {reference.shape}; allowed: equal"
        )
