"""The best least-squares fit of 1, 2, ... damped exponentials to a few points of a signal."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.baselines.passes import Passes

SPARE = 4  # complex points more than complex parameters, so that the noise can be estimated
SPREAD = 0.9  # standard deviation of log decay; its mean is half the signal
SHORTEST, LONGEST = 1 / 32, 4.0  # decays that are tried, lengths of the signal
WIDEST = 0.5  # variance of an amplitude in the fit, of the mean power: keeps close lines finite
SCALE = 0.05  # squared scale of the heavy-tailed amplitudes of the evidence, of the mean power
DECAYS = (1 / 16, 1 / 4, 1.0)  # of a further line, lengths of the signal
SWEEPS = 4  # from the span of the start, to fewer lines, to more, to fewer
FINER = 4  # frequencies of a further line per 1 / points
TINY = 1e-14  # of ||y||^2
STEP, STRETCH = 0.4, 0.7  # largest change at once: of 1 / points; of log decay
LEAST_NEW = 0.05  # of a further line must differ from those that are there

Rows = Float[np.ndarray, " rows"]
Real = Float[np.ndarray, "rows lines"]
Cplx = Complex[np.ndarray, "..."]


class Measured(NamedTuple):
    """Rows with equally many measured points, divided by their norm.

    `y` and the times `t` have (rows, measured points), `full` and `mask` (rows, points).
    """

    y: Cplx
    t: np.ndarray
    full: Cplx
    mask: np.ndarray
    scale: np.ndarray

    @property
    def points(self) -> int:
        return self.mask.shape[1]

    @property
    def power(self) -> float:
        return 1.0 / self.y.shape[1]


def measured_rows(fid: Cplx, mask: np.ndarray) -> Measured:
    """The measured points of rows that have equally many, and their norm."""
    full = np.where(mask, fid, 0).astype(np.complex128)
    scale = norm(full)[:, None]
    t = np.nonzero(mask)[1].reshape(len(fid), -1)
    full = full / scale
    return Measured(np.take_along_axis(full, t, axis=1), t, full, mask, scale)


class Fit(NamedTuple):
    """Lines of equally many, fitted to the measured points of every row.

    Frequency in cycles per point, `rate` log of the decay rate, amplitudes `c`, the `waves` at the
    measured times, `residual` = y - x, `misfit` = R, the variance of the `noise`, `normal` = J^T J
    with that of the priors and `evidence` = log p(y | K).
    """

    frequency: Real
    rate: Real
    c: Cplx
    waves: Cplx
    residual: Cplx
    misfit: Rows
    noise: Rows
    normal: np.ndarray
    evidence: Rows


def sweeps(data: Measured, begin: Cplx, most: int, steps: int) -> Iterator[list[Fit]]:
    """The fit with most evidence of 1, 2, ... lines after each of the four sweeps."""
    first = np.full(len(begin), 0.01 * data.power)
    best = [_fit(data, *lines, first, steps) for lines in _of_span(begin, most)]
    yield list(best)
    for sweep in range(1, SWEEPS):
        for k in range(most) if sweep == 2 else range(most - 2, -1, -1):
            if sweep == 2:
                lines = _with_another(data, best[k - 1] if k else None)
                fit = _fit(data, *lines, best[k - 1].noise if k else first, steps)
            else:
                more = best[k + 1]
                fit = _fit(data, *_without_weakest(more), 2 * more.noise, steps)
            is_better = fit.evidence > best[k].evidence
            parts = zip(fit, best[k], strict=True)
            best[k] = Fit(*(_chosen(is_better, new, old) for new, old in parts))
        yield list(best)


def waves_at(t: np.ndarray, frequency: Real, rate: Real) -> Cplx:
    """exp((2 pi i f - exp(rate)) t), (rows, times, lines)."""
    z = 2j * np.pi * frequency - np.exp(rate)
    return np.exp(t[:, :, None] * z[:, None, :])


def _fit(data: Measured, frequency: Real, rate: Real, noise: Rows, steps: int) -> Fit:
    """Levenberg-Marquardt from the lines given; the noise is what is left."""
    points, m, K = data.points, data.y.shape[1], frequency.shape[1]
    low, high = -math.log(LONGEST * points), -math.log(SHORTEST * points)
    middle = math.log(points / 2)
    diagonal = np.arange(4 * K)
    damping = np.full(len(noise), 1e-3)
    c, waves, residual = _amplitudes(data, frequency, rate, noise)
    for _ in Passes(steps):
        columns, normal = _normal(data, waves, c, rate, noise)
        parts = np.concatenate([residual.real, residual.imag], axis=1)
        pull = (columns.mT @ parts[:, :, None])[:, :, 0]
        # Half the slope of the priors' share of the cost by Re c, Im c, f and rate, over the noise.
        scaled, shift = c / (WIDEST * data.power), (rate + middle) / (2 * SPREAD**2)
        priors = np.concatenate([scaled.real, scaled.imag, np.zeros_like(rate), shift], axis=1)
        pull -= noise[:, None] * priors
        normal[:, diagonal, diagonal] *= 1 + damping[:, None]
        step = np.linalg.solve(normal, pull[:, :, None])[:, :, 0]
        turned = frequency + np.clip(step[:, 2 * K : 3 * K], -STEP / points, STEP / points)
        stretched = np.clip(rate + np.clip(step[:, 3 * K :], -STRETCH, STRETCH), low, high)
        tried = _amplitudes(data, turned, stretched, noise)
        cost = _cost(data, c, residual, rate, noise)
        is_better = _cost(data, tried[0], tried[2], stretched, noise) < cost
        new, old = (turned, stretched, *tried), (frequency, rate, c, waves, residual)
        frequency, rate, c, waves, residual = (
            _chosen(is_better, a, b) for a, b in zip(new, old, strict=True)
        )
        damping = np.clip(np.where(is_better, 0.2, 8.0) * damping, 1e-8, 1e6)
        noise = np.minimum(noise, norm(residual) ** 2 / (m - 2 * K))
    misfit = norm(residual) ** 2
    normal = _normal(data, waves, c, rate, noise)[1]
    evidence = _evidence(data, c, rate, misfit, normal)
    return Fit(frequency, rate, c, waves, residual, misfit, noise, normal, evidence)


def _amplitudes(data: Measured, frequency: Real, rate: Real, noise: Rows) -> tuple[Cplx, ...]:
    waves = waves_at(data.t, frequency, rate)
    gram, k = waves.mT.conj() @ waves, np.arange(frequency.shape[1])
    gram[:, k, k] += noise[:, None] / (WIDEST * data.power) + TINY
    c = np.linalg.solve(gram, waves.mT.conj() @ data.y[:, :, None])
    return c[:, :, 0], waves, data.y - (waves @ c)[:, :, 0]


def _cost(data: Measured, c: Cplx, residual: Cplx, rate: Real, noise: Rows) -> Rows:
    shift = (rate + math.log(data.points / 2)) ** 2 / (2 * SPREAD**2)
    prior = np.abs(c) ** 2 / (WIDEST * data.power) + shift
    return norm(residual) ** 2 + noise * prior.sum(axis=1)


def _normal(
    data: Measured, waves: Cplx, c: Cplx, rate: Real, noise: Rows
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the model by Re c, Im c, f and rate, real above imaginary, and J^T J."""
    by_time = data.t[:, :, None] * waves * c[:, None, :]
    slopes = [waves, 1j * waves, 2j * np.pi * by_time, -np.exp(rate)[:, None, :] * by_time]
    complex_ = np.concatenate(slopes, axis=2)
    columns = np.concatenate([complex_.real, complex_.imag], axis=1)
    normal, K = columns.mT @ columns, c.shape[1]
    width = np.repeat([WIDEST * data.power, np.inf, 2 * SPREAD**2], [2 * K, K, K])
    diagonal = np.arange(4 * K)
    normal[:, diagonal, diagonal] += noise[:, None] / width + TINY
    return columns, normal


def _evidence(data: Measured, c: Cplx, rate: Real, misfit: Rows, normal: np.ndarray) -> Rows:
    K, free, squared = c.shape[1], data.y.shape[1] - 2 * c.shape[1], SCALE * data.power
    amplitude = np.log(squared / np.pi) - 2 * np.log(squared + np.abs(c) ** 2)
    decay = -((rate + math.log(data.points / 2)) ** 2 / SPREAD**2 + np.log(2 * np.pi * SPREAD**2))
    volume = math.lgamma(free) + 2 * K * math.log(math.pi) + math.lgamma(K + 1)
    likelihood = -free * np.log(misfit + TINY**2) + volume
    return likelihood - np.linalg.slogdet(normal)[1] / 2 + (amplitude + decay / 2).sum(axis=1)


def _chosen(is_new: np.ndarray, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Row by row the new or the old."""
    return np.where(is_new.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _of_span(x: Cplx, most: int) -> Iterator[tuple[Real, Real]]:
    """Frequencies and rates of 1, 2, ... lines from the leading vectors of the Hankel matrix."""
    points = x.shape[1]
    height = points // 2 + 1
    hankel = x[:, np.arange(height)[:, None] + np.arange(points - height + 1)]
    vectors = np.linalg.eigh(hankel @ hankel.mT.conj())[1][:, :, ::-1]
    for K in range(1, most + 1):
        upper, lower = vectors[:, :-1, :K], vectors[:, 1:, :K]
        gram = upper.mT.conj() @ upper + TINY * np.eye(K)
        z = np.linalg.eigvals(np.linalg.solve(gram, upper.mT.conj() @ lower))
        size = np.clip(np.abs(z), math.exp(-1 / (SHORTEST * points)), 1 - TINY)
        rates = np.clip(-np.log(size), 1 / (LONGEST * points), 1 / (SHORTEST * points))
        yield np.angle(z) / (2 * np.pi), np.log(rates)


def _without_weakest(fit: Fit) -> tuple[Real, Real]:
    """All lines but the one that stands out least: least c^H C^-1 c, C the covariance of c."""
    K = fit.c.shape[1]
    inverse, k = np.linalg.inv(fit.normal), np.arange(K)
    a, b, d = inverse[:, k, k], inverse[:, k, k + K], inverse[:, k + K, k + K]
    x, y = fit.c.real, fit.c.imag
    stands_out = (d * x**2 - 2 * b * x * y + a * y**2) / np.maximum(a * d - b**2, 1e-12 * a * d)
    stays = np.ones(fit.c.shape, bool)
    stays[np.arange(len(stays)), stands_out.argmin(axis=1)] = False
    return fit.frequency[stays].reshape(-1, K - 1), fit.rate[stays].reshape(-1, K - 1)


def _with_another(data: Measured, fit: Fit | None) -> tuple[Real, Real]:
    """The lines, and the one of a grid that explains most of what they and their slopes do not."""
    # |<w, r>|^2 / ||P w||^2 of a wave w, r = P (y - x), by Fourier transform, where P takes away
    # the span of the waves and of n times the waves.
    rows, points = data.mask.shape
    residual = data.y if fit is None else fit.residual
    columns = residual[:, None, :]
    if fit is not None:
        slopes = data.t[:, :, None] / points * fit.waves
        span = np.linalg.qr(np.concatenate([fit.waves, slopes], axis=2))[0]
        residual = residual - (span @ (span.mT.conj() @ residual[:, :, None]))[:, :, 0]
        columns = np.concatenate([residual[:, None, :], span.mT], axis=1)
    placed = np.zeros((rows, columns.shape[1], points), np.complex128)
    np.put_along_axis(placed, data.t[:, None, :], columns, axis=2)
    decays = points * np.array(DECAYS)
    envelope = np.exp(-np.arange(points) / decays[:, None])
    overlap = np.abs(np.fft.fft(placed[:, :, None, :] * envelope, FINER * points)) ** 2
    size = (data.mask[:, None, :] * envelope**2).sum(axis=2, keepdims=True)
    new = np.maximum(size - overlap[:, 1:].sum(axis=1), LEAST_NEW * size)
    best = (overlap[:, 0] / new).reshape(rows, -1).argmax(axis=1)
    frequency = (best % (FINER * points) / (FINER * points))[:, None]
    rate = -np.log(decays[best // (FINER * points)])[:, None]
    if fit is None:
        return frequency, rate
    return np.hstack([fit.frequency, frequency]), np.hstack([fit.rate, rate])


def norm(x: Cplx) -> Rows:
    """||x|| of every row."""
    return np.sqrt((x.real**2 + x.imag**2).sum(axis=1))
