"""Between a free induction decay and its spectrum."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace
from jaxtyping import Complex


def spectrum(fid: Complex[Any, "*batch N"]) -> Complex[Any, "*batch N"]:
    """Spectrum of a free induction decay, orthonormal, zero frequency in the middle.

    ``S_k = N^-1/2 sum_n s_n exp(-2 pi i (k - floor(N/2)) n / N)``. The first point is time zero, so
    only the frequency axis is centred; a line at ``+f`` (NMR sign) stands right of the middle.

    Args:
        fid: complex, any unit, (*batch, N), equidistant points from time zero.
    """
    xp = array_namespace(fid)
    return xp.fft.fftshift(xp.fft.fft(fid, axis=-1, norm="ortho"), axes=-1)


def fid(spectrum: Complex[Any, "*batch N"]) -> Complex[Any, "*batch N"]:
    """Free induction decay of a spectrum: the inverse of :func:`spectrum`.

    Args:
        spectrum: complex, (*batch, N), zero frequency in the middle.
    """
    xp = array_namespace(spectrum)
    return xp.fft.ifft(xp.fft.ifftshift(spectrum, axes=-1), axis=-1, norm="ortho")
