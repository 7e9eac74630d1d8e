"""DL-NMR: reconstruction of undersampled NMR signals, trained on synthetic exponentials alone.

Source: Qu et al., Angew. Chem. Int. Ed. 2020 (arXiv 1904.05168). Peak numbers, amplitudes and
frequencies as in the IPADS review; phase, decay and length are not stated there and are choices of
this project (see conf/system/dlnmr.yaml).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.masks import SCHEDULES, num_sampled
from ipads_stream.acquisition.noise import complex_noise
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, as_distribution
from ipads_stream.physics.exponentials import damped_exponentials
from ipads_stream.physics.spectrum import spectrum

# parameter -> (dimension, closed interval that must hold its support)
PARAMETERS: dict[str, tuple[str, tuple[float, float]]] = {
    "num_peaks": ("number", (1, 256)),
    "amplitude": ("number", (0.0, math.inf)),
    "frequency": ("frequency", (-math.inf, math.inf)),
    "phase": ("angle", (-math.inf, math.inf)),
    "decay": ("time", (1e-6, math.inf)),
    "rate": ("number", (0.0, 1.0)),
    "snr": ("number", (1e-3, math.inf)),
}


@dataclass(frozen=True, kw_only=True)
class DLNMR:
    """Sums of damped complex exponentials (article Eq. 5-6), some of whose points are measured.

    Inputs: ``fid`` (B, N) complex64, zero where not sampled; ``mask`` (B, N) bool.
    Target: ``spectrum`` (B, N) complex64 of the full, noise-free signal.

    Attributes:
        num_peaks: peaks per signal.
        amplitude: of a peak, relative.
        frequency: Hz. With a dwell time of 1 s this is cycles per point.
        phase: rad.
        decay: T2*, s.
        rate: share of points that is measured.
        snr: tallest point of the noise-free spectrum over the standard deviation of the complex
            noise (the same in every point of signal and spectrum); None: no noise.
        points: N, complex points of a signal.
        dwell: s, time from point to point.
        schedule: name of the sampling schedule (acquisition/masks.py).
    """

    name: ClassVar[str] = "dlnmr"

    num_peaks: Distribution
    amplitude: Distribution
    frequency: Distribution
    phase: Distribution
    decay: Distribution
    rate: Distribution
    snr: Distribution | None = None
    points: int = 128
    dwell: float = 1.0
    schedule: str = "poisson_gap"

    def __post_init__(self) -> None:
        for key, (quantity, within) in PARAMETERS.items():
            value = getattr(self, key)
            if key == "snr" and value is None:
                continue
            integer = key == "num_peaks"
            checked = as_distribution(key, value, within=within, quantity=quantity, integer=integer)
            object.__setattr__(self, key, checked)
        if isinstance(self.points, bool) or not isinstance(self.points, int) or self.points < 2:
            raise ConfigError("points", self.points, "a whole number, at least 2")
        if (
            isinstance(self.dwell, bool)
            or not isinstance(self.dwell, (int, float))
            or not (0 < self.dwell < math.inf)
        ):
            raise ConfigError("dwell", self.dwell, "a time in seconds, above 0")
        object.__setattr__(self, "dwell", float(self.dwell))
        if self.schedule not in SCHEDULES:
            raise ConfigError("schedule", self.schedule, f"one of {', '.join(sorted(SCHEDULES))}")
        if self.rate.support[0] * self.points < 0.5:
            allowed = f"at least one of {self.points} points sampled: {1 / self.points:.4g} or more"
            raise ConfigError("rate", self.rate.support, allowed)

    @property
    def max_peaks(self) -> int:
        """J, the length of the peak axis; absent peaks have amplitude 0."""
        return int(self.num_peaks.support[1])

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        peaks = (self.max_peaks,)
        num_peaks = self.num_peaks.draw(keys["num_peaks"], (), progress).astype(np.int64)
        present = np.arange(self.max_peaks) < num_peaks[:, None]
        params = {
            "num_peaks": num_peaks,
            "amplitude": self.amplitude.draw(keys["amplitude"], peaks, progress) * present,
            "frequency": self.frequency.draw(keys["frequency"], peaks, progress),
            "phase": self.phase.draw(keys["phase"], peaks, progress),
            "decay": self.decay.draw(keys["decay"], peaks, progress),
            "rate": self.rate.draw(keys["rate"], (), progress),
        }
        if self.snr is not None:
            params["snr"] = self.snr.draw(keys["snr"], (), progress)
        return params

    def forward(self, params: Arrays) -> Any:
        """The full, noise-free signal (B, N); differentiable for torch parameters."""
        return damped_exponentials(
            params["amplitude"],
            params["frequency"],
            params["phase"],
            params["decay"],
            points=self.points,
            dwell=self.dwell,
        )

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        peaks = ("amplitude", "frequency", "phase", "decay")
        full = damped_exponentials(
            *(xp.asarray(params[name]) for name in peaks),
            points=self.points,
            dwell=self.dwell,
            dtype="complex64",
        )
        counts = num_sampled(params["rate"], self.points)
        mask = xp.asarray(SCHEDULES[self.schedule](keys["mask"], self.points, counts))
        target = spectrum(full)
        measured = full
        if self.snr is not None:
            height = xp.max(xp.abs(target), axis=1)
            sigma = height / xp.asarray(params["snr"], dtype=xp.float32)
            measured = full + complex_noise(keys["noise"], sigma, self.points, xp)
        return Sample(
            inputs={"fid": xp.where(mask, measured, xp.zeros_like(full)), "mask": mask},
            targets={"spectrum": target},
            params=params,
        )
