"""Bloch-McConnell on the CPU: exponentials of 8 (spectrum, offset) pairs in the lanes of a vector.

With constant fields M -> M + F M + v, where [F, v] = exp([A, b] t) - 1 is a matrix of 3 x 3 blocks,
one per pair of pools, and a column. What is 1 is never added: exp(2 X) - 1 = 2 F + F F, so that
squaring 20 times loses no digit of a slow relaxation. A polynomial of degree 8 takes 3 products, a
pulse of 200 rad 12 squarings. Without RF the transverse and the longitudinal parts separate: a
block holds a complex number and a real one, and the rotation that all pools share is taken out. A
pulse with its gap is computed once and applied to M; a symmetric pulse grows from its middle, so
that each exponential serves twice.

Floor for 3 pools and 20 rectangular pulses: 16 products of 810 multiply-adds, 15 of 135 and 20 x
90 to apply them, 17,000 for a pair, 0.86 million for 51 offsets; a Zen 5 core does 61e9 a second in
float64, which is 70,000 spectra. Float32 would be twice as fast and wrong: 2 s at 15 ppm and 3 T
are 24,000 rad, which float32 holds to 1e-3.
"""

import math
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel, part
from ipads_stream.physics.exchange.kernels.pool_products import LANES, apply, free_product, product
from ipads_stream.physics.kernels.polynomials import cosine

# Rows of a pool in the table of tissue: rates in 1/s, shift in rad/s; after all pools B1 and Mz0.
R1, R2, FRACTION, EXCHANGE, SHIFT, ROWS = 0, 1, 2, 3, 4, 5
# Columns of the table of trains, and of samples: rad/s about x and y, length in s.
FIRST, STOP, GAP, NUMBER, HALTED, SPOILED, MIRRORED, COLUMNS = range(8)
# exp(x) - 1 to degree 8: x + C2 x^2 + (C3 x^2 + y) (C4 + C5 x + C6 x^2 + C7 y) with
# y = x^2 (C0 x + C1 x^2) (Bader, Blanes and Casas, Mathematics 7(12), 2019).
_ROOT = math.sqrt(177)
C3 = 2 / 3
C0, C1 = C3 * (1 + _ROOT) / 88, C3 * (1 + _ROOT) / 352
C4, C5 = (29 * _ROOT - 271) / (315 * C3), 11 * (_ROOT - 1) / (1260 * C3)
C6, C7 = 11 * (_ROOT - 9) / (5040 * C3), (89 - _ROOT) / (5040 * C3**2)
C2 = (857 - 58 * _ROOT) / 630
REACH = 0.045  # norm up to which the polynomial is exact to float64

_PER_TURN = 1 / (2 * math.pi)


@part
@no_type_check
def _halvings(norm):
    """How often a matrix of this norm is halved until the polynomial reaches."""
    count = 0
    while norm > REACH:
        norm *= 0.5
        count += 1
    return count


@part
@no_type_check
def _norm(rates, pools, x, y, common):
    """A bound of the sums of a column in 8 generators; common: 1 in the water's frame, or 0."""
    largest = 0.0
    for pool in range(pools):
        for lane in range(LANES):
            row = ROWS * pool
            r1, r2 = rates[row + R1, lane], rates[row + R2, lane]
            field = (abs(x) + abs(y)) * rates[ROWS * pools, lane]
            shift = rates[row + SHIFT, lane] - common * rates[SHIFT, lane]
            total = abs(shift) + field + max(r1, r2) + 2 * rates[row + EXCHANGE, lane]
            if pool == pools - 1:
                total += rates[ROWS * pools + 2, lane] * field * field
            largest = max(largest, total)
    return largest


@part
@no_type_check
def _generator(rates, pools, solid, x, y, time, out):
    """[A, b] time with RF of x, y rad/s times B1; solid: the pool that has no transverse part."""
    width = 3 * pools + 1
    out[:] = 0.0
    for pool in range(pools):
        row = ROWS * pool
        for lane in range(LANES):
            b1 = time * rates[ROWS * pools, lane]
            leaving = time * rates[row + EXCHANGE, lane]
            fraction = rates[row + FRACTION, lane]
            r1 = time * rates[row + R1, lane]
            transverse = -time * rates[row + R2, lane] - leaving
            turn = time * rates[row + SHIFT, lane]
            longitudinal = -r1 - leaving
            at = (3 * pool * (width + 1)) * LANES + lane  # cell of (x, x)
            across, down = LANES, width * LANES
            if pool == solid:
                field = (x * x + y * y) * rates[ROWS * pools, lane] * b1
                longitudinal -= rates[ROWS * pools + 2, lane] * field
            else:
                out[at] = transverse
                out[at + across] = turn
                out[at + 2 * across] = -b1 * y
                out[at + down] = -turn
                out[at + down + across] = transverse
                out[at + down + 2 * across] = b1 * x
                out[at + 2 * down] = b1 * y
                out[at + 2 * down + across] = -b1 * x
            out[at + 2 * (down + across)] = longitudinal
            out[((3 * pool + 2) * width + width - 1) * LANES + lane] = r1 * fraction
            if pool > 0:
                arriving = leaving * fraction / rates[FRACTION, lane]
                for axis in range(2 if pool == solid else 0, 3):
                    out[(axis * width + 3 * pool + axis) * LANES + lane] = leaving
                    out[((3 * pool + axis) * width + axis) * LANES + lane] = arriving


@part
@no_type_check
def _free_generator(rates, pools, solid, time, out):
    """The same without RF, in the frame of the water; M+ turns as exp(-i shift t)."""
    out[:] = 0.0
    for pool in range(pools):
        row = ROWS * pool
        for lane in range(LANES):
            leaving = time * rates[row + EXCHANGE, lane]
            at = 3 * LANES * pool * (pools + 1) + lane
            if pool != solid:
                out[at] = -time * rates[row + R2, lane] - leaving
                out[at + LANES] = -time * (rates[row + SHIFT, lane] - rates[SHIFT, lane])
            out[at + 2 * LANES] = -time * rates[row + R1, lane] - leaving
            if pool > 0:
                arriving = leaving * rates[row + FRACTION, lane] / rates[FRACTION, lane]
                for axis in range(2 if pool == solid else 0, 3, 2):
                    out[3 * LANES * pool + axis * LANES + lane] = leaving
                    out[3 * LANES * pool * pools + axis * LANES + lane] = arriving


@part
@no_type_check
def _exponential(rates, pools, solid, x, y, time, work, out):
    """[F, v] of a time with constant RF; the first 4 matrices of work are overwritten."""
    count = _halvings(_norm(rates, pools, x, y, 0) * time)
    a, b, c, d = work[0], work[1], work[2], work[3]
    _generator(rates, pools, solid, x, y, math.ldexp(time, -count), a)
    product(a, a, 0.0, a, 0.0, pools, b)
    for i in range(a.size):
        c[i] = C0 * a[i] + C1 * b[i]
    product(b, c, 0.0, a, 0.0, pools, d)
    for i in range(a.size):
        c[i] = C5 * a[i] + C6 * b[i] + C7 * d[i]
        d[i] += C3 * b[i]
        a[i] += C2 * b[i]
    product(d, c, C4, a, 1.0, pools, b)
    for _ in range(count):
        product(b, b, 1.0, b, 1.0, pools, a)
        a, b = b, a
    out[:] = b


@part
@no_type_check
def _free_exponential(rates, pools, solid, time, turns, spoiled, work, out):
    """[F, v] of a time without RF, v = -F M0.

    turns: of the frame, (LANES,); spoiled: 1 where what is transverse is lost; work: 4 matrices of
    pools x pools blocks.
    """
    count = _halvings(_norm(rates, pools, 0.0, 0.0, 1) * time)
    a, b, c, d = work[0], work[1], work[2], work[3]
    _free_generator(rates, pools, solid, math.ldexp(time, -count), a)
    free_product(a, a, 0.0, a, 0.0, pools, b)
    for i in range(a.size):
        c[i] = C0 * a[i] + C1 * b[i]
    free_product(b, c, 0.0, a, 0.0, pools, d)
    for i in range(a.size):
        c[i] = C5 * a[i] + C6 * b[i] + C7 * d[i]
        d[i] += C3 * b[i]
        a[i] += C2 * b[i]
    free_product(d, c, C4, a, 1.0, pools, b)
    for _ in range(count):
        free_product(b, b, 1.0, b, 1.0, pools, a)
        a, b = b, a
    out[:] = 0.0
    width = 3 * pools + 1
    for i in range(pools * pools):
        row, column = i // pools, i % pools
        unit = 1.0 if row == column else 0.0
        for lane in range(LANES):
            at, to = 3 * LANES * i + lane, 3 * LANES * (row * width + column) + lane
            kept = 1.0 - spoiled
            u, v = kept * cosine(turns[lane]), -kept * cosine(turns[lane] - 0.25)
            re, im, z = unit + b[at], b[at + LANES], b[at + 2 * LANES]
            along, turned = u * re - v * im - unit, u * im + v * re
            out[to], out[to + LANES] = along, -turned
            out[to + LANES * width], out[to + LANES * (width + 1)] = turned, along
            out[to + 2 * LANES * (width + 1)] = z
            last = LANES * ((3 * row + 2) * width + width - 1) + lane
            out[last] -= z * rates[ROWS * column + FRACTION, lane]


@part
@no_type_check
def _gather(tissue, absorption, offsets, first, pools, solid, rates):
    """Rates of 8 pairs, the last one repeated; the shift of a pool is from the offset.

    The water leaves for all pools at one rate; its R2 is less by what a solid takes of Mz only.
    """
    num = offsets.shape[0]
    last = tissue.shape[1] * num - 1
    for lane in range(LANES):
        pair = min(first + lane, last)
        spectrum, offset = pair // num, pair % num
        for row in range(ROWS * pools + 2):
            rates[row, lane] = tissue[row, spectrum]
        rates[ROWS * pools + 2, lane] = absorption[spectrum, offset] if absorption.size else 0.0
        leaving = 0.0
        for pool in range(pools):
            row = ROWS * pool
            rates[row + SHIFT, lane] -= offsets[offset]
            if pool > 0:
                taken = rates[row + EXCHANGE, lane] * rates[row + FRACTION, lane]
                taken /= rates[FRACTION, lane]
                leaving += taken
                if pool == solid:
                    rates[R2, lane] -= taken
        rates[EXCHANGE, lane] = leaving


@part
@no_type_check
def _turns(rates, offsets, first, count, time, halted, turns):
    """Turns of the frame of the water against that of the RF in a gap."""
    num = offsets.shape[0]
    for lane in range(LANES):
        offset = offsets[min(first + lane, count - 1) % num]
        turns[lane] = (rates[SHIFT, lane] + halted * offset) * time * _PER_TURN


@part
@no_type_check
def _interval(rates, pools, solid, samples, train, turns, work, narrow):
    """[F, v] of a pulse and its gap, which lies in a row of work, (7, matrix)."""
    begin, stop = int(train[FIRST]), int(train[STOP])
    now, done, next_ = work[4], work[5], work[6]
    for i in range(begin, stop):
        x, y, time = samples[i, 0], samples[i, 1], samples[i, 2]
        _exponential(rates, pools, solid, x, y, time, work, now)
        if i == begin:
            now, done = done, now
            continue
        product(now, done, 1.0, done, 1.0, pools, next_)
        if train[MIRRORED]:
            product(next_, now, 1.0, now, 1.0, pools, done)
        else:
            done, next_ = next_, done
    if train[GAP] > 0 or train[SPOILED] > 0:
        _free_exponential(rates, pools, solid, train[GAP], turns, train[SPOILED], narrow, now)
        product(now, done, 1.0, done, 1.0, pools, next_)
        done, next_ = next_, done
    return done


@part
@no_type_check
def _buffers(count, size):
    """So many rows of zeros that begin at a cache line: a vector across two costs twice."""
    room = np.zeros(count * size + LANES)
    skip = (-room.ctypes.data // 8) % LANES
    return room[skip : skip + count * size].reshape(count, size)


@kernel
@no_type_check
def z_spectra(tissue, solid, absorption, offsets, samples, trains, out):
    """Mz/M0 of the water after trains of pulses, for every spectrum at every offset.

    tissue: float64, (5 pools + 2, spectra), rows as named above, the water first, shifts (rad/s)
    with df; solid: the pool without transverse part, or -1; absorption: pi g of it, s, (spectra,
    offsets), else empty; offsets: rad/s, (offsets,); samples: (samples, 3); trains: (trains,
    COLUMNS); out: (spectra, offsets), float32 or float64, computed in float64.
    """
    pools = (tissue.shape[0] - 2) // ROWS
    count, result = out.size, out.reshape(-1)
    work = _buffers(7, LANES * 3 * pools * (3 * pools + 1))
    narrow = _buffers(4, LANES * 3 * pools * pools)
    state = _buffers(2, LANES * 3 * pools)
    rates, turns = np.empty((ROWS * pools + 3, LANES)), np.empty(LANES)
    for first in range(0, count, LANES):
        _gather(tissue, absorption, offsets, first, pools, solid, rates)
        M, other = state[0], state[1]
        M[:] = 0.0
        for pool in range(pools):
            for lane in range(LANES):
                start = rates[ROWS * pools + 1, lane]
                M[LANES * (3 * pool + 2) + lane] = start * rates[ROWS * pool + FRACTION, lane]
        for n in range(trains.shape[0]):
            train = trains[n]
            _turns(rates, offsets, first, count, train[GAP], train[HALTED], turns)
            both = _interval(rates, pools, solid, samples, train, turns, work, narrow)
            for _ in range(int(train[NUMBER])):
                apply(both, M, pools, other)
                M, other = other, M
        for lane in range(min(LANES, count - first)):
            result[first + lane] = M[2 * LANES + lane] / rates[FRACTION, lane]
