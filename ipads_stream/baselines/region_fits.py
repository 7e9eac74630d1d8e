"""Maximum likelihood of many voxels at once, alone and with parameters that a region shares.

Per voxel the quantities are found by Newton steps on differences of the likelihood; what a region
shares is looked for on a grid that is laid anew about its best point.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ipads_stream.core.quantity import Quantity
from ipads_stream.systems.base import Likely

Arrays = Mapping[str, np.ndarray]
LogLikelihood = Callable[[dict[str, Any], dict[str, Any]], Any]
COARSE = 16  # points along each quantity of the first search
STEP = 5e-3  # of differences, on the normalised scale
FARTHEST = 0.2  # of a Newton step
ROUNDS, ZOOMS, FINER = 8, 3, 5
ENOUGH = 1e-3  # of a likelihood's logarithm, below which no step counts any more
POINTS = 100_000  # whose signals are in memory at a time
LEAST = 1e-3  # curvature, below which a direction is flat


@dataclass(frozen=True)
class Imperfection:
    """What measured data may have and a system does not simulate.

    Attributes:
        sentence: what it is, for a reader.
        grid: values of further parameters, rising, among which the best are looked for; the voxels
            of a region share them.
        log_likelihood: as of :class:`ipads_stream.systems.base.Likely`, of the quantities and the
            further parameters; refuses with ConfigError inputs whose signal it does not know.
        remedy: the line of YAML that simulates it, with the parameters in braces; "": none does.
        is_counted: whether the parameters have no values between those of the grid.
    """

    sentence: str
    grid: Mapping[str, Sequence[float | int]]
    log_likelihood: LogLikelihood
    remedy: str = ""
    is_counted: bool = False


@dataclass(frozen=True)
class Fit:
    """The best parameters of voxels.

    Attributes:
        log_likelihood: of every voxel, (B,).
        quantities: SI, (B,) each.
        shared: of the region of every voxel, (B,) each; none of the system alone.
    """

    log_likelihood: Float[np.ndarray, " B"]
    quantities: Mapping[str, Float[np.ndarray, " B"]]
    shared: Mapping[str, Float[np.ndarray, " B"]]


def fit_alone(system: Likely, inputs: Arrays) -> Fit:
    """The best quantities of every voxel; inputs are (B, ...)."""
    names, count = list(system.quantities), len(inputs["mask"])
    axis = np.linspace(-1, 1, COARSE)
    points = np.stack(np.meshgrid(*[axis] * len(names), indexing="ij"), -1).reshape(-1, len(names))
    tried = np.broadcast_to(points, (count, *points.shape))
    found = _logs(system.log_likelihood, system.quantities, inputs, tried, {})
    start = points[np.argmax(found, axis=1)][:, None]
    best, scaled = _climbed(system.log_likelihood, system.quantities, inputs, start, {})
    return Fit(best[:, 0], _physical(system.quantities, scaled[:, 0]), {})


def fit_shared(
    system: Likely,
    imperfection: Imperfection,
    inputs: Arrays,
    alone: Fit,
    region: Int[np.ndarray, " B"],
) -> Fit:
    """The best quantities of every voxel and parameters of every region with an imperfection.

    Args:
        system: without it.
        imperfection: what may be there.
        inputs: of the voxels, (B, ...) each.
        alone: the fit of the system, from which the search starts.
        region: number of the region of every voxel, 0, 1, ...
    """
    names, count = list(imperfection.grid), int(region.max()) + 1
    axes = {
        name: np.tile(np.asarray(values, float), (count, 1))
        for name, values in imperfection.grid.items()
    }
    ends = {
        name: (float(min(values)), float(max(values))) for name, values in imperfection.grid.items()
    }
    first = np.stack([x.normalized(alone.quantities[n]) for n, x in system.quantities.items()], -1)
    best = np.full(count, -np.inf)
    found: Fit | None = None
    for _ in range(1 if imperfection.is_counted else 1 + ZOOMS):
        choice = list(itertools.product(*(range(axes[name].shape[1]) for name in names)))
        shared = {name: axes[name][:, [c[i] for c in choice]] for i, name in enumerate(names)}
        given = {name: x[region] for name, x in shared.items()}
        start = np.repeat(first[:, None], len(choice), axis=1)
        logs, scaled = _climbed(
            imperfection.log_likelihood, system.quantities, inputs, start, given
        )
        totals = np.zeros((count, len(choice)))
        np.add.at(totals, region, logs)
        at = np.argmax(totals, axis=1)
        rows = np.arange(len(region))
        is_better = (totals[np.arange(count), at] > best)[region]
        now = Fit(logs[rows, at[region]], _physical(system.quantities, scaled[rows, at[region]]),
                  {name: x[rows, at[region]] for name, x in given.items()})  # fmt: skip
        found = now if found is None else _joined(is_better, now, found)
        best = np.maximum(best, totals[np.arange(count), at])
        first = np.stack([x.normalized(found.quantities[n]) for n, x in system.quantities.items()],
                         -1)  # fmt: skip
        axes = {name: _finer(axes[name], shared[name][np.arange(count), at], *ends[name])
                for name in names}  # fmt: skip
    assert found is not None
    return found


def _finer(axis: np.ndarray, best: np.ndarray, low: float, high: float) -> np.ndarray:
    """Points of a finer axis about the best of each region, one distance to either side."""
    away = np.abs(axis - best[:, None])
    distance = np.where(away > 1e-12, away, np.inf).min(axis=1)
    reach = np.where(np.isfinite(distance), distance, 0.0)[:, None] * np.linspace(-1, 1, FINER)
    return np.clip(best[:, None] + 0.75 * reach, low, high)


def _joined(is_better: np.ndarray, one: Fit, other: Fit) -> Fit:
    def chosen(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(is_better, a, b)

    return Fit(
        chosen(one.log_likelihood, other.log_likelihood),
        {name: chosen(x, other.quantities[name]) for name, x in one.quantities.items()},
        {name: chosen(x, other.shared[name]) for name, x in one.shared.items()},
    )


def _physical(quantities: Mapping[str, Quantity], scaled: np.ndarray) -> dict[str, np.ndarray]:
    return {name: x.physical(scaled[..., i]) for i, (name, x) in enumerate(quantities.items())}


def _logs(
    log_likelihood: LogLikelihood,
    quantities: Mapping[str, Quantity],
    inputs: Arrays,
    scaled: Float[np.ndarray, "B n P"],
    shared: Arrays,
) -> Float[np.ndarray, "B n"]:
    params = {name: x.astype(np.float32) for name, x in _physical(quantities, scaled).items()}
    found = np.empty(scaled.shape[:2])
    step = max(1, POINTS // scaled.shape[1])
    for start in range(0, len(scaled), step):
        rows = slice(start, start + step)
        given, those = (
            {n: x[rows] for n, x in of.items()} for of in (inputs, {**params, **shared})
        )
        found[rows] = log_likelihood(given, those)
    return np.where(np.isfinite(found), found, -1e30)


def _climbed(
    log_likelihood: LogLikelihood,
    quantities: Mapping[str, Quantity],
    inputs: Arrays,
    start: Float[np.ndarray, "B n P"],
    shared: Arrays,
) -> tuple[Float[np.ndarray, "B n"], Float[np.ndarray, "B n P"]]:
    """The highest likelihoods near starts, by Newton steps that never go down, and where."""
    num = start.shape[2]
    pairs = list(itertools.combinations(range(num), 2))
    unit = np.eye(num)
    offsets = np.array([np.zeros(num), *unit, *-unit, *(unit[i] + unit[j] for i, j in pairs)])
    repeated = {name: np.repeat(x, len(offsets), axis=1) for name, x in shared.items()}
    best, at = np.full(start.shape[:2], -np.inf), start.copy()
    tried, move = start, np.zeros_like(start)
    for _ in range(ROUNDS):
        points = tried[:, :, None] + STEP * offsets
        logs = _logs(log_likelihood, quantities, inputs,
                     points.reshape(len(points), -1, num), repeated)  # fmt: skip
        logs = logs.reshape(*start.shape[:2], len(offsets))
        is_up = (logs[..., 0] > best)[..., None]
        is_done = bool((logs[..., 0] - best < ENOUGH).all())
        best = np.maximum(best, logs[..., 0])
        at = np.where(is_up, tried, at)
        if is_done:
            break
        move = np.where(is_up, _step(logs, num, pairs), 0.3 * move)
        tried = np.clip(at + move, -1.2, 1.2)
    return best, at


def _step(logs: np.ndarray, num: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """A Newton step uphill, of bounded length, of the values of a stencil."""
    centre, ahead, behind = logs[..., :1], logs[..., 1 : 1 + num], logs[..., 1 + num : 1 + 2 * num]
    slope = (ahead - behind) / (2 * STEP)
    curvature = np.zeros((*logs.shape[:2], num, num))
    for i in range(num):
        curvature[..., i, i] = (ahead + behind - 2 * centre)[..., i] / STEP**2
    for k, (i, j) in enumerate(pairs):
        mixed = logs[..., 1 + 2 * num + k] - ahead[..., i] - ahead[..., j] + centre[..., 0]
        curvature[..., i, j] = curvature[..., j, i] = mixed / STEP**2
    values, vectors = np.linalg.eigh(curvature)
    along = np.einsum("vnpq,vnp->vnq", vectors, slope) / np.maximum(np.abs(values), LEAST)
    move = np.einsum("vnpq,vnq->vnp", vectors, along)
    length = np.linalg.norm(move, axis=-1, keepdims=True)
    return np.asarray(move * np.minimum(1.0, FARTHEST / np.maximum(length, 1e-12)))
