"""Signal of many spins during free precession on the CPU: matrix products of phase factors.

The logarithm of M+ of a spin is linear in the columns of a sample: k, t and what else weighs it.
Lines of samples that share a pattern of offsets from their first (echoes of one polarity, pieces of
one free induction decay) form a group: s_aj = sum_n (w_n A_na) P_nj, with A of the lines and P of
the pattern. Both are formed once per block of spins, from turns in float64, or follow from those
before by one complex number per spin; the product over the spins takes 8 flop per spin and sample
and is summed over blocks in float64, so that float32 stays within 1e-6 of the largest signal.

2D EPI of 64 x 64, 36,864 spins, float32, one Zen 5 core (245 GFLOP/s at best) beside other load:
7.3 ms, 165 GFLOP/s. As loops, of which Numba vectorises some: 25.7 ms. Where no two lines share a
pattern (spirals) a factor is formed per sample: 87 ms for as many.
"""

from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel, part
from ipads_stream.physics.bloch.kernels.factors import (
    COLUMNS,
    LANES,
    ROWS,
    form,
    multiply,
    multiply_one,
    scale,
)

BLOCK = 128  # spins
LONGEST = 256  # pattern; those of a block of spins stay in the second-level cache


@part
@no_type_check
def _multiply(left, right, rows, count, base, first, total, num_vectors, result):
    """Add the products of rows of left and the vectors of right to rows first, ... of result."""
    for v in range(num_vectors):
        place = base + (v * total + first) * 2 * LANES
        start = v * BLOCK * 2 * LANES
        if rows == 1:
            multiply_one(left, right, start, 0, count, result, place)
        else:
            for row in range(0, rows, ROWS):
                multiply(left, right, start, row, count, result, place + row * 2 * LANES)


@part
@no_type_check
def _gather(spins, extra, M, sensitivity, item, begin, count, block, weights):
    """Bring a block of spins together: what the factors need, M+, and M+ weighted by the coils."""
    num_coils, num_spins = sensitivity.shape[1], sensitivity.shape[2]
    for n in range(count):
        spin = item * num_spins + begin + n
        for i in range(4):
            block[n, i] = spins[i, spin]
        block[n, 4], block[n, 5], block[n, 6] = spins[6, spin], extra[0, spin], extra[1, spin]
        for c in range(num_coils):
            s = sensitivity[item, c, begin + n]
            at = ((c // LANES) * BLOCK + n) * 2 * LANES + c % LANES
            weights[at] = s.real * M[spin, 0] - s.imag * M[spin, 1]
            weights[at + LANES] = s.real * M[spin, 1] + s.imag * M[spin, 0]


@part
@no_type_check
def _scatter(result, groups, firsts, item, out):
    """Put the sums of the groups in the order of the samples."""
    num_coils = out.shape[1]
    packs = (num_coils + LANES - 1) // LANES
    k = base = 0
    for g in range(groups.shape[0]):
        num_lines, points = groups[g, 1], groups[g, 3]
        stride = packs * LANES if num_coils > 1 else 1
        total = (num_lines * stride + LANES - 1) // LANES * LANES
        for a in range(num_lines):
            for c in range(num_coils):
                for j in range(points):
                    at = base + (j // LANES * total + a * stride + c) * 2 * LANES + j % LANES
                    out[item, c, firsts[k] + j] = complex(result[at], result[at + LANES])
            k += 1
        base += (points + LANES - 1) // LANES * total * 2 * LANES


@kernel
@no_type_check
def readout(columns, before, moving, groups, firsts, spins, extra, M, sensitivity, out):
    """Write the signal at every sample of a free precession that M starts.

    columns: float64, flat (V, COLUMNS, 16), turns per m, m, m and rad/s and then s, s, s/m^2 of 16
    rows each; before: (V,), -1 where the factors are formed anew, else by which of the moves they
    follow from the vector before; moving: as columns, the moves; groups: (G, 4), first vector of
    the lines, number of lines, first vector of the pattern, its length (at most LONGEST); firsts:
    sample at which each line starts; spins: float64, (8, B N), as of bloch; extra: float64,
    (2, B N), 1/T2' and D; M: (B N, 3); sensitivity: complex, (B, C, N); out: complex, (B, C, S).
    """
    num_items, num_coils, num_spins = sensitivity.shape
    packs = (num_coils + LANES - 1) // LANES
    num_moves = moving.size // (COLUMNS * LANES)
    kind = M.dtype
    block = np.empty((BLOCK, COLUMNS))
    size = BLOCK * 2 * LANES
    left, rows = np.zeros(size, kind), np.zeros(size, kind)
    right = np.zeros(LONGEST // LANES * size, kind)
    weights = np.zeros(packs * size, kind)
    moves = np.zeros(num_moves * size, kind)
    stride = packs * LANES if num_coils > 1 else 1
    length = 0
    for g in range(groups.shape[0]):
        total = (groups[g, 1] * stride + LANES - 1) // LANES * LANES
        length += (groups[g, 3] + LANES - 1) // LANES * total * 2 * LANES
    result = np.empty(length)
    for item in range(num_items):
        result[:] = 0
        for begin in range(0, num_spins, BLOCK):
            count = min(BLOCK, num_spins - begin)
            _gather(spins, extra, M, sensitivity, item, begin, count, block, weights)
            for v in range(num_moves):
                form(moving, v * COLUMNS * LANES, block, count, moves, v * size)
            base = 0
            for g in range(groups.shape[0]):
                line, num_lines, pattern, points = groups[g]
                vectors = (points + LANES - 1) // LANES
                total = (num_lines * stride + LANES - 1) // LANES * LANES
                for v in range(vectors):
                    if before[pattern + v] < 0:
                        form(
                            columns, (pattern + v) * COLUMNS * LANES, block, count, right, v * size
                        )
                    else:
                        lane = before[pattern + v]
                        lane = lane // LANES * size + lane % LANES
                        scale(right, (v - 1) * size, moves, lane, count, right, v * size)
                for a in range(0, num_lines, LANES):
                    v = line + a // LANES
                    if before[v] < 0:
                        form(columns, v * COLUMNS * LANES, block, count, rows, 0)
                    else:
                        lane = before[v] // LANES * size + before[v] % LANES
                        scale(rows, 0, moves, lane, count, rows, 0)
                    some = min(LANES, num_lines - a)
                    if num_coils == 1:
                        scale(rows, 0, weights, 0, count, left, 0)
                        _multiply(left, right, some, count, base, a, total, vectors, result)
                    else:
                        for i in range(some * packs):
                            c = i % packs
                            scale(weights, c * size, rows, i // packs, count, left, 0)
                            coils = min(LANES, num_coils - c * LANES)
                            row = (a * packs + i) * LANES
                            _multiply(left, right, coils, count, base, row, total, vectors, result)
                base += vectors * total * 2 * LANES
        _scatter(result, groups, firsts, item, out)
