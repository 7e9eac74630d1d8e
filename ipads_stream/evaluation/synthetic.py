"""Test on simulated signals that training never saw, at fixed sampling rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Complex, Float
from tqdm import tqdm

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation.methods import Method, timed
from ipads_stream.evaluation.metrics import confidence_interval, find_peaks, rlne
from ipads_stream.physics.spectrum import spectrum
from ipads_stream.stream.replay import digest
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System

THRESHOLD = 0.03  # of the tallest point of a signal's spectrum: what counts as a peak


@dataclass(frozen=True)
class SyntheticTest:
    """What the test found.

    Attributes:
        rows: one per rate and method, plain numbers (see :func:`_summary`).
        records: one per rate and signal: provenance, overrides, RLNE by method, digest; replayable.
        samples: rate -> the test signals.
        estimates: rate -> method -> spectra of the estimates, complex (signals, points).
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[float, Sample] = field(default_factory=dict)
    estimates: dict[float, dict[str, np.ndarray]] = field(default_factory=dict)


def synthetic_test(
    system: System,
    methods: Mapping[str, Method],
    rates: Sequence[float],
    *,
    samples: int,
    seed: int = 0,
    fewer: Mapping[str, int] | None = None,
    bar: bool = False,
) -> SyntheticTest:
    """Reconstructs the same noise-free signals of the split "test" with every method at every rate.

    Args:
        system: has the field ``rate``, gives "fid" and "mask" and the target "spectrum".
        methods: by name, ``(fid, mask) -> fid``.
        rates: sampled shares of the points, 0 < rate <= 1.
        samples: signals per rate: samples 0 ... samples - 1 of the split.
        seed: of the stream.
        fewer: method -> number of signals, for methods too slow for all of them.
        bar: show a progress bar.

    Raises:
        ConfigError: a system of another kind.
    """
    if not dataclasses.is_dataclass(system) or not hasattr(system, "rate"):
        raise ConfigError("system", system.name, "a system of undersampled signals, with a rate")
    test = SyntheticTest()
    for rate in tqdm(rates, desc="synthetic", disable=not bar):
        overrides = test_overrides(system, float(rate))
        at_rate = dataclasses.replace(system, **overrides)  # type: ignore[type-var]
        stream = Stream(
            at_rate, seed=seed, split="test", batch_size=samples, device="cpu", threads=0
        )
        sample = stream.batch(0)
        if not {"fid", "mask"} <= set(sample.inputs) or "spectrum" not in sample.targets:
            raise ConfigError("system", system.name, "a system with fid, mask and spectrum")
        _test_rate(test, sample, methods, overrides, fewer or {})
    return test


def test_overrides(system: System, rate: float) -> dict[str, Any]:
    """What the test changes in a system: a fixed rate, and no noise where it has any.

    Without noise the error is that of the reconstruction alone.
    """
    noise = {"snr": None} if hasattr(system, "snr") else {}
    return {"rate": rate, **noise}


def _test_rate(
    test: SyntheticTest,
    sample: Sample,
    methods: Mapping[str, Method],
    overrides: Mapping[str, Any],
    fewer: Mapping[str, int],
) -> None:
    rate = overrides["rate"]
    fid, mask = sample.inputs["fid"].numpy(), sample.inputs["mask"].numpy()
    target = sample.targets["spectrum"].numpy()
    errors: dict[str, np.ndarray] = {}
    estimates: dict[str, np.ndarray] = {}
    for name, method in methods.items():
        count = min(fewer.get(name, len(fid)), len(fid))
        estimate, seconds = timed(method, fid[:count], mask[:count])
        estimates[name] = spectrum(estimate)
        errors[name] = np.asarray(rlne(estimates[name], target[:count], axis=-1))
        found = _summary(errors[name], estimates[name], target[:count])
        place = {"rate": rate, "method": name, "is_partial": count < len(fid)}
        test.rows.append(place | found | {"seconds_per_signal": seconds})
    test.samples[rate], test.estimates[rate] = sample, estimates
    assert sample.provenance is not None
    for row in range(len(fid)):
        test.records.append(
            sample.provenance.record(row)
            | {
                "rate": rate,
                "overrides": dict(overrides),
                "rlne": {n: _or_none(e[row]) for n, e in errors.items() if row < len(e)},
                "digest": digest(sample, row),
            }
        )


def _summary(
    errors: Float[np.ndarray, " signals"],
    estimate: Complex[np.ndarray, "signals points"],
    target: Complex[np.ndarray, "signals points"],
) -> dict[str, Any]:
    """Median RLNE and pooled peak correlation, with 95 % bootstrap intervals over signals."""
    finite = errors[np.isfinite(errors)]
    low, high = confidence_interval(finite) if finite.size else (np.nan, np.nan)
    sums = np.array([_peak_sums(e, t) for e, t in zip(estimate, target, strict=True)])

    def pooled(signals: np.ndarray, axis: int) -> np.ndarray:
        return _correlation(sums[signals.astype(np.int64)].sum(axis=axis))

    r = float(_correlation(sums.sum(axis=0)))
    signals = np.arange(len(sums))
    r_low, r_high = confidence_interval(signals, pooled) if np.isfinite(r) else (np.nan, np.nan)
    return {
        "signals": len(errors),
        "rlne_median": _or_none(np.median(finite) if finite.size else np.nan),
        "rlne_low": _or_none(low),
        "rlne_high": _or_none(high),
        "r": _or_none(r),
        "r_low": _or_none(r_low),
        "r_high": _or_none(r_high),
        "r2": _or_none(r**2),
        "peaks": int(sums[:, 0].sum()),
    }


def peak_intensities(
    estimate: Complex[np.ndarray, " points"], target: Complex[np.ndarray, " points"]
) -> tuple[Float[np.ndarray, " peaks"], Float[np.ndarray, " peaks"]]:
    """Magnitudes of estimate and target at the peaks of the target above 3 % of its tallest.

    Args:
        estimate, target: spectra of one signal, the same unit, (points,).
    """
    magnitude = np.abs(target).astype(np.float64)
    at = find_peaks(magnitude, THRESHOLD)[:, 0]
    return np.abs(estimate).astype(np.float64)[at], magnitude[at]


def _peak_sums(estimate: np.ndarray, target: np.ndarray) -> Float[np.ndarray, " 6"]:
    x, y = peak_intensities(estimate, target)
    return np.array([x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y])


def _correlation(sums: Float[np.ndarray, "... 6"]) -> Float[np.ndarray, "..."]:
    """Pearson's r from n, sum x, sum y, sum x^2, sum y^2, sum xy; NaN without variation."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (n * xx - x**2) * (n * yy - y**2)
    r = (n * xy - x * y) / np.sqrt(np.where(spread > 0, spread, np.nan))
    return np.asarray(np.clip(r, -1.0, 1.0))


def _or_none(value: Any) -> float | None:
    """A number for JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None
