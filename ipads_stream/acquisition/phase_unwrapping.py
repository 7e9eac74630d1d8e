"""From the phase of gradient echoes to off-resonance.

Arrays are NumPy: this is for measured images. Axes: X, Y, Z space, E echo.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float, Shaped

TURN = 2 * math.pi


def unwrapped(phase: Float[np.ndarray, "X Y Z"]) -> Float[np.ndarray, "X Y Z"]:
    """The phase without jumps of 2 pi, up to one whole number of turns.

    Solves the Laplace equation of the wrapped differences, div grad u = div w(grad phase), with no
    flow through the faces of the volume, and takes the phase of the same value modulo 2 pi that is
    nearest to u. Exact where true differences between neighbours are below pi everywhere.

    Args:
        phase: rad, (X, Y, Z).

    Source: Ghiglia and Romero, JOSA A 11:107 (1994); Schofield and Zhu, Optics Letters 28:1194
    (2003).
    """
    rho = np.zeros(phase.shape)
    for axis in range(3):
        difference = np.diff(phase, axis=axis)
        difference -= TURN * np.round(difference / TURN)
        before = [(0, 0)] * 3
        before[axis] = (1, 1)
        rho += np.diff(np.pad(difference, before), axis=axis)
    eigenvalues = [2 * np.cos(np.pi * np.arange(n) / n) - 2 for n in phase.shape]
    total = np.asarray(sum(np.meshgrid(*eigenvalues, indexing="ij", sparse=True)))
    total[0, 0, 0] = 1.0  # the mean stays free
    spectrum = scipy.fft.dctn(rho) / total
    spectrum[0, 0, 0] = 0.0
    smooth = scipy.fft.idctn(spectrum)
    smooth += np.angle(np.mean(np.exp(1j * (phase - smooth))))  # the constant, modulo a turn
    return np.asarray(phase + TURN * np.round((smooth - phase) / TURN))


def off_resonance(
    echoes: Complex[np.ndarray, "X Y Z E"], TE: Any
) -> tuple[Float[np.ndarray, "X Y Z"], Float[np.ndarray, "X Y Z"]]:
    """df of gradient echoes S_e = A_e exp(i phase_0) exp(-2 pi i df TE_e), and its uncertainty.

    The phase between successive echoes, unwrapped in space, predicts the turns of later echoes;
    then a straight line is fitted to all, with weights |S|^2.

    Args:
        echoes: (X, Y, Z, E), at least two echoes, equally spaced. The phase of a scanner whose sign
            is the other one must be conjugated.
        TE: echo times, s, (E,).

    Returns:
        df, Hz, and its standard deviation for a noise of 1 in real and imaginary part, Hz.

    Raises:
        ValueError: other numbers of times, or times that are not equally spaced.
    """
    times = np.asarray(TE, dtype=float)
    steps = np.diff(times)
    if times.shape != (echoes.shape[-1],) or len(times) < 2:
        raise ValueError(f"TE={times}: one time for each of 2 or more echoes is allowed")
    if steps.min() <= 0 or np.ptp(steps) > 1e-6 * steps.max():
        raise ValueError(f"TE={times}: rising, equally spaced times are allowed")
    pairs = np.sum(echoes[..., 1:] * np.conj(echoes[..., :-1]), axis=-1)
    per_step = unwrapped(np.angle(pairs).astype(float))
    phase = np.angle(echoes * np.conj(echoes[..., :1])).astype(float)
    expected = per_step[..., None] * ((times - times[0]) / steps[0])
    phase += TURN * np.round((expected - phase) / TURN)
    weight = np.abs(echoes).astype(float) ** 2
    total = np.maximum(weight.sum(axis=-1), np.finfo(float).tiny)
    middle = (weight * times).sum(axis=-1, keepdims=True) / total[..., None]
    spread = np.maximum((weight * (times - middle) ** 2).sum(axis=-1), np.finfo(float).tiny)
    slope = (weight * (times - middle) * phase).sum(axis=-1) / spread
    return -slope / TURN, 1 / (TURN * np.sqrt(spread))


def phase_from_numbers(stored: Shaped[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Phase in rad of stored numbers whose extremes stand for -pi and pi.

    Args:
        stored: of any unit; symmetric about 0, or from 0 on.
    """
    low, high = float(np.min(stored)), float(np.max(stored))
    return (np.asarray(stored, dtype=float) - low) / (high - low) * TURN - math.pi
