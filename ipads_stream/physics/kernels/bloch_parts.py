"""Parts of the kernels of isochromats: what they do to a block of spins, and by which plan.

The mathematics is said in bloch.py.
"""

import math
from typing import no_type_check

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ipads_stream.physics.kernels.polynomials import cosine, decayed

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

# Inlined, so that compiled and cached kernels are one code: a part that is called exists twice in
# the process that compiles it, and its two codes may round otherwise.
_part = njit(forceinline=True, error_model="numpy", fastmath={"contract"})
_CONTRACT = ("contract",)


@intrinsic
@no_type_check
def turn(typing, table, first, last, shift, lanes):
    """Rotate M by row k >> shift of the table and relax, for k = first .. last - 1.

    table: flat (steps, COLUMNS); lanes: flat (ROWS, vectors x lanes), one dtype. M is kept in
    registers meanwhile.
    """
    single = lanes.dtype == types.float32
    width = BYTES // (4 if single else 8)
    scalar = ir.FloatType() if single else ir.DoubleType()
    cosine, sinc = SHORT if single else LONG
    kind, index = ir.VectorType(scalar, width), ir.IntType(64)

    def emit(context, builder, signature, arguments):
        def view(i):
            return context.make_array(signature.args[i])(context, builder, arguments[i]).data

        def integer(i):
            return context.cast(builder, arguments[i], signature.args[i], types.intp)

        def mul(a, b):
            return builder.fmul(a, b, flags=_CONTRACT)

        def add(a, b):
            return builder.fadd(a, b, flags=_CONTRACT)

        def sub(a, b):
            return builder.fsub(a, b, flags=_CONTRACT)

        def constant(value):
            return ir.Constant(kind, [value] * width)

        def polynomial(coefficients, q):
            value = constant(coefficients[-1])
            for c in coefficients[-2::-1]:
                value = add(mul(value, q), constant(c))
            return value

        def place(row, u):
            offset = index((row * VECTORS + u) * width)
            return builder.bitcast(builder.gep(view(4), [offset]), kind.as_pointer())

        def lane(row, u):
            return builder.load(place(row, u), align=4)

        steps, first, last, shift = view(0), integer(1), integer(2), integer(3)
        blank = ir.Constant(kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
        fixed = [[lane(row, u) for row in range(3, ROWS)] for u in range(VECTORS)]
        state = [[cgutils.alloca_once(builder, kind) for _ in range(3)] for _ in range(VECTORS)]
        for u in range(VECTORS):
            for row in range(3):
                builder.store(lane(row, u), state[u][row])
        with cgutils.for_range_slice(builder, first, last, index(1), index) as (k, _):
            start = builder.mul(builder.lshr(k, shift), index(COLUMNS))
            waveform = []
            for column in range(COLUMNS):
                value = builder.load(builder.gep(steps, [builder.add(start, index(column))]))
                single_lane = builder.insert_element(blank, value, ir.IntType(32)(0))
                waveform.append(builder.shuffle_vector(single_lane, blank, zeros))
            hx, hy, gx, gy, gz = waveform
            for u in range(VECTORS):
                x, y, z, b1, df, d2, d1, d1m0 = fixed[u]
                ax, ay = mul(hx, b1), mul(hy, b1)
                az = add(mul(gx, x), add(mul(gy, y), add(mul(gz, z), df)))
                q = add(mul(az, az), add(mul(ay, ay), mul(ax, ax)))
                w, s = polynomial(cosine, q), polynomial(sinc, q)
                w = add(w, w)
                a, b, c = mul(ax, s), mul(ay, s), mul(az, s)
                mx, my, mz = (builder.load(m) for m in state[u])
                tx = sub(mul(b, mz), mul(c, my))
                ty = sub(mul(c, mx), mul(a, mz))
                tz = sub(mul(a, my), mul(b, mx))
                a, b, c = add(a, a), add(b, b), add(c, c)
                # The changes are summed first: M is rounded once a step.
                ux = sub(add(mul(w, tx), mul(b, tz)), mul(c, ty))
                uy = sub(add(mul(w, ty), mul(c, tx)), mul(a, tz))
                uz = sub(add(mul(w, tz), mul(a, ty)), mul(b, tx))
                ux = sub(ux, mul(d2, add(mx, ux)))
                uy = sub(uy, mul(d2, add(my, uy)))
                uz = add(uz, sub(d1m0, mul(d1, add(mz, uz))))
                builder.store(add(mx, ux), state[u][0])
                builder.store(add(my, uy), state[u][1])
                builder.store(add(mz, uz), state[u][2])
        for u in range(VECTORS):
            for row in range(3):
                builder.store(builder.load(state[u][row]), place(row, u), align=4)
        return context.get_dummy_value()

    return types.void(table, first, last, shift, lanes), emit


@_part
@no_type_check
def reach_of(spins, reach):
    """The largest B1, |x|, |y|, |z|, |half angle by df| per second and rate of some spins."""
    reach[0] = np.abs(spins[4]).max()
    for i in range(4):
        reach[1 + i] = np.abs(spins[i]).max()
    reach[5] = max(spins[5].max(), spins[6].max())


@_part
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


@_part
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


@_part
@no_type_check
def scaled(spins, scale, time, lanes):
    """Put positions, B1 and half angle by df into the lanes, for a part of a step."""
    for i in range(spins.shape[1]):
        for j in range(3):
            lanes[X + j, i] = scale * spins[j, i]
        lanes[B1, i] = scale * spins[4, i]
        lanes[DF, i] = time * spins[3, i]


@_part
@no_type_check
def relax(lanes):
    for i in range(lanes.shape[1]):
        lanes[0, i] -= lanes[E, i] * lanes[0, i]
        lanes[1, i] -= lanes[E, i] * lanes[1, i]
        lanes[2, i] += lanes[E + 2, i] - lanes[E + 1, i] * lanes[2, i]


@_part
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


@_part
@no_type_check
def _multiply(a, b, out):
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@_part
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
