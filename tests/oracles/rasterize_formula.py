"""The same maps in the array API, from the geometry itself: no boxes, no records, every voxel.

It is what the kernels are tested against, and torch differentiates it in the values and in the
geometry. Distances are to first order, shifts and opacities those of ``records.py``, formed anew.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.phantoms import shapes as kinds
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.shapes import Shapes
from ipads_stream.physics.arrays import as_float

THINNEST, NARROWEST, SIGMAS = 0.75, 0.5, 4.0
THOMSEN, HALF_WIDTH = 1.6075, math.log(3) / math.log(2)


def rasterized_formula(
    shapes: Shapes,
    values: Float[Any, "B S Q"],
    grid: Grid,
    *,
    background: Any = 0.0,
    rule: str = "over",
) -> Float[Any, "B Q ..."]:
    """As ``rasterized``, in the library, precision and device of ``values``.

    Args:
        shapes: their arrays are of any library.
        values, grid, rule: as of ``rasterized``.
        background: a number.
    """
    xp = namespace(values)
    of = (-1, 1) + (1,) * grid.num_axes
    out: Any = background
    for s in range(values.shape[1]):
        cover = coverage(shapes, s, grid, values)[:, None]
        value = xp.reshape(values[:, s], (*values[:, s].shape, *of[2:]))
        out = out + cover * (value - out if rule == "over" else value)
    return out


def coverage(shapes: Shapes, s: int, grid: Grid, like: Any) -> Float[Any, "B ..."]:
    """Coverage of every voxel by shape s of each sample, (B, *grid.shape).

    Args:
        shapes, grid: as above.
        s: number of the shape.
        like: an array of the library, precision and device to compute in.
    """
    rows = [_one(shapes, b, s, grid, like) for b in range(shapes.kind.shape[0])]
    return namespace(like).stack(rows, axis=0)


def _one(shapes: Shapes, b: int, s: int, grid: Grid, like: Any) -> Any:
    xp = namespace(like)

    axes = [
        (xp.arange(n, dtype=like.dtype, device=device_of(like)) - n // 2) * d
        for n, d in zip(grid.shape, grid.spacing, strict=True)
    ]
    place = xp.stack(xp.meshgrid(*axes, indexing="ij"), axis=-1)
    kind = int(shapes.kind[b, s])
    if kind == kinds.ABSENT:
        return 0 * place[..., 0]
    spacing, mean = as_float(grid.spacing, like), math.prod(grid.spacing) ** (1 / grid.num_axes)
    centre, size, rotation, detail = (
        as_float(x[b, s], like)
        for x in (shapes.centre, shapes.size, shapes.rotation, shapes.detail)
    )
    local = xp.matmul(place - centre, rotation)  # R^T (x - c)
    scale = rotation * spacing[:, None]  # gradient of local coordinate k along voxel axis j
    if kind == kinds.TUBE:
        return _tube(local, scale, size[0], detail, mean)
    if kind == kinds.POLYGON:
        return _polygon(place, centre, rotation, size[0], detail, spacing)
    if kind == kinds.POLYTOPE:
        planes = xp.reshape(detail[1 : 1 + 4 * int(detail[0])], (-1, 4))
        normal = planes[:, :3] / size
        steep = _norm(xp.matmul(normal, scale.T), -1)
        distance = xp.matmul(local, normal.T) - planes[:, 3]
        inner = max(float(xp.min(planes[:, 3] / steep)), 0.5)
        return _ramp(xp.max(distance / steep, axis=-1) + 1 / (12 * inner))
    # To first order an elongated ellipse has wisps beyond its ends, where nothing is drawn.
    cover, extent = _round(kind, local, scale, size, detail, mean)
    if kind in (kinds.ELLIPSE, kinds.BLOB):
        far = _norm(rotation * extent, 1) + 0.5 * spacing
        away = xp.abs(place - centre)
        cover = xp.where(xp.all(away <= far, axis=-1), cover, 0 * cover)
    if kind == kinds.CYLINDER:
        far = _norm(rotation[:, :2] * extent[:2], 1) + xp.abs(rotation[:, 2]) * extent[2]
        away = xp.abs(place - centre)
        cover = xp.where(xp.all(away <= far + 0.5 * spacing, axis=-1), cover, 0 * cover)
    return cover


def _round(
    kind: int, local: Any, scale: Any, size: Any, detail: Any, mean: float
) -> tuple[Any, Any]:
    """ELLIPSE, BOX, CYLINDER, GAUSSIAN, BLOB: coverage, and semi-axes of what holds it."""
    xp, D = namespace(local), len(size)
    least = {kinds.GAUSSIAN: NARROWEST, kinds.BOX: 0.0}.get(kind, THINNEST) * mean
    drawn = xp.where(size > least, size, 0 * size + least)
    if kind == kinds.CYLINDER:
        drawn = xp.concat([drawn[:2], size[2:]])
    opacity = xp.prod(size / drawn)
    u = local / drawn
    steep = scale / drawn  # of u_k along voxel axis j
    if kind == kinds.GAUSSIAN:
        q = xp.sum(u * u, axis=-1)
        cut = math.exp(-0.5 * SIGMAS**2)
        cover = xp.where(q < SIGMAS**2, (xp.exp(-0.5 * q) - cut) / (1 - cut), 0 * q)
        return opacity * cover, drawn
    shares = [
        _share(u[..., k] / _norm(steep[:, k], 0), 1 / _norm(steep[:, k], 0)) for k in range(D)
    ]
    if kind == kinds.BOX:
        return math.prod(shares[1:], start=shares[0]), drawn
    R = 2 if kind == kinds.CYLINDER else D
    square = xp.sum(u[..., :R] ** 2, axis=-1) + 1e-12
    slope = xp.sqrt(xp.sum(xp.matmul(u[..., :R], steep[:, :R].T) ** 2, axis=-1) + 1e-30)
    inward = _inward([float(x) / mean for x in drawn[:R]])
    if kind == kinds.BLOB:
        root = xp.sqrt(square)
        norm = (1 - detail[0]) * root + detail[0] * xp.sum(u**4, axis=-1) ** 0.25
        surface: Any = 1.0
        most: Any = 1.0
        for m in range(kinds.LOBES):
            wave = detail[1 + m * (D + 1) : 1 + (m + 1) * (D + 1)]
            cosine = xp.clip(xp.sum(u * wave[1:], axis=-1) / root, -1.0, 1.0)
            surface = surface + wave[0] * xp.cos((m + 2) * xp.acos(cosine))
            most = most + xp.abs(wave[0])
        most = most / (1 - detail[0] + detail[0] * D**-0.25)  # |u|_4 >= |u|_2 / D^(1/4)
        return opacity * _ramp((norm - surface) * root / slope + inward), most * drawn
    cover = opacity * _ramp((square - xp.sqrt(square)) / slope + inward)
    return (cover * shares[2] if kind == kinds.CYLINDER else cover), drawn


def _polygon(place: Any, centre: Any, rotation: Any, size: Any, detail: Any, spacing: Any) -> Any:
    """Distance to the edges; inside where the angles to the corners add up to a turn."""
    xp = namespace(place)
    corners = xp.reshape(detail[1 : 1 + 2 * int(detail[0])], (-1, 2)) * size
    corners = (xp.matmul(corners, rotation.T) + centre) / spacing
    place, perimeter, turn, nearest = place / spacing, 0.0, 0.0, None
    for n in range(corners.shape[0]):
        p, q = corners[n], corners[(n + 1) % corners.shape[0]]
        edge, to, then = q - p, p - place, q - place
        perimeter = perimeter + float(_norm(edge, 0))
        h = -xp.sum(to * edge, axis=-1) / xp.maximum(xp.sum(edge * edge), 0 * edge[0] + 1e-30)
        away = to + xp.clip(h, 0.0, 1.0)[..., None] * edge
        square = xp.sum(away * away, axis=-1)
        nearest = square if nearest is None else xp.minimum(nearest, square)
        cross = to[..., 0] * then[..., 1] - to[..., 1] * then[..., 0]
        turn = turn + xp.atan2(cross, xp.sum(to * then, axis=-1))
    side = xp.where(xp.abs(turn) > math.pi, -xp.ones_like(turn), xp.ones_like(turn))
    return _ramp(side * xp.sqrt(nearest) + math.pi / (12 * max(perimeter, 1.0)))


def _tube(local: Any, scale: Any, size: Any, detail: Any, mean: float) -> Any:
    """The nearest of round cones, in metres; a voxel's width along the way to the axis."""
    xp, D = namespace(local), local.shape[-1]
    table = xp.reshape(detail[1 : 1 + (D + 1) * int(detail[0])], (-1, D + 1)) * size
    points, given = table[:, :D], table[:, D]
    radius = xp.maximum(given, 0 * given + THINNEST * mean)
    nearest: Any = None
    length = 0.0
    for n in range(points.shape[0] - 1):
        edge = points[n + 1] - points[n]
        length = length + float(_norm(edge, 0)) / mean
        w = local - points[n]
        h = xp.clip(xp.sum(w * edge, axis=-1) / (xp.sum(edge * edge) + 1e-30), 0.0, 1.0)
        away = w - h[..., None] * edge
        root = xp.sqrt(xp.sum(away * away, axis=-1) + 1e-30)
        width = xp.sqrt(xp.sum(xp.matmul(away, scale.T) ** 2, axis=-1) + 1e-60) / root
        t = (root - radius[n] - h * (radius[n + 1] - radius[n])) / width
        nearest = t if nearest is None else xp.minimum(nearest, t)
    thin, thick = (float(xp.mean(r)) / mean for r in (given, radius))
    if D == 2:
        opacity = thin * (2 * length + math.pi * thin) / (thick * (2 * length + math.pi * thick))
        inward = math.pi / (12 * (2 * length + 2 * math.pi * thick))
    else:
        opacity = thin**2 * (3 * length + 4 * thin) / (thick**2 * (3 * length + 4 * thick))
        inward = (length + 4 * thick) / (24 * thick * (length + 2 * thick))
    return opacity * _ramp(nearest + inward)


def _inward(size: list[float]) -> float:
    if len(size) == 2:
        a, b = size
        perimeter = math.pi * (3 * (a + b) - math.sqrt((3 * a + b) * (a + 3 * b)))
        return math.pi / (12 * perimeter)
    a, b, c = (x**THOMSEN for x in size)
    surface = 4 * math.pi * ((a * b + a * c + b * c) / 3) ** (1 / THOMSEN)
    mean = (np.mean([x**HALF_WIDTH for x in size])) ** (1 / HALF_WIDTH)
    return float(4 * math.pi * mean / (12 * surface))


def _ramp(t: Any) -> Any:
    return namespace(t).clip(0.5 - t, 0.0, 1.0)


def _share(x: Any, half: Any) -> Any:
    xp = namespace(x)
    upper = xp.minimum(x + 0.5, 0 * x + half)
    return xp.clip(upper - xp.maximum(x - 0.5, 0 * x - half), 0.0, 1.0)


def _norm(x: Any, axis: int) -> Any:
    xp = namespace(x)
    return xp.sqrt(xp.sum(x * x, axis=axis))
