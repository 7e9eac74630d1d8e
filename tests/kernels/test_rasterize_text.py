"""The CUDA text of templates: shapes and samples of volumes on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel
from rasterize_formula import rasterized_formula
from scipy.ndimage import map_coordinates

import ipads_stream
from ipads_stream.core.random import Keys
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.kernels import interpolate as places_lanes
from ipads_stream.phantoms.kernels import rasterize as lanes
from ipads_stream.phantoms.random_shapes import IN_SPACE, IN_THE_PLANE, RandomShapes
from ipads_stream.phantoms.records import records

PACKAGE = Path(ipads_stream.__file__).parent
RASTERIZE = PACKAGE / "phantoms/kernels/rasterize.cu"
INTERPOLATE = PACKAGE / "phantoms/kernels/interpolate.cu"
GRIDS = {2: Grid((21, 37), (3e-3, 2e-3)), 3: Grid((9, 14, 19), (2e-3, 2e-3, 3e-3))}
CASES = [(2, name) for name in IN_THE_PLANE] + [(3, name) for name in IN_SPACE]


def _template(axes, kinds, samples=3, number=12, quantities=5):
    shapes = RandomShapes(number=number, kinds=dict.fromkeys(kinds, 1.0))
    keys = Keys(1, "test", np.arange(samples))
    values = np.random.default_rng(0).normal(size=(samples, number, quantities))
    return shapes.draw(keys, GRIDS[axes]), values.astype(np.float32)


@pytest.fixture(scope="module")
def text():
    return host_kernel(RASTERIZE, "rasterize")


@pytest.mark.parametrize("rule", ["over", "add"])
@pytest.mark.parametrize(("axes", "kind"), CASES)
def test_text_and_twin_against_the_formula(axes, kind, rule, text):
    grid = GRIDS[axes]
    shapes, values = _template(axes, [kind])
    exact = rasterized_formula(shapes, values.astype(np.float64), grid, background=0.5, rule=rule)
    of = records(shapes, grid)
    B, S, Q = values.shape
    space = (1,) * (3 - axes) + grid.shape
    host = np.full((B, Q, *space), 0.5, np.float32)
    sizes = (np.int64(n) for n in (B, S, of.numbers.shape[2], Q, *space, rule == "add"))
    threads = B * -(-Q // 4) * grid.num_voxels
    text(threads + 5, of.kind, of.box, of.numbers, values, *sizes, host)
    twin = np.full((B, Q, *space), 0.5, np.float32)
    lanes.rasterize(of.kind, of.box, of.numbers, values, rule == "add", twin)
    for found in (host, twin):
        assert np.abs(found.reshape(exact.shape) - exact).max() < 3e-4
    assert np.abs(host - twin).max() < 3e-4


def _volumes():
    rng = np.random.default_rng(0)
    shapes = [(5, 6, 7), (1, 9, 4), (3, 3, 3)]
    sources = [rng.integers(0, 256, (2, *shape)).astype(np.uint8) for shape in shapes]
    offset = np.cumsum([0, *(s.size for s in sources[:-1])])
    scale = np.ones(3, np.float32)
    places = rng.uniform(-4, 12, (3, 3, 200)).astype(np.float32)
    places[1, 0] = 0
    return sources, offset, np.array(shapes), scale, places


@pytest.mark.parametrize("mirrored", [False, True])
def test_interpolation_against_scipy(mirrored):
    sources, offset, sizes, scale, places = _volumes()
    voxels = np.concatenate([s.reshape(-1) for s in sources])
    mode = "reflect" if mirrored else "constant"
    expected = np.stack(
        [
            [map_coordinates(c / 255, p.astype(float), order=1, mode=mode) for c in s]
            for s, p in zip(sources, places, strict=True)
        ]
    )
    if not mirrored:  # scipy fades to 0 at the last voxel, not half a voxel or one beyond it
        inside = np.stack(
            [
                ((p >= 0) & (p <= np.array(s.shape[1:])[:, None] - 1)).all(axis=0)
                for s, p in zip(sources, places, strict=True)
            ]
        )[:, None]
    else:
        inside = np.ones((3, 1, 200), bool)
    twin = np.full(expected.shape, np.nan, np.float32)
    places_lanes.interpolate(voxels, offset, sizes, scale, places, mirrored, twin)
    host = np.full(expected.shape, np.nan, np.float32)
    numbers = (np.int64(n) for n in (mirrored, 3, 2, 200))
    kernel = host_kernel(INTERPOLATE, "interpolate")
    kernel(3 * 200 + 7, voxels, offset, sizes, scale, places, *numbers, host)
    assert inside.any()
    for found in (twin, host):
        assert np.abs(np.where(inside, found - expected, 0)).max() < 2e-6
        assert np.isfinite(found).all()
    assert np.abs(twin - host).max() < 2e-6


def test_beyond_a_volume_values_fall_to_zero_within_a_voxel():
    voxels, out = np.full(8, 255, np.uint8), np.full((1, 1, 5), np.nan, np.float32)
    places = np.full((1, 3, 5), 0.5, np.float32)
    places[0, 2] = [0.5, 1.0, 1.25, 2.0, -0.25]
    size = np.array([[2, 2, 2]])
    places_lanes.interpolate(voxels, np.array([0]), size, np.ones(1, "f4"), places, False, out)
    assert out[0, 0] == pytest.approx([1, 1, 0.75, 0, 0.75], abs=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("axes", [2, 3])
def test_the_gpu_agrees_with_the_cpu(axes):
    import cupy

    from ipads_stream.phantoms.rasterize import rasterized

    kinds = IN_THE_PLANE if axes == 2 else IN_SPACE
    shapes, values = _template(axes, kinds, number=60)
    host = rasterized(shapes, values, GRIDS[axes])
    device = rasterized(shapes, values, GRIDS[axes], xp=cupy)
    assert np.abs(device.get() - host).max() < 1e-3
