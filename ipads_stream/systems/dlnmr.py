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
from ipads_stream.distributions import (
    Distribution,
    Parameter,
    as_parameters,
    draw_parameters,
    importance_weights,
)
from ipads_stream.physics.exponentials import damped_exponentials
from ipads_stream.physics.spectrum import spectrum

PEAK = ("peak",)
PARAMETERS = {
    "num_peaks": Parameter(within=(1, 256), integer=True),
    "amplitude": Parameter(within=(0.0, math.inf), axes=PEAK),
    "frequency": Parameter(quantity="frequency", axes=PEAK),
    "phase": Parameter(quantity="angle", axes=PEAK),
    "decay": Parameter(quantity="time", within=(1e-6, math.inf), axes=PEAK),
    "rate": Parameter(within=(0.0, 1.0)),
    "snr": Parameter(within=(1e-3, math.inf), optional=True),
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
        values = {name: getattr(self, name) for name in PARAMETERS}
        for name, checked in as_parameters(values, PARAMETERS).items():
            object.__setattr__(self, name, checked)
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
        axes = {PEAK: (self.max_peaks,), (): ()}
        shapes = {name: axes[rule.axes] for name, rule in PARAMETERS.items()}
        params: Arrays = draw_parameters(
            {name: (value, shapes[name]) for name, value in self._distributions().items()},
            keys,
            progress,
        )
        params["num_peaks"] = params["num_peaks"].astype(np.int64)
        params["amplitude"] *= self._present("amplitude", params)
        return params

    def _present(self, name: str, params: Arrays) -> np.ndarray | bool:
        is_peaks = PARAMETERS[name].axes == PEAK
        return np.arange(self.max_peaks) < params["num_peaks"][:, None] if is_peaks else True

    def _distributions(self) -> dict[str, Distribution]:
        values = {name: getattr(self, name) for name in PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}

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
            weight=importance_weights(self._distributions(), params, self._present),
        )
