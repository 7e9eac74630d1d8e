"""The protocol of the least bound: a search by exact gradients of the simulated signal.

The mean square of what is left of the prior's standard deviation, averaged over voxels and
quantities, is minimised by sequential quadratic programming, whose gradient comes through the
simulator (torch).

Source: van Trees, Detection, estimation, and modulation theory I, 1968, section 2.4.2, the bound
with a prior; Kraft, A software package for sequential quadratic programming, 1988.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize

from ipads_stream.core.random import Keys, uniform
from ipads_stream.core.sample import Arrays
from ipads_stream.evaluation.design.problem import Problem
from ipads_stream.physics import cramer_rao

STEP = 1e-4  # of a parameter over its prior's standard deviation: differences are off by 1e-8
UNKNOWN = 1e3  # times the prior's standard deviation, or of the amplitude's logarithm: no prior
CONSTANT = 0.1  # in place of a standard deviation of 0
WITHIN = 1.01  # times the least mean square: a start that ends there has found the same
ITERATIONS = 200


@dataclass(frozen=True)
class Voxels:
    """Voxels of the prior.

    Attributes:
        params: float64, (B,).
        spread: standard deviation of the unknown parameters, of their logarithm where that counts.
        weight: (B,), sum 1.
    """

    params: Arrays
    spread: Mapping[str, float]
    weight: Any


@dataclass(frozen=True)
class Found:
    """The end of a search.

    Attributes:
        controls: chosen, SI, NumPy.
        mean_square: of what is left of the prior's standard deviation.
        duration: s.
        agreeing, starts: how many starts ended there, of how many.
    """

    problem: Problem
    controls: dict[str, Float[np.ndarray, " n"]]
    mean_square: float
    duration: float
    agreeing: int
    starts: int

    def at_limits(self) -> list[str]:
        """Controls some number of which could go no further."""
        known = self.problem.controls.items()
        near = {name: (x.low, x.high, 1e-3 * (x.high - x.low)) for name, x in known}
        return [
            name
            for name, (low, high, margin) in near.items()
            if (self.controls[name].min() < low + margin)
            or (self.controls[name].max() > high - margin)
        ]


def voxels(system: Any, unknown: Mapping[str, str], count: int, seed: int, split: str) -> Voxels:
    """Keyed voxels of a system's prior."""
    keys = Keys(seed, split, np.arange(count, dtype=np.uint64))
    drawn = system.draw(keys, np.full(count, np.inf))
    params = {name: np.asarray(x, np.float64) for name, x in drawn.items()}
    weight = system.weights(params)
    weight = np.ones(count) if weight is None else np.asarray(weight, np.float64)
    spread = {
        name: float(np.std(np.log(params[name]) if scale == "log" else params[name])) or CONSTANT
        for name, scale in unknown.items()
    }
    for name, (low, high) in ((n, x.support) for n, x in system.distributions().items()):
        if unknown.get(name) == "linear":  # differences stay within
            edge = STEP * spread[name]
            params[name] = np.clip(params[name], low + edge, high - edge)
    tensors = {name: torch.as_tensor(x) for name, x in params.items()}
    return Voxels(tensors, spread, torch.as_tensor(weight / weight.sum()))


def left(
    signal: Callable[[Arrays], Any], unknown: Mapping[str, str], voxels: Voxels, width: float
) -> Any:
    """The bound over the prior's standard deviation, (B, unknown), differentiable.

    Args:
        signal: of parameters, (B, N), over the noise in a real channel.
        width: of what is known beforehand, over the prior's: 1, or ``UNKNOWN``.
    """
    params, moved = voxels.params, [voxels.params]
    for name, scale in unknown.items():
        for step in (STEP, -STEP):
            by = step * voxels.spread[name]
            value = params[name] * np.exp(by) if scale == "log" else params[name] + by
            moved.append(params | {name: value})
    stacked = {name: torch.cat([x[name] for x in moved]) for name in params}
    at, *ends = torch.split(signal(stacked), len(voxels.weight))
    slopes = [(a - b) / (2 * STEP) for a, b in zip(ends[::2], ends[1::2], strict=True)]
    fisher = cramer_rao.fisher_information(torch.stack([*slopes, at], dim=-1), 1.0)
    return cramer_rao.bound(fisher, np.array([width] * len(unknown) + [UNKNOWN]))[:, :-1]


def mean_square(errors: Any, names: Sequence[str], wanted: Sequence[str], voxels: Voxels) -> Any:
    """Of the wanted columns of ``left``, over voxels and quantities."""
    columns = [list(names).index(name) for name in wanted]
    return (voxels.weight[:, None] * errors[:, columns] ** 2).sum() / len(columns)


def search(
    problem: Problem, voxels: Voxels, wanted: Sequence[str], budget: float, *, width: float,
    starts: int, seed: int,
) -> Found | None:  # fmt: skip
    """The controls of the least mean square within a budget; None where none are within.

    Args:
        problem: what may be chosen.
        voxels: over which the square is averaged.
        wanted: quantities that count.
        budget: longest duration, s.
        width: as of ``left``.
        starts: of the search, one of them that of the controls, the others anywhere within.
        seed: of these.
    """
    names, sizes = list(problem.controls), [len(x.start) for x in problem.controls.values()]
    low = np.repeat([x.low for x in problem.controls.values()], sizes)
    high = np.repeat([x.high for x in problem.controls.values()], sizes)

    def controls(u: Any) -> Arrays:
        values = torch.as_tensor(low) + u * torch.as_tensor(high - low)
        return dict(zip(names, torch.split(values, sizes), strict=True))

    def with_gradient(function: Callable[[Arrays], Any]) -> Callable[[Any], tuple[float, Any]]:
        def evaluated(u: np.ndarray) -> tuple[float, np.ndarray]:
            at = torch.tensor(np.clip(u, 0, 1), dtype=torch.float64, requires_grad=True)
            value = function(controls(at))
            slope = torch.autograd.grad(value, at, allow_unused=True)[0]
            return float(value.detach()), np.zeros(len(u)) if slope is None else slope.numpy()

        return evaluated

    def square(chosen: Arrays) -> Any:
        errors = left(lambda p: problem.signal(p, chosen), problem.unknown, voxels, width)
        return torch.log(mean_square(errors, list(problem.unknown), wanted, voxels))

    objective = with_gradient(square)
    spare = with_gradient(lambda chosen: 1 - problem.duration(chosen) / budget)
    within = {"type": "ineq", "fun": lambda u: spare(u)[0], "jac": lambda u: spare(u)[1]}
    keys = Keys(seed, "design/starts", np.arange(max(starts - 1, 0), dtype=np.uint64))
    first = np.concatenate([x.start for x in problem.controls.values()])
    ends = []
    for u in [(first - low) / (high - low), *uniform(keys["start"], (len(low),))]:
        result = minimize(
            objective, u, jac=True, method="SLSQP", bounds=[(0, 1)] * len(low),
            constraints=[within], options={"maxiter": ITERATIONS, "ftol": 1e-7},
        )  # fmt: skip
        if np.isfinite(result.fun) and spare(result.x)[0] >= -1e-6:
            ends.append((float(np.exp(result.fun)), np.clip(result.x, 0, 1)))
    if not ends:
        return None
    least, best = min(ends, key=lambda end: end[0])
    chosen = controls(torch.as_tensor(best))
    duration = float(problem.duration(chosen))
    agreeing = sum(value <= WITHIN * least for value, _ in ends)
    plain = {name: x.numpy() for name, x in chosen.items()}
    return Found(problem, plain, least, duration, agreeing, starts)
