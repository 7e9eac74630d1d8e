"""Shapes as maps: each shape's values where it covers the grid.

Axes: B sample, S shape, Q quantity.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core.backend import cuda_module, is_numpy, launch, moved, namespace
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, as_distribution
from ipads_stream.phantoms.draws import Step
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.kernels import rasterize as rows
from ipads_stream.phantoms.records import Records, records
from ipads_stream.phantoms.shapes import Shapes

RULES = ("over", "add")
Kinds = Mapping[str, Any]  # of quantities: a distribution or a number of each
QUANTITIES = 4  # of a GPU thread
_CUDA_TEXT = Path(__file__).parent / "kernels" / "rasterize.cu"


def rasterized(
    shapes: Shapes,
    values: Float[np.ndarray, "B S Q"],
    grid: Grid,
    *,
    background: Any = 0.0,
    rule: Literal["over", "add"] = "over",
    xp: Any = np,
) -> Float32[Any, "B Q ..."]:
    """Maps (B, Q, *grid.shape) of shapes laid down in their order, with edges one voxel wide.

    over: m <- m + c (v - m), a later shape covers earlier ones; add: m <- m + c v;
    c the coverage of a voxel by the shape, v the shape's value.

    Args:
        shapes: S of each sample, on the host.
        values: v, of each shape.
        grid: of the maps.
        background: m before the first shape: a number, (Q,) or (B, Q).
        rule: "over" or "add".
        xp: array library that computes: numpy or cupy.

    Raises:
        ValueError: values of another number of shapes, an unknown rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule={rule!r}: one of {', '.join(RULES)} is allowed")
    B, S = shapes.kind.shape
    values = np.ascontiguousarray(values, np.float32)
    if values.ndim != 3 or values.shape[:2] != (B, S):
        raise ValueError(f"values: shape {values.shape}; ({B}, {S}, Q) is allowed")
    Q = values.shape[2]
    if np.ndim(background) == 0:
        out = xp.full((B, Q, grid.num_voxels), background, dtype=xp.float32)
    else:
        start = np.broadcast_to(np.asarray(background, np.float32), (B, Q))
        out = xp.empty((B, Q, grid.num_voxels), dtype=xp.float32)
        out[...] = xp.asarray(np.ascontiguousarray(start))[:, :, None]
    fill(records(shapes, grid), values, grid, rule, out)
    return out.reshape(B, Q, *grid.shape)


def fill(
    table: Records, values: Float32[np.ndarray, "B S Q"], grid: Grid, rule: str, out: Any
) -> None:
    """Lay shapes on maps that hold what lies below them, (B, Q, voxels), by the device's kernel."""
    B, Q, _ = out.shape
    space = (1,) * (3 - grid.num_axes) + grid.shape
    given = table.kind, table.box, table.numbers, values
    if is_numpy(out):
        rows.rasterize(*given, rule == "add", out.reshape(B, Q, *space))
        return
    xp, count = namespace(out), B * -(-Q // QUANTITIES) * grid.num_voxels
    sizes = (B, table.kind.shape[1], table.numbers.shape[2], Q, *space, rule == "add")
    arrays, numbers = moved(xp, *given), (np.int64(n) for n in sizes)
    launch(cuda_module(_CUDA_TEXT), "rasterize", count, *arrays, *numbers, out)


def draw_values(
    keys: Keys, quantities: Kinds, shapes: Shapes, *, progress: Step = None, prefix: str = ""
) -> Float32[np.ndarray, "B S Q"]:
    """One value of each quantity for every shape, SI.

    Args:
        keys: of B samples; the stream of a quantity is keys[prefix + name].
        quantities: name -> distribution or number.
        shapes, progress: of the samples; as of draws.py.
    """
    columns = []
    for name, value in quantities.items():
        if not isinstance(value, Distribution):
            value = as_distribution(name, value, within=(-np.inf, np.inf))
        columns.append(value.draw(keys[prefix + name], (shapes.num_shapes,), progress))
    return np.stack(columns, axis=-1).astype(np.float32)
