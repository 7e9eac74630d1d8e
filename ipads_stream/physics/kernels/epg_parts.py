"""What the extended phase graphs share: vectors of 16 atoms, one pulse on one order, decay.

In the frame of the pulse, F+ = i exp(i phi) a and F- = -i exp(-i phi) b (b stands for the conjugate
of the order -k), a pulse turns (a + b)/2 against Z and leaves (a - b)/2. The functions of a builder
emit vector instructions; x stands for a list of one vector (real) or of two (real and imaginary
part), of 16 atoms each.
"""

import math
from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import njit

from ipads_stream.physics.kernels.polynomials import cosine, decayed
from ipads_stream.physics.kernels.tile import LANES

INDEX, FUSE = ir.IntType(64), ("contract",)
_PER_TURN = 1 / (2 * math.pi)

# Inlined, so that compiled and cached kernels are one code: a part that is called exists twice in
# the process that compiles it, and its two codes may round otherwise.
part = njit(forceinline=True, error_model="numpy", fastmath={"contract"})


@no_type_check
def arithmetic(builder):
    def mul(x, y):
        return builder.fmul(x, y, flags=FUSE)

    def add(x, y):
        return builder.fadd(x, y, flags=FUSE)

    def sub(x, y):
        return builder.fsub(x, y, flags=FUSE)

    return mul, add, sub


@no_type_check
def number(like, value):
    return ir.Constant(like.type, [value] * LANES)


@no_type_check
def memory(context, builder, vector, num_parts):
    """load(array, at, parts) and store(array, at, vectors) of rows of 16 numbers."""
    align = vector.element.get_abi_size(context.target_data)

    def place(array, at, part):
        offset = builder.add(at, INDEX(LANES * part))
        return builder.bitcast(builder.gep(array, [offset]), vector.as_pointer())

    def load(array, at, parts=num_parts):
        return [builder.load(place(array, at, i), align=align) for i in range(parts)]

    def store(array, at, values):
        for i, value in enumerate(values):
            builder.store(value, place(array, at, i), align=align)

    return load, store


@no_type_check
def prepare_real(builder, c, s, e1, e2, echo):
    mul, _, _ = arithmetic(builder)
    half = mul(number(e2, 0.5), e2)
    half_s = mul(number(s, 0.5), s)
    return mul(c, half), mul(s, e2), half, mul(c, e1), mul(half_s, e1)


@no_type_check
def combine_real(builder, shared, a, b, z):
    mul, add, sub = arithmetic(builder)
    cosine, sine, half, cosine_1, sine_1 = shared
    (a,), (b,), (z,) = a, b, z
    total, difference = add(a, b), sub(a, b)
    mixed = add(mul(cosine, total), mul(sine, z))
    kept = mul(half, difference)
    return [add(mixed, kept)], [sub(mixed, kept)], [sub(mul(cosine_1, z), mul(sine_1, total))]


@no_type_check
def prepare_complex(builder, c, s, e1, e2, echo, x, y):
    mul, _, _ = arithmetic(builder)
    x, y, half = mul(x, e2), mul(y, e2), number(c, 0.5)
    half_s = mul(half, s)
    return mul(half, c), s, x, y, mul(half, x), mul(half, y), mul(c, e1), mul(half_s, e1)


@no_type_check
def combine_complex(builder, shared, a, b, z):
    mul, add, sub = arithmetic(builder)
    cosine, sine, x, y, half_x, half_y, cosine_1, sine_1 = shared
    total = [add(*pair) for pair in zip(a, b, strict=True)]
    m, n = (sub(*pair) for pair in zip(a, b, strict=True))
    u, v = (add(mul(cosine, t), mul(sine, w)) for t, w in zip(total, z, strict=True))
    p, q = sub(mul(x, u), mul(half_y, n)), sub(mul(half_x, m), mul(y, v))
    r, s = add(mul(x, v), mul(half_y, m)), add(mul(y, u), mul(half_x, n))
    up, down = [add(p, q), add(r, s)], [sub(p, q), sub(r, s)]
    left = [sub(mul(cosine_1, w), mul(sine_1, t)) for t, w in zip(total, z, strict=True)]
    return up, down, left


@no_type_check
def echo_fisp(builder, given, a, b, z):
    """In the frame of the pulse Re a turns against Z, Im a stays."""
    mul, add, _ = arithmetic(builder)
    turned = add(mul(given[0], a[0]), mul(given[1], z[0]))
    return [mul(given[4], x) for x in (turned, *a[1:])]


@no_type_check
def close_fisp(builder, given, outgoing, b, z):
    """F_0 is the conjugate of the order that fell to 0; Z_0 recovers."""
    _, add, sub = arithmetic(builder)
    recovered = add(z[0], sub(number(given[2], 1.0), given[2]))
    return [b[0], *(builder.fneg(x) for x in b[1:])], [recovered, *z[1:]]


@no_type_check
def echo_cpmg(builder, given, a, b, z):
    """Half an interval after the pulse F_-1, minus b, has become F_0."""
    mul, add, sub = arithmetic(builder)
    half = number(given[0], 0.5)
    turned = add(mul(mul(half, given[0]), add(a[0], b[0])), mul(given[1], z[0]))
    return [mul(given[4], sub(mul(half, sub(a[0], b[0])), turned))]


@no_type_check
def close_cpmg(builder, given, outgoing, b, z):
    return [builder.fneg(outgoing[0])], z


@part
@no_type_check
def rows(count, like):
    """Zeros, count rows of 16, that begin at a cache line: a vector across two costs twice."""
    room = np.zeros(LANES * (count + 1), like.dtype)
    size = like.itemsize
    skip = (-room.ctypes.data // size) % LANES
    return room[skip : skip + LANES * count]


@part
@no_type_check
def gather(T1, T2, B1, first, tissue):
    """Rates 1/T1, 1/T2 and B1 / (2 pi) of 16 atoms; the last atom fills what is left."""
    last = T1.shape[0] - 1
    for lane in range(LANES):
        i = min(first + lane, last)
        tissue[lane], tissue[LANES + lane] = 1 / T1[i], 1 / T2[i]
        tissue[2 * LANES + lane] = B1[i] * _PER_TURN


@part
@no_type_check
def decay(time, tissue, rate, out, row):
    """exp(-time / T1) for rate 0, exp(-time / T2) for rate 1."""
    for lane in range(LANES):
        out[LANES * row + lane] = decayed(time * tissue[LANES * rate + lane])


@part
@no_type_check
def turn(flip, tissue, out):
    for lane in range(LANES):
        turns = flip * tissue[2 * LANES + lane]
        out[lane], out[LANES + lane] = cosine(turns), cosine(turns - 0.25)
