"""The distribution of a quantity over many voxels, without the noise of its estimation.

A histogram of estimates is that of the truths, blurred by how far estimates lie off. Here the bins'
shares are what makes the measured data of all voxels together most likely.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from ipads_stream.baselines.importance import Target
from ipads_stream.baselines.posterior import weights_of
from ipads_stream.systems.base import Likely

AT_ONCE = 16  # voxels, whose signals on a grid fit the processor's cache
ROUNDS, CHANGE = 300, 1e-4  # of the shares, below which nothing changes any more
SMOOTH = (0.1, 0.8, 0.1)  # over neighbouring bins, after every round


def deconvolved(
    system: Likely, inputs: Mapping[str, np.ndarray], edges: Mapping[str, Float[np.ndarray, " n"]]
) -> dict[str, Float[np.ndarray, " m"]]:
    """Shares of the bins of every quantity, each 1 together, by expectation and maximisation:

    share_k <- S mean_v p(bin k | y_v, shares), S smoothing over neighbours; quantities are
    independent of one another. The posterior of a voxel under the system's prior is taken on a
    grid (baselines/grid.py) once and weighted anew with every prior.

    Args:
        system: whose likelihood the voxels have; its prior covers the bins.
        inputs: of the voxels, (B, ...) each.
        edges: of the bins by quantity, SI, rising, over the whole range of the prior.

    Source: Laird, Journal of the American Statistical Association 73, 805 (1978); Silverman et al.,
    Journal of the Royal Statistical Society B 52, 271 (1990) (smoothing).
    """
    target, drawn = Target(system), system.distributions()
    bins: dict[str, list[np.ndarray]] = {name: [] for name in edges}
    weights = []
    for start in range(0, len(inputs["mask"]), AT_ONCE):
        z, logs = target.grid(
            {n: np.asarray(x)[start : start + AT_ONCE] for n, x in inputs.items()}
        )
        weights.append(weights_of(logs))
        for i, (name, quantity) in enumerate(system.quantities.items()):
            if name in edges:
                values = quantity.physical(2 * ndtr(z[..., i]) - 1)
                place = np.searchsorted(edges[name], values, side="right") - 1
                bins[name].append(np.clip(place, 0, len(edges[name]) - 2))
    weight = np.concatenate(weights)
    place = {name: np.concatenate(x) for name, x in bins.items()}
    first = {name: np.maximum(np.diff(drawn[name].cdf(x)), 1e-12) for name, x in edges.items()}
    shares = {name: x / x.sum() for name, x in first.items()}
    for _ in range(ROUNDS):
        now = weight.copy()
        for name, at in place.items():
            now *= (shares[name] / first[name])[at]
        now /= now.sum(axis=1, keepdims=True)
        before = shares
        shares = {name: _smooth(np.bincount(at.ravel(), now.ravel(), len(first[name])) / len(now))
                  for name, at in place.items()}  # fmt: skip
        if max(np.abs(shares[name] - before[name]).max() for name in shares) < CHANGE:
            break
    return shares


def _smooth(shares: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """What would leave at an end stays in the last bin."""
    padded = np.pad(shares, 1, mode="edge")
    found = np.convolve(padded, SMOOTH, mode="valid")
    return np.asarray(found / found.sum())
