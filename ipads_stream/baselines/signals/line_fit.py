"""The damped exponentials in a fully sampled signal, without a starting guess."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float
from threadpoolctl import threadpool_limits

MEDIAN_TIMES = 2.858  # best threshold for singular values of a square matrix in units of the median
DYNAMIC_RANGE = 1e-4  # of the largest singular value: below it single precision is no signal
SIGNIFICANT = 5.0  # standard deviations by which a line must stand out of the noise
NEAREST = 0.25  # of 1 / length: closer lines may have any amplitudes of opposite sign
LONGEST = 4.0  # lengths of the signal; longer decays look alike


@dataclass(frozen=True)
class FittedLines:
    """Lines of one signal.

    Attributes:
        amplitude: unit of the signal, (lines,).
        frequency: cycles per point, 0 to 1, (lines,).
        phase: rad, 0 to 2 pi, (lines,).
        decay: T2* in points, (lines,).
        noise: standard deviation of the complex noise, unit of the signal.
        height: tallest point of the spectrum of the lines (unitary transform), unit of the signal.
    """

    amplitude: Float[np.ndarray, " lines"]
    frequency: Float[np.ndarray, " lines"]
    phase: Float[np.ndarray, " lines"]
    decay: Float[np.ndarray, " lines"]
    noise: float
    height: float


def fit_lines(fid: Complex[np.ndarray, " points"]) -> FittedLines:
    """Fits ``x_n = sum_j a_j exp(i phi_j) z_j^n``, ``z = exp(-1/T + 2 pi i f)``, by HSVD.

    The singular vectors U of the Hankel matrix of x span the same space as the exponentials, so
    the eigenvalues of the matrix that takes U without its last row to U without its first are the
    z. The median singular value, which is noise, sets how many are signal; amplitudes follow by
    linear least squares. Lines that grow or that decay within a point are left out; and one after
    the other those that do not stand out of what remains, by the covariance of the fit, and the
    weaker of two that are too close to resolve.

    Args:
        fid: any unit, (points,), all of them measured, without a window.

    Source: Barkhuijsen et al., J Magn Reson 73:553 (1987); Gavish, Donoho, IEEE Trans Inf Theory
        60:5040 (2014) for the threshold.
    """
    x = np.asarray(fid, dtype=np.complex128)
    rows = x.size // 2 + 1
    hankel = x[np.arange(rows)[:, None] + np.arange(x.size - rows + 1)]
    with threadpool_limits(1):  # matrices too small to share
        squares, U = np.linalg.eigh(hankel @ hankel.conj().T)
    s = np.sqrt(np.maximum(squares[::-1], 0.0))
    least = max(MEDIAN_TIMES * float(np.median(s)), DYNAMIC_RANGE * float(s[0]))
    rank = min(int(np.sum(s > least)), rows - 2)
    if not rank:
        return _lines(x, np.zeros(0, dtype=np.complex128))[0]
    U = U[:, ::-1][:, :rank]
    z = np.linalg.eigvals(np.linalg.lstsq(U[:-1], U[1:], rcond=None)[0])
    z = z[(np.abs(z) < 1.02) & (np.abs(z) > np.exp(-1.0))]
    z = z / np.abs(z) * np.minimum(np.abs(z), np.exp(-1.0 / (LONGEST * x.size)))
    while True:
        lines, deviation = _lines(x, z)
        stands_out = lines.amplitude / np.maximum(deviation, np.finfo(float).tiny)
        apart = np.abs(lines.frequency[:, None] - lines.frequency)
        apart = np.minimum(apart, 1.0 - apart) + np.eye(z.size)
        close = apart.min(axis=0, initial=1.0) < NEAREST / x.size
        stands_out[close] *= 1e-12  # the weaker one goes first
        if not z.size or stands_out.min() > SIGNIFICANT:
            return lines
        z = np.delete(z, int(np.argmin(stands_out)))


def _lines(
    x: Complex[np.ndarray, " points"], z: Complex[np.ndarray, " lines"]
) -> tuple[FittedLines, Float[np.ndarray, " lines"]]:
    """The fit with these z, and the standard deviation of each complex amplitude."""
    powers = z[None, :] ** np.arange(x.size)[:, None]
    inverse = np.linalg.pinv(powers.conj().T @ powers, hermitian=True) if z.size else np.eye(0)
    c = inverse @ (powers.conj().T @ x)
    model = powers @ c
    noise = float(np.sqrt(np.sum(np.abs(x - model) ** 2) / max(x.size - 2 * z.size, 1)))
    lines = FittedLines(
        amplitude=np.abs(c),
        frequency=np.angle(z) / (2 * np.pi) % 1.0,
        phase=np.angle(c) % (2 * np.pi),
        decay=-1.0 / np.log(np.abs(z)),
        noise=noise,
        height=float(np.abs(np.fft.fft(model, norm="ortho")).max()),
    )
    return lines, noise * np.sqrt(np.abs(np.diagonal(inverse)))
