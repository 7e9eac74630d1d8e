"""Magnetisation of exchanging pools along a sequence, from one readout to the next.

Between readouts it is what the pulses before have left, so that trains need not start from
equilibrium. Each pulse is solved in the frame that turns at its frequency and computed once,
however often it is played: at another phase it is the same between two turns about z.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics.exchange.arguments import Pulses, experiment_of
from ipads_stream.physics.exchange.generator import Generator, expm

MOST_CELLS = 500  # of a pulse; neighbours are joined beyond
REST = Pulses(amplitude=0.0, duration=0.0)


def magnetisation(
    sequence: Any,
    pools: Any,
    B0: float,
    df_ppm: Any = 0.0,
    B1: Any = 1.0,
    *,
    Mz0: Any = 1.0,
    reset: bool = False,
) -> Float[Any, "*batch readouts pools 3"]:
    """M of every pool as each window of the receiver opens, by the Bloch-McConnell equations.

    Gradients are taken to destroy what is transverse by the end of their block, as in Pulseq-CEST.

    Args:
        sequence: intervals, or what gives them by a method of that name: a Sequence.
        pools, df_ppm, B1, Mz0: as of z_spectrum; Mz0 before the first pulse.
        B0: main field, T.
        reset: whether magnetisation is as at the start again after each readout, as Pulseq-CEST
            assumes unless told otherwise; else it is carried on.

    Returns:
        float64, M+ = Mx + i My in the frame of 0 ppm; water first. Mz of the water over its
        fraction is the z-spectrum.

    Raises:
        ValueError: an argument is out of range, or no window opens.

    Source: Herz et al., Pulseq-CEST, Magnetic Resonance in Medicine 86(4), 2021.
    """
    given = sequence.intervals() if hasattr(sequence, "intervals") else sequence
    made: dict[Any, Any] = {}

    def generator(frequency: float, cells: int) -> Generator:
        """Of cells in the frame of a frequency, which stand for as many offsets."""
        offset = frequency / (1e-6 * GAMMA_BAR_1H * float(B0))
        frame = np.full(cells, offset)
        return Generator(experiment_of(pools, frame, REST, B0, df_ppm, B1, Mz0))

    experiment_of(pools, np.zeros(1), REST, B0, df_ppm, B1, Mz0).check()
    rest = generator(0.0, 1)
    xp, M, out = rest.xp, rest.start(), []
    for interval in given:
        if interval.is_read:
            out.append(M[..., :-1, 0])
        b1, dt, f = interval.b1, interval.dt, interval.frequency
        key = (id(b1), f, dt.tobytes())
        if key not in made and b1 is None:
            # The interval is kept, too: a number of what was given back would be another's.
            made[key] = expm(rest.free(0.0) * float(dt.sum())), interval
        elif key not in made:
            b1, dt = joined(b1, dt)
            made[key] = _propagator(generator(f, dt.size), b1, dt), interval
        matrix, _ = made[key]
        if b1 is None:
            M = xp.matmul(matrix, M)
        else:
            turn = 2 * math.pi * math.fmod(f * float(interval.dt.sum()), 1.0)
            M = xp.matmul(matrix, _turned(xp, M, -interval.phase))
            M = _turned(xp, M, interval.phase - turn)
        if interval.is_spoiled:
            M = M * rest.spoiled()
        if interval.is_last and reset:
            M = rest.start()
    if not out:
        raise ValueError("sequence: no window of the receiver in it; one at least is allowed")
    read = xp.concat(out, axis=-2)  # Over the axis of the one offset
    return xp.reshape(read, (*read.shape[:-1], len(rest.pools), 3))


def joined(
    b1: Complex[np.ndarray, " cells"], dt: Float[np.ndarray, " cells"]
) -> tuple[Complex[np.ndarray, " fewer"], Float[np.ndarray, " fewer"]]:
    """Cells of about equal length, at most MOST_CELLS: means of those within."""
    if dt.size <= MOST_CELLS:
        return b1, dt
    groups = np.minimum((np.cumsum(dt) - 0.5 * dt) / dt.sum() * MOST_CELLS, MOST_CELLS - 1)
    first = np.flatnonzero(np.diff(groups.astype(np.int64), prepend=-1))
    lengths = np.add.reduceat(dt, first)
    return np.add.reduceat(b1 * dt, first) / lengths, lengths


def _propagator(generator: Generator, b1: Any, dt: Any) -> Any:
    """(*batch, 1, n, n) of cells in a row, in the frame of the generator."""
    xp, number = generator.xp, generator.number
    driven = generator.driven(GAMMA_1H * number(b1.real), GAMMA_1H * number(b1.imag))
    each = expm(driven * number(dt)[:, None, None])
    whole = each[..., 0, :, :]
    for i in range(1, dt.size):
        whole = xp.matmul(each[..., i, :, :], whole)
    return whole[..., None, :, :]


def _turned(xp: Any, M: Any, angle: float) -> Any:
    """M+ exp(i angle) of every pool, (..., n, 1)."""
    c, s = math.cos(angle), math.sin(angle)
    rows = [M[..., i, 0] for i in range(M.shape[-2])]
    for i in range(0, len(rows) - 1, 3):
        rows[i], rows[i + 1] = c * rows[i] - s * rows[i + 1], s * rows[i] + c * rows[i + 1]
    return xp.stack(rows, axis=-1)[..., None]
