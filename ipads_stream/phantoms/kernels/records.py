"""Shapes in metres turned into the numbers that the rasteriser reads; see ``phantoms/records.py``.

It runs on the host for every device: its work is per shape and small beside that per voxel.
"""

import math
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel, part

ELLIPSE, BOX, CYLINDER, POLYGON, POLYTOPE, TUBE, GAUSSIAN, BLOB = range(8)
LOBES = 4
THINNEST = 0.75  # voxels, of a semi-axis
NARROWEST = 0.5  # voxels, of the standard deviation of a Gaussian
SIGMAS = 4.0  # of a Gaussian
FAR = 1e9
THOMSEN = 1.6075  # the exponent of the approximate surface of an ellipsoid, within 1.1 %
HALF_WIDTH = math.log(3) / math.log(2)  # of that of its mean half-width, within 1.5 %


@part
@no_type_check
def _inward(a, b, c, num_axes):
    """Shift that keeps area or volume: pi / (12 perimeter) or half-width / (12 / (4 pi) surface).

    Perimeter after Ramanujan, surface after Thomsen; semi-axes and shift in voxels.
    """
    if num_axes == 2:
        return 1 / (12 * (3 * (a + b) - math.sqrt((3 * a + b) * (a + 3 * b))))
    p, q, r = a**THOMSEN, b**THOMSEN, c**THOMSEN
    surface = ((p * q + p * r + q * r) / 3) ** (1 / THOMSEN)
    p, q, r = a**HALF_WIDTH, b**HALF_WIDTH, c**HALF_WIDTH
    return ((p + q + r) / 3) ** (1 / HALF_WIDTH) / (12 * surface)


@part
@no_type_check
def _across(rotation, k, spacing):
    """Width of a voxel across the faces that lie along local axis k, m."""
    total = 0.0
    for j in range(len(spacing)):
        total += (rotation[j, k] * spacing[j]) ** 2
    return math.sqrt(total)


@part
@no_type_check
def _matrix(what, centre, size, rotation, detail, spacing, mean, out, low, high, drawn):
    """ELLIPSE, BOX, CYLINDER, GAUSSIAN, BLOB: centre, A = 1/size R^T spacing, and what follows."""
    num_axes = len(centre)
    skip = 3 - num_axes
    opacity = 1.0
    for k in range(num_axes):
        drawn[k] = size[k] / mean
        least = 0.0
        if what == GAUSSIAN:
            least = NARROWEST
        elif what in (ELLIPSE, BLOB) or (what == CYLINDER and k < 2):
            least = THINNEST
        opacity *= drawn[k] / max(drawn[k], least)
        drawn[k] = max(drawn[k], least)
    out[0] = opacity
    if what == CYLINDER:
        out[1] = _inward(drawn[0], drawn[1], 0.0, 2)
    elif what != BOX:
        out[1] = _inward(drawn[0], drawn[1], drawn[num_axes - 1], num_axes)
    reach = 1.0
    if what == BLOB:
        out[14] = detail[0]
        for n in range(LOBES):
            at = 1 + n * (num_axes + 1)
            reach += abs(detail[at])
            out[15 + 4 * n] = detail[at]
            for k in range(num_axes):
                out[16 + 4 * n + skip + k] = detail[at + 1 + k]
        reach /= 1 - detail[0] + detail[0] * num_axes**-0.25  # |u|_4 >= |u|_2 / D^(1/4)
    elif what == GAUSSIAN:
        reach = SIGMAS
    if what in (BOX, CYLINDER):
        for k in range(3):
            out[14 + k] = FAR
    for k in range(num_axes):
        length = drawn[k] * mean
        half = length / _across(rotation, k, spacing)
        straight = what == BOX or (what == CYLINDER and k == 2)
        if straight:
            out[14 + skip + k] = half
        for j in range(num_axes):
            a = rotation[j, k] * spacing[j] / length
            out[5 + 3 * (k + skip) + skip + j] = a * half if straight else a
    for j in range(num_axes):
        out[2 + skip + j] = centre[j]
        total = 0.0
        for k in range(num_axes):
            a = abs(rotation[j, k]) * drawn[k] * mean / spacing[j]
            if what == BOX:  # half a voxel beyond each face, of which the grid adds one
                a += 0.5 * abs(rotation[j, k]) * _across(rotation, k, spacing) / spacing[j]
            total += a if what == BOX else a * a
        if what == CYLINDER:
            a = abs(rotation[j, 2]) * drawn[2] * mean / spacing[j]
            total = math.sqrt(max(total - a * a, 0.0)) + a
        elif what == BOX:
            total -= 0.5
        else:
            total = reach * math.sqrt(total)
        low[j], high[j] = centre[j] - total, centre[j] + total


@part
@no_type_check
def _polygon(centre, size, rotation, detail, spacing, out, low, high):
    num = int(detail[0])
    out[2] = num
    for n in range(num):
        x, y = detail[1 + 2 * n] * size[0], detail[2 + 2 * n] * size[0]
        for j in range(2):
            place = centre[j] + (rotation[j, 0] * x + rotation[j, 1] * y) / spacing[j]
            out[3 + 2 * n + j] = place
            low[j] = place if n == 0 else min(low[j], place)
            high[j] = place if n == 0 else max(high[j], place)
    perimeter = 0.0
    for n in range(num):
        at, to = 3 + 2 * n, 3 + 2 * ((n + 1) % num)
        perimeter += math.hypot(out[to] - out[at], out[to + 1] - out[at + 1])
    out[0], out[1] = 1.0, math.pi / (12 * max(perimeter, 1.0))


@part
@no_type_check
def _polytope(centre, size, rotation, detail, spacing, out, low, high):
    num, inner = int(detail[0]), FAR
    out[2] = num
    for n in range(num):
        at, square, offset = 1 + 4 * n, 0.0, 0.0
        for j in range(3):
            normal = 0.0
            for k in range(3):
                normal += detail[at + k] * rotation[j, k] / size[k]
            normal *= spacing[j]
            out[3 + 4 * n + j] = normal
            square += normal * normal
            offset += normal * centre[j]
        per = 1 / math.sqrt(max(square, 1e-24))
        for j in range(3):
            out[3 + 4 * n + j] *= per
        out[6 + 4 * n] = (detail[at + 3] + offset) * per
        inner = min(inner, detail[at + 3] * per)
    out[0], out[1] = 1.0, 1 / (12 * max(inner, 0.5))
    for j in range(3):
        extent = 0.0
        for k in range(3):
            beyond = 0.5 * _across(rotation, k, spacing)  # half a voxel beyond each face
            extent += abs(rotation[j, k]) * (size[k] + beyond) / spacing[j]
        extent -= 0.5  # that the grid adds
        low[j], high[j] = centre[j] - extent, centre[j] + extent


@part
@no_type_check
def _tube(centre, size, rotation, detail, spacing, mean, out, low, high):
    num_axes = len(centre)
    skip, num = 3 - num_axes, int(detail[0])
    shortest = spacing[0]
    for j in range(num_axes):
        shortest = min(shortest, spacing[j])
    for j in range(3):
        out[3 + j] = spacing[j - skip] / shortest if j >= skip else 0.0
    thin, thick, length = 0.0, 0.0, 0.0
    for n in range(num):
        at, to, square = 1 + (num_axes + 1) * n, 6 + 4 * n, 0.0
        radius = detail[at + num_axes] * size[0] / mean  # voxels
        thin += radius / num
        radius = max(radius, THINNEST)
        thick += radius / num
        for j in range(num_axes):
            place = 0.0
            for k in range(num_axes):
                place += rotation[j, k] * detail[at + k] * size[0]
            place += centre[j] * spacing[j]
            before = out[to - 4 + skip + j] * shortest if n else place
            square += (place - before) ** 2
            out[to + skip + j] = place / shortest
            around = radius * mean / spacing[j]
            low[j] = min(low[j] if n else FAR, place / spacing[j] - around)
            high[j] = max(high[j] if n else -FAR, place / spacing[j] + around)
        for j in range(skip):
            out[to + j] = 0.0
        length += math.sqrt(square) / mean
        out[to + 3] = radius * mean / shortest
    out[2] = num
    if num_axes == 2:
        out[0] = thin * (2 * length + math.pi * thin) / (thick * (2 * length + math.pi * thick))
        out[1] = math.pi / (24 * (length + math.pi * thick))
    else:
        out[0] = thin**2 * (3 * length + 4 * thin) / (thick**2 * (3 * length + 4 * thick))
        out[1] = (length + 4 * thick) / (24 * thick * (length + 2 * thick))


@kernel
@no_type_check
def records(kind, middle, size, rotation, detail, spacing, shape, box, numbers):
    """Fill box and numbers, which are zero, of shapes on a grid.

    kind: (N,) int32; middle: centres in m; size: (N, D), rotation: (N, D, D), detail: (N, P);
    spacing: m, shape: voxels, (D,); box: (N, 6) int32; numbers: (N, W) float32.
    """
    num_axes = len(shape)
    skip, mean = 3 - num_axes, 1.0
    for j in range(num_axes):
        mean *= spacing[j]
    mean = mean ** (1 / num_axes)
    centre, drawn = np.empty(num_axes), np.empty(num_axes)
    low, high = np.zeros(num_axes), np.zeros(num_axes)
    for n in range(len(kind)):
        what, out = kind[n], numbers[n]
        if what < 0:
            continue
        for j in range(num_axes):
            centre[j] = middle[n, j] / spacing[j] + shape[j] // 2
        of = (size[n], rotation[n], detail[n])
        if what == POLYGON:
            _polygon(centre, of[0], of[1], of[2], spacing, out, low, high)
        elif what == POLYTOPE:
            _polytope(centre, of[0], of[1], of[2], spacing, out, low, high)
        elif what == TUBE:
            _tube(centre, of[0], of[1], of[2], spacing, mean, out, low, high)
        else:
            _matrix(what, centre, of[0], of[1], of[2], spacing, mean, out, low, high, drawn)
        for j in range(skip):
            box[n, 2 * j + 1] = 1
        for j in range(num_axes):
            # Held first: a shape far outside would not fit an integer.
            first = min(max(low[j], -1.0), shape[j] + 1.0)
            last = min(max(high[j], -1.0), shape[j] + 1.0)
            box[n, 2 * (skip + j)] = min(max(math.ceil(first - 0.5), 0), shape[j])
            box[n, 2 * (skip + j) + 1] = min(max(math.floor(last + 1.5), 0), shape[j])
