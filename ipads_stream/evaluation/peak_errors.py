"""Complex errors at the true peaks, relative to each peak's own height: low peaks and high ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Complex, Float

LOW, BESIDE = 0.2, 0.5  # a low peak has less amplitude than LOW, in a signal with one above BESIDE


def peak_errors(
    estimate: Complex[np.ndarray, "..."],
    reference: Complex[np.ndarray, "signals points"],
    amplitude: Float[np.ndarray, "signals peaks"],
    frequency: Float[np.ndarray, "signals peaks"],
    decay: Float[np.ndarray, "signals peaks"],
    dwell: float = 1.0,
) -> Float[np.ndarray, "signals peaks"]:
    """Give |E(f_j)| / h_j for every peak of every signal, NaN where its amplitude is zero.

    E(f) = sum_n (x_n - s_n) exp(-2 pi i f n dt) is the error's spectrum at the peak's true
    frequency, and h_j = a_j sum_n exp(-n dt / T_j) the height of the peak alone there. Phase and
    position count, so a peak that was left out has the error 1 and one that stands elsewhere more;
    the magnitude at the nearest bin would credit whatever artefact happens to lie there.

    Args:
        estimate: reconstructed signals, unit of `amplitude`, (signals, points).
        reference: full, noise-free signals, unit of `amplitude`, (signals, points).
        amplitude: a, any unit, (signals, peaks); 0 where there is no peak.
        frequency: f, Hz, (signals, peaks).
        decay: T, s, (signals, peaks).
        dwell: dt, s.

    Raises:
        ValueError: the shapes differ.
    """
    if estimate.shape != reference.shape or len(amplitude) != len(reference):
        raise ValueError(
            f"estimate has shape {estimate.shape}, reference {reference.shape} and amplitude "
            f"{amplitude.shape}; allowed: equal shapes, and as many signals"
        )
    time = dwell * np.arange(reference.shape[1])
    error = (estimate - reference).astype(np.complex128)
    height = amplitude * np.exp(-time / decay[..., None]).sum(axis=-1)
    wave = np.exp(-2j * np.pi * frequency[..., None] * time)
    at_peak = np.abs(np.einsum("sn,spn->sp", error, wave))
    return np.where(height > 0, at_peak / np.where(height > 0, height, 1), np.nan)


def is_low(
    amplitude: Float[np.ndarray, "signals peaks"], *, low: float = LOW, beside: float = BESIDE
) -> Bool[np.ndarray, "signals peaks"]:
    """Tell which peaks are below `low` in a signal that has one above `beside`.

    Args:
        amplitude: any unit, (signals, peaks); 0 where there is no peak.
        low: unit of `amplitude`.
        beside: unit of `amplitude`.
    """
    has_tall = amplitude.max(axis=1, keepdims=True, initial=0) > beside
    return (amplitude > 0) & (amplitude < low) & has_tall


def median_peak_errors(
    errors: Float[np.ndarray, "signals peaks"],
    amplitude: Float[np.ndarray, "signals peaks"],
    *,
    low: float = LOW,
    beside: float = BESIDE,
) -> dict[str, float]:
    """Give the median error of low peaks and that of all peaks from `low` up, NaN without any.

    Args:
        errors: of :func:`peak_errors`, dimensionless, (signals, peaks).
        amplitude: any unit, (signals, peaks); 0 where there is no peak.
        low: unit of `amplitude`.
        beside: unit of `amplitude`; see :func:`is_low`.

    Returns:
        "low" and "high": medians; "num_low" and "num_high": peaks behind them.
    """
    chosen = {"low": is_low(amplitude, low=low, beside=beside), "high": amplitude >= low}
    found = {}
    for name, at in chosen.items():
        found[name] = float(np.median(errors[at])) if at.any() else float("nan")
        found[f"num_{name}"] = float(at.sum())
    return found
