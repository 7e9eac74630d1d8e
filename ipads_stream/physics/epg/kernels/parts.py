"""What the extended phase graphs share: vectors of 16 atoms, one pulse on one order, decay.

In the frame of the pulse, F+ = i exp(i phi) a and F- = -i exp(-i phi) b (b stands for the conjugate
of the order -k), a pulse turns (a + b)/2 against Z and leaves (a - b)/2. Functions of vectors emit
instructions; a, b, z stand for lists of one vector (real) or of two (real and imaginary part), of
16 atoms each.
"""

import math
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import part
from ipads_stream.physics.kernels.polynomials import cosine, decayed
from ipads_stream.physics.kernels.tile import LANES
from ipads_stream.physics.kernels.vectors import INDEX, Registers

_PER_TURN = 1 / (2 * math.pi)


class Rows(Registers):
    """Loads and stores of lists of vectors, rows of 16 numbers."""

    def __init__(self, builder, array, num_parts):
        super().__init__(builder, array.dtype, LANES)
        self.num_parts = num_parts

    def get(self, base, at, num_parts=None):
        offsets = (INDEX(LANES * i) for i in range(num_parts or self.num_parts))
        return [self.load(base, self.builder.add(at, offset)) for offset in offsets]

    def put(self, base, at, vectors):
        for i, vector in enumerate(vectors):
            self.store(vector, base, self.builder.add(at, INDEX(LANES * i)))


def renewed(variables, vectors):
    """What variables held before they hold these vectors."""
    old = [variable.get() for variable in variables]
    for variable, vector in zip(variables, vectors, strict=True):
        variable.put(vector)
    return old


def prepare_real(c, s, e1, e2, echo):
    half = e2 * 0.5
    return c * half, s * e2, half, c * e1, s * 0.5 * e1


def combine_real(shared, a, b, z):
    cosine, sine, half, cosine_1, sine_1 = shared
    (a,), (b,), (z,) = a, b, z
    total, difference = a + b, a - b
    mixed = cosine * total + sine * z
    kept = half * difference
    return [mixed + kept], [mixed - kept], [cosine_1 * z - sine_1 * total]


def prepare_complex(c, s, e1, e2, echo, x, y):
    x, y = x * e2, y * e2
    return c * 0.5, s, x, y, x * 0.5, y * 0.5, c * e1, s * 0.5 * e1


def combine_complex(shared, a, b, z):
    cosine, sine, x, y, half_x, half_y, cosine_1, sine_1 = shared
    total = [i + j for i, j in zip(a, b, strict=True)]
    m, n = (i - j for i, j in zip(a, b, strict=True))
    u, v = (cosine * t + sine * w for t, w in zip(total, z, strict=True))
    p, q = x * u - half_y * n, half_x * m - y * v
    r, s = x * v + half_y * m, y * u + half_x * n
    left = [cosine_1 * w - sine_1 * t for t, w in zip(total, z, strict=True)]
    return [p + q, r + s], [p - q, r - s], left


def echo_fisp(given, a, b, z):
    """In the frame of the pulse Re a turns against Z, Im a stays."""
    turned = given[0] * a[0] + given[1] * z[0]
    return [given[4] * x for x in (turned, *a[1:])]


def close_fisp(given, outgoing, b, z):
    """F_0 is the conjugate of the order that fell to 0; Z_0 recovers."""
    return [b[0], *(-x for x in b[1:])], [z[0] + (1.0 - given[2]), *z[1:]]


def echo_cpmg(given, a, b, z):
    """Half an interval after the pulse F_-1, minus b, has become F_0."""
    turned = given[0] * 0.5 * (a[0] + b[0]) + given[1] * z[0]
    return [given[4] * ((a[0] - b[0]) * 0.5 - turned)]


def close_cpmg(given, outgoing, b, z):
    return [-outgoing[0]], z


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
