"""DL-NMR: reconstruction of undersampled NMR signals, trained on synthetic exponentials alone.

Source: Qu et al., Angew. Chem. Int. Ed. 2020 (arXiv 1904.05168). Peak numbers, amplitudes and
frequencies as in the IPADS review; phase, decay and length are not stated there and are choices of
this project (see conf/system/dlnmr.yaml).
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.masks import SCHEDULES, num_sampled
from ipads_stream.acquisition.noise import measured
from ipads_stream.core.backend import moved
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import choice, keep, number, whole
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, importance_weights
from ipads_stream.distributions.parameters import parameter, rules_of
from ipads_stream.physics.spectroscopy.exponentials import damped_exponentials
from ipads_stream.physics.spectroscopy.spectrum import spectrum
from ipads_stream.systems.base import Axis, ParametricSystem

PEAK = ("peak",)
PEAKS = ("amplitude", "frequency", "phase", "decay")


@dataclass(frozen=True, kw_only=True)
class DLNMR(ParametricSystem):
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
    task: ClassVar[str] = "signals"
    adoption: ClassVar[str] = "ipads_stream.evaluation.adoption.signals.line_spectra"
    baselines: ClassVar[dict[str, str]] = {
        "zero-filling": "ipads_stream.baselines.signals.methods.zero_filling",
        "IST": "ipads_stream.baselines.signals.methods.soft_thresholding",
        "LRHM": "ipads_stream.baselines.signals.methods.low_rank",
    }

    num_peaks: Distribution = parameter(within=(1, 256), integer=True)
    amplitude: Distribution = parameter(within=(0.0, math.inf), axes=PEAK)
    frequency: Distribution = parameter(quantity="frequency", axes=PEAK)
    phase: Distribution = parameter(quantity="angle", axes=PEAK)
    decay: Distribution = parameter(quantity="time", within=(1e-6, math.inf), axes=PEAK)
    rate: Distribution = parameter(within=(0.0, 1.0))
    snr: Distribution | None = parameter(within=(1e-3, math.inf), optional=True)
    points: int = whole(128, low=2, high=2**18)
    dwell: float = number(1.0, above=0.0)
    schedule: str = choice("poisson_gap", among=sorted(SCHEDULES))

    def check(self) -> None:
        keep(self, dwell=float(self.dwell))
        if self.amplitude.support[1] == 0:
            raise ConfigError("amplitude", 0, "above 0 somewhere: all signals would be 0")
        if self.decay.support[1] < self.dwell / 10:
            allowed = f"times above a tenth of dwell={self.dwell:g} s: no second point has a signal"
            raise ConfigError("decay", self.decay.support, allowed)
        furthest = max(map(abs, self.frequency.support))
        if furthest * self.dwell > 1 and math.isfinite(furthest):
            text = f"frequency: up to {furthest:g} Hz, above 1/dwell = {1 / self.dwell:g} Hz, what"
            warnings.warn(f"{text} differs by it looks alike", stacklevel=2)
        if self.rate.support[0] * self.points < 0.5:
            allowed = f"at least one of {self.points} points sampled: {1 / self.points:.4g} or more"
            raise ConfigError("rate", self.rate.support, allowed)

    @property
    def max_peaks(self) -> int:
        """J, the length of the peak axis; absent peaks have amplitude 0."""
        return int(self.num_peaks.support[1])

    def lengths(self) -> dict[str, int]:
        return {PEAK[0]: self.max_peaks}

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        params = super().draw(keys, progress)
        params["num_peaks"] = params["num_peaks"].astype(np.int64)
        params["amplitude"] *= self._present("amplitude", params)
        return params

    def weights(self, params: Arrays) -> Any:
        return importance_weights(self.distributions(), params, self._present)

    def _present(self, name: str, params: Arrays) -> np.ndarray | bool:
        is_peaks = rules_of(self)[name].axes == PEAK
        return np.arange(self.max_peaks) < params["num_peaks"][:, None] if is_peaks else True

    @property
    def array_axes(self) -> dict[str, Axis]:
        return {"fid": Axis("time (s)", self.dwell * np.arange(self.points))}

    def forward(self, params: Arrays) -> Any:
        """The full, noise-free signal (B, N); differentiable for torch parameters."""
        peaks = [params[name] for name in PEAKS]
        return damped_exponentials(*peaks, points=self.points, dwell=self.dwell)

    def masks(self, keys: Keys, points: int, counts: np.ndarray, xp: Any = np) -> Any:
        """Which points are sampled, (B, points) bool, ``counts`` (B,) of them."""
        return SCHEDULES[self.schedule](keys["mask"], points, counts, xp)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        snr = [] if self.snr is None else [params["snr"].astype(np.float32)]
        drawn = moved(xp, *(params[name] for name in PEAKS), *snr)
        peaks = drawn[: len(PEAKS)]
        full = damped_exponentials(*peaks, points=self.points, dwell=self.dwell, dtype="complex64")
        counts = num_sampled(params["rate"], self.points)
        mask = self.masks(keys, self.points, counts, xp)
        target = spectrum(full)
        if self.snr is None:
            fid = xp.where(mask, full, 0)
        else:
            height = xp.max(xp.abs(target), axis=1)
            fid = measured(keys["noise"], full, height / drawn[-1], mask, xp)
        return self.batch({"fid": fid, "mask": mask}, {"spectrum": target}, params)
