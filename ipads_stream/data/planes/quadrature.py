"""Quadrature along t1: from the parts that a spectrometer records to complex t1 FIDs."""

import numpy as np
from jaxtyping import Complex, Float

Spectra = Complex[np.ndarray, "rows increments"]
Fids = Complex[np.ndarray, "rows points"]
Phase = float | Float[np.ndarray, "rows 1"]


def join_parts(
    spectra: Spectra, mode: str, phase: tuple[Phase, float] | None, is_reversed: bool
) -> Fids:
    """Join the quadrature parts, which alternate along t1, into t1 FIDs (rows, points).

    With P = (c + i s) / 2 and N = (c - i s) / 2 of States data (2P and 2N: anti-echo and echo), F2
    the transform along t2, and phases a and b in rad (a of all rows, or of each), rows
    F2(P) e^{i(a+b)} + conj(F2(N) e^{i(a-b)}) are absorptive after F1; unphased ones are 2 F2(P).
    """
    a, b = phase or (0.0, 0.0)
    if mode == "phase-modulated":
        fid = spectra * np.exp(1j * (a + b))
        return fid.conj() if is_reversed else fid
    p, n = _tones(spectra, mode)
    if is_reversed:
        p, n = n, p
    fid = p * np.exp(1j * (a + b)) + (n * np.exp(1j * (a - b))).conj() if phase else 2 * p
    return fid * (-1.0) ** np.arange(fid.shape[1]) if mode == "states-tppi" else fid


def _tones(spectra: Spectra, mode: str) -> tuple[Fids, Fids]:
    """F2(P) and F2(N)."""
    if mode == "tppi":  # cos(w k + pi k / 2)
        return _tone(spectra, -1), _tone(spectra, 1)
    if mode == "qseq":  # cos, sin, cos, sin: with these signs cos(w k - pi k / 2)
        signs = np.array([1.0, 1.0, -1.0, -1.0])[np.arange(spectra.shape[1]) % 4]
        return _tone(spectra * signs, 1), _tone(spectra * signs, -1)
    first, second = spectra[:, 0::2], spectra[:, 1::2]
    if mode == "echo-antiecho":
        return second / 2, first / 2
    return (first + 1j * second) / 2, (first - 1j * second) / 2


def _tone(real: Spectra, sense: int) -> Fids:
    """One of the two tones of x_k = cos(w k - sense pi k / 2), as exp(i w k) / 2 at even k where
    the turn exp(sense i pi k / 2) takes that tone to |w| < pi / 2, and the other beyond.

    A filter in the frequency domain parts them. x is even, so it is continued to negative times:
    without, its step at k = 0 would ring into the first points.
    """
    count = real.shape[1]
    time = np.arange(1 - count, count)
    both = real[:, np.abs(time)] * np.exp(sense * 0.5j * np.pi * time)
    keep = np.abs(np.fft.fftfreq(time.size)) < 0.25
    return np.fft.ifft(np.fft.fft(both, axis=1) * keep, axis=1)[:, count - 1 :: 2]
