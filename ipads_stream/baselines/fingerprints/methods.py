"""The classical methods for fingerprints: matching, matching and fitting, the posterior mean.

They use the schedule, prior and kind of data of systems such as systems/drone.py; the methods of
one system share their dictionary.
"""

from collections.abc import Callable, Mapping
from functools import cache
from weakref import WeakValueDictionary

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.baselines.fingerprints import matching, posterior
from ipads_stream.baselines.fingerprints.matching import Dictionary, Tissue, normalized
from ipads_stream.core.description import config_hash
from ipads_stream.physics.epg.fingerprint import relative_bound
from ipads_stream.systems.drone import DRONE


def dictionary(system: DRONE) -> Method:
    """Matching with a dictionary of 80,000 atoms."""
    return _method(system, Estimator.matched)


def dictionary_and_fit(system: DRONE) -> Method:
    """Least squares from the best atom on."""
    return _method(system, Estimator.fitted)


def posterior_mean(system: DRONE) -> Method:
    """The optimum: knows the prior."""
    return _method(system, Estimator.mean)


class Estimator:
    """Estimates of the tissue of fingerprints under a system's schedule and prior.

    Args:
        system: of fingerprints.
        atoms: of the dictionary, at least.
    """

    def __init__(self, system: DRONE, atoms: int = matching.ATOMS) -> None:
        self.system = system
        self.supports = {name: getattr(system, name).support for name in ("T1", "T2", "B1")}
        self.magnitude = system.data == "magnitude"
        self.dictionary = cache(lambda: Dictionary.of(self.signals, self.supports, atoms=atoms))

    def signals(self, T1: np.ndarray, T2: np.ndarray, B1: np.ndarray) -> np.ndarray:
        """What is seen of noise-free fingerprints of T1, T2 (s) and B1, (atoms, frames)."""
        real = np.imag(self.system.forward({"T1": T1, "T2": T2, "B1": B1}))
        return np.abs(real) if self.magnitude else np.ascontiguousarray(real)

    def matched(self, signals: np.ndarray) -> Tissue:
        """The atom of the dictionary that is most like each fingerprint."""
        return self.dictionary().estimate(signals)

    def fitted(self, signals: np.ndarray) -> Tissue:
        """Least squares from the best atom on."""
        system = self.system
        return matching.fitted(
            signals, self.matched(signals), system.schedule.frames, system.unknown, self.supports,
            magnitude=self.magnitude, orders=system.orders,
        )  # fmt: skip

    def mean(self, signals: np.ndarray) -> Tissue:
        """The posterior mean, around the least squares estimate."""
        peak = self.fitted(signals)
        prior = {name: getattr(self.system, name) for name in self.system.unknown}
        rule = posterior.rice_likelihood if self.magnitude else posterior.student_likelihood
        spread = self.spread(signals, peak)
        return peak | posterior.grid_mean(signals, peak, spread, prior, self.signals, rule)

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


_ESTIMATORS: WeakValueDictionary[str, Estimator] = WeakValueDictionary()


def _method(system: DRONE, estimate: Callable[[Estimator, np.ndarray], Tissue]) -> Method:
    estimator = _ESTIMATORS.setdefault(config_hash(system), Estimator(system))

    def estimated(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tissue = estimate(estimator, inputs["signal"])
        return {name: tissue[name].astype(np.float32) for name in system.estimated}

    return estimated
