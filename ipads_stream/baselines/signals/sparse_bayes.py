"""Sparse Bayesian learning: spectra of undersampled planes whose rows know of one another."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from ipads_stream.baselines.passes import Passes
from ipads_stream.baselines.signals import Fids, Mask, checked_mask

FINER = 8  # frequencies per 1 / points
DECAYS = (1.0, 0.5, 2.0)  # that are tried, lengths of the signal; the first with every sharing
ROWS_AT_ONCE, ELEMENTS = 64, 2**22  # at most, of their covariances: bounds the memory alone
HELD_BACK = 8  # every 8th measured point says which of the tries is best
TRY = 20  # passes of a try
NOISE, LEAST_NOISE = 1e-3, 1e-10  # first and least variance, of the mean power of the points
TINY = 1e-12  # least power of a frequency, of the mean power of the points
NEIGHBOUR = 0.5  # weight of the row before and the row after

Powers = Float[np.ndarray, "rows frequencies"]
Share = Callable[[Powers, Powers], Powers]  # of sums |E w|^2 and a^H C^-1 a


class _Measured(NamedTuple):
    """Measured points `y` at times `t`, (rows, most points of a row), `inside` where there are."""

    y: np.ndarray
    t: np.ndarray
    inside: np.ndarray
    points: int


def reconstruct(
    fid: Fids,
    mask: Mask,
    passes: int = 60,
    row_frequency: np.ndarray | None = None,
) -> Fids:
    """The rows with their missing points filled by the posterior mean of a sparse spectrum.

    y_t = sum_f w_f exp((2 pi i f - 1/T) t) + noise at the measured t, w_f ~ CN(0, p_f), on a grid
    eight times as fine as Fourier's, so that a line between two of its points is sparse, too. The
    powers p and the variance of the noise make the measured points most likely: with
    C = cov(y), every pass takes

    p_f <- (sum |E w_f|^2 / sum a_f^H C^-1 a_f)^(1/2),   E w_f = p_f a_f^H C^-1 y,

    summed over rows that share powers: a row alone, or it and its neighbours, half as much, since a
    peak of a plane covers several. Where `row_frequency` is given a third way is tried, p towards
    its mean with that of its mirror image, p <- (p (p + p') / 2)^(1/2): what spin A shows at B,
    spin B shows at A. Amplitudes and phases stay each row's own; noise is one of a plane. Which of
    them, and then the decay T, is chosen by points that are measured and held back: the least mean
    over rows of the log of the squared error. Measured points are kept.

    Args:
        fid: any unit, (rows, points), rows of one plane in the order of the direct frequency, or
            unrelated ones. Values where `mask` is False are ignored. A zero row stays zero.
        mask: True where sampled, (points,) for all rows or (rows, points).
        passes: number of passes.
        row_frequency: where the direct frequency of a row lies on the indirect axis, cycles per
            point, (rows,), of planes of a nucleus with itself; None: no mirror images.

    Raises:
        ValueError: shapes that do not fit, a mask without a sampled point, passes < 1.

    Source: Tipping, J Mach Learn Res 1, 211 (2001); Wipf, Rao, IEEE Trans Signal Process 55, 3704
        (2007) for rows with one set of powers; Wipf, Nagarajan, IEEE J Sel Top Signal Process 4,
        317 (2010) for the pass; mirror images and the choice are this project's.
    """
    mask = checked_mask(fid, mask)
    if passes < 1 or (row_frequency is not None and row_frequency.shape != fid.shape[:1]):
        shape = None if row_frequency is None else row_frequency.shape
        given = f"{passes=}, row_frequency of shape {shape}"
        raise ValueError(f"{given}; allowed: passes >= 1, one frequency for each row")
    known = np.where(mask, fid, 0).astype(np.complex128)
    scale = np.sqrt((np.abs(known) ** 2).sum() / max(mask.sum(), 1))
    if not scale > 0:
        return known.astype(fid.dtype)
    with threadpool_limits(1):  # matrices too small to share
        share, decay = _chosen(known / scale, mask, row_frequency)
        x = _learned(known / scale, mask, share, decay, passes)
    return np.where(mask, known, x * scale).astype(fid.dtype)


def _chosen(fid: Fids, mask: Mask, row_frequency: np.ndarray | None) -> tuple[Share, float]:
    """How powers are shared, and the decay, by what they predict of points held back."""
    order = np.cumsum(mask, axis=1) - 1
    held = mask & (order % HELD_BACK == HELD_BACK // 2)
    shares: list[Share] = [_alone]
    if len(fid) > 1:
        shares.append(_with_neighbours)
    if row_frequency is not None:
        shares.append(_with_mirror(row_frequency, FINER * fid.shape[1]))
    counted = held.any(axis=1) & (np.where(mask, fid, 0) != 0).any(axis=1)

    def missed(share: Share, decay: float) -> float:
        x = _learned(fid, mask & ~held, share, decay, TRY)
        squares = np.where(held, np.abs(x - fid) ** 2, 0).sum(axis=1)[counted]
        return float(np.log(squares + TINY).mean())

    if not counted.any():
        return shares[0], DECAYS[0]
    errors = {n: missed(share, DECAYS[0]) for n, share in enumerate(shares)}
    best = min(errors, key=errors.__getitem__)
    by_decay = {DECAYS[0]: errors[best]} | {d: missed(shares[best], d) for d in DECAYS[1:]}
    return shares[best], min(by_decay, key=by_decay.__getitem__)


def _learned(fid: Fids, mask: Mask, share: Share, decay: float, passes: int) -> Fids:
    """The posterior mean at all points after so many passes, unit mean power."""
    data = _measured(fid, mask)
    rows, points = fid.shape
    envelope = np.exp(-np.arange(points) / (decay * points))
    mean = (np.abs(data.y) ** 2).sum(axis=1) / data.inside.sum(axis=1)
    powers = np.repeat(mean[:, None] / (FINER * points) + TINY, FINER * points, axis=1)
    noise = np.full(rows, NOISE) * (mean if share is _alone else 1.0) + LEAST_NOISE
    squares, traces, x = np.zeros(rows), np.zeros(rows), np.zeros_like(fid)
    largest, spread = np.empty_like(powers), np.empty_like(powers)
    at_once = max(1, min(ROWS_AT_ONCE, ELEMENTS // data.t.shape[1] ** 2))
    batches = [slice(n, n + at_once) for n in range(0, rows, at_once)]
    for number in Passes(passes):
        for here in batches:
            part = _Measured(data.y[here], data.t[here], data.inside[here], points)
            inverse, z = _whitened(part, powers[here], noise[here], envelope)
            squares[here] = (np.abs(z) ** 2).sum(axis=1)
            traces[here] = np.where(part.inside, np.einsum("rii->ri", inverse).real, 0).sum(axis=1)
            mean_w = powers[here] * _spectrum(part, z, envelope)
            if number == passes - 1:
                x[here] = envelope * (np.fft.ifft(mean_w)[:, :points] * FINER * points)
            largest[here] = np.abs(mean_w) ** 2
            spread[here] = _expected(part, inverse, envelope)
        powers = share(largest, spread)
        if share is not _alone:
            squares[:], traces[:] = squares.mean(), traces.mean()
        noise = np.maximum(noise * np.sqrt(squares / traces), LEAST_NOISE)
    return x


def _measured(fid: Fids, mask: Mask) -> _Measured:
    most = int(mask.sum(axis=1).max())
    t = np.argsort(~mask, axis=1, kind="stable")[:, :most]
    inside = np.take_along_axis(mask, t, axis=1)
    return _Measured(
        np.where(inside, np.take_along_axis(fid, t, axis=1), 0), t, inside, mask.shape[1]
    )


def _lags(data: _Measured) -> np.ndarray:
    """Places of the differences of two times, (rows, points, points), in a flat (rows, grid)."""
    grid = FINER * data.points
    lag = (data.t[:, :, None] - data.t[:, None, :]) % grid
    return lag + grid * np.arange(len(lag))[:, None, None]


def _whitened(
    data: _Measured, powers: Powers, noise: np.ndarray, envelope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """C^-1 and C^-1 y: C is a function of the difference of two times but for the decay."""
    along = np.where(data.inside, envelope[data.t], 0)
    by_lag = np.fft.ifft(powers) * powers.shape[1]
    covariance = by_lag.ravel()[_lags(data)] * (along[:, :, None] * along[:, None, :])
    k = np.arange(data.t.shape[1])
    covariance[:, k, k] += noise[:, None]
    inverse = np.linalg.inv(covariance)
    return inverse, (inverse @ data.y[:, :, None])[:, :, 0]


def _spectrum(data: _Measured, z: np.ndarray, envelope: np.ndarray) -> np.ndarray:
    """a_f^H z of every frequency."""
    placed = np.zeros((len(z), FINER * data.points), np.complex128)
    np.put_along_axis(placed, data.t, np.where(data.inside, envelope[data.t] * z, 0), axis=1)
    return np.fft.fft(placed)


def _expected(data: _Measured, inverse: np.ndarray, envelope: np.ndarray) -> Powers:
    """a_f^H C^-1 a_f of every frequency, by sums over equal differences of times."""
    along = np.where(data.inside, envelope[data.t], 0)
    weighted = (inverse * (along[:, :, None] * along[:, None, :])).ravel()
    places, grid = _lags(data).ravel(), FINER * data.points
    size = len(data.t) * grid
    sums = np.bincount(places, weighted.real, size) + 1j * np.bincount(places, weighted.imag, size)
    return np.fft.fft(sums.reshape(-1, grid)).real


def _alone(largest: Powers, spread: Powers) -> Powers:
    return np.sqrt(largest / np.maximum(spread, TINY)) + TINY


def _with_neighbours(largest: Powers, spread: Powers) -> Powers:
    return _alone(_beside(largest), _beside(spread))


def _beside(each: Powers) -> Powers:
    sums = each.copy()
    sums[1:] += NEIGHBOUR * each[:-1]
    sums[:-1] += NEIGHBOUR * each[1:]
    return sums


def _with_mirror(row_frequency: np.ndarray, grid: int) -> Share:
    """Powers of (row A, frequency of row B) beside those of (row B, frequency of row A).

    A geometric mean: lines that the data ask for stay where their mirror image is missing.
    """
    steps = np.abs((np.diff(row_frequency) + 0.5) % 1 - 0.5)
    width = max(float(np.median(steps)), 1 / grid) if len(steps) else 1 / grid
    apart = np.abs((row_frequency[:, None] - np.arange(grid) / grid + 0.5) % 1 - 0.5)
    near = csr_array(np.maximum(1 - apart / width, 0))  # (rows, grid)
    mean = near / near.sum(axis=1).mean()

    def share(largest: Powers, spread: Powers) -> Powers:
        own = _with_neighbours(largest, spread)
        mirror = (near.T @ (mean @ own.T).T).T
        return np.sqrt(own * (own + mirror) / 2)

    return share
