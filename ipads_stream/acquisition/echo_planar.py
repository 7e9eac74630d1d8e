"""The image of one echo-planar shot from the raw lines of its coils.

Axes: C coil, L line, S sample of a line, X and Y pixel of the image, R acceleration.
"""

import math

import numpy as np
from jaxtyping import Complex

from ipads_stream.acquisition.coils import espirit

RIDGE = 1e-4  # of the unfolding; sensitivities have sum_c |s_c|^2 = 1


def shot_image(
    lines: Complex[np.ndarray, "C L S"],
    reference: Complex[np.ndarray, "C 3 S"],
    sensitivities: Complex[np.ndarray, "C X Y"],
) -> Complex[np.ndarray, "X Y"]:
    """The image of lines that run to and fro, one of R sampled, by SENSE.

    Args:
        lines: any unit, in the order of time, samples too; the first runs forwards along x, line j
            is at k = (j - L // 2) R / fov along y.
        reference: three such lines without phase encoding, the second backwards.
        sensitivities: of the coils, 0 outside the object; R is Y / L.

    Raises:
        ValueError: shapes that do not fit.

    Source: Pruessmann et al., MRM 42:952 (1999) for SENSE; Bruder et al., MRM 23:311 (1992) for the
        reference lines.
    """
    C, L, S = lines.shape
    coils, X, Y = sensitivities.shape
    if coils != C or X != S or Y % L or reference.shape != (C, 3, S):
        given = f"lines {lines.shape}, reference {reference.shape}"
        raise ValueError(f"{given}, sensitivities {sensitivities.shape}: (C, L, X), (C, 3, X) and "
                         "(C, X, Y) with Y a multiple of L are allowed")  # fmt: skip
    return unfolded(aligned(lines, odd_even_phase(reference)), sensitivities)


def odd_even_phase(reference: Complex[np.ndarray, "C 3 S"]) -> tuple[float, float]:
    """Phase of backward lines over forward ones, rad, in the middle, and its slope, rad a pixel.

    p(x) = sum_c conj(F_c(x)) B_c(x) of profiles along x, F the mean of both forward lines, which
    takes a drift of the phase out; the slope is the phase of sum_x p(x + 1) conj(p(x)).
    """
    forward = _profiles(0.5 * (reference[:, 0] + reference[:, 2]))
    backward = _profiles(reference[:, 1, ::-1])
    p = (forward.conj() * backward).sum(axis=0)
    slope = float(np.angle((p[1:] * p[:-1].conj()).sum()))
    x = np.arange(p.size) - p.size // 2
    return float(np.angle((p * np.exp(-1j * slope * x)).sum())), slope


def aligned(
    lines: Complex[np.ndarray, "C L S"], phase: tuple[float, float]
) -> Complex[np.ndarray, "C L X"]:
    """Profiles along x of all lines, the backward ones turned back by :func:`odd_even_phase`."""
    turned = lines.astype(np.complex128)
    turned[:, 1::2] = turned[:, 1::2, ::-1]
    profiles = _profiles(turned)
    middle, slope = phase
    x = np.arange(lines.shape[2]) - lines.shape[2] // 2
    profiles[:, 1::2] *= np.exp(-1j * (middle + slope * x))
    return profiles


def unfolded(
    profiles: Complex[np.ndarray, "C L X"], sensitivities: Complex[np.ndarray, "C X Y"]
) -> Complex[np.ndarray, "X Y"]:
    """The image m of a_c = sum_r s_c m over the R pixels that fold on one, least squares.

    (A^H A + RIDGE) m = A^H a of each group of pixels, A its sensitivities, (C, R).
    """
    L, X = profiles.shape[1:]
    Y = sensitivities.shape[2]
    R = Y // L
    shifted = np.fft.ifftshift(profiles, axes=1)
    folded = np.fft.fftshift(np.fft.ifft(shifted, axis=1, norm="ortho"), axes=1)
    # Pixel i of Y folds on pixel (i - Y // 2 + L // 2) mod L; both are centred.
    groups = np.argsort((np.arange(Y) - Y // 2 + L // 2) % L, kind="stable").reshape(L, R)
    A = sensitivities.astype(np.complex128)[:, :, groups].transpose(1, 2, 0, 3)  # X, L, C, R
    a = math.sqrt(R) * folded.transpose(2, 1, 0)[..., None]  # X, L, C, 1
    gram = A.mT.conj() @ A + RIDGE * np.eye(R)
    m = np.linalg.solve(gram, A.mT.conj() @ a)[..., 0]
    image = np.zeros((X, Y), np.complex128)
    image[:, groups.reshape(-1)] = m.reshape(X, -1)
    return image.astype(np.complex64)


def calibrated(
    calibration: Complex[np.ndarray, "C U V"], matrix: int
) -> Complex[np.ndarray, "C X Y"]:
    """Sensitivities by ESPIRiT, with the phase that makes the calibration's own image real.

    So the phase of coils and receiver is taken out of what is combined by them.

    Args:
        calibration: fully sampled k-space of the same field of view, at most the matrix, its centre
            at n // 2.
        matrix: X and Y.

    Raises:
        ValueError: fewer samples than ESPIRiT needs, or more than the matrix.
    """
    shape = calibration.shape[1:]
    if max(shape) > matrix or min(shape) < 12:
        raise ValueError(f"calibration of {shape} samples: 12 to {matrix} along each axis")
    padded = np.zeros((len(calibration), matrix, matrix), np.complex64)
    at = tuple(slice(matrix // 2 - n // 2, matrix // 2 - n // 2 + n) for n in shape)
    padded[(slice(None), *at)] = calibration
    used = min(24, *shape)
    maps = espirit(padded, calibration=used, kernel=min(6, used // 2))
    window = np.hanning(used + 2)[1:-1]
    low = np.zeros_like(padded)
    at = (slice(matrix // 2 - used // 2, matrix // 2 - used // 2 + used),) * 2
    low[(slice(None), *at)] = padded[(slice(None), *at)] * (window[:, None] * window)
    axes = (1, 2)
    pixels = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(low, axes=axes), axes=axes), axes=axes)
    phase = np.angle((maps.conj() * pixels).sum(axis=0))
    return (maps * np.exp(1j * phase)).astype(np.complex64)


def _profiles(lines: Complex[np.ndarray, "*lines S"]) -> Complex[np.ndarray, "*lines X"]:
    """Along x, centred and orthonormal."""
    shifted = np.fft.ifftshift(lines, axes=-1)
    return np.fft.fftshift(np.fft.ifft(shifted, axis=-1, norm="ortho"), axes=-1)
