"""Relaxation times of a voxel from its images: log-linear and exponential fit, dictionary, maximum
likelihood, posterior mean.

Methods use the acquisition, the noise and the ranges of systems such as systems/t2_map.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import ndtr

from ipads_stream.baselines import Method
from ipads_stream.baselines.importance import Target
from ipads_stream.baselines.posterior import weights_of
from ipads_stream.systems.base import Likely
from ipads_stream.systems.echo_train import EchoTrain
from ipads_stream.systems.relaxometry import Relaxometry
from ipads_stream.systems.t2_cpmg import T2CPMG
from ipads_stream.systems.t2_map import T2Map

AT_ONCE = 8  # voxels, whose signals on a grid fit the processor's cache
ENTRIES = 4096  # of a dictionary
LEAST = 3.0  # signal over the noise; lower magnitudes are noise above zero


def log_linear_fit(system: EchoTrain) -> Method:
    """Least squares of log S over TE, each echo weighted with its signal squared, in the range; of
    echoes below 3 times the noise only the first two count."""
    name, *_ = system.estimated
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


def exponential_fit(system: T2CPMG) -> Method:
    """The most likely decay of one exponential: what is fitted where stimulated echoes are not
    known of."""
    shared = ("T2", "snr", "num_echoes", "spacing", "detection", "coils")
    alone: Any = T2Map(**{name: getattr(system, name) for name in shared})
    return maximum_likelihood(alone)


def dictionary(system: Relaxometry) -> Method:
    """Least squares over a table of signals, its quantities at equal distances on their scales, and
    their amplitude; magnitudes have no floor there. Voxels of one protocol share a table.

    Source: Ben-Eliezer et al., Magnetic Resonance in Medicine 73, 809 (2015).
    """
    quantities = {name: x for name, x in system.quantities.items() if name != "snr"}
    scaled = np.linspace(-1, 1, int(ENTRIES ** (1 / len(quantities))))
    axes = [x.physical(scaled) for x in quantities.values()]
    grid = [x.reshape(-1, 1) for x in np.meshgrid(*axes, indexing="ij")]
    entries = dict(zip(quantities, grid, strict=True))

    def matched(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        acquired = np.stack([np.asarray(inputs[name]) for name in system.scales], axis=1)
        masks = np.asarray(inputs["mask"])
        found = {name: np.empty(len(masks)) for name in system.quantities}
        _, protocol = np.unique(acquired, axis=0, return_inverse=True)
        for each in range(protocol.max() + 1):
            rows = np.flatnonzero(protocol.ravel() == each)
            mask = masks[rows[0]]
            given = dict(zip(system.scales, acquired[rows[0], :, None][:, :, mask], strict=True))
            table = np.asarray(system.relaxation(given, entries))
            norm = np.linalg.norm(table, axis=1)
            alike = np.asarray(inputs["signal"])[rows][:, mask] @ (table / norm[:, None]).T
            best = np.argmax(alike, axis=1)
            for name, values in entries.items():
                found[name][rows] = values[best, 0]
            found["snr"][rows] = alike[np.arange(len(rows)), best] / norm[best]
        return found

    return matched


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
