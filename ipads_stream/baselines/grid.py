"""A posterior of few parameters on a grid that is laid anew about it until it is resolved.

The scores of the parameters are normal before anything is measured. The first grid covers this
prior; with the rest, the likelihood, raised to a power that leaves enough points, mean and
covariance say where the next one lies, turned along their axes, until the power is 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ipads_stream.baselines.posterior import weights_of

REACH = 4.5  # standard deviations that a grid covers to either side, of the prior at first
PER_AXIS = {1: 256, 2: 24, 3: 15}  # points along an axis, by the number of parameters
# Effective sample size that a power of the likelihood must leave, by the number of parameters: two
# points to a standard deviation along every axis.
LEAST = {1: 6.0, 2: 20.0, 3: 60.0}
ROUNDS = 12
RESOLVED = 0.25  # variance of a grid's weights, of the next one's, from which none is needed
LOWEST, HALVINGS = np.log(1e-9), 9


def grid_posterior(
    log_target: Callable[[np.ndarray, np.ndarray], np.ndarray], voxels: int, num: int
) -> tuple[Float[np.ndarray, "B n P"], Float[np.ndarray, "B n"]]:
    """Points of the last grid of every voxel, and log target times the cell of a point, so that
    the logarithm of the mean of their exponentials is that of the integral.

    Args:
        log_target: scores (b, n, P) of some voxels, and which these are, (b,) -> logarithm of
            prior and likelihood, (b, n).
        voxels: B.
        num: P, 1 to 3.
    """
    if num not in PER_AXIS:
        raise ValueError(f"{num} parameters: a grid holds 1 to 3")
    count = PER_AXIS[num]
    step = 2 * REACH / count
    axis = step * (np.arange(count) + 0.5) - REACH
    unit = np.stack(np.meshgrid(*[axis] * num, indexing="ij"), -1).reshape(-1, num)
    pairs = (unit[:, :, None] * unit[:, None, :]).reshape(-1, num * num)
    mean, root = np.zeros((voxels, num)), np.tile(np.eye(num), (voxels, 1, 1))
    active = np.arange(voxels)
    for _ in range(ROUNDS):
        z = _placed(mean[active], root[active], unit)
        prior = -0.5 * np.sum(z * z, axis=-1)
        rest = log_target(z, active) - prior
        power = powers(rest, prior, LEAST[num])
        weights = weights_of(power[:, None] * rest + prior)
        middle = weights @ unit
        second = (weights @ pairs).reshape(-1, num, num) - middle[:, :, None] * middle[:, None, :]
        # A point stands for its cell: what lies in one column of a grid is not without width.
        second = second + step**2 / 12 * np.eye(num)
        mean[active] += np.einsum("vij,vj->vi", root[active], middle)
        root[active] = root[active] @ np.linalg.cholesky(second)
        resolved = (power >= 1.0) & (np.linalg.eigvalsh(second)[:, 0] > RESOLVED)
        active = active[~resolved]
        if not len(active):
            break
    points = _placed(mean, root, unit)
    volume = (2 * REACH) ** num * np.abs(np.linalg.det(root))
    return points, log_target(points, np.arange(voxels)) + np.log(volume)[:, None]


def _placed(mean: np.ndarray, root: np.ndarray, unit: np.ndarray) -> np.ndarray:
    return mean[:, None] + unit @ np.swapaxes(root, 1, 2)


def powers(
    rest: Float[np.ndarray, "B n"], prior: Float[np.ndarray, "B n"], least: float
) -> Float[np.ndarray, " B"]:
    """The largest powers of the rest, at most 1, that leave an effective sample size of ``least``
    beside the prior; the least is 1e-9, and nine halvings of its logarithm are exact to 4 %."""
    low, high = np.full(len(rest), LOWEST), np.zeros(len(rest))
    power = high
    for _ in range(HALVINGS):
        weights = weights_of(np.exp(power)[:, None] * rest + prior)
        enough = np.sum(weights**2, axis=1) <= 1.0 / least
        low, high = np.where(enough, power, low), np.where(enough, high, power)
        power = np.where(low == 0.0, 0.0, 0.5 * (low + high))
    return np.exp(low)
