"""Coil sensitivities from images of low resolution, which other estimates are checked against."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Complex


def low_resolution(
    kspace: Complex[np.ndarray, "C ..."],
    size: int = 24,
) -> Complex[np.ndarray, "C ..."]:
    """Sensitivities from the middle of k-space: its images over the root of their squares' sum.

    s_c = I_c / sqrt(sum_c |I_c|^2), with the phase of the first coil taken off all; 0 where there
    is no signal. I are images of the middle of k-space through a Hann window.

    Args:
        kspace: sampled there at least, centre at n // 2.
        size: samples of the middle that are used along each axis.

    Source: Pruessmann et al., MRM 42, 952 (1999); McKenzie et al., MRM 47, 529 (2002).
    """
    axes = tuple(range(1, kspace.ndim))
    window = np.ones(kspace.shape[1:])
    for axis, n in enumerate(kspace.shape[1:]):
        k = np.arange(n) - n // 2
        along = np.where(np.abs(k) <= size // 2, np.cos(np.pi * k / (size + 2)) ** 2, 0.0)
        window = window * along.reshape([-1 if i == axis else 1 for i in range(len(axes))])
    images = _image(kspace * window, axes)
    power = np.sqrt((np.abs(images) ** 2).sum(axis=0))
    safe = np.where(power > 1e-6 * power.max(), power, np.inf)
    return (images * _first_phase(images) / safe).astype(np.complex64)


def _image(kspace: Any, axes: tuple[int, ...]) -> Any:
    """Centred, orthonormal."""
    shifted = np.fft.ifftshift(kspace, axes=axes)
    return np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)


def _first_phase(images: Any) -> Any:
    """What takes the phase of the first coil off all."""
    return np.exp(-1j * np.angle(images[:1]))
