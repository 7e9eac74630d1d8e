"""Shapes laid on a grid on the CPU, one row of voxels of one shape at a time.

Per voxel i of a shape's box the coverage is opacity min(1, max(0, 1/2 - t)), t the signed distance
in voxels to first order (see ``records.py``), and then out += coverage (value - out), or
out += coverage value. Numbers of a shape, after 0 opacity and 1 inward shift e:

ELLIPSE    2-4 centre c, 5-13 A: u = A (i - c), t = (|u| - 1) |u| / |A^T u| + e
BOX        c, A with rows of length 1, 14-16 half edges h: the product over k of the share of
           [u_k - 1/2, u_k + 1/2] that lies in [-h_k, h_k]
CYLINDER   c, A: the ellipse of u_0 and u_1, times the share of the last axis, 16 its h
POLYGON    2 number of corners, 3.. corners in the last two axes: t the distance to the nearest edge
POLYTOPE   2 number of planes, 3.. n (3) and d of each: t = max n.i - d + e
TUBE       2 number of points, 3-5 spacing s, 6.. place p and radius r of each: with the nearest
           point of every part of the chain, x = i s - p - h (p' - p), r + h (r' - r),
           t = min (|x| - r) |x| / |x s| + e
GAUSSIAN   c, A: (exp(-|u|^2 / 2) - e^-8) / (1 - e^-8) or 0
BLOB       c, A, 14 squareness w, 15.. amplitude a and direction d of four waves:
           t = ((1 - w) |u|_2 + w |u|_4 - 1 - sum_m a_m T_(m+2)(d_m.u / |u|)) |u| / |A^T u| + e

A row is worked off 16 voxels at a time without branches, so that they fill vector registers; what
lies beyond its end gets coverage 0. Edges and parts of a chain that are too far are passed over.
"""

from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel, part

LANES = 16
ELLIPSE, BOX, CYLINDER, POLYGON, POLYTOPE, TUBE, GAUSSIAN, BLOB = range(8)
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_NEAR, _TINY = np.float32(1e-12), np.float32(1e-30)  # of |u|^2 and |A^T u|^2 at the centre
_FAR = np.float32(1e30)
_CUT = np.float32(np.exp(-8.0))
_WHOLE = np.float32(1 / (1 - np.exp(-8.0)))
_SERIES = tuple(np.float32((-1 / 32) ** k / np.prod(np.arange(1.0, k + 1))) for k in range(8))


@part
@no_type_check
def _ramp(t):
    """Coverage at a signed distance in voxels."""
    return min(_ONE, max(_ZERO, _HALF - t))


@part
@no_type_check
def _share(x, half):
    """Share of the voxel at x that lies within [-half, half]."""
    return max(_ZERO, min(x + _HALF, half) - max(x - _HALF, -half))


@part
@no_type_check
def _begin(numbers, first, x, y, row):
    """A (i - c) at the first voxel, i = (x, y, 0), as u + v z along a row: u then v."""
    x, y, z = x - numbers[first + 2], y - numbers[first + 3], -numbers[first + 4]
    for k in range(3):
        at = first + 5 + 3 * k
        row[k] = numbers[at] * x + numbers[at + 1] * y + numbers[at + 2] * z
        row[3 + k] = numbers[at + 2]


@part
@no_type_check
def _slopes(numbers, first, row):
    """The same of A^T u, from u + v z."""
    for j in range(3):
        g, h = _ZERO, _ZERO
        for k in range(3):
            a = numbers[first + 5 + 3 * k + j]
            g += a * row[k]
            h += a * row[3 + k]
        row[6 + j], row[9 + j] = g, h


@part
@no_type_check
def _ellipse(numbers, first, row, start, cover):
    _slopes(numbers, first, row)
    u, v, w, du, dv, dw = row[0], row[1], row[2], row[3], row[4], row[5]
    g, h, k, dg, dh, dk = row[6], row[7], row[8], row[9], row[10], row[11]
    inward = numbers[first + 1]
    for j in range(LANES):
        z = start + np.float32(j)
        a, b, c = u + du * z, v + dv * z, w + dw * z
        p, q, r = g + dg * z, h + dh * z, k + dk * z
        square = a * a + b * b + c * c + _NEAR
        t = (square - np.sqrt(square)) / np.sqrt(p * p + q * q + r * r + _TINY)
        cover[j] = _ramp(t + inward)


@part
@no_type_check
def _box(numbers, first, row, start, cover):
    u, v, w, du, dv, dw = row[0], row[1], row[2], row[3], row[4], row[5]
    x, y, z = numbers[first + 14], numbers[first + 15], numbers[first + 16]
    for j in range(LANES):
        at = start + np.float32(j)
        cover[j] = _share(u + du * at, x) * _share(v + dv * at, y) * _share(w + dw * at, z)


@part
@no_type_check
def _cylinder(numbers, first, row, start, cover):
    u, v, w, du, dv, dw = row[0], row[1], row[2], row[3], row[4], row[5]
    inward, half = numbers[first + 1], numbers[first + 16]
    a0, a1, a2 = numbers[first + 5], numbers[first + 6], numbers[first + 7]
    b0, b1, b2 = numbers[first + 8], numbers[first + 9], numbers[first + 10]
    for j in range(LANES):
        at = start + np.float32(j)
        a, b = u + du * at, v + dv * at
        p, q, r = a * a0 + b * b0, a * a1 + b * b1, a * a2 + b * b2
        square = a * a + b * b + _NEAR
        t = (square - np.sqrt(square)) / np.sqrt(p * p + q * q + r * r + _TINY)
        cover[j] = _ramp(t + inward) * _share(w + dw * at, half)


@part
@no_type_check
def _gaussian(row, start, cover):
    u, v, w, du, dv, dw = row[0], row[1], row[2], row[3], row[4], row[5]
    for j in range(LANES):
        z = start + np.float32(j)
        a, b, c = u + du * z, v + dv * z, w + dw * z
        square = min(a * a + b * b + c * c, np.float32(16))
        e = _SERIES[7]  # exp(-|u|^2 / 32), to the 16th power
        e = e * square + _SERIES[6]
        e = e * square + _SERIES[5]
        e = e * square + _SERIES[4]
        e = e * square + _SERIES[3]
        e = e * square + _SERIES[2]
        e = e * square + _SERIES[1]
        e = e * square + _SERIES[0]
        e = e * e
        e = e * e
        e = e * e
        cover[j] = max(_ZERO, (e * e - _CUT) * _WHOLE)


@part
@no_type_check
def _blob(numbers, first, row, start, cover):
    _slopes(numbers, first, row)
    u, v, w, du, dv, dw = row[0], row[1], row[2], row[3], row[4], row[5]
    g, h, k, dg, dh, dk = row[6], row[7], row[8], row[9], row[10], row[11]
    inward, square = numbers[first + 1], numbers[first + 14]
    wave = numbers[first + 15 : first + 31]
    for j in range(LANES):
        at = start + np.float32(j)
        a, b, c = u + du * at, v + dv * at, w + dw * at
        p, q, r = g + dg * at, h + dh * at, k + dk * at
        aa, bb, cc = a * a, b * b, c * c
        length = np.sqrt(aa + bb + cc + _NEAR)
        norm = (_ONE - square) * length + square * np.sqrt(np.sqrt(aa * aa + bb * bb + cc * cc))
        per = _ONE / length
        n = (wave[1] * a + wave[2] * b + wave[3] * c) * per
        surface = _ONE + wave[0] * (_TWO * n * n - _ONE)
        n = (wave[5] * a + wave[6] * b + wave[7] * c) * per
        surface += wave[4] * (np.float32(4) * n * n - np.float32(3)) * n
        n = (wave[9] * a + wave[10] * b + wave[11] * c) * per
        surface += wave[8] * (np.float32(8) * (n * n - _ONE) * n * n + _ONE)
        n = (wave[13] * a + wave[14] * b + wave[15] * c) * per
        n2 = n * n
        surface += wave[12] * ((np.float32(16) * n2 - np.float32(20)) * n2 + np.float32(5)) * n
        t = (norm - surface) * length / np.sqrt(p * p + q * q + r * r + _TINY)
        cover[j] = _ramp(t + inward)


@part
@no_type_check
def _polygon(numbers, first, y, start, cover, other):
    """y is the row's; a line along it that crosses an edge turns inside out."""
    num = np.int64(numbers[first + 2])
    end = start + np.float32(LANES)
    for j in range(LANES):
        cover[j], other[j] = _FAR, _ONE
    for n in range(num):
        at, to = first + 3 + 2 * n, first + 3 + 2 * ((n + 1) % num)
        py, pz, qy, qz = numbers[at], numbers[at + 1], numbers[to], numbers[to + 1]
        if y < min(py, qy) - _ONE or y > max(py, qy) + _ONE:
            continue
        ey, ez, wy = qy - py, qz - pz, y - py
        if (y >= py) != (y >= qy):
            crossing = pz + wy * ez / ey
            for j in range(LANES):
                other[j] = -other[j] if start + np.float32(j) < crossing else other[j]
        if end < min(pz, qz) - _ONE or start > max(pz, qz) + _ONE:
            continue
        per = _ONE / (ey * ey + ez * ez + _TINY)
        for j in range(LANES):
            wz = start + np.float32(j) - pz
            h = min(_ONE, max(_ZERO, (wy * ey + wz * ez) * per))
            dy, dz = wy - h * ey, wz - h * ez
            cover[j] = min(cover[j], dy * dy + dz * dz)
    inward = numbers[first + 1]
    for j in range(LANES):
        cover[j] = _ramp(other[j] * np.sqrt(cover[j]) + inward)


@part
@no_type_check
def _polytope(numbers, first, x, y, start, cover):
    for j in range(LANES):
        cover[j] = -_FAR
    for n in range(np.int64(numbers[first + 2])):
        at = first + 3 + 4 * n
        slope = numbers[at + 2]
        begin = numbers[at] * x + numbers[at + 1] * y + slope * start - numbers[at + 3]
        for j in range(LANES):
            cover[j] = max(cover[j], begin + slope * np.float32(j))
    inward = numbers[first + 1]
    for j in range(LANES):
        cover[j] = _ramp(cover[j] + inward)


@part
@no_type_check
def _tube(numbers, first, x, y, start, cover):
    sx, sy, sz = numbers[first + 3], numbers[first + 4], numbers[first + 5]
    x, y, begin, end = x * sx, y * sy, start * sz, (start + np.float32(LANES)) * sz
    is_near = False
    for j in range(LANES):
        cover[j] = _FAR
    for n in range(np.int64(numbers[first + 2]) - 1):
        at = first + 6 + 4 * n
        px, py, pz, r = numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]
        qx, qy, qz = numbers[at + 4], numbers[at + 5], numbers[at + 6]
        er = numbers[at + 7] - r
        reach = r + max(_ZERO, er)
        far = reach + sy
        if y < min(py, qy) - far or y > max(py, qy) + far:
            continue
        far = reach + sx
        if x < min(px, qx) - far or x > max(px, qx) + far:
            continue
        far = reach + sz
        if end < min(pz, qz) - far or begin > max(pz, qz) + far:
            continue
        is_near = True
        ex, ey, ez = qx - px, qy - py, qz - pz
        per = _ONE / (ex * ex + ey * ey + ez * ez + _TINY)
        wx, wy = x - px, y - py
        for j in range(LANES):
            wz = (start + np.float32(j)) * sz - pz
            h = min(_ONE, max(_ZERO, (wx * ex + wy * ey + wz * ez) * per))
            dx, dy, dz = wx - h * ex, wy - h * ey, wz - h * ez
            square = dx * dx + dy * dy + dz * dz + _NEAR
            dx, dy, dz = dx * sx, dy * sy, dz * sz
            radius = (r + h * er) * np.sqrt(square)
            t = (square - radius) / np.sqrt(dx * dx + dy * dy + dz * dz + _TINY)
            cover[j] = min(cover[j], t)
    inward = numbers[first + 1]
    for j in range(LANES):
        cover[j] = _ramp(cover[j] + inward)
    return is_near


@part
@no_type_check
def _lay(flat, begin, count, cover, value, is_sum):
    """Sixteen voxels of one map, of which the first ``count`` exist."""
    if begin + LANES <= len(flat):
        line = flat[begin : begin + LANES]
        if is_sum:
            for j in range(LANES):
                line[j] += cover[j] * value
        else:
            for j in range(LANES):
                line[j] += cover[j] * (value - line[j])
    else:
        for j in range(count):
            v = flat[begin + j]
            flat[begin + j] = v + cover[j] * (value if is_sum else value - v)


@kernel
@no_type_check
def rasterize(kind, box, numbers, values, is_sum, out):
    """Lay shapes on maps in their order.

    kind: (B, S) int32; box: (B, S, 6) int32; numbers: (B, S, W) float32; values: (B, S, Q) float32;
    is_sum: add instead of cover; out: float32, (B, Q, X, Y, Z), holds the background.
    """
    num_samples, num_shapes = kind.shape
    num_quantities, num_rows, length = out.shape[1], out.shape[3], out.shape[4]
    width, size = numbers.shape[2], out.shape[2] * num_rows * length
    flat, records = out.reshape(-1), numbers.reshape(-1)
    cover, other = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    ends_at = np.zeros(2 * LANES, np.float32)
    ends_at[:LANES] = _ONE
    row = np.empty(12, np.float32)
    for b in range(num_samples):
        for s in range(num_shapes):
            what, first = kind[b, s], (b * num_shapes + s) * width
            low, high = np.int64(box[b, s, 4]), np.int64(box[b, s, 5])
            opacity = records[first]
            for i in range(box[b, s, 0], box[b, s, 1] if what >= 0 else box[b, s, 0]):
                x = np.float32(i)
                for j in range(box[b, s, 2], box[b, s, 3]):
                    y = np.float32(j)
                    if what <= CYLINDER or what >= GAUSSIAN:
                        _begin(records, first, x, y, row)
                    line = (i * num_rows + j) * length
                    for at in range(low, high, LANES):
                        start, count = np.float32(at), min(LANES, high - at)
                        if what == ELLIPSE:
                            _ellipse(records, first, row, start, cover)
                        elif what == BOX:
                            _box(records, first, row, start, cover)
                        elif what == CYLINDER:
                            _cylinder(records, first, row, start, cover)
                        elif what == POLYGON:
                            _polygon(records, first, y, start, cover, other)
                        elif what == POLYTOPE:
                            _polytope(records, first, x, y, start, cover)
                        elif what == TUBE:
                            if not _tube(records, first, x, y, start, cover):
                                continue
                        elif what == GAUSSIAN:
                            _gaussian(row, start, cover)
                        else:
                            _blob(records, first, row, start, cover)
                        exists = ends_at[LANES - count : 2 * LANES - count]
                        for k in range(LANES):
                            cover[k] = cover[k] * (opacity * exists[k])
                        for q in range(num_quantities):
                            begin = (b * num_quantities + q) * size + line + at
                            _lay(flat, begin, count, cover, values[b, s, q], is_sum)
