"""Rates of random templates beside NumPy, Pillow and their floor, in one run.

- plane, space: templates of 64 x 64 with 200 shapes of all kinds, two quantities, and of 64^3 with
  200; drawn, turned into records and laid down, and the share of each. On one thread of its
  processor time; on 2 threads, halves of the samples, by the clock.
- peers: 200 ellipses and boxes of one quantity by this rasteriser, by NumPy on the box of each
  shape (the same formulas), and, where it is installed, by Pillow at 4 x 4 points per voxel.
- parts: microseconds per map of fields, textures and brains (these where their files are there).

Floor: multiply-adds, roots and quotients of every voxel that a shape covers, counted by hand, and 3
per quantity, at the rate of independent multiply-adds. What is left: rows shorter than 16 voxels,
voxels of a box that its shape does not cover, latency of roots and quotients.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from rates.floor import fma_peak, least_processor_seconds

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import LogUniform, Uniform
from ipads_stream.phantoms import (
    FractalTexture,
    Grid,
    ImageTexture,
    LatticeTexture,
    NoiseField,
    RandomShapes,
    TissueBrain,
    draw_values,
    moled_b0,
    moled_b1,
    rasterized,
)
from ipads_stream.phantoms import shapes as codes
from ipads_stream.phantoms.rasterize import fill
from ipads_stream.phantoms.records import records
from ipads_stream.phantoms.shapes import Shapes
from ipads_stream.stream.bench import median_seconds

SHAPES = 200
PLANE, SPACE = Grid((64, 64), (3.4e-3,) * 2), Grid((64, 64, 64), (3.4e-3,) * 3)
QUANTITIES = {"T2": LogUniform(low=20, high=700, unit="ms"), "PD": Uniform(low=0, high=1)}
# Per voxel: of a polygon per edge, of a polytope per plane, of a tube per part.
FLOP = {
    codes.ELLIPSE: 36, codes.BOX: 24, codes.CYLINDER: 40, codes.POLYGON: 16, codes.POLYTOPE: 3,
    codes.TUBE: 36, codes.GAUSSIAN: 34, codes.BLOB: 90,
}  # fmt: skip
FINE = 4  # points of Pillow along each axis of a voxel


def measured(grid: Grid, samples: int, repeats: int, seconds: float) -> dict[str, Any]:
    """Templates per second, where the time goes, and the floor."""
    template = RandomShapes(number=SHAPES)
    keys = [Keys(0, "train", np.arange(i * samples, (i + 1) * samples)) for i in (0, 1)]

    def made(of: Keys) -> Any:
        shapes = template.draw(of, grid)
        return rasterized(shapes, draw_values(of, QUANTITIES, shapes), grid)

    made(keys[0])
    shapes = template.draw(keys[0], grid)
    values, found = draw_values(keys[0], QUANTITIES, shapes), records(shapes, grid)
    out = np.zeros((samples, len(QUANTITIES), grid.num_voxels), np.float32)
    parts: dict[str, Callable[[], Any]] = {
        "draw": lambda: draw_values(keys[0], QUANTITIES, template.draw(keys[0], grid)),
        "records": lambda: records(shapes, grid),
        "lay": lambda: fill(found, values, grid, "over", out),
    }
    whole = least_processor_seconds(lambda: made(keys[0]), repeats)
    taken = {name: least_processor_seconds(call, repeats) for name, call in parts.items()}
    with ThreadPoolExecutor(2) as pool:
        both = median_seconds(lambda: list(pool.map(made, keys)), seconds)
    flop, covered = _work(shapes, grid)
    peak = fma_peak()["1"]
    return {
        "shapes": SHAPES,
        "grid": list(grid.shape),
        "quantities": len(QUANTITIES),
        "1_thread": samples / whole,
        "2_threads_by_the_clock": 2 * samples / both,
        "share_of_time": {name: t / sum(taken.values()) for name, t in taken.items()},
        "us_per_template": {name: 1e6 * t / samples for name, t in taken.items()},
        "covered_voxels_per_template": covered / samples,
        "floor_us_per_template": 1e6 * flop / samples / (peak * 1e9),
        "share_of_floor_of_laying": flop / (peak * 1e9) / taken["lay"],
        "fma_peak_gflops": peak,
    }


def _work(shapes: Shapes, grid: Grid) -> tuple[float, float]:
    """Operations on, and number of, voxels that a shape covers, of all samples."""
    B, S = shapes.kind.shape
    flop = covered = 0.0
    for b in range(B):
        # Every shape as a template of its own.
        alone = Shapes(*(np.swapaxes(x[b : b + 1], 0, 1) for x in _arrays(shapes)))
        for first in range(0, S, 50):
            some = Shapes(*(x[first : first + 50] for x in _arrays(alone)))
            maps = rasterized(some, np.ones((len(some.kind), 1, 1)), grid)
            count = (maps > 0).reshape(len(some.kind), -1).sum(axis=1)
            kind, table = some.kind[:, 0], np.maximum(some.detail[:, 0, 0], 1)
            times = np.select(
                [np.isin(kind, (codes.POLYGON, codes.POLYTOPE)), kind == codes.TUBE],
                [table, table - 1],
                1,
            )
            each = np.array([FLOP[int(k)] for k in kind]) * times + 3 * len(QUANTITIES)
            flop, covered = flop + float(count @ each), covered + float(count.sum())
    return flop, covered


def _arrays(shapes: Shapes) -> tuple[Any, ...]:
    return shapes.kind, shapes.centre, shapes.size, shapes.rotation, shapes.detail


def measured_peers(samples: int, repeats: int) -> dict[str, Any]:
    """Templates per second of ellipses and boxes, and how the maps differ."""
    template = RandomShapes(number=SHAPES, kinds={"ellipse": 1, "box": 1})
    keys = Keys(0, "train", np.arange(samples))
    shapes = template.draw(keys, PLANE)
    values = draw_values(keys, {"PD": Uniform(low=0, high=1)}, shapes)
    ways: dict[str, Callable[[], Any]] = {
        "this": lambda: rasterized(shapes, values, PLANE),
        "numpy": lambda: np.stack([_by_numpy(shapes, values, b) for b in range(samples)]),
    }
    try:
        import PIL  # noqa: F401

        ways["pillow"] = lambda: np.stack([_by_pillow(shapes, values, b) for b in range(samples)])
    except ImportError:
        pass
    maps = {name: call() for name, call in ways.items()}
    rates = {
        name: samples / least_processor_seconds(call, repeats if name == "this" else 2)
        for name, call in ways.items()
    }
    away = {
        f"rms_difference_to_{name}": float(np.sqrt(((maps["this"][:, 0] - of) ** 2).mean()))
        for name, of in maps.items()
        if name != "this"
    }
    ratios = {f"ratio_to_{name}": rates["this"] / rates[name] for name in rates if name != "this"}
    return {"1_thread": rates, **ratios, **away}


def _by_numpy(shapes: Shapes, values: Any, b: int) -> Any:
    """One template; per shape the voxels of its box at once."""
    out, spacing = np.zeros(PLANE.shape, np.float32), np.float32(PLANE.spacing[0])
    middle = np.array([n // 2 for n in PLANE.shape])
    for s in range(shapes.num_shapes):
        centre, size = shapes.centre[b, s] / spacing + middle, shapes.size[b, s] / spacing
        turn, is_box = shapes.rotation[b, s], shapes.kind[b, s] == codes.BOX
        if not is_box:
            size, thin = np.maximum(size, 0.75), size
        half = (np.abs(turn) @ (size + 0.5)) if is_box else np.sqrt(turn**2 @ size**2) + 0.5
        low = np.clip(np.ceil(centre - half), 0, PLANE.shape).astype(int)
        high = np.clip(np.floor(centre + half) + 1, 0, PLANE.shape).astype(int)
        x, y = np.ogrid[low[0] : high[0], low[1] : high[1]]
        x, y = x - centre[0], y - centre[1]
        u, v = turn[0, 0] * x + turn[1, 0] * y, turn[0, 1] * x + turn[1, 1] * y
        if is_box:
            cover = np.clip(np.minimum(u + 0.5, size[0]) - np.maximum(u - 0.5, -size[0]), 0, 1)
            cover = cover * np.clip(
                np.minimum(v + 0.5, size[1]) - np.maximum(v - 0.5, -size[1]), 0, 1
            )
        else:
            p, q = u / size[0], v / size[1]
            square = p * p + q * q + 1e-12
            steep = np.sqrt((p / size[0]) ** 2 + (q / size[1]) ** 2 + 1e-30)
            a, c = size
            inward = 1 / (12 * (3 * (a + c) - np.sqrt((3 * a + c) * (a + 3 * c))))
            cover = np.clip(0.5 - (square - np.sqrt(square)) / steep - inward, 0, 1)
            cover *= (thin / size).prod()
        part = out[low[0] : high[0], low[1] : high[1]]
        part += cover * (values[b, s, 0] - part)
    return out


def _by_pillow(shapes: Shapes, values: Any, b: int) -> Any:
    """One template of polygons; ellipses have 32 corners. The mean of FINE x FINE points."""
    from PIL import Image, ImageDraw

    image = Image.new("F", (PLANE.shape[1] * FINE, PLANE.shape[0] * FINE))
    draw = ImageDraw.Draw(image)
    angle = 2 * np.pi * np.arange(32) / 32
    circle = np.stack([np.cos(angle), np.sin(angle)], -1)
    square = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    middle = np.array([n // 2 for n in PLANE.shape])
    for s in range(shapes.num_shapes):
        unit = square if shapes.kind[b, s] == codes.BOX else circle
        corners = (unit * shapes.size[b, s]) @ shapes.rotation[b, s].T + shapes.centre[b, s]
        corners = (corners / PLANE.spacing[0] + middle + 0.5) * FINE - 0.5
        draw.polygon([(float(y), float(x)) for x, y in corners], fill=float(values[b, s, 0]))
    fine = np.asarray(image).reshape(PLANE.shape[0], FINE, PLANE.shape[1], FINE)
    return fine.mean(axis=(1, 3))


def measured_parts(samples: int, repeats: int) -> dict[str, Any]:
    """Microseconds of processor time per 64 x 64 map."""
    keys = Keys(0, "train", np.arange(samples))
    makers: dict[str, Callable[[], Any]] = {
        "moled_b1": lambda: moled_b1().draw(keys, PLANE),
        "moled_b0": lambda: moled_b0().draw(keys, PLANE),
        "noise": lambda: NoiseField().draw(keys, PLANE),
        "fractal": lambda: FractalTexture().draw(keys, PLANE),
        "lattice": lambda: LatticeTexture().draw(keys, PLANE),
        "image": lambda: ImageTexture().draw(keys, PLANE),
        "brain (T1, T2, PD)": lambda: TissueBrain().draw(keys, PLANE),
    }
    found: dict[str, Any] = {}
    for name, call in makers.items():
        try:
            call()
        except ConfigError:
            found[name] = "no data"
            continue
        found[name] = 1e6 * least_processor_seconds(call, repeats) / samples
    return found


def measure(quick: bool) -> dict[str, Any]:
    """The numbers of this row."""
    repeats, seconds = (2, 0.3) if quick else (15, 5.0)
    return {
        "plane": measured(PLANE, 16 if quick else 128, repeats, seconds),
        "space": measured(SPACE, 2 if quick else 8, repeats, seconds),
        "peers": measured_peers(4 if quick else 32, repeats),
        "parts": measured_parts(8 if quick else 64, repeats),
    }
