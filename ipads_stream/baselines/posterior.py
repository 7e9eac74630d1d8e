"""The posterior mean of a voxel's parameters: no estimate has a smaller mean squared error.

A sample is drawn in the space of z = Phi^-1(u), u the uniform numbers that a system's distributions
turn into its parameters, where the prior is a standard normal distribution. From a large sample of
it, common to all voxels, a Student proposal follows the posterior of each while the likelihood is
raised to powers that leave a large enough effective sample size, up to 1.

Source: Cappe et al., Journal of Computational and Graphical Statistics 13(4), 2004 (population
Monte Carlo); Neal, Statistics and Computing 11, 2001 (the powers).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln, logsumexp, ndtr, ndtri

from ipads_stream.core import random
from ipads_stream.core.random import Keys
from ipads_stream.distributions.given import Given
from ipads_stream.distributions.joint import links_of, plan
from ipads_stream.distributions.univariate import Distribution
from ipads_stream.systems.ann_mwf import ANNMWF
from ipads_stream.systems.anncest import ANNCEST

Arrays = dict[str, np.ndarray]
# measured (V, E), its noise (V,), signals (V, n, E) or (n, E) -> log-likelihood (V, n)
Likelihood = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

System = ANNMWF | ANNCEST
Measured = Float[np.ndarray, "V E"]
Voxels = Float[np.ndarray, " V"]
Weights = Float[np.ndarray, "V n"]
FREEDOM = 5.0  # degrees of the Student proposal
LEAST = 200.0  # effective sample size that a power of the likelihood must leave
AT_ONCE = 50  # voxels


@dataclass(frozen=True, kw_only=True)
class PosteriorMean:
    """Estimates of quantities by importance sampling.

    Attributes:
        distributions: of the unknown parameters, by name; constants are known.
        forward: params -> noise-free signals, (B, E).
        likelihood: ``gaussian`` or ``gaussian_of_any_amount``.
        measured, sigma: names of the inputs.
        scales: name of each quantity to estimate -> "linear" or "log", in which the mean is taken.
        prior_points, points, rounds: of the first sample, of each proposal, and how many proposals
            there are at most before the last, which has 4 times the points.
        seed: of the sample.
    """

    distributions: Mapping[str, Distribution]
    forward: Callable[[Arrays], np.ndarray]
    likelihood: Likelihood
    measured: str
    sigma: str
    scales: Mapping[str, str]
    prior_points: int = 100_000
    points: int = 2000
    rounds: int = 8
    seed: int = 0

    @classmethod
    def of(
        cls, system: System, likelihood: Likelihood, measured: str, *, prior_points: int = 100_000
    ) -> "PosteriorMean":
        """The optimum for a system of quantities: knows its ranges and the noise ``sigma``."""
        drawn = system.distributions()
        return cls(
            distributions={name: drawn[name] for name in drawn if name != "snr"},
            forward=system.forward,
            likelihood=likelihood,
            measured=measured,
            sigma="sigma",
            scales={name: quantity.scale for name, quantity in system.quantities.items()},
            prior_points=prior_points,
        )

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The posterior means, (B,) by name."""
        return self.sampled(inputs)[0]

    def sampled(
        self, inputs: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], Float[np.ndarray, " B"]]:
        """The posterior means, and the effective sample size that each rests on."""
        measured = np.asarray(inputs[self.measured], np.float64)
        sigma = np.asarray(inputs[self.sigma], np.float64)
        keys = Keys(self.seed, "posterior", np.arange(self.prior_points, dtype=np.uint64))
        z = ndtri(random.uniform(keys["prior"], (len(self.unknown),)))
        prior = z, np.asarray(self._signals(z)[0])
        batches = []
        for first in range(0, len(measured), AT_ONCE):
            here = slice(first, first + AT_ONCE)
            batches.append(self._voxels(first, measured[here], sigma[here], prior))
        estimates, effective = zip(*batches, strict=True)
        means = {name: np.concatenate([part[name] for part in estimates]) for name in self.scales}
        return means, np.concatenate(effective)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the parameters that vary."""
        return tuple(n for n, d in self.distributions.items() if d.support[0] < d.support[1])

    def _signals(self, z: np.ndarray) -> tuple[np.ndarray, Arrays]:
        shape, u = z.shape[:-1], np.clip(ndtr(z), 1e-15, 1 - 1e-15)
        params = at_quantiles(self.distributions, self.unknown, u.reshape(-1, u.shape[-1]))
        signals = self.forward(params)
        return signals.reshape(*shape, -1), {n: x.reshape(shape) for n, x in params.items()}

    def _voxels(
        self, first: int, measured: np.ndarray, sigma: np.ndarray, prior: tuple[Any, Any]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        z, signals = prior
        log_target = self.likelihood(measured, sigma, signals)
        power = powers(log_target, np.zeros_like(log_target), 0.0)
        weights = weights_of(power[:, None] * log_target)
        mean, covariance = moments(z[None], weights)
        indices = np.arange(first, first + len(measured), dtype=np.uint64)
        for turn in range(self.rounds + 1):
            last = turn == self.rounds or bool(np.all(power >= 1.0) and turn > 1)
            keys = Keys(self.seed, f"posterior {turn}", indices)
            z, log_proposal = student(keys, mean, covariance, self.points * (4 if last else 1))
            signals, params = self._signals(z)
            log_target = self.likelihood(measured, sigma, signals)
            log_ratio = -0.5 * np.sum(z * z, axis=-1) - log_proposal
            power = np.ones(len(z)) if last else powers(log_target, -log_ratio, power)
            weights = weights_of(power[:, None] * log_target + log_ratio)
            if last:
                break
            mean, covariance = moments(z, weights)
        estimates = {}
        for name, scale in self.scales.items():
            x = np.log(params[name]) if scale == "log" else params[name]
            centre = np.sum(weights * x, axis=1)
            estimates[name] = np.exp(centre) if scale == "log" else centre
        return estimates, 1.0 / np.sum(weights**2, axis=1)


def gaussian(measured: Measured, sigma: Voxels, signals: np.ndarray) -> Weights:
    """log p(y | s) = -|y - s|^2 / (2 sigma^2), but for a constant."""
    energy = np.sum(signals * signals, axis=-1)
    return (_products(measured, signals) - 0.5 * energy) / sigma[:, None] ** 2


def gaussian_of_any_amount(measured: Measured, sigma: Voxels, signals: np.ndarray) -> Weights:
    """log p(y | s) of y = A s + noise, log A of flat prior, but for a constant:

    (y.s)^2 / (2 sigma^2 |s|^2), A integrated over the line about its best value, where at a high
    signal-to-noise ratio 1 / A hardly changes: the width there, sigma / |s|, times 1 / A is
    sigma / (y.s) |s|.
    """
    size = np.sqrt(np.sum(signals * signals, axis=-1))
    along = np.maximum(_products(measured, signals) / size, 1e-300)
    return 0.5 * (along / sigma[:, None]) ** 2 - np.log(along)


def at_quantiles(
    distributions: Mapping[str, Distribution], unknown: tuple[str, ...], u: Float[np.ndarray, "B d"]
) -> Arrays:
    """The parameters that uniform numbers become; those that are known take their median."""
    drawn: Arrays = {}
    for name in plan(links_of(distributions)).order:
        distribution = distributions[name]
        column = u[:, unknown.index(name)] if name in unknown else np.full(len(u), 0.5)
        values = {other: drawn[other] for other in distribution.conditions.values()}
        drawn[name] = distribution.quantile(column, Given(np.zeros(len(u)), values))
    return drawn


def student(
    keys: Keys, mean: Float[np.ndarray, "V d"], covariance: Float[np.ndarray, "V d d"], count: int
) -> tuple[Float[np.ndarray, "V n d"], Weights]:
    """Points of a multivariate Student distribution, and the logarithm of its density."""
    d = mean.shape[-1]
    normal = random.normal(keys["direction"], (count, d)).astype(np.float64)
    degrees = random.normal(keys["length"], (count, int(FREEDOM))).astype(np.float64)
    chi2 = np.sum(degrees**2, axis=-1)
    root = np.linalg.cholesky(covariance)
    z = normal * np.sqrt(FREEDOM / chi2)[..., None]
    u = mean[:, None] + z @ np.swapaxes(root, 1, 2)
    log_root = np.sum(np.log(np.einsum("vii->vi", root)), axis=-1)
    constant = gammaln((FREEDOM + d) / 2) - gammaln(FREEDOM / 2) - d / 2 * np.log(FREEDOM * np.pi)
    square = np.sum(z * z, axis=-1)
    return u, constant - log_root[:, None] - (FREEDOM + d) / 2 * np.log1p(square / FREEDOM)


def moments(
    u: Float[np.ndarray, "... n d"], weights: Weights
) -> tuple[Float[np.ndarray, "V d"], Float[np.ndarray, "V d d"]]:
    """Mean and covariance of weighted points; no narrower than 1e-4 in any direction."""
    d = u.shape[-1]
    if u.shape[0] == 1:
        mean = weights @ u[0]
        pairs = (u[0][:, :, None] * u[0][:, None, :]).reshape(-1, d * d)
        second = (weights @ pairs).reshape(-1, d, d)
        covariance = second - mean[:, :, None] * mean[:, None, :]
    else:
        mean = np.einsum("vn,vnd->vd", weights, u)
        away = u - mean[:, None]
        covariance = np.swapaxes(away * weights[..., None], 1, 2) @ away
    return mean, covariance + 1e-8 * np.eye(d)


def powers(log_target: Weights, log_proposal: Weights, before: Any) -> Voxels:
    """The largest powers, at most 1, that leave an effective sample size of LEAST."""
    low, high = np.zeros(len(log_target)) + before, np.ones(len(log_target))
    power = high
    for _ in range(20):
        weights = weights_of(power[:, None] * log_target - log_proposal)
        enough = np.sum(weights**2, axis=1) <= 1.0 / LEAST
        low, high = np.where(enough, power, low), np.where(enough, high, power)
        power = np.where(low >= 1.0, 1.0, 0.5 * (low + high))
    return low


def weights_of(log_weights: Weights) -> Weights:
    """Weights that add up to 1."""
    return np.exp(log_weights - logsumexp(log_weights, axis=1, keepdims=True))


def _products(measured: np.ndarray, signals: np.ndarray) -> np.ndarray:
    if signals.ndim == 2:
        return measured @ signals.T
    return (signals @ measured[..., None])[..., 0]
