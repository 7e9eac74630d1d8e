"""The posterior mean of a fingerprint's tissue, by sums over a grid: nothing has a lower error.

A first grid, over the whole prior, finds where the likelihood is largest; a second, around it, is
as wide as the Cramer-Rao bound implies, cut to the prior. The mean is of the logarithm, but for B1.

Source: Robert, The Bayesian choice, 2nd ed., 2007, section 2.5 (the mean has the least squared
error), and Gelman et al., Bayesian data analysis, 3rd ed., 2013, section 3.2 (Student's marginal).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import i0e, i1e

from ipads_stream.baselines.fingerprints.matching import Signals, Tissue, normalized
from ipads_stream.baselines.passes import Passes
from ipads_stream.distributions import Distribution
from ipads_stream.distributions.given import Given

REACH = 6.0  # standard deviations of the bound, to each side
POINTS = {2: 29, 3: 21}  # of an axis, by how many there are: steps of 0.4 and 0.6 of them
NODES = 20_000  # of which the signals are held at once
LEAST = 1e-12  # of 1 - rho^2, below the rounding of single precision
STEPS = 5  # of the iteration for amplitude and noise of magnitudes
LEAST_NOISE = 1e-7  # per frame, of norm 1: below the rounding of single precision

Measured = Float[np.ndarray, "B N"]
Models = Float[np.ndarray, "B M N"]
# Fingerprints and noise-free ones to log-likelihoods, constants left out.
Likelihood = Callable[[Measured, Models], Float[np.ndarray, "B M"]]


def student_likelihood(y: Measured, models: Models) -> Float[np.ndarray, "B M"]:
    """ln p(y | x) of real signals; amplitude (a flat prior) and noise (1 / sigma) marginalised.

    p(y | x) is proportional to (1 - rho^2)^(-(N - 1) / 2) where rho = <x, y> > 0, of norm 1.
    """
    unit, y = normalized(models), normalized(y)
    rho = np.einsum("bmn,bn->bm", unit, y)
    # 1 - rho^2 as the squared distance from the line, which loses no digits.
    distance = np.sum((y[:, None, :] - rho[:, :, None] * unit) ** 2, axis=2)
    value = -0.5 * (y.shape[1] - 1) * np.log(np.maximum(distance, LEAST))
    return np.where(rho > 0, value, -np.inf)


def rice_likelihood(y: Measured, models: Models) -> Float[np.ndarray, "B M"]:
    """ln p(y | x) of magnitudes, at the likeliest amplitude a and noise sigma of every model.

    p(y_n) = y_n / sigma^2 exp(-(y_n^2 + a^2 x_n^2) / 2 sigma^2) I0(a x_n y_n / sigma^2). a and
    sigma^2 come from expectation maximisation over the phases that were lost: with r_n = I1 / I0,
    a <- sum x y r / sum x^2, sigma^2 <- (sum y^2 / 2 + a^2 sum x^2 / 2 - a sum x y r) / N. Taking
    their largest likelihood for the mean over them changes the posterior by one part in N.

    Source: Rice, Mathematical analysis of random noise, Bell System Technical Journal 24, 1945;
    Dempster, Laird, Rubin, Journal of the Royal Statistical Society B 39, 1977.
    """
    x, y = normalized(models), normalized(y)
    N = y.shape[1]
    xy = x * y[:, None, :]
    amplitude = xy.sum(axis=2)  # x and y have norm 1
    # Circular noise: its variance is per channel, and only one of them lies along the signal.
    variance = np.maximum(1 - amplitude**2, LEAST_NOISE**2) / N
    for _ in Passes(STEPS):
        z = xy * (amplitude / variance)[:, :, None]
        amplitude = (xy * (i1e(z) / i0e(z))).sum(axis=2)
        variance = np.maximum((1 - amplitude**2) / (2 * N), LEAST_NOISE**2)
    z = xy * (amplitude / variance)[:, :, None]
    value = (np.log(i0e(z)) + z).sum(axis=2)
    return value - (1 + amplitude**2) / (2 * variance) - N * np.log(variance)


def grid_mean(
    y: Measured,
    peak: Tissue,
    spread: Mapping[str, Float[np.ndarray, " B"]],
    prior: Mapping[str, Distribution],
    signals: Signals,
    likelihood: Likelihood = student_likelihood,
) -> Tissue:
    """E[ln p | y] as exp of it, or E[p | y] of B1, of every unknown.

    peak: T1, T2 (s) and B1 of the largest likelihood, (B,), those that are known, too; spread:
    standard deviation of the logarithm of the unknown, which are summed over; prior: of the
    unknown, with the conditions among them.
    """
    names = list(spread)
    points = POINTS[len(names)]
    means: dict[str, list[np.ndarray]] = {name: [] for name in names}
    at_once = max(1, NODES // points ** len(names))
    for first in range(0, len(y), at_once):
        here = slice(first, first + at_once)
        axes = {n: _axis(peak[n][here], spread[n][here], prior[n].support, points) for n in names}
        nodes, mass = _nodes(axes, prior)
        known = {name: peak[name][here][:, None] for name in peak if name not in nodes}
        tissue = {n: np.broadcast_to(x, mass.shape).copy() for n, x in (nodes | known).items()}
        tissue["T2"] = np.minimum(tissue["T2"], 2 * tissue["T1"])  # of no mass, but simulated, too
        # Single precision: its rounding moves a log-likelihood by some 0.01 at an SNR of 100.
        models = signals(**{name: x.ravel().astype(np.float32) for name, x in tissue.items()})
        logs = likelihood(y[here], models.reshape(*mass.shape, -1)).astype(np.float64)
        logs = np.where(mass > 0, logs + np.log(np.where(mass > 0, mass, 1.0)), -np.inf)
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        for name in names:
            is_log = name != "B1"
            mean = np.sum(weights * (np.log(nodes[name]) if is_log else nodes[name]), axis=1)
            means[name].append(np.exp(mean) if is_log else mean)
    return {name: np.concatenate(parts) for name, parts in means.items()}


def _axis(peak: np.ndarray, spread: np.ndarray, support: Any, points: int) -> np.ndarray:
    """Values in equal steps of the logarithm around each peak, within the support, (B, points)."""
    reach, ends = REACH * spread, np.log(support)
    begin, end = np.clip(np.log(peak) - reach, *ends), np.clip(np.log(peak) + reach, *ends)
    return np.exp(begin[:, None] + (end - begin)[:, None] * np.linspace(0.0, 1.0, points))


def _nodes(
    axes: Mapping[str, np.ndarray], prior: Mapping[str, Distribution]
) -> tuple[Tissue, np.ndarray]:
    """The grid of each fingerprint, and the prior probability of the cells around its nodes."""
    points = next(iter(axes.values())).shape[1]
    index = np.indices((points,) * len(axes)).reshape(len(axes), -1)
    nodes = {name: axis[:, i] for i, (name, axis) in zip(index, axes.items(), strict=True)}
    mass: Any = 1.0
    for i, (name, axis) in zip(index, axes.items(), strict=True):
        logs = np.log(axis)
        half = (logs[:, 1:2] - logs[:, :1]) / 2
        edges = [np.exp(np.log(nodes[name]) + sign * half) for sign in (-1, 1)]
        # The ends of the grid have half a cell, as in the trapezoid rule.
        low = np.where(i == 0, nodes[name], edges[0])
        high = np.where(i == points - 1, nodes[name], edges[1])
        given = Given(0.0, {other: nodes[other] for other in prior[name].conditions.values()})
        mass = mass * np.maximum(prior[name].cdf(high, given) - prior[name].cdf(low, given), 0.0)
    return nodes, mass
