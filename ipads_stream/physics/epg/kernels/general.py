"""Extended phase graphs of any train on the CPU, 16 atoms at a time.

F_k of all orders, positive and negative, lies in one row after the other and the gradients move the
origin instead of the rows: dephasing costs nothing. A pulse takes F_k, F_-k and Z_k into its frame,
where it mixes them as in parts.py, and on the way back they decay, precess and diffuse.

32 spin echoes in float32 on one Zen 5 core, beside other load, atoms per second of processor time:
970,000, with diffusion 690,000; the formula in NumPy makes 48,000.
"""

import math
from typing import no_type_check

import numpy as np
from numba import types
from numba.extending import intrinsic

from ipads_stream.core.compilation import kernel, part
from ipads_stream.physics.epg.kernels.parts import Rows, gather, rows
from ipads_stream.physics.kernels.polynomials import cosine, decayed
from ipads_stream.physics.kernels.tile import LANES
from ipads_stream.physics.kernels.vectors import INDEX, each, generated


def _turned(value, x, y):
    """value (x + i y)."""
    re, im = value
    return [x * re - y * im, x * im + y * re]


def _pulse(given, ahead, behind, along):
    """F_k, F_-k, Z_k after a pulse and its interval, without diffusion."""
    c, s, e1, x, y, x_out, y_out = given
    a, b = _turned(ahead, x, -y), _turned(behind, x, -y)
    b[1] = -b[1]
    half_c, half_s = c * 0.5, s * 0.5
    total = [i + j for i, j in zip(a, b, strict=True)]
    rest = [(i - j) * 0.5 for i, j in zip(a, b, strict=True)]
    mixed = [half_c * t + s * z for t, z in zip(total, along, strict=True)]
    a = [i + j for i, j in zip(mixed, rest, strict=True)]
    b = [i - j for i, j in zip(mixed, rest, strict=True)]
    b[1] = -b[1]
    z = [e1 * (c * z - half_s * t) for z, t in zip(along, total, strict=True)]
    return _turned(a, x_out, y_out), _turned(b, x_out, y_out), z


@no_type_check
def _step(diffusing):
    """An intrinsic over (f, origin, z, factors, table, at, count): a pulse and its interval.

    f[origin:]: F_0; F_k follows it, F_-k lies before it; z: Z_k; factors: rows of 16, cos and sin
    of the flip, exp(-t / T1), i exp(i phase), the same times exp(-t / T2 - 2 pi i df t);
    table[at:]: rows of 16 for each k, what diffusion leaves of F_k, F_-k and Z_k.
    """

    @no_type_check
    def typed(typing, f, origin, z, factors, table, at, count):
        def emit(builder, f_, origin_, z_, factors_, table_, at_, count_):
            rows_of, zero, row = Rows(builder, f, 2), INDEX(0), INDEX(2 * LANES)
            given = rows_of.get(factors_, zero, 7)
            with each(builder, 0, count_) as (k, _):
                here = builder.mul(k, row)
                places = builder.add(origin_, here), builder.sub(origin_, here), here
                state = [rows_of.get(base, i) for base, i in zip((f_, f_, z_), places, strict=True)]
                state = _pulse(given, *state)
                if diffusing:
                    left = builder.add(at_, builder.mul(k, INDEX(3 * LANES)))
                    left = rows_of.get(table_, left, 3)
                    state = [[x * y for y in pair] for x, pair in zip(left, state, strict=True)]
                for base, i, values in zip((f_, f_, z_), places, state, strict=True):
                    rows_of.put(base, i, values)
            (re,) = rows_of.get(z_, zero, 1)
            rows_of.put(z_, zero, [re + (1.0 - given[2])])

        return types.void(f, origin, z, factors, table, at, count), generated(emit)

    return intrinsic(typed)


_step_still = _step(False)
_step_diffusing = _step(True)


@part
@no_type_check
def _attenuate(times, turns, size, tissue, table):
    """What diffusion leaves in each kind of interval of F_k, F_-k and Z_k, k < size."""
    at = 0
    for i in range(times.shape[0]):
        m = float(turns[i])
        for k in range(size):
            for lane in range(LANES):
                b = times[i] * tissue[4 * LANES + lane]
                table[at + lane] = decayed(b * (k * k + k * m + m * m / 3))
                table[at + LANES + lane] = decayed(b * (k * k - k * m + m * m / 3))
                table[at + 2 * LANES + lane] = decayed(b * k * k)
            at += 3 * LANES


@kernel
@no_type_check
def train(flip, phase, duration, shift, crushed, echo, count, interval, times, turns, T1, T2, B1,
          df, spread, initial, diffusing, out):  # fmt: skip
    """Echoes of a train of steps: a pulse, an interval, an echo.

    flip, phase (rad), duration (s), shift (whole turns), crushed, echo (booleans), count (orders
    kept after it), interval (which of times and turns it has): of every step; times, turns: of
    every kind of interval, s and whole turns; T1, T2 (s), B1, df (Hz), spread (D q^2, Hz), initial
    (Mz): float64, (atoms,); diffusing: whether any spread is not 0; out: (atoms, 2 echoes), float32
    or float64, in which it computes; real and imaginary parts in turn.
    """
    num, last, row = flip.shape[0], out.shape[0] - 1, 2 * LANES
    most = count.max() + np.abs(shift).max()
    moved = np.cumsum(shift)
    start = most + max(0, moved.max()) + 1
    f, z = rows(2 * (start + most + 2 - min(0, moved.min())), out), rows(2 * (most + 1), out)
    factors, tissue = rows(7, out), np.empty(5 * LANES)
    size = count.max()
    table = rows(3 * size * times.shape[0] if diffusing else 1, out)
    for first in range(0, out.shape[0], LANES):
        gather(T1, T2, B1, first, tissue)
        for lane in range(LANES):  # df and D q^2
            atom = min(first + lane, last)
            tissue[3 * LANES + lane], tissue[4 * LANES + lane] = df[atom], spread[atom]
        if diffusing:
            _attenuate(times, turns, size, tissue, table)
        f[:], z[:] = 0, 0
        for lane in range(LANES):
            z[lane] = initial[min(first + lane, last)]
        origin, kept, column = row * start, 1, 0
        for n in range(num):
            x, y = -math.sin(phase[n]), math.cos(phase[n])
            if n == 0 or flip[n] != flip[n - 1]:
                for lane in range(LANES):
                    turned = flip[n] * tissue[2 * LANES + lane]
                    factors[lane], factors[LANES + lane] = cosine(turned), cosine(turned - 0.25)
            for lane in range(LANES):
                e2 = decayed(duration[n] * tissue[LANES + lane])
                turned = duration[n] * tissue[3 * LANES + lane]
                c, s = e2 * cosine(turned), e2 * cosine(turned - 0.25)
                factors[2 * LANES + lane] = decayed(duration[n] * tissue[lane])
                factors[3 * LANES + lane], factors[4 * LANES + lane] = x, y
                factors[5 * LANES + lane] = x * c + y * s
                factors[6 * LANES + lane] = y * c - x * s
            if diffusing:
                at = 3 * LANES * size * interval[n]
                _step_diffusing(f, origin, z, factors, table, at, kept)
            else:
                _step_still(f, origin, z, factors, table, 0, kept)
            if crushed[n]:
                f[origin - row * (kept - 1) : origin + row * kept] = 0
            origin -= row * shift[n]
            # Orders that are left out must not come back.
            for k in range(count[n], kept + abs(shift[n])):
                f[origin + row * k : origin + row * (k + 1)] = 0
                f[origin - row * k : origin - row * (k - 1)] = 0
            z[row * count[n] : row * max(kept, count[n])] = 0
            kept = count[n]
            if echo[n]:
                for lane in range(min(LANES, out.shape[0] - first)):
                    out[first + lane, column] = f[origin + lane]
                    out[first + lane, column + 1] = f[origin + LANES + lane]
                column += 2
