"""How many orders of an extended phase graph are kept, from a bound on the error of the signal."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ipads_stream.physics.epg_arguments import host, whole_number
from ipads_stream.physics.epg_formula import all_orders
from ipads_stream.physics.epg_kernels import fill_fisp

BOUND = 1e-5  # of M0: what orders="auto" may leave out
_SAFETY = 4.0
_LONG = 1e3  # s: between a T1 above and inf no further probes are spread


def kept_orders(orders: Any, train: Any, tissue: Any, TI: Any) -> int:
    """As given; for "auto" num_orders of the batch, or all where its values are hidden (vmap).

    Args:
        orders: a number or "auto".
        train: flip, phase, TR, TE on the host; None where they are hidden.
        tissue: T1, T2, B1.
        TI: as for fisp.
    """
    if orders != "auto":
        orders = whole_number("orders", orders, allowed="'auto' or a whole number from 1 on")
        return orders if train is None else min(orders, all_orders(train[0]))
    values = [host(x) for x in (*tissue, 0.0 if TI is None else TI)]
    ranges = [(float(x.min()), float(x.max())) for x in values if x is not None and x.size]
    if train is None or any(x is None for x in values):
        return 2**31 - 1
    if len(ranges) < 4:
        return 1  # an empty batch
    flip, phase, TR, TE = train
    T1, T2, B1, times = ranges
    return num_orders(flip, phase, TR, TE, T1, T2, B1, None if TI is None else times[0])


def num_orders(
    flip: np.ndarray,
    phase: np.ndarray,
    TR: np.ndarray | float,
    TE: np.ndarray | float,
    T1: tuple[float, float],
    T2: tuple[float, float],
    B1: tuple[float, float] = (1.0, 1.0),
    TI: float | None = None,
    bound: float = BOUND,
) -> int:
    """How many orders keep the error of the signal below a bound for all tissue within ranges.

    What rises above the order K and comes back decays by exp(-2 K TR / T2) at least, but the pulses
    take more than that: 20 orders are off by 5e-3, 80 by 2e-6 where that factor is 0.2 and 0.004.
    So the train itself is run, in float64 and without truncation, for 16 probes that decay least
    (the longest T2, 4 values of T1 and 4 of B1 across their ranges), and then with 8, 10, 12, 14,
    16, 20, ... orders until no echo of a probe differs by more than a quarter of the bound.

    Args:
        flip, phase, TR, TE: on the host, else as for fisp.
        T1, T2, B1: lowest and highest value; inf where nothing relaxes.
        TI: as for fisp, a number.
        bound: of the error, in units of M0.

    Returns:
        at most (TRs + 1) // 2, the number that can reach an echo: with it nothing is left out.
    """
    columns = (np.broadcast_to(np.asarray(x, float), flip.shape) for x in (flip, phase, TR, TE))
    longest = _up(T2[1])
    least = max(_down(T1[0]), longest / 2 if math.isfinite(longest) else 0.0)
    ranges = (longest, least, _up(T1[1]), _down(B1[0]), _up(B1[1]))
    return _num_orders(tuple(x.tobytes() for x in columns), ranges, TI, bound)


@functools.lru_cache(maxsize=256)
def _num_orders(
    train: tuple[bytes, ...], ranges: tuple[float, ...], TI: float | None, bound: float
) -> int:
    flip, phase, TR, TE = (np.frombuffer(x) for x in train)
    T2, T1_low, T1_high, B1_low, B1_high = ranges
    T1 = np.geomspace(min(T1_low, _LONG), min(max(T1_low, T1_high), _LONG), 4)
    T1[-1] = max(T1_low, T1_high)  # inf, too
    T1 = np.repeat(T1, 4)
    B1 = np.tile(np.linspace(B1_low, B1_high, 4), 4)
    start = np.ones(16) if TI is None else 1 - 2 * np.exp(-TI / T1)

    def probes(orders: int) -> np.ndarray:
        out = np.empty((16, flip.shape[0]), complex)
        fill_fisp((flip, phase, TR, TE), (T1, np.full(16, T2), B1, start), orders, out)
        return out

    most = all_orders(flip)
    exact = probes(most)
    orders, step = 8, 2
    while orders < most:
        if np.abs(probes(orders) - exact).max() <= bound / _SAFETY:
            return orders
        orders += step
        step = 2 * step if orders == 8 * step else step
    return most


def _up(x: float) -> float:
    """The next of the steps of 9 % above: few distinct ranges, so that their result is reused."""
    if x < 0:
        return -_down(-x)
    return 2 ** (math.ceil(8 * math.log2(x) - 1e-9) / 8) if 0 < x < math.inf else x


def _down(x: float) -> float:
    if x < 0:
        return -_up(-x)
    return 2 ** (math.floor(8 * math.log2(x) + 1e-9) / 8) if 0 < x < math.inf else x
