"""Myelin water without a network: a fit of the pools, and a spectrum of T2.

Methods use the echo times and ranges of systems such as systems/ann_mwf.py.

Source: Hwang, Kim and Du, NeuroImage 52(1), 2010 (three pools); Whittall et al., MRM 37(1), 1997
(regularised NNLS); Prasloski et al., MRM 67(6), 2012 (B1 from the misfit).
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ipads_stream.baselines import Method
from ipads_stream.baselines.least_squares import Unknowns, least_squares
from ipads_stream.baselines.nnls import misfit, nnls, regularised
from ipads_stream.baselines.posterior import PosteriorMean, gaussian_of_any_amount
from ipads_stream.physics.closed_forms.multi_pool import decay
from ipads_stream.systems.ann_mwf import ANNMWF

NUM_T2 = 40  # of the spectrum
# Ends of the spectrum, over the shortest and longest T2 of the pools' ranges. Spin echoes miss what
# decays before the first of them: below the shortest T2, RMS errors of MWF are 1.2 times as large.
# Of gradient echoes with the first at a third of it they are 0.93 of those of 1.0 (SNR 50).
SHORTEST_SPIN_ECHO, SHORTEST_GRADIENT_ECHO, LONGEST = 1.0, 0.5, 20.0
STARTS = ((0.25, 0.5, 0.5), (0.75, 0.25, 0.25), (0.5, 0.8, 0.8))  # MWF, T2, B1 within their bounds
RISE = 1.02  # of the misfit, by regularisation
COARSE, FINE = 9, 41  # factors B1 that are tried

Arrays = dict[str, np.ndarray]


def posterior_mean(system: ANNMWF) -> PosteriorMean:
    """The optimum: knows the ranges and the noise."""
    return PosteriorMean.of(system, gaussian_of_any_amount, "decay")


def three_pool_fit(system: ANNMWF) -> Method:
    """Least squares of the model by Levenberg-Marquardt within the ranges, from several starts."""
    unknowns = Unknowns.of(system)
    low, high = np.concatenate([[[0.2], [5.0]], unknowns.bounds], axis=1)  # the amount, first

    def model(x: np.ndarray) -> np.ndarray:
        return x[:, :1] * np.asarray(system.forward(unknowns.params(x[:, 1:])))

    def start(signals: np.ndarray, MWF: float, T2: float, B1: float) -> np.ndarray:
        share = {"MWF": MWF, "B1": B1, "T2": T2}
        at = np.array([0.0, *(share.get(name.split("_")[0], 0.5) for name in unknowns.names)])
        x = np.tile(low + at * (high - low), (len(signals), 1))
        x[:, 0] = 1.0
        x[:, 0] = signals[:, 0] / model(x)[:, 0]
        return x

    def fit(inputs: Mapping[str, np.ndarray]) -> Arrays:
        signals = _of_size_one(inputs["decay"])
        starts = np.array([start(signals, *shares) for shares in STARTS])
        x, _ = least_squares(model, signals, starts, low, high)
        params = unknowns.params(x[:, 1:])
        return {name: params[name] for name in unknowns.names if name in system.quantities}

    return fit


def t2_spectrum(system: ANNMWF) -> Method:
    """Regularised NNLS: MWF is the share of the spectrum below a limit between the pools' ranges.

    With B1 its factor is that of least misfit, by a parabola through the best of a coarse grid.
    """
    drawn = system.distributions()
    pools = {name: d.support for name, d in drawn.items() if name.startswith("T2_")}
    others = [ends[0] for name, ends in pools.items() if name != "T2_myelin"]
    limit = math.sqrt(pools["T2_myelin"][1] * min(others))
    share = SHORTEST_SPIN_ECHO if "B1" in drawn else SHORTEST_GRADIENT_ECHO
    shortest = share * pools["T2_myelin"][0]
    T2 = np.geomspace(shortest, LONGEST * max(ends[1] for ends in pools.values()) / 2, NUM_T2)
    short = limit > T2

    def fit(inputs: Mapping[str, np.ndarray]) -> Arrays:
        signals = _of_size_one(inputs["decay"])
        estimates: Arrays = {}
        if "B1" in drawn:
            estimates["B1"], x = _with_B1(system, signals, T2, *drawn["B1"].support)
        else:
            x, _ = regularised(_basis(system, T2, None), signals, RISE)
        total = np.maximum(x.sum(axis=1), 1e-30)
        weights = x[:, short] + 1e-30
        return estimates | {
            "MWF": x[:, short].sum(axis=1) / total,
            "T2_myelin": np.exp(weights @ np.log(T2[short]) / weights.sum(axis=1)),
        }

    return fit


def _with_B1(
    system: ANNMWF, signals: np.ndarray, T2: np.ndarray, low: float, high: float
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, "B N"]]:
    coarse = np.linspace(low, high, COARSE)
    bases = [_basis(system, T2, B1) for B1 in coarse]
    B1 = _least(coarse, np.array([misfit(A, signals, nnls(A, signals)) for A in bases]))
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


def _basis(system: ANNMWF, T2: Float[np.ndarray, " N"], B1: float | None) -> np.ndarray:
    fraction = np.ones((len(T2), 1))
    factor = None if B1 is None else np.full(len(T2), B1)
    T1 = max(system.T1, float(T2.max()))
    return np.asarray(decay(system.TE, fraction, T2[:, None], factor, T1=T1)).T


def _of_size_one(signals: np.ndarray) -> Float[np.ndarray, "B E"]:
    signals = np.asarray(signals, np.float64)
    return signals / np.maximum(np.abs(signals[:, :1]), 1e-30)
