"""T2 of echoes without a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.baselines.least_squares import least_squares
from t2_mapping.system import T2Mapping


def log_linear(system: T2Mapping) -> Method:
    """A straight line through ln S, each echo weighted by S^2: ln S = ln M0 - TE / T2.

    Source: for the weights, Gudbjartsson and Patz, MRM 34:910 (1995).
    """
    TE = np.asarray(system.TE)

    def fit(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        signal = np.maximum(inputs["signal"].astype(float), 1e-6)
        weight, log = signal**2, np.log(signal)
        total = weight.sum(axis=1)
        late = TE - ((weight * TE).sum(axis=1) / total)[:, None]
        rate = -(weight * late * log).sum(axis=1) / (weight * late**2).sum(axis=1)
        return {"T2": np.clip(1 / np.maximum(rate, 1e-6), *system.T2.support)}

    return fit


def nonlinear(system: T2Mapping) -> Method:
    """Least squares of M0 exp(-TE / T2) itself: no logarithm lifts the noise of late echoes."""
    TE, line = np.asarray(system.TE), log_linear(system)
    low, high = (np.log(T2) for T2 in system.T2.support)

    def model(x: np.ndarray) -> np.ndarray:
        return x[:, 1:] * np.exp(-TE / np.exp(x[:, :1]))

    def fit(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        signal = inputs["signal"].astype(float)
        T2 = line(inputs)["T2"]
        M0 = signal[:, 0] * np.exp(TE[0] / T2)
        x, _ = least_squares(model, signal, np.stack([np.log(T2), M0], axis=1)[None],
                             np.array([low, 0.0]), np.array([high, 10.0]))  # fmt: skip
        return {"T2": np.exp(x[:, 0])}

    return fit
