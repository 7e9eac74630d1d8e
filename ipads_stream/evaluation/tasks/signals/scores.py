"""Undersampled signals at a fixed rate and their scores: relative errors, intensities of peaks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.metrics import confidence_interval, find_peaks, rlne
from ipads_stream.evaluation.statistics import plain
from ipads_stream.evaluation.tasks import Condition
from ipads_stream.systems import System

TARGET = "spectrum"
THRESHOLD = 0.03  # of the tallest point of a signal's spectrum: what counts as a peak
LOW, BESIDE = 0.2, 0.5  # a low peak has less amplitude than LOW, in a signal with one above BESIDE


def signal_errors(comparison: Comparison, method: str) -> Float[np.ndarray, " signals"]:
    """RLNE of every signal that a method was given."""
    estimate = comparison.estimates[method][TARGET]
    return np.asarray(rlne(estimate, comparison.truths[TARGET][: len(estimate)], axis=-1))


def scores(comparison: Comparison) -> list[dict[str, Any]]:
    """A row per method: median RLNE and pooled peak correlation, with intervals over signals."""
    return [_row(comparison, method) for method in comparison.estimates]


def _row(comparison: Comparison, method: str) -> dict[str, Any]:
    errors = signal_errors(comparison, method)
    finite = errors[np.isfinite(errors)]
    low, high = confidence_interval(finite) if finite.size else (np.nan, np.nan)
    pairs = zip(comparison.estimates[method][TARGET], comparison.truths[TARGET], strict=False)
    sums = np.array([correlation_sums(*peak_intensities(e, t)) for e, t in pairs])

    def pooled(signals: np.ndarray, axis: int) -> np.ndarray:
        return correlation_of(sums[signals.astype(np.int64)].sum(axis=axis))

    r = float(correlation_of(sums.sum(axis=0)))
    signals = np.arange(len(sums))
    r_low, r_high = confidence_interval(signals, pooled) if np.isfinite(r) else (np.nan, np.nan)
    return {
        "method": method,
        "is_partial": len(errors) < len(comparison),
        "signals": len(errors),
        "rlne_median": plain(np.median(finite) if finite.size else np.nan),
        "rlne_low": plain(low),
        "rlne_high": plain(high),
        "r": plain(r),
        "r_low": plain(r_low),
        "r_high": plain(r_high),
        "r2": plain(r**2),
        "peaks": int(sums[:, 0].sum()),
        "seconds_per_signal": comparison.seconds[method],
    }


def peak_intensities(
    estimate: Complex[np.ndarray, " points"], target: Complex[np.ndarray, " points"]
) -> tuple[Float[np.ndarray, " peaks"], Float[np.ndarray, " peaks"]]:
    """Magnitudes of estimate and target at the peaks of the target above 3 % of its tallest."""
    magnitude = np.abs(target).astype(np.float64)
    at = find_peaks(magnitude, THRESHOLD)[:, 0]
    return np.abs(estimate).astype(np.float64)[at], magnitude[at]


def correlation_sums(
    x: Float[np.ndarray, " pairs"], y: Float[np.ndarray, " pairs"]
) -> Float[np.ndarray, " 6"]:
    """n, sum x, sum y, sum x^2, sum y^2, sum xy of pairs."""
    return np.array([x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y], dtype=np.float64)


def correlation_of(sums: Float[np.ndarray, "... 6"]) -> Float[np.ndarray, "..."]:
    """Pearson's r from :func:`correlation_sums`, or from their sum; NaN without variation."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (n * xx - x**2) * (n * yy - y**2)
    r = (n * xy - x * y) / np.sqrt(np.where(spread > 0, spread, np.nan))
    return np.asarray(np.clip(r, -1.0, 1.0))


def at_rate(system: System, rate: float) -> Condition:
    """The system with a fixed share of sampled points, 0 < rate <= 1, and without noise, if any."""
    overrides: dict[str, Any] = {"rate": rate}
    if "snr" in {field.name for field in dataclasses.fields(system)}:  # type: ignore[arg-type]
        overrides["snr"] = None  # the error is that of the reconstruction alone
    changed = dataclasses.replace(system, **overrides)  # type: ignore[type-var]
    return Condition(system=changed, labels={"rate": rate}, overrides=overrides)


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

    Signals have the unit of the amplitudes (0 where there is no peak); frequencies f are in Hz,
    decays T and the dwell dt in s.

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
    """Whether a peak, in the unit of ``low``, is below it in a signal with one above ``beside``."""
    has_tall = amplitude.max(axis=1, keepdims=True, initial=0) > beside
    return (amplitude > 0) & (amplitude < low) & has_tall
