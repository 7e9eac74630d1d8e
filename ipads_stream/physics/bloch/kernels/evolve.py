"""Isochromats on the CPU: rotations and relaxation of many spins that stay in vector registers.

A step with RF is E(dt/2) R E(dt/2), relaxation about the rotation by the effective field; between
steps of equal length two halves are one E(dt). R is the quaternion of the half angles a, w = cos|a|
and v = a sin|a| / |a|, both polynomials in q = |a|^2 <= 1, applied as M + 2 w (v x M) +
2 v x (v x M). E is applied as M - d2 M and Mz + d1 (M0 - Mz), d = 1 - exp(-t/T): exp(-t/T) itself,
rounded to float32, would shift a rate of 1/s at 10 us by parts in a thousand.

A plan says per step, for a group of spins, which way is taken: no RF, exact whatever its length;
one split; 2^n equal splits, where the angle exceeds 2 rad or the error of one split, estimated as
|phi_rf| (|phi| + dt/T2) (dt/T2) / 12, exceeds the tolerance; else the exponential in float64.

Steps with RF are written as vector instructions (see tile.py): 48 per 16 spins, 73 flop a spin.
20,000 spins x 1,000 steps, float32, one Zen 5 core, four runs: 1.8 to 2.3e9 spin-steps per second
of processor time, mostly 59 % of the multiply-add rate (1 vector: 1.6e9, 2: 1.8e9, 4: 2.1e9);
largest error 3e-6. Rounding M once per step, not at each sum, cost nothing; without it: 1.3e-5.
"""

from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel
from ipads_stream.physics.bloch.kernels.parts import (
    BYTES,
    COLUMNS,
    EXACT,
    FREE,
    GROUP,
    MOST_HALVINGS,
    ROWS,
    VECTORS,
    exponentiate,
    plan,
    precess,
    reach_of,
    relax,
    scaled,
    turn,
    use_relaxation,
)


@kernel
@no_type_check
def bloch(steps, table, spins, tolerance, M):
    """Evolve M through all steps, in place.

    steps: float64, (K, 6), half angles in rad by RF about x and y, by the gradients in x, y and z
    per metre, and dt in s; table: (K, COLUMNS), the first of them in the dtype of M; spins:
    float64, (8, N), x, y, z in m, half angle by off-resonance in rad/s, B1, 1/T1, 1/T2, M0;
    tolerance: of relaxation during a step with RF; M: float32 or float64, (N, 3).
    """
    num_spins = M.shape[0]
    width = VECTORS * BYTES // M.itemsize
    runs = np.empty((steps.shape[0] + 1, 3), np.int64)
    reach = np.empty(6)
    lanes = np.zeros((ROWS, width), M.dtype)
    flat, rows = lanes.reshape(-1), table.reshape(-1)
    # Of whole and half parts of a step, for every number of splits: runs of them may alternate.
    slots = 2 * MOST_HALVINGS + 2
    stored, times = np.empty((slots, 3, width), M.dtype), np.empty(slots)
    block, m = np.empty((8, width)), np.empty(3)
    a, b = np.empty((3, 3)), np.empty((3, 3))
    num_runs = 0
    for begin in range(0, num_spins, width):
        if begin % (GROUP * width) == 0:
            reach_of(spins[:, begin : begin + GROUP * width], reach)
            num_runs = plan(steps, reach, tolerance, runs)
        for i in range(width):
            spin = min(begin + i, num_spins - 1)
            for j in range(8):
                block[j, i] = spins[j, spin]
            for j in range(3):
                lanes[j, i] = M[spin, j]
        times[:] = -1.0
        for r in range(num_runs):
            start, stop, way = runs[r]
            if way == FREE:
                precess(steps[start], block, lanes)
            elif way == EXACT:
                for i in range(width):
                    m[0], m[1], m[2] = lanes[0, i], lanes[1, i], lanes[2, i]
                    exponentiate(steps[start], block, i, m, a, b)
                    lanes[0, i], lanes[1, i], lanes[2, i] = m[0], m[1], m[2]
            else:
                time = steps[start, 5] * 0.5**way
                scaled(block, 0.5**way, time, lanes)
                use_relaxation(block, 0.5 * time, 2 * way, times, stored, lanes)
                relax(lanes)
                last = (stop << way) - 1
                if last > start << way:
                    use_relaxation(block, time, 2 * way + 1, times, stored, lanes)
                    turn(rows, start << way, last, way, flat)
                    use_relaxation(block, 0.5 * time, 2 * way, times, stored, lanes)
                turn(rows, last, last + 1, way, flat)
        for i in range(min(width, num_spins - begin)):
            for j in range(3):
                M[begin + i, j] = lanes[j, i]


@kernel
@no_type_check
def shaped(steps, table):
    """Round the half angles into the table so that the errors of their sums stay bounded.

    Each step carries the rounding error of those before it: a constant gradient in float32 would
    otherwise wind up a phase of 3e-8 times the whole.
    """
    for j in range(COLUMNS):
        carried = 0.0
        for k in range(steps.shape[0]):
            wanted = steps[k, j] + (carried if steps[k, j] != 0 else 0.0)
            table[k, j] = wanted
            carried = wanted - table[k, j] if steps[k, j] != 0 else carried
