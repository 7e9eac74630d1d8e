"""Shapes on a grid against closed forms: areas, volumes, centres of mass, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterize_formula import rasterized_formula
from scipy.spatial import ConvexHull, HalfspaceIntersection
from scipy.spatial.transform import Rotation

from ipads_stream.core.random import Keys
from ipads_stream.phantoms import shapes as bodies
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.random_shapes import RandomShapes
from ipads_stream.phantoms.rasterize import rasterized

PLANE = Grid((64, 64), (1e-3, 1e-3))
FLAT = Grid((48, 96), (2e-3, 1e-3))
SPACE = Grid((40, 40, 40), (1e-3, 1e-3, 1e-3))
UNEVEN = Grid((40, 40, 28), (1e-3, 1e-3, 1.5e-3))
NUM = 20


def _mass(shapes, grid):
    """Area or volume, and centre of mass, of each sample's single shape."""
    B = shapes.kind.shape[0]
    cover = rasterized(shapes, np.ones((B, 1, 1)), grid)[:, 0].astype(float)
    assert cover.min() >= 0
    assert cover.max() <= 1 + 1e-6
    axes = tuple(range(1, 1 + grid.num_axes))
    total = cover.sum(axis=axes)
    places = [(cover * x).sum(axis=axes) / total for x in grid.coordinates()]
    return total * math.prod(grid.spacing), np.stack(places, axis=-1)


def _placed(grid, seed=0):
    """Centres within two voxels of the middle, and rotations."""
    rng = np.random.default_rng(seed)
    D = grid.num_axes
    centre = rng.uniform(-2e-3, 2e-3, (NUM, 1, D))
    if D == 2:
        return centre, rng.uniform(0, 6.3, (NUM, 1))
    return centre, Rotation.random(NUM, rng).as_matrix()[:, None]


# Semi-axes in voxels, and the largest error of one body's area or volume and of the mean of many.
SIZES = [(0.4, 0.18, 0.04), (1.2, 0.1, 0.03), (3.0, 0.05, 0.02), (9.0, 0.015, 0.004)]


@pytest.mark.parametrize(("radius", "each", "mean"), SIZES)
@pytest.mark.parametrize("grid", [PLANE, FLAT, SPACE, UNEVEN], ids=["2D", "flat", "3D", "uneven"])
def test_ellipses_keep_area_volume_and_centre(grid, radius, each, mean):
    voxel = math.prod(grid.spacing) ** (1 / grid.num_axes)
    size = radius * voxel * np.array([1.0, 0.7, 0.5])[: grid.num_axes]
    centre, turn = _placed(grid)
    found, place = _mass(bodies.ellipses(centre, np.broadcast_to(size, centre.shape), turn), grid)
    exact = math.pi * size[0] * size[1] if grid.num_axes == 2 else 4 / 3 * math.pi * size.prod()
    error = found / exact - 1
    uneven = 1 + 2 * (len(set(grid.spacing)) > 1)
    assert np.abs(error).max() < uneven * each
    assert abs(error.mean()) < uneven * mean
    assert np.abs(place - centre[:, 0]).max() < 0.2 * max(grid.spacing)


@pytest.mark.parametrize("grid", [PLANE, FLAT, SPACE, UNEVEN], ids=["2D", "flat", "3D", "uneven"])
@pytest.mark.parametrize(("radius", "each"), [(2.0, 0.08), (9.0, 0.01)])
def test_boxes(grid, radius, each):
    size = radius * 1e-3 * np.array([1.0, 0.7, 0.6])[: grid.num_axes]
    centre, turn = _placed(grid, 1)
    found, place = _mass(bodies.boxes(centre, np.broadcast_to(size, centre.shape), turn), grid)
    uneven = 1 + 2 * (len(set(grid.spacing)) > 1)
    assert np.abs(found / (2 * size).prod() - 1).max() < uneven * each
    assert np.abs(place - centre[:, 0]).max() < 0.2 * max(grid.spacing)


def test_a_box_along_the_axes_covers_exact_shares():
    """The share of each voxel, exactly, also of a plate thinner than a voxel."""
    centre = np.array([[[0.3e-3, -0.2e-3]]])
    size = np.array([[[3.1e-3, 0.2e-3]]])
    cover = rasterized(bodies.boxes(centre, size), np.ones((1, 1, 1)), PLANE)[0, 0]
    along = [
        np.clip(
            np.minimum(x.reshape(-1) + 5e-4, c + s) - np.maximum(x.reshape(-1) - 5e-4, c - s), 0, 1
        )
        / 1e-3
        for x, c, s in zip(PLANE.coordinates(), centre[0, 0], size[0, 0], strict=True)
    ]
    assert cover == pytest.approx(np.outer(*along), abs=2e-5)


@pytest.mark.parametrize(("radius", "each"), [(0.4, 0.15), (2.0, 0.06), (5.0, 0.02)])
def test_tubes_in_the_plane(radius, each):
    centre, turn = _placed(PLANE, 2)
    way = np.stack([np.cos(turn), np.sin(turn)], -1) * 10e-3
    points = np.stack([centre - way, centre + 0.2 * way, centre + way], axis=2)
    r = radius * 1e-3
    found, place = _mass(bodies.tubes(points, np.full((NUM, 1, 3), r)), PLANE)
    assert np.abs(found / (20e-3 * 2 * r + math.pi * r * r) - 1).max() < each
    assert np.abs(place - centre[:, 0]).max() < 2e-4


@pytest.mark.parametrize(("radius", "each"), [(0.5, 0.15), (2.0, 0.07), (5.0, 0.02)])
@pytest.mark.parametrize("grid", [SPACE, UNEVEN], ids=["3D", "uneven"])
def test_tubes_in_space(radius, each, grid):
    centre, turn = _placed(grid, 3)
    way = turn[:, :, :, 0] * 10e-3
    points = np.stack([centre - way, centre + way], axis=2)
    r = radius * 1e-3
    found, _ = _mass(bodies.tubes(points, np.full((NUM, 1, 2), r)), grid)
    exact = 20e-3 * math.pi * r**2 + 4 / 3 * math.pi * r**3
    assert np.abs(found / exact - 1).max() < (each if grid is SPACE else 1.5 * each)


def test_a_tapering_tube_is_the_union_of_balls():
    """Its area in the plane: circles and the quadrilateral between their common tangents."""
    R, r, L = 8e-3, 3e-3, 20e-3
    points = np.array([[[[0.2e-3, -10e-3], [0.2e-3, 10e-3]]]])
    found, _ = _mass(bodies.tubes(points, np.array([[[R, r]]])), PLANE)
    beta = math.asin((R - r) / L)
    sides = math.sqrt(L**2 - (R - r) ** 2) * (R + r)
    exact = sides + R**2 * (math.pi / 2 + beta) + r**2 * (math.pi / 2 - beta)
    # The kernel's cone has the radius of the nearest point of its axis, not of its mantle.
    assert found[0] / exact == pytest.approx(1, abs=0.03)


def test_cylinders():
    centre, turn = _placed(SPACE, 4)
    size = np.array([8e-3, 5e-3, 10e-3])
    found, place = _mass(bodies.cylinders(centre, np.broadcast_to(size, centre.shape), turn), SPACE)
    assert np.abs(found / (2 * math.pi * size.prod()) - 1).max() < 0.01
    assert np.abs(place - centre[:, 0]).max() < 1e-4


@pytest.mark.parametrize(("sigma", "each"), [(0.3, 0.05), (1.0, 0.02), (4.0, 1e-4)])
def test_gaussians(sigma, each):
    """With s = 4: 2 pi sigma^2 (1 - (1 + s^2/2) e^-s^2/2) / (1 - e^-s^2/2) in the plane."""
    centre, turn = _placed(PLANE, 5)
    size = sigma * 1e-3 * np.array([1.0, 0.6])
    found, _ = _mass(bodies.gaussians(centre, np.broadcast_to(size, centre.shape), turn), PLANE)
    exact = 2 * math.pi * size.prod() * (1 - 9 * math.exp(-8)) / (1 - math.exp(-8))
    assert np.abs(found / exact - 1).max() < each


def _shoelace(corners):
    x, y = corners[..., 0], corners[..., 1]
    cross = x * np.roll(y, -1, -1) - np.roll(x, -1, -1) * y
    area = 0.5 * cross.sum(-1)
    cx = ((x + np.roll(x, -1, -1)) * cross).sum(-1) / (6 * area)
    cy = ((y + np.roll(y, -1, -1)) * cross).sum(-1) / (6 * area)
    return np.abs(area), np.stack([cx, cy], -1)


@pytest.mark.parametrize("name", ["polygon", "star"])
def test_random_polygons_keep_area_and_centre(name):
    template = RandomShapes(number=1, size=0.3, position=0.05, aspect=0.8, kinds={name: 1})
    drawn = template.draw(Keys(3, "test", np.arange(NUM)), PLANE)
    found, place = _mass(drawn, PLANE)
    for b in range(NUM):
        num = int(drawn.detail[b, 0, 0])
        unit = drawn.detail[b, 0, 1 : 1 + 2 * num].reshape(num, 2)
        corners = drawn.centre[b, 0] + drawn.size[b, 0, 0] * unit @ drawn.rotation[b, 0].T
        area, centre = _shoelace(corners.astype(float))
        assert found[b] == pytest.approx(area, rel=0.03)
        assert place[b] == pytest.approx(centre, abs=3e-4)


def test_random_polytopes_keep_volume_and_centre():
    template = RandomShapes(number=1, size=0.3, position=0.05, aspect=0.8, kinds={"polygon": 1})
    drawn = template.draw(Keys(3, "test", np.arange(NUM)), SPACE)
    found, place = _mass(drawn, SPACE)
    for b in range(NUM):
        num = int(drawn.detail[b, 0, 0])
        planes = drawn.detail[b, 0, 1 : 1 + 4 * num].reshape(num, 4).astype(float)
        halves = np.concatenate([planes[:, :3], -planes[:, 3:]], axis=1)
        corners = HalfspaceIntersection(halves, np.zeros(3)).intersections
        hull = ConvexHull(corners * drawn.size[b, 0] @ drawn.rotation[b, 0].T + drawn.centre[b, 0])
        assert found[b] == pytest.approx(hull.volume, rel=0.02)
        rough = rasterized(drawn, np.ones((NUM, 1, 1)), SPACE)[b, 0]
        assert (rough > 0.5).sum() * 1e-9 == pytest.approx(hull.volume, rel=0.03)
    assert np.abs(place - drawn.centre[:, 0]).max() < 5e-3


def test_a_blob_in_the_plane_is_a_fourier_series():
    """Area of r = a (1 + sum a_m cos((m + 2) phi - ..)): pi a^2 (1 + sum a_m^2 / 2)."""
    heights = np.array([0.1, -0.08, 0.06, 0.05])
    angles = np.array([0.3, 1.0, 2.0, 4.0])
    waves = np.stack([heights, np.cos(angles), np.sin(angles)], axis=-1).reshape(-1)
    detail = np.broadcast_to(np.concatenate([[0.0], waves]), (NUM, 1, 13)).astype(np.float32)
    centre, turn = _placed(PLANE, 6)
    round_ones = bodies.ellipses(centre, np.full(centre.shape, 15e-3), turn)
    blobs = bodies.Shapes(
        np.full((NUM, 1), bodies.BLOB), round_ones.centre, round_ones.size, round_ones.rotation,
        detail,
    )  # fmt: skip
    found, _ = _mass(blobs, PLANE)
    exact = math.pi * 15e-3**2 * (1 + 0.5 * (heights**2).sum())
    assert np.abs(found / exact - 1).max() < 3e-3


def test_a_square_blob_has_the_area_of_a_superellipse():
    """|x|^4 + |y|^4 <= a^4: 4 a^2 Gamma(5/4)^2 / Gamma(3/2)."""
    detail = np.zeros((1, 1, 13), np.float32)
    detail[..., 0] = 1.0
    one = bodies.ellipses(np.zeros((1, 1, 2)), np.full((1, 1, 2), 15e-3))
    blob = bodies.Shapes(np.full((1, 1), bodies.BLOB), one.centre, one.size, one.rotation, detail)
    exact = 4 * 15e-3**2 * math.gamma(1.25) ** 2 / math.gamma(1.5)
    assert _mass(blob, PLANE)[0] == pytest.approx([exact], rel=3e-3)


def test_a_straight_edge_is_one_voxel_wide():
    """Through voxels whose centres lie t from it: 1/2 - t, between 0 and 1."""
    size = np.array([[[10.25e-3, 25e-3]]])
    cover = rasterized(bodies.ellipses(np.zeros((1, 1, 2)), size), np.ones((1, 1, 1)), PLANE)
    row = cover[0, 0, 32:, 32]  # along x from the middle
    assert row[:9] == pytest.approx(np.ones(9), abs=1e-6)
    assert row[10] == pytest.approx(0.75, abs=0.01)
    assert not row[12:].any()


def test_over_and_add():
    centre = np.zeros((1, 2, 2))
    size = np.array([[[20e-3, 20e-3], [8e-3, 8e-3]]])
    values = np.array([[[1.0, 10.0], [4.0, 20.0]]])
    discs = bodies.ellipses(centre, size)
    over = rasterized(discs, values, PLANE, background=[-1.0, 0.5])[0]
    assert over[:, 32, 32] == pytest.approx([4, 20])
    assert over[:, 32, 46] == pytest.approx([1, 10])
    assert over[:, 0, 0] == pytest.approx([-1, 0.5])
    added = rasterized(discs, values, PLANE, background=np.array([[-1.0, 0.5]]), rule="add")[0]
    assert added[:, 32, 32] == pytest.approx([4, 30.5])
    assert added[:, 32, 46] == pytest.approx([0, 10.5])
    with pytest.raises(ValueError, match="rule='under': one of over, add"):
        rasterized(discs, values, PLANE, rule="under")
    with pytest.raises(ValueError, match="values: shape"):
        rasterized(discs, values[:, :1], PLANE)
    with pytest.raises(ValueError, match="shapes: 2 axes; 3 are allowed"):
        rasterized(discs, values, SPACE)


def test_joined_shapes_are_laid_down_in_turn():
    keys = Keys(0, "test", np.arange(2))
    one = RandomShapes(number=5, kinds={"ellipse": 1}).draw(keys, PLANE)
    two = RandomShapes(number=4, kinds={"vessel": 1}).draw(keys, PLANE, name="later")
    values = np.arange(18.0).reshape(2, 9, 1)
    below = rasterized(one, values[:, :5], PLANE)
    both = rasterized(one.joined(two), values, PLANE)
    only = rasterized(two, np.ones((2, 4, 1)), PLANE)
    clear = only == 0
    assert np.array_equal(both[clear], below[clear])
    assert not np.array_equal(both, below)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 2.0), st.integers(-5, 5))
def test_a_shift_by_whole_voxels_shifts_the_map(seed, stretch, shift):
    """Also: stretched geometry on a stretched grid is the same map."""
    drawn = RandomShapes(number=6, size=0.1, position=0.0).draw(
        Keys(seed, "t", np.arange(1)), PLANE
    )
    values = np.ones((1, 6, 1))
    here = rasterized(drawn, values, PLANE, rule="add")
    moved = bodies.Shapes(
        drawn.kind, drawn.centre + np.float32(shift * 1e-3), drawn.size, drawn.rotation,
        drawn.detail,
    )  # fmt: skip
    there = rasterized(moved, values, PLANE, rule="add")
    assert np.abs(there - np.roll(here, (shift, shift), (2, 3))).max() < 2e-3
    larger = Grid(PLANE.shape, tuple(stretch * d for d in PLANE.spacing))
    scaled = bodies.Shapes(
        drawn.kind, drawn.centre * stretch, drawn.size * stretch, drawn.rotation, drawn.detail
    )
    assert np.abs(rasterized(scaled, values, larger, rule="add") - here).max() < 2e-3


def test_torch_differentiates_the_formula():
    import torch

    centre = torch.tensor([[[0.4e-3, 0.0]]], dtype=torch.float64, requires_grad=True)
    disc = bodies.ellipses(np.zeros((1, 1, 2)), np.full((1, 1, 2), 5e-3))
    given_ = bodies.Shapes(disc.kind, centre, disc.size, disc.rotation, disc.detail)
    values = torch.full((1, 1, 1), 2.0, dtype=torch.float64, requires_grad=True)
    small = Grid((24, 24), (1e-3, 1e-3))
    out = rasterized_formula(given_, values, small)
    x = torch.from_numpy(small.coordinates()[0].astype(float))
    moment = (out[0, 0] * x).sum()
    slopes = torch.autograd.grad(moment, [centre, values])
    # d(moment)/d(centre) is the mass; to first order in the edge.
    assert float(slopes[0][0, 0, 0]) == pytest.approx(float(out.detach().sum()), rel=0.05)
    assert float(slopes[1]) == pytest.approx(float(moment.detach()) / 2, rel=1e-9)
