"""Smooth fields: their formulas, ranges, correlations, and that the grid does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Uniform
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.smooth_fields import (
    BumpField,
    NoiseField,
    PolynomialField,
    SumOfFields,
    moled_b0,
    moled_b1,
    normalised,
)

PLANE, SPACE = Grid((20, 30), (5e-3, 4e-3)), Grid((8, 10, 12), (9e-3, 8e-3, 7e-3))
KEYS = Keys(2, "test", np.arange(40))
FIELDS = {
    "polynomial": PolynomialField(terms={"x": Uniform(low=-1, high=1), "xyy": 3.0}, offset=1.0),
    "peak": PolynomialField(terms={"x": 1.0, "yy": 1.0}, peak=0.5),
    "bumps": BumpField(amplitude=Uniform(low=-1, high=1), number=3),
    "noise": NoiseField(amplitude=2.0, width=Uniform(low=10, high=20, unit="mm")),
    "b1": moled_b1(),
    "b0": moled_b0(),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("grid", [PLANE, SPACE], ids=["2D", "3D"])
def test_sample_n_is_the_same_in_any_batch(name, grid):
    whole = FIELDS[name].draw(KEYS, grid)
    assert whole.shape == (40, *grid.shape)
    assert whole.dtype == np.float32
    part = FIELDS[name].draw(Keys(2, "test", np.array([31, 4])), grid)
    # Products of matrices add up in another order in another batch.
    assert np.abs(part - whole[[31, 4]]).max() <= 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("name", ["polynomial", "bumps", "noise", "b0"])
def test_a_field_is_a_function_of_position(name):
    """On a grid of half the spacing every other voxel of the same field of view is the same."""
    fine = Grid((40, 60), (2.5e-3, 2e-3))
    field = FIELDS[name]
    coarse, finer = field.draw(KEYS, PLANE), field.draw(KEYS, fine)
    assert np.abs(finer[:, ::2, ::2] - coarse).max() < 2e-5 * np.abs(coarse).max()


def test_a_polynomial_is_the_polynomial():
    field = PolynomialField(terms={"x": 2.0, "xyy": Constant(value=-30.0), "zz": 5.0}, offset=0.25)
    x, y, z = (c.astype(float) for c in SPACE.coordinates())
    exact = 2 * x - 30 * x * y**2 + 5 * z**2 + 0.25
    assert field.draw(KEYS, SPACE)[0] == pytest.approx(exact, abs=1e-6)
    with pytest.raises(ConfigError, match=r"terms\.zz"):
        field.draw(KEYS, PLANE)
    with pytest.raises(ConfigError, match=r"terms\.xq"):
        PolynomialField(terms={"xq": 1.0})


def test_moled_fields_stay_in_the_ranges_of_their_source():
    grid = Grid((64, 64), (0.22 / 64, 0.22 / 64))
    keys = Keys(0, "test", np.arange(500))
    b1, b0 = moled_b1().draw(keys, grid), moled_b0().draw(keys, grid)
    spread = np.abs(b1 - 1).reshape(500, -1).max(axis=1)
    assert 0.4 < spread.max() <= 0.6
    peaks = np.ptp(b1.reshape(500, -1), axis=1)
    assert peaks.mean() == pytest.approx(0.45, abs=0.08)  # an odd field: twice U(0, 0.5)
    assert np.abs(b0).max() < 82 * 2 + 4 * 10 + 106.5
    assert np.abs(b0).reshape(500, -1).max(axis=1).mean() > 50


def test_noise_has_the_correlation_that_it_states():
    keys = Keys(0, "test", np.arange(4000))
    grid = Grid((1, 40), (1e-3, 1e-3))
    noise = NoiseField(amplitude=3.0, width=Constant(value=5, unit="mm")).draw(keys, grid)[:, 0]
    apart = np.arange(0, 20, 4)
    found = np.array([(noise[:, 0] * noise[:, a]).mean() for a in apart])
    assert found == pytest.approx(9 * np.exp(-0.5 * (apart / 5) ** 2), abs=0.5)
    assert (noise**4).mean() / (noise**2).mean() ** 2 == pytest.approx(3, abs=0.2)


def test_a_bump_is_a_gaussian():
    one = BumpField(amplitude=2.0, width=Constant(value=20, unit="mm"), position=0.0)
    x, y = PLANE.coordinates()
    exact = 2 * np.exp(-0.5 * (x**2 + y**2) / 0.02**2)
    assert one.draw(KEYS, PLANE)[0] == pytest.approx(exact, abs=1e-6)


def test_a_sum_draws_from_streams_of_its_own():
    bump = BumpField(amplitude=1.0)
    both = SumOfFields(fields=[bump, bump]).draw(KEYS, PLANE)
    parts = [bump.draw(KEYS, PLANE, name=f"field.{n}") for n in (0, 1)]
    assert np.array_equal(both, parts[0] + parts[1])
    assert not np.array_equal(*parts)


def test_normalised():
    field = NoiseField().draw(KEYS, PLANE)
    low = np.linspace(0, 1, 40)
    out = normalised(field, low, 5.0).reshape(40, -1)
    assert out.min(axis=1) == pytest.approx(low, abs=1e-5)
    assert out.max(axis=1) == pytest.approx(np.full(40, 5.0), abs=1e-5)
    assert np.corrcoef(out[3], field[3].reshape(-1))[0, 1] == pytest.approx(1, abs=1e-5)
    assert (normalised(np.ones((2, 3, 3), np.float32), 0.5, 1.0) == 0.5).all()


def test_refusals():
    for make, message in (
        (lambda: PolynomialField(terms={}), "terms"),
        (lambda: SumOfFields(fields=[]), "fields"),
        (lambda: BumpField(amplitude="much"), "amplitude"),
        (lambda: NoiseField(width=0.0), "width"),
    ):
        with pytest.raises(ConfigError, match=message):
            make()
