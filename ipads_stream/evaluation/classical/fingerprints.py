"""The classical methods for fingerprints: matching, matching and fitting, the posterior mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ipads_stream.evaluation.classical.fingerprint_matching import (
    Dictionary,
    Tissue,
    fitted,
    normalized,
)
from ipads_stream.evaluation.classical.fingerprint_posterior import (
    posterior_mean,
    student_likelihood,
)
from ipads_stream.evaluation.classical.fingerprint_rice import rice_likelihood
from ipads_stream.evaluation.quantification.methods import Method
from ipads_stream.physics.fingerprint import relative_bound

MATCHING, FIT, POSTERIOR = "dictionary", "dictionary and fit", "posterior mean"


def classical_methods(system: Any) -> dict[str, Method]:
    """The methods by name; the dictionary of 80,000 atoms is made when the first of them runs.

    Args:
        system: of fingerprints (systems/drone.py): its schedule, prior and kind of data.
    """
    names = system.estimated
    estimator = Estimator(system)

    def method(estimate: Any) -> Method:
        def estimated(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            found = estimate(inputs["signal"])
            return {name: found[name].astype(np.float32) for name in names}

        return estimated

    return {
        MATCHING: method(estimator.matched),
        FIT: method(estimator.fitted),
        POSTERIOR: method(estimator.mean),
    }


class Estimator:
    """Estimates of the tissue of fingerprints under a system's schedule and prior.

    Args:
        system: of fingerprints.
        atoms: of the dictionary, at least.
    """

    def __init__(self, system: Any, atoms: int | None = None) -> None:
        self.system = system
        self.supports = {name: getattr(system, name).support for name in ("T1", "T2", "B1")}
        self.magnitude = system.data == "magnitude"
        size = {} if atoms is None else {"atoms": atoms}
        self.dictionary = cache(lambda: Dictionary.of(self.signals, self.supports, **size))

    def signals(self, T1: np.ndarray, T2: np.ndarray, B1: np.ndarray) -> np.ndarray:
        """What is seen of noise-free fingerprints of T1, T2 (s) and B1, (atoms, frames)."""
        real = np.imag(self.system.forward({"T1": T1, "T2": T2, "B1": B1}))
        return np.abs(real) if self.magnitude else np.ascontiguousarray(real)

    def matched(self, signals: np.ndarray) -> Tissue:
        """The atom of the dictionary that is most like each fingerprint."""
        return self.dictionary().estimate(signals)

    def fitted(self, signals: np.ndarray) -> Tissue:
        """Least squares from the best atom on."""
        return fitted(
            signals,
            self.matched(signals),
            self.system.schedule.frames,
            self.system.unknown,
            self.supports,
            magnitude=self.magnitude,
            orders=self.system.orders,
        )

    def mean(self, signals: np.ndarray) -> Tissue:
        """The posterior mean, around the least squares estimate."""
        peak = self.fitted(signals)
        spread = self.spread(signals, peak)
        prior = {name: getattr(self.system, name) for name in self.system.unknown}
        found = posterior_mean(
            signals,
            peak,
            spread,
            prior,
            self.signals,
            rice_likelihood if self.magnitude else student_likelihood,
        )
        return peak | found

    def spread(self, signals: np.ndarray, peak: Tissue) -> dict[str, np.ndarray]:
        """Cramer-Rao bounds of the logarithms at the estimates, with the noise of the residuals."""
        system = self.system
        tissue = {name: peak[name] for name in ("T1", "T2", "B1")}
        y = normalized(signals.astype(np.float64))
        rho = np.sum(y * normalized(self.signals(**tissue)), axis=1)
        free = y.shape[1] - len(system.unknown) - 1
        # Noise per frame over the root mean square of the signal.
        noise = np.sqrt(np.maximum(1 - rho**2, 1e-10) / free * y.shape[1])
        frames = system.schedule.frames
        relative = relative_bound(frames, system.unknown, system.orders, **tissue)
        return {name: sd * noise for name, sd in relative.items()}
