"""The signal of a plane on a grid, read in parallel lines: products in place of exponentials.

Without RF, M+ of a voxel is m exp(-a t - 2 pi i k.r), a = 1/T2 + 2 pi i df. With lines of one ky
each, at even times and steps of ky, the sum over y is a product of two matrices per column of the
grid, and that over x another; within a line exp(-a t) is interpolated between a few moments.

Axes: B sample, X and Y grid, L line, S sample of a line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import device_of, namespace

EVEN = 1e-3  # turns at the edge of k-space, and share of a line's duration, that may be off
MOMENTS = 3


@dataclass(frozen=True)
class Lines:
    """When and where in k-space the samples of parallel lines lie.

    Attributes:
        kx: 1/m, (2, S), of lines 0, 2, ... and of lines 1, 3, ...
        ky: 1/m, (L,), in even steps.
        start: time of the first line, s, from where the magnetisation is known.
        spacing: of the lines, s.
        since: time of the samples since that of their line, s, (2, S).
    """

    kx: Float[np.ndarray, "2 S"]
    ky: Float[np.ndarray, " L"]
    start: float
    spacing: float
    since: Float[np.ndarray, "2 S"]


def lines_of(k: Float[np.ndarray, "L S 2"], t: Float[np.ndarray, "L S"]) -> Lines:
    """Lines of a trajectory.

    Args:
        k: 1/m, along x and y.
        t: s, since the magnetisation is known.

    Raises:
        ValueError: lines that are not along x, not at even steps of ky and of time, or differ in
            more than whether they are even or odd.
    """
    if len(k) < 2:
        raise ValueError(f"{len(k)} lines: two or more are allowed")
    extent = np.ptp(k[..., 0]) + np.ptp(k[..., 1])
    ky = np.linspace(k[0, :, 1].mean(), k[-1, :, 1].mean(), len(k))
    middle = 0.5 * (t.min(axis=1) + t.max(axis=1))
    # Lines that run to and fro are sampled half a dwell from the middle, on alternating sides.
    last = len(k) - 1 - (len(k) - 1) % 2
    spacing = float((middle[last] - middle[0]) / last) if last else float(middle[1] - middle[0])
    start = float(np.mean(middle - spacing * np.arange(len(k))))
    since = t - start - spacing * np.arange(len(k))[:, None]
    kx, late = (np.stack([of[0], of[1]]) for of in (k[..., 0], since))
    parity = np.arange(len(k)) % 2
    even = np.abs(k[..., 1] - ky[:, None]).max() <= EVEN * extent
    even &= np.abs(k[..., 0] - kx[parity]).max() <= EVEN * extent
    even &= np.abs(since - late[parity]).max() <= EVEN * np.ptp(t[0])
    if not even:
        raise ValueError("trajectory: parallel lines at even steps of ky and of time are allowed")
    return Lines(kx, ky, start, spacing, late)


def read_lines(
    M: Complex[Any, "B X Y"],
    lines: Lines,
    spacing: tuple[float, float],
    *,
    T2: Float[Any, "B X Y"],
    df: Float[Any, "B X Y"],
    moments: int = MOMENTS,
) -> Complex[Any, "B L S"]:
    """The signal of transverse magnetisation on a grid while lines are read.

    s_ls = sum_xy M exp(-(1/T2 + 2 pi i df) t_ls - 2 pi i (kx_ls x + ky_l y))

    Voxel i of n is centred at (i - n // 2) spacing. Within a line the exponential of time is the
    polynomial through ``moments`` Chebyshev points; of lines of duration T its largest error is
    about (pi |df| T / 2)^moments / (moments! 2^(moments - 1)).

    Args:
        M: M+ at time 0; the precision of the result is its own.
        lines: with times since then.
        spacing: of the grid along x and y, m.
        T2: s.
        df: off-resonance, Hz.
        moments: points of time within a line.
    """
    xp, like = namespace(M), M
    X, Y = M.shape[-2:]
    L = len(lines.ky)
    rows = max(1, round(math.sqrt(moments * L)))  # powers of one line's step; the rest in blocks
    blocks = -(-L // rows)
    reach = float(np.abs(lines.since).max())
    nodes = np.cos(math.pi * (np.arange(moments) + 0.5) / moments)

    def here(x: np.ndarray) -> Any:
        return xp.astype(xp.asarray(x, device=device_of(like)), like.dtype)

    y = (np.arange(Y) - Y // 2) * spacing[1]
    step = float(lines.ky[-1] - lines.ky[0]) / (L - 1)

    def passed(t: float) -> Any:
        e, angle = xp.exp(-t / T2), (-2 * math.pi * t) * df
        return e * xp.cos(angle) + 1j * (e * xp.sin(angle))

    one = passed(lines.spacing) * here(np.exp(-2j * math.pi * step * y))
    right = [xp.ones_like(one), one]
    for _ in range(rows - 1):
        right.append(right[-1] * one)
    block = right.pop()  # the step of a whole block
    first = M * here(np.exp(-2j * math.pi * lines.ky[0] * y))
    left = []
    for node in nodes:
        left.append(first * passed(lines.start + reach * float(node)))
        for _ in range(blocks - 1):
            left.append(left[-1] * block)
    # A product per column of the grid, (B, X, rows, Y) and (B, X, Y, powers)
    a = xp.permute_dims(xp.stack(left, axis=1), (0, 2, 1, 3))
    b = xp.permute_dims(xp.stack(right, axis=1), (0, 2, 3, 1))
    found = xp.matmul(a, b)
    # (B, X, moments, L), a power of the step after the other
    found = xp.reshape(found, (-1, X, moments, blocks * rows))[..., :L]
    out = []
    for parity in range(2):
        factors = here(_along(lines, parity, X, spacing[0], nodes, reach))
        own = xp.permute_dims(found[..., parity::2], (0, 3, 1, 2))
        out.append(xp.matmul(xp.reshape(own, (*own.shape[:2], -1)), factors))
    if L % 2:
        out[1] = xp.concat([out[1], xp.zeros_like(out[0][:, :1])], axis=1)
    both = xp.stack(out, axis=2)
    return xp.reshape(both, (both.shape[0], -1, both.shape[-1]))[:, :L]


def _along(
    lines: Lines, parity: int, X: int, spacing: float, nodes: np.ndarray, reach: float
) -> Complex[np.ndarray, "XP S"]:
    """Weights of the moments times exp(-2 pi i kx x), of samples along a line."""
    x = (np.arange(X) - X // 2) * spacing
    u = lines.since[parity] / reach if reach > 0 else 0 * lines.since[parity]
    others = ~np.eye(len(nodes), dtype=bool)
    weights = [
        np.prod((u - nodes[o][:, None]) / (node - nodes[o])[:, None], axis=0)
        for node, o in zip(nodes, others, strict=True)
    ]
    phase = np.exp(-2j * math.pi * x[:, None] * lines.kx[parity])
    return (phase[:, None] * np.stack(weights)).reshape(-1, phase.shape[-1])
