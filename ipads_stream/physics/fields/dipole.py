"""Field of a susceptibility distribution in a homogeneous main field: convolution with a dipole.

Context: a Fourier transform repeats its volume and the sources; zeros around them move the copies
away without removing them. Choice: the dipole is cut off beyond the largest distance in the volume,
which has a closed form in k-space, transformed to space once on a grid large enough, and kept on
one of twice the volume. Evidence: the convolution is then that of free space; the errors against
spheres, ellipsoids and cylinders are in tests/physics/test_dipole.py. Source of the cut-off: Vico,
Greengard and Ferrando, Journal of Computational Physics 323:191 (2016), here for the second
derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Float

from ipads_stream.core.backend import is_numpy, namespace
from ipads_stream.physics.arguments import check_arrays
from ipads_stream.physics.arrays import as_constant

ROWS = 16  # of the large grid that are made at a time
Numbers3 = tuple[float, float, float]


def field(
    chi_ppm: Float[Any, "*batch X Y Z"], spacing: Any, B0_direction: Any
) -> Float[Any, "*batch X Y Z"]:
    """Relative change of the main field, dB_z / B0 in ppm, of sources in free space.

    f(r) = sum over sources of chi(r') d(r - r'), d(r) = (3 cos^2 - 1) / (4 pi |r|^3), in k-space
    D(k) = 1/3 - (k.b)^2 / |k|^2; with the sphere of Lorentz, D(0) = 0: nothing is added where the
    surroundings of a point are the same on all sides, so a sphere's own field inside it is 0, and
    over any sphere around all sources the field is mean free. Nothing lies outside the volume; the
    volume is padded to 2 N - 1 points or the next length of a fast transform. The map is
    symmetric, so it is its own adjoint. Differentiable in torch.

    Args:
        chi_ppm: susceptibility relative to the surroundings, ppm, of single or double precision,
            (*batch, X, Y, Z).
        spacing: three lengths from voxel to voxel along X, Y and Z, m.
        B0_direction: three numbers, of the main field along X, Y and Z, of any length but 0.

    Raises:
        ValueError: fewer than three axes, no real floating-point numbers, or an invalid spacing or
            direction.
        TypeError: not an array.

    Source: Salomir et al., Concepts in MR B 19:26 (2003); Marques and Bowtell, ibid. 25:65 (2005).
    """
    check_arrays({"chi_ppm": chi_ppm})
    if chi_ppm.ndim < 3 or not namespace(chi_ppm).isdtype(chi_ppm.dtype, "real floating"):
        given = f"chi_ppm of {chi_ppm.dtype} and shape {tuple(chi_ppm.shape)}"
        raise ValueError(f"{given}: real floating point and X, Y, Z as last axes are allowed")
    shape = tuple(int(n) for n in chi_ppm.shape[-3:])
    dipole = as_constant(_free(shape, _spacing(spacing), _direction(B0_direction)), chi_ppm)
    transform = scipy.fft if is_numpy(chi_ppm) else namespace(chi_ppm).fft
    sizes = padded(shape)
    # Along one axis after the other: lines that hold zeros alone are not transformed.
    spectrum = transform.rfft(chi_ppm, n=sizes[2], axis=-1)
    for axis in (1, 0):
        spectrum = transform.fft(spectrum, n=sizes[axis], axis=axis - 3)
    spectrum = spectrum * dipole
    for axis in (0, 1):
        spectrum = transform.ifft(spectrum, axis=axis - 3)
        spectrum = spectrum[(..., slice(shape[axis]), *(slice(None),) * (2 - axis))]
    return transform.irfft(spectrum, n=sizes[2], axis=-1)[..., : shape[2]]


def kernel(shape: Any, spacing: Any, B0_direction: Any) -> Float[np.ndarray, "X Y Z"]:
    """The dipole of a volume that repeats itself, D(k) = 1/3 - (k.b)^2 / |k|^2 with D(0) = 0.

    On the grid of a discrete Fourier transform, zero frequency first. At the highest frequency of
    an even length, which stands for both of its signs, D is the mean over them, so that real
    sources have a real field.

    Sources times this, per wave number, is the field, which is mean free.

    Args:
        shape: voxels along X, Y and Z.
        spacing: three lengths from voxel to voxel, m.
        B0_direction: three numbers, of the main field along X, Y and Z, of any length but 0.

    Raises:
        ValueError: an invalid size, spacing or direction.

    Source: Salomir et al., Concepts in MR B 19:26 (2003).
    """
    sizes = _shape(shape)
    k = _wave_numbers(sizes, _spacing(spacing))
    return _dipole(k, _odd(k), _direction(B0_direction))


def free_space_kernel(shape: Any, spacing: Any, B0_direction: Any) -> Float[np.ndarray, "X Y half"]:
    """What :func:`field` multiplies with: the transform of the dipole at all distances in a volume.

    On the padded grid of :func:`padded`, half of it along Z as of a real transform, real because
    the dipole is even. Sources in a corner of that grid, transformed, times this, are their field
    in free space; further out than the volume the result means nothing.

    Args:
        shape, spacing, B0_direction: of the volume, as of :func:`kernel`.

    Raises:
        ValueError: an invalid size, spacing or direction.

    Source: Vico, Greengard and Ferrando, Journal of Computational Physics 323:191 (2016).
    """
    return _free(_shape(shape), _spacing(spacing), _direction(B0_direction))


def padded(shape: Any) -> tuple[int, int, int]:
    """Points of a grid on which the field of a volume of this ``shape``, N voxels, does not wrap.

    2 N - 1 along each of X, Y and Z, or the next length of a fast transform.
    """
    X, Y, Z = (scipy.fft.next_fast_len(2 * n - 1, real=True) for n in _shape(shape))
    return X, Y, Z


@lru_cache(maxsize=8)
def _free(shape: tuple[int, ...], spacing: Numbers3, b: Numbers3) -> Float[np.ndarray, "X Y half"]:
    """Transform of the dipole at all distances within a volume, on the padded grid.

    D_R(k) = (1/3 - (k.b)^2 / |k|^2) (1 - 3 j1(kR) / (kR)) is the dipole inside |r| < R; it is
    transformed to space on N + R points, more than which it does not reach.
    """
    reach = math.hypot(*(n * d for n, d in zip(shape, spacing, strict=True)))
    least = (n + math.ceil(reach / d) for n, d in zip(shape, spacing, strict=True))
    large = tuple(scipy.fft.next_fast_len(n, real=True) for n in least)
    offsets = [np.arange(1 - n, n) for n in shape]  # all that a volume needs
    k = _wave_numbers(large, spacing)
    rows = large[1] // 2 + 1
    half = np.empty((2 * shape[0] - 1, rows, 2 * shape[2] - 1), dtype=np.complex128)
    for start in range(0, rows, ROWS):  # in parts: the large grid as a whole may not fit
        part = slice(start, min(start + ROWS, rows))
        these, odd = ([x[0], x[1][:, part], x[2]] for x in (k, _odd(k)))
        radius = np.sqrt(these[0] ** 2 + these[1] ** 2 + these[2] ** 2)
        dipole = _dipole(these, odd, b) * _inside(2 * math.pi * reach * radius)
        dipole = scipy.fft.ifft(dipole, axis=0)[offsets[0]]
        half[:, part] = scipy.fft.ifft(dipole, axis=2)[..., offsets[2]]
    dipole = scipy.fft.irfft(half, large[1], axis=1)[:, offsets[1]]
    sizes = padded(shape)
    space = np.zeros(sizes)
    space[np.ix_(*(n % m for n, m in zip(offsets, sizes, strict=True)))] = dipole
    return np.asarray(scipy.fft.rfftn(space).real)  # real: the dipole is even


def _dipole(k: Sequence[np.ndarray], odd: Sequence[np.ndarray], b: Numbers3) -> np.ndarray:
    """1/3 - (k.b)^2 / |k|^2, 0 where k is 0, of wave numbers that broadcast."""
    squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    along = b[0] ** 2 * k[0] ** 2 + b[1] ** 2 * k[1] ** 2 + b[2] ** 2 * k[2] ** 2
    for i, j in ((0, 1), (0, 2), (1, 2)):
        along = along + 2 * b[i] * b[j] * odd[i] * odd[j]
    safe = np.where(squared > 0, squared, 1.0)
    return np.asarray(np.where(squared > 0, 1 / 3 - along / safe, 0.0))


def _inside(x: Float[np.ndarray, "X Y Z"]) -> Float[np.ndarray, "X Y Z"]:
    """1 - 3 j1(x) / x, j1 the spherical Bessel function of order 1."""
    safe = np.maximum(x, 0.1)
    exact = 1 - 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3
    return np.where(x < 0.1, x**2 / 10 - x**4 / 280, exact)


def _wave_numbers(shape: Any, spacing: Numbers3) -> list[np.ndarray]:
    """Cycles per metre along each axis, to be broadcast."""
    parts = (np.fft.fftfreq(n, d) for n, d in zip(shape, spacing, strict=True))
    return list(np.meshgrid(*parts, indexing="ij", sparse=True))


def _odd(k: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Wave numbers, 0 at the highest one of an even length: the mean over its two signs."""
    return [np.where(2 * np.arange(x.size).reshape(x.shape) == x.size, 0.0, x) for x in k]


def _shape(shape: Any) -> tuple[int, ...]:
    if len(shape) != 3 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(f"shape={tuple(shape)}: three whole numbers from 1 are allowed")
    return tuple(int(n) for n in shape)


def _spacing(spacing: Any) -> Numbers3:
    numbers = tuple(float(d) for d in spacing)
    if len(numbers) != 3 or not all(0 < d < math.inf for d in numbers):
        raise ValueError(f"spacing={numbers}: three lengths in m above 0 are allowed")
    return numbers  # type: ignore[return-value]


def _direction(direction: Any) -> Numbers3:
    numbers = tuple(float(b) for b in direction)
    length = math.hypot(*numbers)
    if len(numbers) != 3 or not 0 < length < math.inf:
        raise ValueError(f"B0_direction={numbers}: three finite numbers, not all 0, are allowed")
    return tuple(b / length for b in numbers)  # type: ignore[return-value]
