"""Slopes through one step of a spin that is not a rotation between relaxation: free, or exact.

The mathematics is said in adjoint.py.
"""

import math
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import part
from ipads_stream.physics.bloch.kernels.adjoint_turns import L
from ipads_stream.physics.kernels.polynomials import cosine, decayed


@part
@no_type_check
def backward_free(step, block, lanes, before, slopes, sums):
    """Take l back through a step without RF, in float64; before: M at its start."""
    for i in range(lanes.shape[1]):
        half = step[2] * block[0, i] + step[3] * block[1, i] + step[4] * block[2, i]
        turns = (half + step[5] * block[3, i]) / math.pi
        c, s = cosine(turns), cosine(turns - 0.25)
        e1, e2 = decayed(step[5] * block[5, i]), decayed(step[5] * block[6, i])
        x, y = np.float64(lanes[L, i]), np.float64(lanes[L + 1, i])
        z = np.float64(lanes[L + 2, i])
        sums[7, i] += (1 - e1) * z
        x, y, z = e2 * (c * x + s * y), e2 * (c * y - s * x), e1 * z
        lanes[L, i], lanes[L + 1, i], lanes[L + 2, i] = x, y, z
        turning = 2 * (before[0, i] * y - before[1, i] * x)
        p, q = before[0, i] * x + before[1, i] * y, (block[7, i] - before[2, i]) * z
        for j in range(3):
            sums[j, i] += step[2 + j] * turning
            slopes[2 + j] += block[j, i] * turning
        sums[3, i] += step[5] * turning
        sums[5, i] += step[5] * q
        sums[6, i] -= step[5] * p
        slopes[5] += step[5] * (block[3, i] * turning + block[5, i] * q - block[6, i] * p)


@part
@no_type_check
def backward_exact(step, block, i, before, slope, work, slopes, sums):
    """Take l, slope, of spin i back through the exponential; M at its start: before.

    The slope with respect to the affine generator G is the transposed derivative of exp G in the
    direction M l^T: power series of both for the 2^-n th part of G, squared n times.
    """
    dt = step[5]
    px, py = 2 * step[0] * block[4, i], 2 * step[1] * block[4, i]
    pz = 2 * (step[2] * block[0, i] + step[3] * block[1, i] + step[4] * block[2, i])
    pz += 2 * dt * block[3, i]
    n1, n2 = dt * block[5, i], dt * block[6, i]
    halvings, scale = 0, 1.0
    while scale * (math.sqrt(px * px + py * py + pz * pz) + n1 + n2) > 0.5:
        halvings, scale = halvings + 1, 0.5 * scale
    for j in range(4):
        for k in range(4):
            for n in range(6):
                work[n, j, k] = 0.0
            work[1, j, k] = (before[j, i] if j < 3 else 1.0) * (slope[k] if k < 3 else 0.0) * scale
        work[2, j, j] = work[4, j, j] = 1.0
    G = work[0]
    G[0, 0], G[0, 1], G[0, 2] = -n2 * scale, -pz * scale, py * scale
    G[1, 0], G[1, 1], G[1, 2] = pz * scale, -n2 * scale, -px * scale
    G[2, 0], G[2, 1], G[2, 2] = -py * scale, px * scale, -n1 * scale
    G[2, 3] = n1 * block[7, i] * scale
    # 0: G, 1: the direction, 2 and 3: power of G and its derivative, 4 and 5: their sums
    for n in range(1, 15 + halvings):
        left, right, factor = (0, 2, 1.0 / n) if n < 15 else (4, 4, 1.0)
        for j in range(4):
            for k in range(4):
                power = change = 0.0
                for o in range(4):
                    power += work[left, j, o] * work[right, o, k]
                    change += work[left, j, o] * work[right + 1, o, k]
                    change += work[left + 1, j, o] * work[right, o, k]
                work[6, j, k], work[7, j, k] = factor * power, factor * change
        for j in range(4):
            for k in range(4):
                work[right, j, k], work[right + 1, j, k] = work[6, j, k], work[7, j, k]
                if n < 15:
                    work[4, j, k] += work[6, j, k]
                    work[5, j, k] += work[7, j, k]
    d, exponential = work[5], work[4]
    fx, fy, fz = 2 * (d[1, 2] - d[2, 1]), 2 * (d[2, 0] - d[0, 2]), 2 * (d[0, 1] - d[1, 0])
    by1, by2 = block[7, i] * d[3, 2] - d[2, 2], -d[0, 0] - d[1, 1]
    slopes[0] += block[4, i] * fx
    slopes[1] += block[4, i] * fy
    for j in range(3):
        slopes[2 + j] += block[j, i] * fz
        sums[j, i] += step[2 + j] * fz
    slopes[5] += dt * block[3, i] * fz + n1 * by1 + n2 * by2
    sums[3, i] += dt * fz
    sums[4, i] += step[0] * fx + step[1] * fy
    sums[5, i] += dt * by1
    sums[6, i] += dt * by2
    sums[7, i] += n1 * d[3, 2]
    x, y, z = slope[0], slope[1], slope[2]
    for j in range(3):
        slope[j] = exponential[0, j] * x + exponential[1, j] * y + exponential[2, j] * z
