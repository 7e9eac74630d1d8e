"""Shapes as the numbers that a rasteriser reads, in voxels of one grid.

A voxel's coverage is that of a straight edge at the signed distance t = f / |grad f| in voxels, f 0
on the surface: 1/2 - t between 0 and 1, so that edges are one voxel wide on anisotropic grids too.
Such ramps exceed the area of a convex shape by pi/12 of a voxel's, the volume by M/12, M the
integral of mean curvature (Steiner's formula): shapes are drawn inwards by pi/(12 perimeter) or
M/(12 surface). Round ones thinner than 1.5 voxels are widened to that and more transparent.
Columns: 0 opacity, 1 inward shift, then by kind (see ``kernels/rasterize.py``).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32

from ipads_stream.phantoms import shapes as kinds
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.kernels import records as lanes
from ipads_stream.phantoms.shapes import Shapes

LEAST = 17  # numbers of a shape whose kind has a matrix
OF_BLOB = 15 + 4 * kinds.LOBES
# Numbers before the table of corners, planes or points, and of each of these.
TABLES = {kinds.POLYGON: (3, 2), kinds.POLYTOPE: (3, 4), kinds.TUBE: (6, 4)}


@dataclass(frozen=True)
class Records:
    """Shapes of B samples on a grid.

    box: first voxel and the one after the last along each of three axes.
    """

    kind: Int32[np.ndarray, "B S"]
    box: Int32[np.ndarray, "B S 6"]
    numbers: Float[np.ndarray, "B S W"]


def records(shapes: Shapes, grid: Grid) -> Records:
    """The records of shapes on a grid, which must have as many axes as they."""
    if shapes.num_axes != grid.num_axes:
        raise ValueError(f"shapes: {shapes.num_axes} axes; {grid.num_axes} are allowed")
    B, S = shapes.kind.shape
    N = B * S
    kind = np.ascontiguousarray(shapes.kind, np.int32).reshape(N)
    centre, size, rotation, detail = (
        np.ascontiguousarray(part, np.float32).reshape(N, *part.shape[2:])
        for part in (shapes.centre, shapes.size, shapes.rotation, shapes.detail)
    )
    box, numbers = np.zeros((N, 6), np.int32), np.zeros((N, _width(kind, detail)), np.float32)
    place = np.asarray(grid.spacing), np.asarray(grid.shape)
    lanes.records(kind, centre, size, rotation, detail, *place, box, numbers)
    return Records(kind.reshape(B, S), box.reshape(B, S, 6), numbers.reshape(B, S, -1))


def _width(kind: np.ndarray, detail: np.ndarray) -> int:
    width = LEAST
    for k in np.unique(kind):
        if k == kinds.BLOB:
            width = max(width, OF_BLOB)
        elif k in TABLES:
            before, each = TABLES[k]
            width = max(width, before + each * int(detail[kind == k, 0].max()))
    return width
