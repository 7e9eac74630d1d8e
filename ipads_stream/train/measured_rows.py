"""Fully sampled measured signals, undersampled anew each time: real samples to train on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Complex

from ipads_stream.acquisition.masks import SCHEDULES, num_sampled
from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution
from ipads_stream.physics.spectrum import spectrum

FAINTEST = 0.03  # of the tallest spectrum point of all rows: fainter rows hold noise alone


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRows:
    """Sample n is row ``n mod R`` of measured signals, divided by its largest magnitude.

    The target is the spectrum of all measured points, noise included.

    Attributes:
        signals: complex, any unit, (R, N).
        rate: share of points that is shown.
        schedule: of the sampling (acquisition/masks.py).
    """

    name: ClassVar[str] = "measured_rows"

    signals: Complex[np.ndarray, "R N"]
    rate: Distribution
    schedule: str

    def describe(self) -> dict[str, Any]:
        """The signals stand there by their digest."""
        digest = hashlib.sha256(np.ascontiguousarray(self.signals).tobytes()).hexdigest()
        return {"signals": digest, "rate": describe(self.rate), "schedule": self.schedule}

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        row = (keys.indices % np.uint64(len(self.signals))).astype(np.int64)
        return {"row": row, "rate": self.rate.draw(keys["rate"], (), progress)}

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        rows = self.signals[params["row"]]
        largest = np.abs(rows).max(axis=1, keepdims=True)
        full = xp.asarray((rows / np.where(largest > 0, largest, 1.0)).astype(np.complex64))
        points = full.shape[1]
        counts = num_sampled(params["rate"], points)
        mask = xp.asarray(SCHEDULES[self.schedule](keys["mask"], points, counts))
        return Sample(
            inputs={"fid": xp.where(mask, full, xp.zeros_like(full)), "mask": mask},
            targets={"spectrum": spectrum(full)},
            params=params,
        )


def usable_rows(signals: np.ndarray) -> np.ndarray:
    """The rows that hold a signal: whose tallest spectrum point reaches 3 % of that of all rows.

    Raises:
        ConfigError: not complex rows, values that are not finite, or nothing but zeros.
    """
    signals = np.asarray(signals)
    if signals.ndim != 2 or not np.iscomplexobj(signals) or not np.isfinite(signals).all():
        given = f"{signals.dtype} of shape {signals.shape}"
        raise ConfigError("data", given, "finite complex signals, (rows, points)")
    heights = np.abs(spectrum(signals)).max(axis=1)
    if not heights.any():
        raise ConfigError("data", "zeros", "signals that are not all zero")
    kept: np.ndarray = signals[heights >= FAINTEST * heights.max()]
    return kept
