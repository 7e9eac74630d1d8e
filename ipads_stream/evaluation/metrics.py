"""How far an estimate is from its reference: relative error, peak correlation, intervals."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Num
from numpy.typing import ArrayLike


def rlne(
    estimate: Num[np.ndarray, "..."], reference: Num[np.ndarray, "..."], axis: int | None = None
) -> np.floating | Float[np.ndarray, "..."]:
    """Give the relative l2-norm error ||estimate - reference|| / ||reference||.

    It is the same in time and in frequency where the Fourier transform is orthonormal.

    Args:
        estimate: any unit, any shape.
        reference: as `estimate`.
        axis: axis of the norm; None takes the whole array, -1 gives one value per row.

    Returns:
        Dimensionless error; NaN where the reference is zero (nothing to be relative to).

    Raises:
        ValueError: the shapes differ.

    Source: Qu et al., Angew Chem Int Ed 59, 10297 (2020).
    """
    check_same_shape(estimate, reference)
    error = np.sqrt((np.abs(estimate - reference) ** 2).sum(axis=axis))
    norm = np.sqrt((np.abs(reference) ** 2).sum(axis=axis))
    return np.where(norm > 0, error / np.where(norm > 0, norm, 1), np.nan)[()]


def find_peaks(
    magnitude: Float[np.ndarray, "..."], threshold: float = 0.03
) -> Int[np.ndarray, "peaks axes"]:
    """Find the local maxima above a fraction of the largest value.

    A point is a peak where it exceeds threshold * max and none of its neighbours (2 in a spectrum,
    8 in a plane; the spectrum is periodic, so the edges are neighbours) is larger. Of equal
    neighbours the first in array order is the peak.

    Args:
        magnitude: any unit, (points,) or (rows, points); not negative where a peak is expected.
        threshold: fraction of the maximum, 0 <= threshold < 1.

    Returns:
        Indices of the peaks in array order, (peaks, axes).

    Raises:
        ValueError: another number of axes, a complex array, or a threshold out of range.
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
    """Correlate the peak intensities of an estimate with those of the reference.

    r is Pearson's coefficient of estimate and reference at the reference's peaks. The arrays decide
    the intensity: real arrays (the absorptive part of a phased spectrum) are compared with their
    sign, complex arrays by their magnitude. Peaks are the maxima of the reference's magnitude.

    Args:
        estimate: spectrum, any unit, (points,) or (rows, points), real or complex.
        reference: as `estimate`.
        threshold: peaks above this fraction of the largest magnitude.

    Returns:
        r, r^2 (papers report either) and the number of peaks; r is NaN with fewer than two peaks.

    Raises:
        ValueError: the shapes differ, or one array is real and the other complex.
    """
    check_same_shape(estimate, reference)
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
    """Give the percentile bootstrap interval of a statistic of independent values.

    Args:
        values: any unit, (values,).
        statistic: function of an array with the keyword `axis`, such as np.median or np.mean.
        level: probability of the interval, 0 < level < 1.
        num_resamples: number of resamples.
        key: key of the counter-based generator; the same key gives the same interval.

    Returns:
        Lower and upper bound, unit of `values`.

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


def check_same_shape(estimate: Num[np.ndarray, "..."], reference: Num[np.ndarray, "..."]) -> None:
    """Refuse two arrays of different shape.

    Args:
        estimate: any array.
        reference: any array.

    Raises:
        ValueError: what was given.
    """
    if estimate.shape != reference.shape:
        raise ValueError(
            f"estimate has shape {estimate.shape} and reference {reference.shape}; allowed: equal"
        )
