"""Reconstruction methods side by side, all with one signature: ``(fid, mask) -> fid``."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Complex

from ipads_stream.evaluation import iterative_soft_threshold, low_rank_hankel
from ipads_stream.evaluation.refinement import LowRank, Refined

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]

ZERO_FILLING, IST, LRHM, NETWORK = "zero-filling", "IST", "LRHM", "network"
REFINED = "network + low rank"

DESCRIPTIONS = {
    ZERO_FILLING: "Points that were not sampled are zero: what every other method starts from.",
    IST: "Iterative soft thresholding: the missing points are those that make the spectrum sparse "
    "(Stern, Donoho, Hoch 2007).",
    LRHM: "Low-rank Hankel matrix: the missing points are those that make the signal a sum of few "
    "exponentials (Qu et al. 2015).",
    NETWORK: "The trained network; sampled points are kept as they were measured.",
    REFINED: "The network, and a low-rank solver that starts from its estimate: what is not a sum "
    "of few exponentials is taken back, as far as the sampled points support it. Its time includes "
    "the network's.",
}


def reconstruction_methods(model: Method) -> dict[str, Method]:
    """All methods in the order of the tables, by name.

    Args:
        model: the trained network as a function of (fid, mask).
    """
    return {
        ZERO_FILLING: fill_with_zeros,
        IST: iterative_soft_threshold.reconstruct,
        LRHM: low_rank_hankel.reconstruct,
        NETWORK: model,
        REFINED: Refined(model, LowRank()),
    }


def fill_with_zeros(
    fid: Complex[np.ndarray, "rows points"], mask: Bool[np.ndarray, "..."]
) -> Complex[np.ndarray, "rows points"]:
    """The sampled points alone.

    Args:
        fid: any unit, (rows, points).
        mask: True where sampled, (points,) or (rows, points).
    """
    return np.where(mask, fid, 0).astype(fid.dtype)


def timed(
    method: Method, fid: Complex[np.ndarray, "rows points"], mask: Bool[np.ndarray, "..."]
) -> tuple[Complex[np.ndarray, "rows points"], float]:
    """A reconstruction and the seconds it took per signal.

    Args:
        method: one of :func:`reconstruction_methods`.
        fid: any unit, (rows, points).
        mask: True where sampled, (points,) or (rows, points).
    """
    started = time.perf_counter()
    estimate = method(fid, mask)
    return estimate, (time.perf_counter() - started) / max(len(fid), 1)
