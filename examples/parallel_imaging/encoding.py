"""From an image to the k-space of several coils and back, on NumPy, CuPy and torch alike.

Axes: B sample, C coil, X Y space or k-space, its centre at n // 2.
"""

from __future__ import annotations

from typing import Any

from ipads_stream.core.backend import namespace

PLANE = (-2, -1)


def encode(image: Any, sensitivities: Any, mask: Any) -> Any:
    """A x: k-space y_c = mask F(s_c x), F centred and orthonormal, (B, C, X, Y).

    Args:
        image: x, complex, (B, X, Y).
        sensitivities: s, complex, (B, C, X, Y).
        mask: True where k-space is sampled, (B, X, Y).
    """
    xp = namespace(image)
    coils = xp.fft.ifftshift(sensitivities * image[:, None], axes=PLANE)
    return mask[:, None] * xp.fft.fftshift(xp.fft.fftn(coils, axes=PLANE, norm="ortho"), axes=PLANE)


def adjoint(kspace: Any, sensitivities: Any, mask: Any) -> Any:
    """A^H y = sum_c s_c^* F^-1(mask y_c), (B, X, Y); the arguments are those of encode."""
    xp = namespace(kspace)
    y = xp.fft.ifftshift(mask[:, None] * kspace, axes=PLANE)
    coils = xp.fft.fftshift(xp.fft.ifftn(y, axes=PLANE, norm="ortho"), axes=PLANE)
    return xp.sum(xp.conj(sensitivities) * coils, axis=1)
