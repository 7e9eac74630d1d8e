"""Relaxation times of a voxel from its images: log-linear fit, maximum likelihood, posterior mean.

Methods use the acquisition, the noise and the ranges of systems such as systems/t2_map.py.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.special import ndtr

from ipads_stream.baselines import Method
from ipads_stream.baselines.importance import Target
from ipads_stream.baselines.posterior import weights_of
from ipads_stream.systems.base import Likely
from ipads_stream.systems.relaxometry import EchoTrain

AT_ONCE = 8  # voxels, whose signals on a grid fit the processor's cache
LEAST = 3.0  # signal over the noise; lower magnitudes are noise above zero


def log_linear_fit(system: EchoTrain) -> Method:
    """Least squares of log S over TE, each echo weighted with its signal squared, in the range; of
    echoes below 3 times the noise only the first two count."""
    (name,) = system.estimated
    low, high = system.distributions()[name].support

    def fit(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        signal = np.maximum(np.asarray(inputs["signal"], np.float64), 1e-3)
        used = inputs["mask"] & ((signal > LEAST) | (np.arange(signal.shape[1]) < 2))
        TE, y = np.asarray(inputs["TE"], np.float64), np.log(signal)
        weight = np.where(used, signal**2, 0.0)
        weight /= weight.sum(axis=1, keepdims=True)
        x0, y0 = np.sum(weight * TE, axis=1), np.sum(weight * y, axis=1)
        away = TE - x0[:, None]
        slope = np.sum(weight * away * y, axis=1) / np.sum(weight * away**2, axis=1)
        time = 1.0 / np.clip(-slope, 1 / high, 1 / low)
        return {name: time, "snr": np.exp(y0 + x0 / time)}

    return fit


def posterior_mean(system: Likely) -> Method:
    """The mean of every quantity on its scale, by a grid: no estimate has a smaller error."""
    return _on_grid(system, lambda z, logs: weights_of(logs))


def maximum_likelihood(system: Likely) -> Method:
    """The most likely point, within the ranges, of the grid over the posterior: a third of a
    standard deviation lies between its points."""

    def weights(z: np.ndarray, logs: np.ndarray) -> np.ndarray:
        prior = -0.5 * np.sum(z * z, axis=-1)
        best = np.argmax(logs - prior, axis=1)
        return np.asarray(np.arange(logs.shape[1]) == best[:, None], float)

    return _on_grid(system, weights)


def _on_grid(system: Likely, weigh: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Method:
    target, quantities = Target(system), system.quantities

    def voxels(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        z, logs = target.grid(inputs)
        scaled = np.einsum("vn,vnp->vp", weigh(z, logs), 2 * ndtr(z) - 1)
        return {name: x.physical(scaled[:, i]) for i, (name, x) in enumerate(quantities.items())}

    def estimate(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = np.asarray(inputs["mask"]).sum(axis=1)
        found = {name: np.empty(len(count), np.float32) for name in quantities}
        order = np.argsort(count, kind="stable")  # those of as many images together
        for start in range(0, len(count), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            part = voxels({name: np.asarray(x)[rows] for name, x in inputs.items()})
            for name, values in part.items():
                found[name][rows] = values
        return found

    return estimate
