"""The posterior mean of a fingerprint's tissue, by sums over a grid: nothing has a lower error.

The amplitude (a flat prior) and the level of the noise (1 / sigma) are marginalised in closed form:
for a fingerprint y and a noise-free one x, both real, of norm 1 and N frames, with rho = <x, y>,

    p(y | T1, T2, B1) is proportional to (1 - rho^2)^(-(N - 1) / 2), rho > 0.

A first grid, over the whole prior, finds where the likelihood is largest; a second, around it, is
as wide as the Cramer-Rao bound tells, cut to the prior. The mean is of the logarithm for quantities
on a logarithmic scale.

Source: Robert, The Bayesian choice, 2nd ed., 2007, section 2.5 (the mean has the least squared
error), and Gelman et al., Bayesian data analysis, 3rd ed., 2013, section 3.2 (Student's marginal).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.distributions import Distribution
from ipads_stream.distributions.given import Given
from ipads_stream.evaluation.classical.fingerprint_matching import Signals, Tissue, normalized

REACH = 6.0  # standard deviations of the bound, to each side
POINTS = {2: 29, 3: 21}  # of an axis, by how many there are: steps of 0.4 and 0.6 of them
NODES = 20_000  # of which the signals are held at once
LEAST = 1e-12  # of 1 - rho^2, below the rounding of single precision

# Fingerprints y (B, N) and models x (B, M, N) to log-likelihoods (B, M), constants left out.
Likelihood = Callable[[np.ndarray, np.ndarray], np.ndarray]


def student_likelihood(
    y: Float[np.ndarray, "B N"], models: Float[np.ndarray, "B M N"]
) -> Float[np.ndarray, "B M"]:
    """ln p(y | x) of real signals, amplitude and noise level marginalised; see the module.

    Args:
        y: fingerprints, any norm.
        models: noise-free fingerprints, any norm.
    """
    unit, y = normalized(models), normalized(y)
    rho = np.einsum("bmn,bn->bm", unit, y)
    # 1 - rho^2 as the squared distance from the line, which loses no digits.
    rest = np.sum((y[:, None, :] - rho[:, :, None] * unit) ** 2, axis=2)
    value = -0.5 * (y.shape[1] - 1) * np.log(np.maximum(rest, LEAST))
    return np.where(rho > 0, value, -np.inf)


def posterior_mean(
    y: Float[np.ndarray, "B N"],
    peak: Tissue,
    spread: Mapping[str, Float[np.ndarray, " B"]],
    prior: Mapping[str, Distribution],
    signals: Signals,
    likelihood: Likelihood = student_likelihood,
    is_log: Mapping[str, bool] | None = None,
) -> Tissue:
    """E[ln p | y] as exp of it, or E[p | y], of every unknown.

    Args:
        y: fingerprints, (B, N).
        peak: T1, T2 (s) and B1 of the largest likelihood, (B,), those that are known, too.
        spread: name -> standard deviation of its logarithm, (B,); of the unknown, which are summed
            over.
        prior: name -> distribution of the unknown; conditions among them are heeded.
        signals: noise-free fingerprints of tissue.
        likelihood: of the fingerprints.
        is_log: whether the mean is of the logarithm; None: of relaxation times it is.
    """
    names = list(spread)
    points = POINTS[len(names)]
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    at_once = max(1, NODES // points ** len(names))
    for first in range(0, len(y), at_once):
        here = slice(first, first + at_once)
        axes = {
            name: _axis(peak[name][here], spread[name][here], prior[name].support, points)
            for name in names
        }
        nodes, mass = _nodes(axes, prior)
        known = {name: peak[name][here][:, None] for name in peak if name not in nodes}
        tissue = {name: np.broadcast_to(x, mass.shape) for name, x in (nodes | known).items()}
        possible = mass > 0
        safe = {name: x.copy() for name, x in tissue.items()}
        safe["T2"] = np.minimum(safe["T2"], 2 * safe["T1"])  # of no mass, but simulated, too
        # Single precision: its rounding moves a log-likelihood by some 0.01 at an SNR of 100.
        models = signals(**{name: x.ravel().astype(np.float32) for name, x in safe.items()})
        logs = likelihood(y[here], models.reshape(*mass.shape, -1)).astype(np.float64)
        logs = np.where(possible, logs + np.log(np.where(possible, mass, 1.0)), -np.inf)
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        for name in names:
            logarithmic = name != "B1" if is_log is None else is_log[name]
            x = np.log(nodes[name]) if logarithmic else nodes[name]
            mean = np.sum(weights * x, axis=1)
            found[name].append(np.exp(mean) if logarithmic else mean)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _axis(
    peak: np.ndarray, spread: np.ndarray, support: tuple[float, float], points: int
) -> np.ndarray:
    """Values in equal steps of the logarithm around each peak, within the support, (B, points)."""
    low, high = np.log(support[0]), np.log(support[1])
    begin = np.clip(np.log(peak) - REACH * spread, low, high)
    end = np.clip(np.log(peak) + REACH * spread, low, high)
    share = np.linspace(0.0, 1.0, points)
    return np.exp(begin[:, None] + (end - begin)[:, None] * share)


def _nodes(
    axes: Mapping[str, np.ndarray], prior: Mapping[str, Distribution]
) -> tuple[Tissue, np.ndarray]:
    """The grid of each fingerprint, and the prior probability of the cells around its nodes."""
    names = list(axes)
    points = next(iter(axes.values())).shape[1]
    index = np.indices((points,) * len(names)).reshape(len(names), -1)
    nodes = {name: axes[name][:, index[i]] for i, name in enumerate(names)}
    mass: Any = 1.0
    for i, name in enumerate(names):
        logs = np.log(axes[name])
        half = (logs[:, 1:2] - logs[:, :1]) / 2
        edges = [np.exp(np.log(nodes[name]) + sign * half) for sign in (-1, 1)]
        # The ends of the grid have half a cell, as in the trapezoid rule.
        edges[0] = np.where(index[i] == 0, nodes[name], edges[0])
        edges[1] = np.where(index[i] == points - 1, nodes[name], edges[1])
        given = Given(0.0, {other: nodes[other] for other in prior[name].conditions.values()})
        mass = mass * np.maximum(
            prior[name].cdf(edges[1], given) - prior[name].cdf(edges[0], given), 0.0
        )
    return nodes, mass
