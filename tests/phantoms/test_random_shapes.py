"""Templates are pure functions of their keys, and their numbers what was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import (
    Constant,
    DiscreteUniform,
    LinearSchedule,
    LogUniform,
    Uniform,
)
from ipads_stream.distributions.curriculum import Curriculum
from ipads_stream.phantoms import shapes as codes
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.random_shapes import (
    IN_SPACE,
    IN_THE_PLANE,
    RandomShapes,
    random_rotations,
)
from ipads_stream.phantoms.rasterize import draw_values, rasterized
from ipads_stream.phantoms.shapes import Shapes
from ipads_stream.phantoms.sources import lesions, spio_spots, vessels

PLANE, SPACE = Grid((32, 48), (4e-3, 3e-3)), Grid((16, 18, 20), (5e-3, 5e-3, 4e-3))
VALUES = {"T2": LogUniform(low=20, high=700, unit="ms"), "PD": Uniform(low=0, high=1)}


def _maps(indices, grid, template, name="shapes"):
    keys = Keys(7, "train", np.asarray(indices))
    drawn = template.draw(keys, grid, name=name)
    return drawn, rasterized(drawn, draw_values(keys, VALUES, drawn), grid)


@pytest.mark.parametrize("grid", [PLANE, SPACE], ids=["2D", "3D"])
def test_sample_n_is_the_same_in_any_batch(grid):
    template = RandomShapes(number=DiscreteUniform(low=5, high=40))
    _, together = _maps(range(6), grid, template)
    for n in (0, 3, 5):
        assert np.array_equal(_maps([n], grid, template)[1][0], together[n])
    assert np.array_equal(_maps([4, 1], grid, template)[1], together[[4, 1]])
    assert len({m.tobytes() for m in together}) == 6
    assert not np.array_equal(_maps(range(6), grid, template, "other")[1], together)


def test_more_shapes_leave_the_first_as_they_were():
    few, _ = _maps(range(3), PLANE, RandomShapes(number=10))
    more, _ = _maps(range(3), PLANE, RandomShapes(number=30))
    for name in ("kind", "centre", "size", "rotation"):
        assert np.array_equal(getattr(few, name), getattr(more, name)[:, :10])


def test_one_distribution_leaves_the_other_draws():
    one, _ = _maps(range(4), PLANE, RandomShapes(number=20))
    two, _ = _maps(range(4), PLANE, RandomShapes(number=20, size=0.1))
    assert np.array_equal(one.centre, two.centre)
    assert np.array_equal(one.rotation, two.rotation)
    assert not np.array_equal(one.size, two.size)


@pytest.mark.parametrize(
    ("grid", "names"), [(PLANE, IN_THE_PLANE), (SPACE, IN_SPACE)], ids=["2D", "3D"]
)
def test_every_kind_is_drawn_and_is_finite(grid, names):
    for name in names:
        drawn, maps = _maps(range(2), grid, RandomShapes(number=15, kinds={name: 1}))
        assert (drawn.kind != codes.ABSENT).all()
        assert np.isfinite(maps).all()
        assert maps[:, 0].max() <= 0.7 * (1 + 1e-6)
        assert maps.any()


def test_kinds_are_as_frequent_as_stated():
    template = RandomShapes(number=500, kinds={"ellipse": 3, "box": 1})
    drawn, _ = _maps(range(20), PLANE, template)
    assert (drawn.kind == codes.ELLIPSE).mean() == pytest.approx(0.75, abs=0.02)
    assert set(np.unique(drawn.kind)) == {codes.ELLIPSE, codes.BOX}


def test_numbers_sizes_and_places_follow_their_distributions():
    template = RandomShapes(
        number=DiscreteUniform(low=50, high=150),
        size=Uniform(low=5, high=10, unit="mm"),
        aspect=Constant(value=0.5),
        position=Uniform(low=-0.5, high=0.5),
        kinds={"ellipse": 1},
    )
    drawn, _ = _maps(range(200), PLANE, template)
    present = drawn.kind != codes.ABSENT
    counts = present.sum(axis=1)
    assert counts.min() >= 50
    assert counts.max() <= 150
    assert counts.mean() == pytest.approx(100, abs=6)
    size = drawn.size[present]
    assert (size[:, 0] >= 5e-3).all()
    assert (size[:, 0] <= 10.001e-3).all()
    assert size[:, 0].mean() == pytest.approx(7.5e-3, rel=0.01)
    assert size[:, 1] == pytest.approx(0.5 * size[:, 0], rel=1e-5)
    half = 0.25 * np.array(PLANE.field_of_view)
    assert (np.abs(drawn.centre[present]) <= half * 1.0001).all()
    share = RandomShapes(number=4, size=0.25, kinds={"ellipse": 1})
    drawn, _ = _maps(range(2), PLANE, share)
    assert drawn.size[..., 0] == pytest.approx(0.25 * 32 * 4e-3)


def test_a_size_may_change_over_training():
    size = Curriculum(
        start=Constant(value=0.1), end=Constant(value=0.2), schedule=LinearSchedule(end=100)
    )
    template = RandomShapes(number=1, size=size, kinds={"ellipse": 1})
    keys = Keys(0, "train", np.arange(3))
    drawn = template.draw(keys, PLANE, progress=np.array([0.0, 50.0, 100.0]))
    assert drawn.size[:, 0, 0] == pytest.approx(np.array([0.1, 0.15, 0.2]) * 0.128, rel=1e-5)


def test_rotations_are_rotations_uniformly():
    turned = random_rotations(Keys(0, "test", np.arange(400))["r"], 50, 3).astype(float)
    product = turned @ np.swapaxes(turned, -1, -2)
    assert np.abs(product - np.eye(3)).max() < 1e-5
    assert np.linalg.det(turned) == pytest.approx(1, abs=1e-5)
    flat = turned.reshape(-1, 3, 3)
    # Of Haar's measure every entry has mean 0 and mean square 1/3, the trace has mean square 1.
    assert np.abs(flat.mean(axis=0)).max() < 0.02
    assert np.abs((flat**2).mean(axis=0) - 1 / 3).max() < 0.01
    assert (np.trace(flat, axis1=1, axis2=2) ** 2).mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kinds": {"egg": 1}}, "kinds.egg=1: one of ellipse"),
        ({"kinds": {"box": -1}}, "kinds.box=-1: a number, at least 0"),
        ({"kinds": {"box": 0}}, "at least one above 0"),
        ({"number": Uniform(low=1, high=3)}, "number="),
        ({"size": Uniform(low=-1, high=3)}, "size="),
        ({"size": Uniform(low=1, high=3, unit="ms")}, "size.unit='ms'"),
        ({"roughness": 2}, "roughness="),
    ],
)
def test_refusals(given, message):
    with pytest.raises(ConfigError) as error:
        RandomShapes(**given)
    assert message in str(error.value)


def test_kinds_that_the_grid_has_not_are_refused():
    keys = Keys(0, "test", np.arange(1))
    with pytest.raises(ConfigError, match="with 2 axes one of ellipse"):
        RandomShapes(number=1, kinds={"cylinder": 1}).draw(keys, PLANE)
    with pytest.raises(ConfigError, match="with 3 axes one of"):
        RandomShapes(number=1, kinds={"star": 1}).draw(keys, SPACE)
    with pytest.raises(ConfigError, match="shape"):
        Grid((3,), (1.0,))
    with pytest.raises(ConfigError, match="spacing"):
        Grid((3, 3), (1.0, -1.0))
    with pytest.raises(ValueError, match="size: shape"):
        Shapes(*(np.zeros(s) for s in ((1, 2), (1, 2, 2), (1, 2, 3), (1, 2, 2, 2), (1, 2, 0))))


def test_yaml_builds_a_template():
    from ipads_stream.config import instantiate

    node = {
        "_target_": "ipads_stream.phantoms.random_shapes.RandomShapes",
        "number": {"_target_": "ipads_stream.distributions.DiscreteUniform", "low": 3, "high": 9},
        "size": {
            "_target_": "ipads_stream.distributions.Uniform", "low": 2, "high": 9, "unit": "mm"
        },
        "kinds": {"ellipse": 1.0, "vessel": 2.0},
    }  # fmt: skip
    template = instantiate(node)
    assert template.most == 9
    assert template.size.support == (pytest.approx(2e-3), pytest.approx(9e-3))


@pytest.mark.parametrize("make", [lesions, vessels, spio_spots])
def test_sources_of_susceptibility(make):
    sources, grid = make(), Grid((40, 40, 40), (4e-3, 4e-3, 4e-3))
    keys = Keys(0, "test", np.arange(8))
    shapes, chi = sources.draw(keys, grid)
    low, high = sources.chi_ppm.support
    present = shapes.kind != codes.ABSENT
    assert (chi[present] >= low - 1e-6).all()
    assert (chi[present] <= high + 1e-6).all()
    maps = sources.maps(keys, grid)
    assert maps.shape == (8, *grid.shape)
    assert np.abs(maps).reshape(8, -1).max(axis=1).min() > 0
    one = sources.maps(Keys(0, "test", np.array([5])), grid)
    assert np.array_equal(one[0], maps[5])


def test_the_total_of_small_spots_does_not_depend_on_the_resolution():
    """Spots of 0.5 to 6 mm on voxels of 2 and 4 mm: sum of chi times volume."""
    sources = spio_spots()
    keys = Keys(0, "test", np.arange(12))
    fine, coarse = Grid((80,) * 3, (2e-3,) * 3), Grid((40,) * 3, (4e-3,) * 3)
    totals = [
        sources.maps(keys, g).astype(float).reshape(12, -1).sum(axis=1) * g.spacing[0] ** 3
        for g in (fine, coarse)
    ]
    assert totals[1] == pytest.approx(totals[0], rel=0.15)
    assert np.mean(totals[1] / totals[0]) == pytest.approx(1, abs=0.04)
