"""The posterior of a voxel, made right: a network proposes, the likelihood weights.

Scores z, Phi^-1 of the share of a quantity's range (nets/posterior.py), are drawn from a Student
distribution somewhat wider than the network's normal one, and weighted with prior and likelihood
over the proposal. Where too few of them count, more are drawn about those that do; where that does
not help either, a grid is laid over the posterior (baselines/grid.py), and the voxel says so. A
proposal many standard deviations off, at an end of a range where all points look alike, is not seen
by the effective sample size; the misfit sees it (evaluation/misfit.py).

Source: Geweke, Econometrica 57(6), 1989 (importance sampling); Dax et al., Physical Review Letters
130, 171403, 2023 (a network as the proposal).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp, ndtr

from ipads_stream.baselines.grid import grid_posterior
from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.systems.base import Likely

Arrays = Mapping[str, np.ndarray]
# inputs -> mean (B, P) and Cholesky root (B, P, P) of the scores.
Proposal = Callable[[Arrays], tuple[np.ndarray, np.ndarray]]

WIDTH = 1.3  # of the Student proposal over the network's
POINTS, MORE = 64, 1024
SHARE = 0.05  # of the points, the effective sample size below which more are drawn
AT_ONCE = 64  # voxels, whose signals fit the processor's cache
BINS = 2048  # in which the prior's density is tabulated
HOW = ("importance samples", "more importance samples", "a grid")
LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Posterior:
    """Weighted points of B voxels.

    Attributes:
        quantities: by name, in the order of the last axis of ``scores``.
        scores: z, (B, n, P).
        weights: of the points, 1 together, (B, n).
        effective: sample size that the voxel rests on, at most n, (B,).
        evidence: log p(measured), (B,).
        how: index into ``HOW``, (B,).
    """

    quantities: Mapping[str, Quantity]
    scores: Float[np.ndarray, "B n P"]
    weights: Float[np.ndarray, "B n"]
    effective: Float[np.ndarray, " B"]
    evidence: Float[np.ndarray, " B"]
    how: Int[np.ndarray, " B"]

    @cached_property
    def scaled(self) -> Float[np.ndarray, "B n P"]:
        """The normalised quantities of the points, -1 to 1 (core/quantity.py)."""
        return 2 * ndtr(self.scores) - 1

    @cached_property
    def mean(self) -> Float[np.ndarray, "B P"]:
        """Of the normalised quantities."""
        return np.einsum("vn,vnp->vp", self.weights, self.scaled)

    @cached_property
    def estimates(self) -> dict[str, np.ndarray]:
        """Posterior means on the scale of each quantity, SI, (B,) each."""
        return {n: x.physical(self.mean[:, i]) for i, (n, x) in enumerate(self.quantities.items())}

    @cached_property
    def deviations(self) -> dict[str, np.ndarray]:
        """Standard deviations in SI, (B,) each; of a logarithm, times the estimate."""
        square = np.einsum("vn,vnp->vp", self.weights, (self.scaled - self.mean[:, None]) ** 2)
        return deviations(self.quantities, np.sqrt(square), self.estimates)

    def ranks(self, truths: Arrays) -> Float[np.ndarray, "B P"]:
        """Share of the posterior below the true quantities."""
        names = list(self.quantities)
        true = np.stack([self.quantities[n].normalized(truths[n]) for n in names], axis=1)
        below = np.where(self.scaled < true[:, None], self.weights[..., None], 0).sum(axis=1)
        return np.clip(below, 0.0, 1.0)

    def quantile(self, level: float) -> dict[str, np.ndarray]:
        """The value below which a share of the posterior lies, SI, (B,) each."""
        found = {}
        for i, (name, quantity) in enumerate(self.quantities.items()):
            order = np.argsort(self.scaled[..., i], axis=1)
            x = np.take_along_axis(self.scaled[..., i], order, 1)
            weights = np.take_along_axis(self.weights, order, 1)
            middle = np.cumsum(weights, axis=1) - 0.5 * weights
            values = [np.interp(level, m, row) for m, row in zip(middle, x, strict=True)]
            found[name] = quantity.physical(np.array(values))
        return found


def points_for(quantities: int) -> int:
    """Points of a voxel: 64 for two quantities, four times as many for each further one.

    Their effective share falls with every quantity; of 64 points for three, 16 count in the median,
    and intervals of 90 % hold 84 %, of 256 they hold 88 % (`t1_inversion`, results/posteriors.md).
    """
    return POINTS * 4 ** max(quantities - 2, 0)


def deviations(
    quantities: Mapping[str, Quantity], sd: Float[np.ndarray, "B P"], estimates: Arrays
) -> dict[str, np.ndarray]:
    """Standard deviations in SI of those of the normalised quantities, (B,) each."""
    found = {}
    for i, (name, x) in enumerate(quantities.items()):
        low, high = (np.log(x.low), np.log(x.high)) if x.scale == "log" else (x.low, x.high)
        size = 0.5 * (high - low) * sd[:, i]
        found[name] = size * estimates[name] if x.scale == "log" else size
    return found


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """The posterior of a system's quantities, of a network's proposal and the likelihood.

    Attributes:
        system: with the likelihood and the prior.
        proposal: the network's normal distribution of the scores.
        points: of every voxel.
        seed: of the points; a voxel's are keyed by its number in the inputs.
    """

    system: Likely
    proposal: Proposal
    points: int = POINTS
    seed: int = 0

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """The posterior means, SI, (B,) each."""
        parts = [part.estimates for _, part in self.parts(inputs)]
        return {n: np.concatenate([part[n] for part in parts]) for n in self.system.quantities}

    def parts(self, inputs: Arrays) -> Iterator[tuple[slice, Posterior]]:
        """The posteriors of some voxels at a time, and which these are."""
        mean, root = self.proposal(inputs)
        for start in range(0, len(mean), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            given = {name: np.asarray(x)[rows] for name, x in inputs.items()}
            numbers = np.arange(start, start + len(mean[rows]), dtype=np.uint64)
            yield rows, self.posterior(given, mean[rows], root[rows], numbers)

    @cached_property
    def target(self) -> Target:
        """Prior and likelihood."""
        return Target(self.system)

    def posterior(
        self, inputs: Arrays, mean: np.ndarray, root: np.ndarray, numbers: np.ndarray
    ) -> Posterior:
        """The posterior of voxels, of a normal proposal of their scores.

        Args:
            inputs: of the voxels, (B, ...) each.
            mean, root: of the proposal, (B, P) and (B, P, P).
            numbers: of the voxels, which key their points, (B,).
        """
        keys = Keys(self.seed, "importance", numbers)
        scores, log_weights = self._weighted(inputs, mean, root, keys, self.points)
        how = np.zeros(len(mean), np.int64)
        weights, effective, evidence = normalised(log_weights)
        few = effective < SHARE * self.points
        for stage in (1, 2):
            rows = np.flatnonzero(few)
            if not len(rows):
                break
            here = {name: x[rows] for name, x in inputs.items()}
            some = Keys(self.seed, f"importance {stage}", numbers[rows])
            if stage == 1:
                about = _about(scores[rows], weights[rows], root[rows])
                points, logs = self._weighted(here, *about, some, MORE)
            else:
                points, logs = self.target.grid(here)
            w, size, evidence[rows] = normalised(logs)
            scores[rows] = resampled(points, w, self.points, some)
            weights[rows], how[rows] = 1.0 / self.points, stage
            effective[rows] = np.minimum(size, self.points)
            few[rows] = size < SHARE * MORE if stage == 1 else False
        return Posterior(self.system.quantities, scores, weights, effective, evidence, how)

    def _weighted(
        self, inputs: Arrays, mean: np.ndarray, root: np.ndarray, keys: Keys, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points of the proposal, and the logarithms of their weights."""
        z, log_density = student(keys, mean, WIDTH * root, count)
        return z, self.target(inputs, z) - log_density


class Target:
    """log p(measured | z) + log p(z), (B, n), of scores (B, n, P); inputs are (B, ...)."""

    def __init__(self, system: Likely) -> None:
        self.system = system
        drawn = system.distributions()
        self.log_density = {}
        for name, quantity in system.quantities.items():
            if drawn[name].conditions:
                raise ConfigError(name, drawn[name], "a distribution that depends on no other")
            edges = quantity.physical(np.linspace(-1.0, 1.0, BINS + 1))
            edges[0], edges[-1] = -np.inf, np.inf  # whatever rounding makes of the ends
            density = BINS * np.diff(drawn[name].cdf(edges))
            self.log_density[name] = np.log(np.maximum(density, 1e-30)).astype(np.float32)

    def grid(self, inputs: Arrays) -> tuple[np.ndarray, np.ndarray]:
        """Points of a grid over the posterior of every voxel, (B, n, P), and log target there."""

        def some(z: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return self({name: x[rows] for name, x in inputs.items()}, z)

        return grid_posterior(some, len(inputs["mask"]), len(self.system.quantities))

    def __call__(self, inputs: Arrays, z: Float[np.ndarray, "B n P"]) -> Float[np.ndarray, "B n"]:
        z = z.astype(np.float32)  # for which the likelihood has a kernel
        params, prior = {}, -0.5 * np.sum(z * z, axis=-1) - 0.5 * z.shape[-1] * LOG_2PI
        for i, (name, quantity) in enumerate(self.system.quantities.items()):
            share = ndtr(z[..., i])
            params[name] = quantity.physical(2 * share - 1)
            table = self.log_density[name]
            if table.any():  # not drawn evenly on its scale
                prior = prior + table[np.minimum((share * BINS).astype(np.int64), BINS - 1)]
        found = self.system.log_likelihood(dict(inputs), params) + prior
        return np.where(np.isfinite(found), found, np.float32(-1e30))


def student(
    keys: Keys, mean: np.ndarray, root: np.ndarray, count: int
) -> tuple[Float[np.ndarray, "B n P"], Float[np.ndarray, "B n"]]:
    """Points z = m + L t, t_p of Student's distribution of 4 degrees of freedom, and the logarithm
    of their density.

    t is the quantile 2 sqrt(cos(arccos(sqrt a) / 3) / sqrt a - 1), a = 4 u (1 - u), with the sign
    of u - 1/2; u lie evenly: multiples of powers of a generalised golden ratio, shifted for each
    voxel by one uniform number. Means over them have a small part of the error of random points.

    Source: Shaw, Journal of Computational Finance 9(4), 2006 (the quantile); Cranley and Patterson,
    SIAM Journal on Numerical Analysis 13, 904 (1976) (the shift).
    """
    num = mean.shape[1]
    ratio = 2.0
    for _ in range(40):  # of x^(P + 1) = x + 1
        ratio = (1.0 + ratio) ** (1.0 / (num + 1))
    steps = np.arange(count)[:, None] * ratio ** -np.arange(1.0, num + 1)
    u = (steps + random.uniform(keys["shift"], (1, num))) % 1.0
    u = np.clip(u, 1e-12, 1 - 1e-12)
    a = np.sqrt(4 * u * (1 - u))
    away = np.maximum(np.cos(np.arccos(a) / 3) / a - 1, 0.0)
    t = (np.sign(u - 0.5) * 2 * np.sqrt(away)).astype(np.float32)
    z = mean[:, None].astype(np.float32) + t @ np.swapaxes(root.astype(np.float32), 1, 2)
    size = np.log(np.einsum("vii->vi", root)).sum(axis=1)
    log_density = np.sum(np.log(0.375) - 2.5 * np.log1p(t * t / 4), axis=-1)
    return z, log_density - size[:, None]


def normalised(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights that add up to 1, their effective sample size, and the logarithm of their mean."""
    total = logsumexp(log_weights, axis=1)
    weights = np.exp(log_weights - total[:, None])
    return weights, 1.0 / np.sum(weights**2, axis=1), total - np.log(log_weights.shape[1])


def resampled(points: np.ndarray, weights: np.ndarray, count: int, keys: Keys) -> np.ndarray:
    """``count`` points of equal weight, (B, count, P), by systematic resampling."""
    places = (random.uniform(keys["place"], ())[:, None] + np.arange(count)) / count
    ends = np.cumsum(weights, axis=1)
    rows = [np.searchsorted(e, p * e[-1]) for e, p in zip(ends, places, strict=True)]
    return np.take_along_axis(points, np.array(rows)[..., None], axis=1)


def _about(
    scores: np.ndarray, weights: np.ndarray, root: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and root of a proposal about the points that count, no narrower than the first one: far
    from the posterior narrow points look alike, and their weights say nothing."""
    mean = np.einsum("vn,vnp->vp", weights, scores)
    away = scores - mean[:, None]
    covariance = np.einsum("vn,vnp,vnq->vpq", weights, away, away)
    first = root @ np.swapaxes(root, 1, 2)
    return mean, np.linalg.cholesky(covariance + first)
