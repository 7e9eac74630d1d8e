"""Vector instructions that take spins forward, keeping where they were, and slopes backward.

The mathematics is said in adjoint.py.
"""

from typing import no_type_check

from numba import types
from numba.extending import intrinsic

from ipads_stream.physics.bloch.kernels.parts import (
    BYTES,
    COLUMNS,
    LONG,
    ROWS,
    SHORT,
    VECTORS,
    E,
    X,
)
from ipads_stream.physics.kernels.vectors import (
    INDEX,
    Registers,
    Variable,
    cross,
    each,
    generated,
    polynomial,
)

# Rows of the lanes after those of parts.py: -t/2T2, t/2T1 and M0; l; Mx lx + My ly and
# (M0 - Mz) lz after the step; slopes with respect to B1, x, y, z, df, 1/T2, 1/T1 and M0.
N2, N1, M0, L, P, Q = ROWS, ROWS + 1, ROWS + 2, ROWS + 3, ROWS + 6, ROWS + 7
SLOPES = ROWS + 8
ALL = SLOPES + 8


class _Lanes(Registers):
    """The lanes of a block of spins and the states kept of them, as vectors."""

    def __init__(self, builder, dtype, table, shift, lanes):
        super().__init__(builder, dtype, BYTES // dtype.bitwidth * 8)
        self.table, self.shift, self.lanes = table, shift, lanes

    def vectors(self):
        """A loop over where the vectors of a row begin: unrolled, it takes minutes to compile."""
        return each(self.builder, 0, INDEX(VECTORS * self.width), self.width)

    def place_of(self, number, u):
        return self.builder.add(u, INDEX(number * VECTORS * self.width))

    def row(self, number, u):
        return self.load(self.lanes, self.place_of(number, u))

    def put(self, vector, number, u):
        self.store(vector, self.lanes, self.place_of(number, u))

    def kept(self, slot, u):
        """Where M of a slot is."""
        start = self.builder.add(self.builder.mul(slot, INDEX(3 * VECTORS * self.width)), u)
        return [self.place_of(i, start) for i in range(3)]

    def waveform(self, k):
        start = self.builder.mul(self.builder.lshr(k, self.shift), INDEX(COLUMNS))
        places = [self.builder.add(start, INDEX(column)) for column in range(COLUMNS)]
        return [self.element(self.table, place) for place in places]

    def rotor(self, waveform, fixed):
        """Half angles, their square, and what follows the 1 in W and s, over the square."""
        hx, hy, gx, gy, gz = waveform
        x, y, z, b1, df = fixed
        a = (hx * b1, hy * b1, gx * x + (gy * y + (gz * z + df)))
        q = a[2] * a[2] + (a[1] * a[1] + a[0] * a[0])
        cosine, sinc = SHORT if self.single else LONG
        return a, q, polynomial(cosine[1:], q), polynomial(sinc[1:], q)


def _change(m, w, v):
    """What the rotation by the quaternion (w, v) adds to m."""
    t = cross(v, m)
    u = cross([c + c for c in v], t)
    return [(w + w) * t[i] + u[i] for i in range(3)]


@intrinsic
@no_type_check
def turn_keeping(typing, table, first, last, shift, lanes, path, slot):
    """As turn; M before the rotations goes to path, flat (slots, 3, lanes), from a slot on."""

    def emit(builder, table, first, last, shift, flat, path, slot):
        at = _Lanes(builder, lanes.dtype, table, shift, flat)
        with each(builder, first, last) as (k, _):
            waveform = at.waveform(k)
            number = builder.add(slot, builder.sub(k, first))
            with at.vectors() as (u, _):
                x, y, z = m = [at.row(i, u) for i in range(3)]
                for value, place in zip(m, at.kept(number, u), strict=True):
                    at.store(value, path, place)
                a, q, even, odd = at.rotor(waveform, [at.row(i, u) for i in range(X, E)])
                d2, d1, d1m0 = (at.row(E + i, u) for i in range(3))
                s = odd * q + 1.0
                ux, uy, uz = _change(m, even * q + 1.0, [c * s for c in a])
                at.put(x + (ux - d2 * (x + ux)), 0, u)
                at.put(y + (uy - d2 * (y + uy)), 1, u)
                at.put(z + (uz + (d1m0 - d1 * (z + uz))), 2, u)

    return types.void(table, first, last, shift, lanes, path, slot), generated(emit)


@intrinsic
@no_type_check
def turn_back(typing, table, first, last, shift, lanes, path, slot, slopes):
    """Take l of the lanes through E and then R of k = last - 1 .. first, and sum the slopes.

    slot: of M before the rotation of first; slopes: flat (steps, 6), of the columns of the table
    and of dt times dt.
    """

    def emit(builder, table, first, last, shift, flat, path, slot, slopes):
        at = _Lanes(builder, lanes.dtype, table, shift, flat)
        of_step = [Variable(builder, at.kind) for _ in range(COLUMNS + 1)]
        count = builder.sub(last, first)
        with each(builder, 0, count) as (n, _):
            from_first = builder.sub(builder.sub(count, n), INDEX(1))
            k, number = builder.add(first, from_first), builder.add(slot, from_first)
            waveform = at.waveform(k)
            for total in of_step:
                total.put(at.constant(0.0))
            with at.vectors() as (u, _):
                m = [at.load(path, place) for place in at.kept(number, u)]
                for total, value in zip(of_step, _pull(at, waveform, m, u), strict=True):
                    total.add(value)
            start = builder.mul(builder.lshr(k, shift), INDEX(COLUMNS + 1))
            for column, total in enumerate(of_step):
                place = builder.gep(slopes, [builder.add(start, INDEX(column))])
                builder.store(builder.fadd(builder.load(place), total.get().total()), place)

    return types.void(table, first, last, shift, lanes, path, slot, slopes), generated(emit)


def _pull(at, waveform, m, u):
    """One vector through E and R transposed; returns what it adds to the slopes of the step."""
    x, y, z, b1, df, d2, d1, _, n2, n1, m0 = fixed = [at.row(i, u) for i in range(X, L)]
    lx, ly, lz, p, along = (at.row(i, u) for i in range(L, SLOPES))
    a, q, even, odd = at.rotor(waveform, fixed[: E - X])
    w, s = even * q + 1.0, odd * q + 1.0
    v = [c * s for c in a]
    after = (lx - d2 * lx, ly - d2 * ly, lz - d1 * lz)
    change = _change(after, w * -1.0, v)
    before = [after[i] + change[i] for i in range(3)]
    turning = cross([c + c for c in m], before)
    share = (s * even + odd) * (a[0] * turning[0] + (a[1] * turning[1] + a[2] * turning[2]))
    across = cross(v, turning)
    fx, fy, fz = (s * (w * turning[i] + across[i]) - share * a[i] for i in range(3))
    p_before = m[0] * before[0] + m[1] * before[1]
    along_before = (m0 - m[2]) * before[2]
    for i, value in enumerate((*before, p_before, along_before)):
        at.put(value, L + i, u)
    p, along = p + p_before, along + along_before
    hx, hy, gx, gy, gz = waveform
    added = (hx * fx + hy * fy, gx * fz, gy * fz, gz * fz, fz, p, along, d1 * lz)
    for i, value in enumerate(added):
        at.put(at.row(SLOPES + i, u) + value, SLOPES + i, u)
    return b1 * fx, b1 * fy, x * fz, y * fz, z * fz, df * fz + (n2 * p + n1 * along)
