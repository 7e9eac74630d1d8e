"""Parts of the kernels of isochromats: what they do to a block of spins, and by which plan.

The mathematics is said in evolve.py.
"""

import math
from typing import no_type_check

import llvmlite.binding
import numpy as np
from numba import types
from numba.extending import intrinsic

from ipads_stream.core.compilation import part
from ipads_stream.physics.kernels.polynomials import cosine, decayed
from ipads_stream.physics.kernels.vectors import (
    INDEX,
    Registers,
    Variable,
    cross,
    each,
    generated,
    polynomial,
)

MOST_HALVINGS = 6
COLUMNS = 5  # of the table: half angle by RF about x and y, by the gradients in x, y, z per metre
BYTES = 64  # of a vector: 16 float32 or 8 float64
# Several vectors hide the latency of one another, where there are registers enough.
VECTORS = 4 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 1
GROUP = 64  # blocks of spins that share a plan
FREE, EXACT = -2, -1
# Rows of the lanes; d2, d1 and d1 M0 at E are those in use.
X, B1, DF, E, ROWS = 3, 6, 7, 8, 11

# cos(sqrt q) and sin(sqrt q)/sqrt q on [0, 1], constant term first. float32: Chebyshev
# interpolation of what follows the 1, errors 2.1e-9 and 1.9e-10; float64: Taylor, below 2e-16.
SHORT = (
    (1.0, -0.49999999787945926, 0.04166659879322851, -1.3885490860485739e-3, 2.4256144916634526e-5),
    (1.0, -0.16666666647343992, 8.333327148835348e-3, -1.9838174236308515e-4, 2.70606685415231e-6),
)
LONG = tuple(
    tuple((-1) ** n / math.factorial(2 * n + odd) for n in range(9)) for odd in (False, True)
)


@intrinsic
@no_type_check
def turn(typing, table, first, last, shift, lanes):
    """Rotate M by row k >> shift of the table and relax, for k = first .. last - 1.

    table: flat (steps, COLUMNS); lanes: flat (ROWS, vectors x lanes), one dtype. M is kept in
    registers meanwhile.
    """

    def emit(builder, table, first, last, shift, flat):
        at = Registers(builder, lanes.dtype, BYTES // lanes.dtype.bitwidth * 8)
        cosine, sinc = SHORT if at.single else LONG

        def place(row, u):
            return INDEX((row * VECTORS + u) * at.width)

        fixed = [[at.load(flat, place(row, u)) for row in range(3, ROWS)] for u in range(VECTORS)]
        state = [[Variable(builder, at.kind) for _ in range(3)] for _ in range(VECTORS)]
        for u in range(VECTORS):
            for row in range(3):
                state[u][row].put(at.load(flat, place(row, u)))
        with each(builder, first, last) as (k, _):
            start = builder.mul(builder.lshr(k, shift), INDEX(COLUMNS))
            columns = [builder.add(start, INDEX(column)) for column in range(COLUMNS)]
            hx, hy, gx, gy, gz = [at.element(table, column) for column in columns]
            for u in range(VECTORS):
                x, y, z, b1, df, d2, d1, d1m0 = fixed[u]
                a = ax, ay, az = hx * b1, hy * b1, gx * x + (gy * y + (gz * z + df))
                q = az * az + (ay * ay + ax * ax)
                w, s = polynomial(cosine, q), polynomial(sinc, q)
                m = mx, my, mz = [variable.get() for variable in state[u]]
                ux, uy, uz = rotation(m, w, [c * s for c in a])
                # The changes are summed first: M is rounded once a step.
                ux, uy = ux - d2 * (mx + ux), uy - d2 * (my + uy)
                uz = uz + (d1m0 - d1 * (mz + uz))
                for variable, value in zip(state[u], (mx + ux, my + uy, mz + uz), strict=True):
                    variable.put(value)
        for u in range(VECTORS):
            for row in range(3):
                at.store(state[u][row].get(), flat, place(row, u))

    return types.void(table, first, last, shift, lanes), generated(emit)


def rotation(m, w, v):
    """What the rotation by the quaternion (w, v) adds to m."""
    t, w = cross(v, m), w + w
    a, b, c = (x + x for x in v)
    return (
        w * t[0] + b * t[2] - c * t[1],
        w * t[1] + c * t[0] - a * t[2],
        w * t[2] + a * t[1] - b * t[0],
    )


@part
@no_type_check
def reach_of(spins, reach):
    """The largest B1, |x|, |y|, |z|, |half angle by df| per second and rate of some spins."""
    reach[0] = np.abs(spins[4]).max()
    for i in range(4):
        reach[1 + i] = np.abs(spins[i]).max()
    reach[5] = max(spins[5].max(), spins[6].max())


@part
@no_type_check
def plan(steps, reach, tolerance, runs):
    """Group the steps into runs (start, stop, way); return how many runs there are.

    steps: (K, 6), as of bloch; reach: of the spins; way: FREE without RF, EXACT for the
    exponential, n for 2^n splits.
    """
    count = 0
    for k in range(steps.shape[0]):
        dt = steps[k, 5]
        way = FREE
        if steps[k, 0] != 0 or steps[k, 1] != 0:
            rf = 2 * math.hypot(steps[k, 0], steps[k, 1]) * reach[0]
            free = abs(steps[k, 2]) * reach[1] + abs(steps[k, 3]) * reach[2]
            free += abs(steps[k, 4]) * reach[3] + dt * reach[4]
            angle, rate = math.hypot(rf, 2 * free), dt * reach[5]
            error = rf * (angle + rate) * rate / 12
            needed = max(angle / 2, math.sqrt(error / tolerance))
            way = 0
            while way <= MOST_HALVINGS and (1 << way) < needed:
                way += 1
            if way > MOST_HALVINGS:
                way = EXACT
        previous = runs[count - 1]
        if count > 0 and way >= 0 and previous[2] == way and steps[previous[0], 5] == dt:
            previous[1] = k + 1
        else:
            runs[count, 0], runs[count, 1], runs[count, 2] = k, k + 1, way
            count += 1
    return count


# (1 - exp(-x)) / x below 1/16, the highest power first; what is left out is below 1e-17.
_LOST = tuple((-1) ** n / math.factorial(n + 1) for n in range(8, -1, -1))


@part
@no_type_check
def use_relaxation(spins, time, slot, times, stored, lanes):
    """Put d2, d1 and d1 M0 of a time into the lanes; computed where the slot holds another."""
    if times[slot] != time:
        times[slot] = time
        most = 0.0
        for i in range(spins.shape[1]):
            most = max(most, time * max(spins[5, i], spins[6, i]))
        if most < 1 / 16:
            # Short steps: a series stays in vector registers, the library's function does not.
            for i in range(spins.shape[1]):
                x1, x2 = time * spins[5, i], time * spins[6, i]
                d1, d2 = 0.0, 0.0
                for c in _LOST:
                    d1, d2 = c + x1 * d1, c + x2 * d2
                stored[slot, 0, i] = x2 * d2
                stored[slot, 1, i] = x1 * d1
                stored[slot, 2, i] = x1 * d1 * spins[7, i]
        else:
            for i in range(spins.shape[1]):
                d1 = -math.expm1(-time * spins[5, i])
                stored[slot, 0, i] = -math.expm1(-time * spins[6, i])
                stored[slot, 1, i] = d1
                stored[slot, 2, i] = d1 * spins[7, i]
    lanes[E:] = stored[slot]


@part
@no_type_check
def scaled(spins, scale, time, lanes):
    """Put positions, B1 and half angle by df into the lanes, for a part of a step."""
    for i in range(spins.shape[1]):
        for j in range(3):
            lanes[X + j, i] = scale * spins[j, i]
        lanes[B1, i] = scale * spins[4, i]
        lanes[DF, i] = time * spins[3, i]


@part
@no_type_check
def relax(lanes):
    for i in range(lanes.shape[1]):
        lanes[0, i] -= lanes[E, i] * lanes[0, i]
        lanes[1, i] -= lanes[E, i] * lanes[1, i]
        lanes[2, i] += lanes[E + 2, i] - lanes[E + 1, i] * lanes[2, i]


@part
@no_type_check
def precess(step, spins, lanes):
    """A step without RF, in float64."""
    for i in range(spins.shape[1]):
        half = step[2] * spins[0, i] + step[3] * spins[1, i] + step[4] * spins[2, i]
        turns = (half + step[5] * spins[3, i]) / math.pi
        c, s = cosine(turns), cosine(turns - 0.25)
        e1, e2 = decayed(step[5] * spins[5, i]), decayed(step[5] * spins[6, i])
        x, y = np.float64(lanes[0, i]), np.float64(lanes[1, i])
        lanes[0, i], lanes[1, i] = e2 * (c * x - s * y), e2 * (s * x + c * y)
        lanes[2, i] = spins[7, i] + e1 * (lanes[2, i] - spins[7, i])


@part
@no_type_check
def _multiply(a, b, out):
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@part
@no_type_check
def exponentiate(step, spins, i, m, a, b):
    """One step of constant fields, any angle and relaxation: m becomes M(dt); a, b are scratch.

    The steady state is subtracted; the matrix exponential is that of the 2^-n th part of the
    generator, a Cayley-Hamilton polynomial of it, squared n times.
    """
    dt = step[5]
    px, py = 2 * step[0] * spins[4, i], 2 * step[1] * spins[4, i]
    pz = 2 * (step[2] * spins[0, i] + step[3] * spins[1, i] + step[4] * spins[2, i])
    pz += 2 * dt * spins[3, i]
    r1, r2 = dt * spins[5, i], dt * spins[6, i]
    rf, d = px * px + py * py, r2 * r2 + pz * pz
    below = r1 * d + rf * r2
    sx = sy = sz = 0.0
    if below > 0:
        sz = r1 * spins[7, i] / below
        sx, sy = sz * (py * r2 + px * pz), sz * (py * pz - px * r2)
        sz *= d
    # The generator is -mean plus a matrix without trace, of which p and q are the invariants.
    mean, t = (2 * r2 + r1) / 3, (r2 - r1) / 3
    halvings, scale = 0, 1.0
    while scale * (math.sqrt(rf + pz * pz) + 2 * abs(t)) > 0.5:
        halvings, scale = halvings + 1, 0.5 * scale
    px, py, pz, t = px * scale, py * scale, pz * scale, t * scale
    p = 3 * t * t - (px * px + py * py + pz * pz)
    q = t * (2 * t * t - px * px - py * py + 2 * pz * pz)
    c0, c1, c2 = 1.0, 1.0, 0.5
    u0, u1, u2 = 0.0, 0.0, 0.5
    for n in range(3, 14):
        u0, u1, u2 = u2 * q / n, (u0 + u2 * p) / n, u1 / n
        c0, c1, c2 = c0 + u0, c1 + u1, c2 + u2
    a[0, 0], a[0, 1], a[0, 2] = -t, -pz, py
    a[1, 0], a[1, 1], a[1, 2] = pz, -t, -px
    a[2, 0], a[2, 1], a[2, 2] = -py, px, 2 * t
    _multiply(a, a, b)
    modulus = math.exp(-mean * scale)
    for j in range(3):
        for k in range(3):
            a[j, k] = modulus * (c1 * a[j, k] + c2 * b[j, k] + (c0 if j == k else 0.0))
    for _ in range(halvings):
        _multiply(a, a, b)
        a[:] = b
    x, y, z = m[0] - sx, m[1] - sy, m[2] - sz
    m[0] = sx + a[0, 0] * x + a[0, 1] * y + a[0, 2] * z
    m[1] = sy + a[1, 0] * x + a[1, 1] * y + a[1, 2] * z
    m[2] = sz + a[2, 0] * x + a[2, 1] * y + a[2, 2] * z
