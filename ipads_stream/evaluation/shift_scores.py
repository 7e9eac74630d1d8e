"""Errors of a reconstruction on a test distribution, signal by signal, and metrics over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.handover import torch_threads
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation.measured import Region, measured_test
from ipads_stream.evaluation.methods import Method
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.peak_errors import LOW, is_low, peak_errors
from ipads_stream.evaluation.planes import Plane
from ipads_stream.evaluation.shift_pools import Correlation, Median, correlation_sums
from ipads_stream.evaluation.synthetic import peak_intensities
from ipads_stream.physics.spectrum import fid as fid_of
from ipads_stream.physics.spectrum import spectrum
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System

Scores = dict[str, np.ndarray]
PEAKS = ("amplitude", "frequency", "decay")


Pool = Median | Correlation


@dataclass(frozen=True)
class Metric:
    """One number for an arm on a test.

    Attributes:
        title: for tables.
        meaning: one sentence.
        pool: (scores, facts) -> what the number is taken of; None: not to be had there.
        is_error: compared as a ratio (an error), or as a difference (a correlation).
    """

    title: str
    meaning: str
    pool: Callable[[Scores, Scores], Pool | None]
    is_error: bool = True

    @property
    def better(self) -> str:
        return "low" if self.is_error else "high"


def _median(values: np.ndarray, signals: np.ndarray) -> Median | None:
    values = values.astype(np.float64)
    at = np.isfinite(values)
    return Median(values[at], signals[at]) if at.any() else None


def _of_peaks(
    chosen: Callable[[np.ndarray], np.ndarray],
) -> Callable[[Scores, Scores], Pool | None]:
    def pool(scores: Scores, facts: Scores) -> Pool | None:
        if "peaks" not in scores:
            return None
        at = chosen(facts["amplitude"][: len(scores["peaks"])])
        return _median(scores["peaks"][at], np.nonzero(at)[0])

    return pool


def _rlne(scores: Scores, facts: Scores) -> Pool | None:
    return _median(scores["rlne"], np.arange(len(scores["rlne"])))


def _peak_r(scores: Scores, facts: Scores) -> Pool | None:
    if "r" in scores:
        return _median(scores["r"], np.arange(len(scores["r"])))
    pooled = Correlation(scores["sums"].astype(np.float64))
    return pooled if np.isfinite(pooled.point()) else None


METRICS = {
    "low": Metric(
        "error of low peaks",
        "Median over peaks with an amplitude below 0.2 in a signal with one above 0.5 of the "
        "complex error at the true frequency over the peak's own height: 1 for a lost peak.",
        _of_peaks(is_low),
    ),
    "high": Metric(
        "error of the other peaks",
        "The same over all peaks with an amplitude from 0.2 up: what gains at low peaks cost.",
        _of_peaks(lambda amplitude: amplitude >= LOW),
    ),
    "rlne": Metric(
        "RLNE",
        "Median over signals of the norm of the error over the norm of the reference; measured "
        "planes: of the whole region, median over schedules.",
        _rlne,
    ),
    "r": Metric(
        "peak r",
        "Pearson's correlation of peak magnitudes in estimate and reference above 3 % of the "
        "signal's tallest, peaks of all signals pooled; measured planes: of the region, median "
        "over schedules.",
        _peak_r,
        is_error=False,
    ),
}


def first_samples(system: System, *, samples: int, seed: int, split: str = "test") -> Sample:
    """The first samples of a split.

    Args:
        system: gives "fid", "mask" and the target "spectrum".
        samples: how many.
        seed: of the stream.
        split: of the stream.

    Raises:
        ConfigError: a system of another kind.
    """
    stream = Stream(system, seed=seed, split=split, batch_size=samples, device="cpu", threads=0)
    sample = stream.batch(0)
    if not {"fid", "mask"} <= set(sample.inputs) or "spectrum" not in sample.targets:
        raise ConfigError("system", system.name, "a system with fid, mask and spectrum")
    return sample


def facts_of(sample: Sample) -> Scores:
    """The drawn parameters that errors are looked at by: amplitude, rate, snr, where they are."""
    found = {
        name: np.asarray(sample.params[name], dtype=np.float64)
        for name in (*PEAKS, "snr")
        if name in sample.params
    }
    found["rate"] = sample.inputs["mask"].numpy().mean(axis=1).astype(np.float64)
    return found


def signal_scores(method: Method, sample: Sample, *, dwell: float, most: int | None) -> Scores:
    """Errors of one method on test signals.

    Args:
        method: (fid, mask) -> fid.
        sample: of :func:`first_samples`.
        dwell: s, time from point to point.
        most: signals, for a method too slow for all; None: all.

    Returns:
        "rlne" (signals,), "sums" (signals, 6) for the correlation of peaks, and "peaks" (signals,
        peaks) where the system has peaks.
    """
    fid, mask = (sample.inputs[name].numpy()[:most] for name in ("fid", "mask"))
    target = sample.targets["spectrum"].numpy()[:most]
    estimate = method(fid, mask)
    found = spectrum(estimate)
    scores = {
        "rlne": np.asarray(rlne(found, target, axis=-1)),
        "sums": np.array([_sums(e, t) for e, t in zip(found, target, strict=True)]),
    }
    if set(PEAKS) <= set(sample.params):
        amplitude, frequency, decay = (
            np.asarray(sample.params[name], dtype=np.float64)[:most] for name in PEAKS
        )
        scores["peaks"] = peak_errors(estimate, fid_of(target), amplitude, frequency, decay, dwell)
    return scores


def _sums(estimate: np.ndarray, target: np.ndarray) -> np.ndarray:
    return correlation_sums(*peak_intensities(estimate, target))


def plane_scores(
    method: Method, plane: Plane, region: Region, rate: float, *, schedules: int, seed: int
) -> Scores:
    """Errors of one method on a measured plane, retrospectively undersampled.

    Args:
        method: (fid, mask) -> fid.
        plane: fully sampled.
        region: rows that are scored.
        rate: sampled share of the points.
        schedules: Poisson-gap schedules.
        seed: of the schedules.

    Returns:
        "rlne" and "r" (schedules,).
    """
    test = measured_test(
        plane, {"": method}, [rate], schedules=schedules, regions=[region], seed=seed
    )
    return {key: np.array([row[key] for row in test.schedules], float) for key in ("rlne", "r")}


def thresholds(net: torch.nn.Module, sample: Sample, *, most: int = 256) -> np.ndarray | None:
    """Mean threshold of every phase over test signals, (phases,); None: the network has none.

    Args:
        net: inputs -> predictions.
        sample: of :func:`first_samples`.
        most: signals.
    """
    inputs: Mapping[str, Any] = {key: value[:most] for key, value in sample.inputs.items()}
    with torch.inference_mode(), torch_threads(1):
        found = net.eval()(inputs).get("thresholds")
    return None if found is None else found.mean(dim=-1).numpy().astype(np.float64)
