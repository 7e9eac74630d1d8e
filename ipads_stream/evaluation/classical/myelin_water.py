"""Myelin water without a network: a fit of the pools, and a spectrum of T2.

Source: Hwang, Kim and Du, In vivo multi-slice mapping of myelin water content using T2* decay,
NeuroImage 52(1), 2010 (three pools); Whittall et al., In vivo measurement of T2 distributions and
water contents in normal human brain, Magnetic Resonance in Medicine 37(1), 1997 (regularised NNLS);
Prasloski et al., Applications of stimulated echo correction to multicomponent T2 analysis, Magnetic
Resonance in Medicine 67(6), 2012 (B1 from the misfit).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.evaluation.classical.least_squares import least_squares
from ipads_stream.evaluation.classical.nnls import misfit, nnls, regularised
from ipads_stream.evaluation.classical.posterior_mean import PosteriorMean, gaussian_of_any_amount
from ipads_stream.evaluation.quantification.methods import Method
from ipads_stream.physics.multi_pool import decay

NLLS, NNLS, POSTERIOR = "three-pool fit", "regularised NNLS", "posterior mean"
NUM_T2 = 40  # of the spectrum
SHORTEST, LONGEST = 0.5, 20.0  # over the shortest and longest T2 of the pools' ranges: its ends
STARTS = ((0.25, 0.5, 0.5), (0.75, 0.25, 0.25), (0.5, 0.8, 0.8))  # MWF, T2, B1 within their bounds
RISE = 1.02  # of the misfit, by regularisation
COARSE, FINE = 9, 41  # factors B1 that are tried

Arrays = dict[str, np.ndarray]


def classical_methods(system: Any) -> dict[str, Method]:
    """The methods for a system of systems/ann_mwf.py, by name.

    Args:
        system: whose echo times and ranges they are told; the ranges are the bounds of the fit.
    """
    return {
        NLLS: lambda inputs: three_pool_fit(system, inputs),
        NNLS: lambda inputs: t2_spectrum(system, inputs),
        POSTERIOR: posterior_mean(system),
    }


def posterior_mean(system: Any) -> PosteriorMean:
    """The optimum: knows the ranges and the noise.

    Args:
        system: of systems/ann_mwf.py.
    """
    drawn = system.distributions()
    return PosteriorMean(
        distributions={name: drawn[name] for name in drawn if name != "snr"},
        forward=system.forward,
        likelihood=gaussian_of_any_amount,
        measured="decay",
        sigma="sigma",
        scales={name: quantity.scale for name, quantity in system.quantities.items()},
    )


def three_pool_fit(system: Any, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """Least squares of the model by Levenberg-Marquardt, from several starts.

    Args:
        system: its ranges are the bounds.
        inputs: "decay", (B, E), any unit.
    """
    signals = _of_size_one(inputs["decay"])
    drawn = system.distributions()
    names = [n for n, d in drawn.items() if n != "snr" and d.support[0] < d.support[1]]
    ends = np.array([[0.2, 5.0], *(drawn[name].support for name in names)])
    low, high = ends.T
    fixed = {n: d.support[0] for n, d in drawn.items() if d.support[0] == d.support[1]}

    def model(x: np.ndarray) -> np.ndarray:
        params = {name: x[:, i + 1] for i, name in enumerate(names)}
        params |= {name: np.full(len(x), value) for name, value in fixed.items()}
        return x[:, :1] * np.asarray(system.forward(params))

    starts = []
    for MWF, T2, B1 in STARTS:
        share = {"MWF": MWF, "B1": B1} | {name: T2 for name in names if name.startswith("T2_")}
        at = np.array([0.0, *(share.get(name, 0.5) for name in names)])
        start = np.tile(low + at * (high - low), (len(signals), 1))
        start[:, 0] = 1.0
        start[:, 0] = signals[:, 0] / model(start)[:, 0]
        starts.append(start)
    x, _ = least_squares(model, signals, np.array(starts), low, high)
    found = {name: x[:, i + 1] for i, name in enumerate(names)}
    return {name: found[name] for name in system.quantities if name in found}


def t2_spectrum(system: Any, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """Regularised NNLS: MWF is the share of the spectrum below a limit between the pools' ranges.

    With B1 its factor is that of least misfit, by a parabola through the best of a coarse grid.

    Args:
        system: whose echo times and ranges it is told.
        inputs: "decay", (B, E), any unit.
    """
    signals = _of_size_one(inputs["decay"])
    drawn = system.distributions()
    pools = {name: d.support for name, d in drawn.items() if name.startswith("T2_")}
    others = [ends[0] for name, ends in pools.items() if name != "T2_myelin"]
    limit = math.sqrt(pools["T2_myelin"][1] * min(others))
    shortest = SHORTEST * pools["T2_myelin"][0]
    T2 = np.geomspace(shortest, LONGEST * max(ends[1] for ends in pools.values()) / 2, NUM_T2)
    found: Arrays = {}
    if "B1" not in drawn:
        x, _ = regularised(_basis(system, T2, None), signals, RISE)
    else:
        low, high = drawn["B1"].support
        found["B1"], x = _with_B1(system, signals, T2, low, high)
    short = limit > T2
    total = np.maximum(x.sum(axis=1), 1e-30)
    found["MWF"] = x[:, short].sum(axis=1) / total
    weights = x[:, short] + 1e-30
    found["T2_myelin"] = np.exp(weights @ np.log(T2[short]) / weights.sum(axis=1))
    return found


def _with_B1(
    system: Any, signals: np.ndarray, T2: np.ndarray, low: float, high: float
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B N"]]:
    coarse = np.linspace(low, high, COARSE)
    costs = np.empty((COARSE, len(signals)))
    for i, B1 in enumerate(coarse):
        basis = _basis(system, T2, B1)
        costs[i] = misfit(basis, signals, nnls(basis, signals))
    B1 = _least(coarse, costs)
    fine = np.linspace(low, high, FINE)
    nearest = np.abs(B1[:, None] - fine).argmin(axis=1)
    x = np.zeros((len(signals), len(T2)))
    for i in np.unique(nearest):
        rows = nearest == i
        x[rows] = regularised(_basis(system, T2, fine[i]), signals[rows], RISE)[0]
    return B1, x


def _least(grid: Float[np.ndarray, " G"], costs: Float[np.ndarray, "G B"]) -> np.ndarray:
    """Where the parabola through the least cost and its neighbours has its minimum."""
    best = np.clip(costs.argmin(axis=0), 1, len(grid) - 2)
    before, at, after = (np.take_along_axis(costs, best[None] + i, 0)[0] for i in (-1, 0, 1))
    curve = np.maximum(before - 2 * at + after, 1e-300)
    shift = np.clip(0.5 * (before - after) / curve, -1, 1)
    return grid[best] + shift * (grid[1] - grid[0])


def _basis(system: Any, T2: Float[np.ndarray, " N"], B1: float | None) -> np.ndarray:
    one = np.ones((len(T2), 1))
    factor = None if B1 is None else np.full(len(T2), B1)
    T1 = max(system.T1, float(T2.max()))
    return np.asarray(decay(system.TE, one, T2[:, None], factor, T1=T1)).T


def _of_size_one(signals: np.ndarray) -> Float[np.ndarray, "B E"]:
    signals = np.asarray(signals, np.float64)
    return signals / np.maximum(np.abs(signals[:, :1]), 1e-30)
