"""Single-shot images of a plane: excitations, a crushed refocusing pulse and lines of EPI.

The Bloch equation is played to one isochromat per voxel up to the refocusing pulse. Equal crushers
about it leave what it turns from M- to M+, for which no isochromats across a voxel are needed: the
pulse takes (Mx, My) = (1, 0) to p and (0, 1) to q, and M- to (p + i q) / 2. Then lines are read.

Axes: K step, L line, S sample of a line, B sample of a batch, X and Y grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch_signal_formula import played
from ipads_stream.physics.line_readout import EVEN, MOMENTS, Lines, lines_of, read_lines

PARTS = 32  # of constant RF, in a pulse
CACHED = 1 << 15  # voxels at a time on the CPU; eight times as many take twice the time
TOLERANCE = 1e-4  # of relaxation during a step with RF
ALIKE = 1e-6  # relative, of the crushers
LEAST_CRUSHING = 100.0  # 1/m: at least half a turn over a slice of 5 mm


@dataclass(frozen=True)
class Steps:
    """RF and gradients in the plane, constant within K steps.

    Attributes:
        b1: T, (K,).
        gradient: T/m, (K, 3).
        dt: s, (K,).
    """

    b1: Complex[np.ndarray, " K"]
    gradient: Float[np.ndarray, "K 3"]
    dt: Float[np.ndarray, " K"]


@dataclass(frozen=True)
class SingleShot:
    """A sequence in the parts in which it is simulated.

    Attributes:
        before: from the start to the refocusing pulse.
        refocusing: the pulse.
        lines: times from its end, k of magnetisation that it turned from M- to M+.
        echoes: where in k-space that of each excitation lies, 1/m, (E, 2).
        TE: from each excitation until its place in k-space is read, s, (E,): what T2 weighs.
    """

    before: Steps
    refocusing: Steps
    lines: Lines
    echoes: Float[np.ndarray, "E 2"]
    TE: Float[np.ndarray, " E"]


def parts_of(sequence: Any, *, parts: int = PARTS) -> SingleShot:
    """Excitations, refocusing pulse and lines of a sequence.

    Args:
        sequence: Waveforms, or what gives them: excitations without a slice, gradients in the
            plane, a refocusing pulse between equal crushers along z, one train of lines.
        parts: of constant RF that a pulse is cut into, each the mean of the steps in it.

    Raises:
        ValueError: what the sequence has instead.
    """
    found = played(sequence)
    b1, gradient, dt = (np.asarray(x) for x in (found.b1, found.gradient, found.dt))
    uses = [pulse.use for pulse in found.pulses]
    if uses.count("refocusing") != 1 or uses[-1] != "refocusing":
        raise ValueError(f"pulses: {', '.join(uses)}; excitations and one refocusing are allowed")
    last = found.pulses[-1]
    _check_crushers(gradient[:, 2] * dt, last.first, last.stop)
    plane = gradient * [1.0, 1.0, 0.0]
    area = np.cumsum(plane[last.stop :] * dt[last.stop :, None], axis=0)
    sampled = np.asarray(found.sampled)
    if sampled[: last.stop].any() or np.any(np.asarray(found.receiver)):
        raise ValueError("sampled: samples after the refocusing pulse, of phase 0, are allowed")
    k = GAMMA_BAR_1H * area[sampled[last.stop :], :2]
    t = np.cumsum(dt[last.stop :])[sampled[last.stop :]]
    longest = 1.5 * np.median(np.diff(t))
    count = int(np.count_nonzero(np.diff(t) > longest)) + 1
    if len(t) % count:
        raise ValueError(f"sampled: {len(t)} samples in {count} lines; equal lines are allowed")
    lines = lines_of(k.reshape(count, -1, 2), t.reshape(count, -1))
    sofar = np.concatenate([np.zeros((1, 3)), np.cumsum(plane * dt[:, None], axis=0)])
    exciting = [(p.first, p.stop) for p in found.pulses[:-1]] + [(last.first, last.first)]
    middles = [(first + stop) // 2 for first, stop in exciting[:-1]]
    echoes = GAMMA_BAR_1H * (sofar[last.first] - sofar[middles])[:, :2]
    passed = (echoes[:, 1] - lines.ky[0]) / (lines.ky[-1] - lines.ky[0]) * (count - 1)
    read = dt[: last.stop].sum() + lines.start + lines.spacing * passed
    return SingleShot(
        lines=lines,
        echoes=echoes,
        TE=read - np.array([float(p.centre) for p in found.pulses[:-1]]),
        before=_joined(b1, plane, dt, exciting, parts),
        refocusing=_joined(b1, plane, dt, [(last.first, last.stop)], parts),
    )


def k_space(
    shot: SingleShot,
    M0: Float[Any, "B X Y"],
    spacing: tuple[float, float],
    *,
    T1: Float[Any, "B X Y"],
    T2: Float[Any, "B X Y"],
    df: Float[Any, "B X Y"],
    B1: Float[Any, "B X Y"],
    moments: int = MOMENTS,
) -> Complex[Any, "B L S"]:
    """The signal of all samples, in the order in which they are taken.

    Voxels are points at their centres; the grid should be finer than the image, as gradients
    dephase a voxel of an image's size.

    Args:
        shot: the sequence.
        M0: magnetisation in equilibrium, float32 or float64.
        spacing: of the voxels, m; voxel i of n is centred at (i - n // 2) spacing.
        T1, T2: s.
        df: off-resonance, Hz.
        B1: RF relative to nominal.
        moments: points of time within a line (line_readout.py).
    """
    B, X, Y = M0.shape
    at_once = max(1, CACHED // (X * Y)) if is_numpy(M0) else B
    if at_once < B:
        tissue = {"T1": T1, "T2": T2, "df": df, "B1": B1}
        pieces = []
        for first in range(0, B, at_once):
            now = slice(first, first + at_once)
            of = {name: x[now] for name, x in tissue.items()}
            pieces.append(k_space(shot, M0[now], spacing, **of, moments=moments))
        return np.concatenate(pieces)
    xp = namespace(M0)
    flat = {name: xp.reshape(x, (-1,)) for name, x in
            {"T1": T1, "T2": T2, "df": df, "B1": B1}.items()}  # fmt: skip
    amount = xp.reshape(M0, (-1,))
    zero = xp.zeros_like(amount)
    M = _play(shot.before, xp.stack([zero, zero, amount], axis=-1), flat, amount,
              _places(xp, M0, spacing))  # fmt: skip
    # Without equilibrium magnetisation the pulse is linear.
    one = zero + 1
    p = _play(shot.refocusing, xp.stack([one, zero, zero], axis=-1), flat, zero, None)
    q = _play(shot.refocusing, xp.stack([zero, one, zero], axis=-1), flat, zero, None)
    turned = 0.5 * (_transverse(xp, p) + 1j * _transverse(xp, q))
    after = turned * xp.conj(_transverse(xp, M))
    return read_lines(
        xp.reshape(after, (B, X, Y)), shot.lines, spacing, T2=T2, df=df, moments=moments
    )


def image(signal: Complex[Any, "B L S"], lines: Lines) -> Complex[Any, "B X Y"]:
    """The image of lines that fill a Cartesian grid, by the centred orthonormal transform.

    Args:
        signal: in the order in which it was taken.
        lines: of as many samples as there are lines.

    Raises:
        ValueError: samples that lie elsewhere.
    """
    xp = namespace(signal)
    L, S = len(lines.ky), lines.kx.shape[1]
    step = (lines.ky[-1] - lines.ky[0]) / (L - 1)
    for k, n in ((lines.ky, L), (np.sort(lines.kx[0]), S), (np.sort(lines.kx[1]), S)):
        if np.abs(k / step - (np.arange(n) - n // 2)).max() > EVEN * n:
            raise ValueError("lines: samples on a Cartesian grid of one spacing are allowed")
    columns = [xp.asarray(np.argsort(kx), device=device_of(signal)) for kx in lines.kx]
    both = [xp.take(signal[:, parity::2], columns[parity], axis=2) for parity in range(2)]
    if L % 2:
        both[1] = xp.concat([both[1], xp.zeros_like(both[0][:, :1])], axis=1)
    k = xp.reshape(xp.stack(both, axis=2), (signal.shape[0], -1, S))[:, :L]
    k = xp.fft.ifftshift(xp.permute_dims(k, (0, 2, 1)), axes=(1, 2))
    found = xp.fft.fftshift(xp.fft.ifftn(k, axes=(1, 2), norm="ortho"), axes=(1, 2))
    return xp.astype(found, signal.dtype)


def _play(steps: Steps, M: Any, spins: dict[str, Any], M0: Any, position: Any) -> Any:
    xp, device = namespace(M), device_of(M)
    b1, gradient, dt = (xp.asarray(x, device=device) for x in (steps.b1, steps.gradient, steps.dt))
    return bloch.evolve(M, b1, gradient, dt, position=position, M0=M0, tolerance=TOLERANCE, **spins)


def _transverse(xp: Any, M: Any) -> Any:
    kind = xp.complex64 if M.dtype == xp.float32 else xp.complex128
    return xp.astype(M[:, 0], kind) + 1j * xp.astype(M[:, 1], kind)


def _places(xp: Any, like: Any, spacing: tuple[float, float]) -> Any:
    """Centres of the voxels, m, (B X Y, 3)."""
    X, Y = like.shape[-2:]
    x, y = ((np.arange(n) - n // 2) * d for n, d in zip((X, Y), spacing, strict=True))
    of = np.zeros((X, Y, 3))
    of[..., 0], of[..., 1] = x[:, None], y
    centres = xp.astype(xp.asarray(of.reshape(1, -1, 3), device=device_of(like)), like.dtype)
    return xp.reshape(xp.broadcast_to(centres, (like.shape[0], X * Y, 3)), (-1, 3))


def _check_crushers(area: np.ndarray, first: int, stop: int) -> None:
    """Areas along z: none but one on either side of the pulse, alike and large enough."""
    before, within, after = area[:first].sum(), np.abs(area[first:stop]).sum(), area[stop:].sum()
    turns = GAMMA_BAR_1H * abs(before)
    if within > 0 or abs(before - after) > ALIKE * abs(before) or turns < LEAST_CRUSHING:
        raise ValueError(
            f"crushers: {GAMMA_BAR_1H * before:.4g} and {GAMMA_BAR_1H * after:.4g} turns/m; equal "
            f"ones of at least {LEAST_CRUSHING:g} turns/m about the refocusing pulse are allowed"
        )


def _joined(
    b1: np.ndarray,
    gradient: np.ndarray,
    dt: np.ndarray,
    pulses: list[tuple[int, int]],
    parts: int,
) -> Steps:
    """Each pulse in ``parts`` and what lies before it in one step, to the end of the last pulse."""
    stop = pulses[-1][1]
    edges = [0 if len(pulses) > 1 else pulses[0][0]]
    for first, end in pulses:
        cells = [cell for cell in np.array_split(np.arange(first, end), parts) if len(cell)]
        edges += [first, *(int(cell[-1]) + 1 for cell in cells)]
    starts = np.unique([edge for edge in edges if edge < stop])
    lengths = np.add.reduceat(dt[:stop], starts)
    safe = np.where(lengths > 0, lengths, math.inf)
    return Steps(
        b1=np.add.reduceat(b1[:stop] * dt[:stop], starts) / safe,
        gradient=np.add.reduceat(gradient[:stop] * dt[:stop, None], starts, axis=0) / safe[:, None],
        dt=lengths,
    )
