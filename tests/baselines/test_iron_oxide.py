"""Iron by dipole inversion of the phase."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.baselines import classical_methods, dipole_inversion, iron_oxide
from ipads_stream.baselines.dipole_inversion import AXES, DipoleGrid
from ipads_stream.core.random import Keys
from ipads_stream.phantoms import RandomShapes

KEYS = Keys(1, "test", np.arange(2, dtype=np.uint64))
SHAPE = (16, 16, 16)
BALL = RandomShapes(number=1, size=0.12, aspect=1, position=0.1, kinds={"ellipse": 1})
WEAK = ["shape=[16,16,16]", "snr=1000", "contrast=0", "concentration=0.5", "relaxivity=0"]


def sample(words=WEAK, **parts):
    system = dataclasses.replace(load_system("deepspio", words), spots=BALL, **parts)
    return system, system.render(system.draw(KEYS, np.zeros(2)), KEYS, np)


def test_the_plane_of_the_phase_is_found_whatever_its_slope_and_a_source():
    _, found = sample()
    image, mask = found.inputs["image"][0], found.inputs["mask"][0]
    axes = np.meshgrid(*[(np.arange(16) - 8) / 16] * 3, indexing="ij")
    before = iron_oxide.background(image, mask)
    for slopes in ((0.3, -0.2, 0.1), (14.0, -9.0, 5.0)):
        plane = 1.0 + sum(s * x for s, x in zip(slopes, axes, strict=True))
        after = iron_oxide.background(image * np.exp(1j * plane), mask)
        change = np.angle(np.exp(1j * (after - before - plane)))
        assert abs(change[mask]).max() < 0.02


def test_a_plane_alone_is_found_exactly():
    axes = np.meshgrid(*[(np.arange(n) - n // 2) / n for n in (12, 10, 8)], indexing="ij")
    plane = -2.0 + 3.0 * axes[0] - 4.0 * axes[1] + 0.5 * axes[2]
    found = iron_oxide.background(np.exp(1j * plane), np.ones(plane.shape, bool))
    assert np.allclose(np.exp(1j * found), np.exp(1j * plane), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "setting", "nrmse", "total"),  # what is linear does not know the mean
    [
        (iron_oxide.tuned_division, 0.1, 0.6, None),
        (iron_oxide.tuned_tikhonov, 1e-3, 0.6, None),
        (iron_oxide.tuned_nonlinear, 3e-2, 0.35, 0.2),
    ],
)
def test_a_weak_ball_is_found(make, setting, nrmse, total):
    system, found = sample()
    truth = found.targets["concentration"]
    maps = make(system).invert(found.inputs, setting)
    assert maps.shape == truth.shape
    error = np.sqrt(((maps - truth) ** 2).sum(AXES) / (truth**2).sum(AXES))
    assert error.max() < nrmse
    if total is not None:
        amounts = [iron_oxide.total_iron(x, found.inputs["mask"], system.spacing)
                   for x in (maps, truth)]  # fmt: skip
        assert abs(amounts[0] / amounts[1] - 1).max() < total


def test_the_non_linear_fit_needs_no_unwrapping():
    # On data of its own model: the phase of a field that wraps several times.
    system, found = sample()
    truth, mask = 8 * found.targets["concentration"], found.inputs["mask"]
    grid = DipoleGrid(SHAPE, tuple(system.spacing), tuple(system.B0_direction))
    turns = system.hertz * system.TE
    phase = 2 * np.pi * turns * grid.convolved(truth, grid.kernel)
    assert abs(phase).max() > 1.2 * np.pi
    flat = np.exp(-1j * phase)
    weight = mask.astype(np.float32)
    start = (0.6 * truth).astype(np.float32)
    fitted = iron_oxide.nonlinear(iron_oxide.Echo(flat, weight, mask, grid, turns), 1e-4, start)
    assert np.linalg.norm(fitted - truth) < 0.1 * np.linalg.norm(truth)


def test_tikhonov_solves_its_equation():
    system, found = sample()
    grid = DipoleGrid(SHAPE, tuple(system.spacing), tuple(system.B0_direction))
    truth, mask = found.targets["concentration"], found.inputs["mask"]
    field = grid.convolved(truth, grid.kernel)
    weight = np.where(truth > 0, 0.0, 1.0).astype(np.float32) * mask
    field = np.where(weight > 0, field, 99.0)  # what has no weight does not matter
    maps = dipole_inversion.tikhonov(
        field, mask, grid, weight=1e-5, confidence=weight, iterations=30
    )
    same = dipole_inversion.tikhonov(
        weight * field, mask, grid, weight=1e-5, confidence=weight, iterations=30
    )
    assert np.array_equal(maps, same)
    assert np.linalg.norm(maps - truth) < 0.8 * np.linalg.norm(truth)
    wrong = weight * (grid.convolved(maps, grid.kernel) - field)
    assert np.linalg.norm(wrong) < 0.02 * np.linalg.norm(weight * field)


def test_total_iron_is_an_amount():
    maps = np.full((2, 4, 4, 4), 3.0, np.float32)
    mask = np.zeros(maps.shape, bool)
    mask[:, :2] = True
    found = iron_oxide.total_iron(maps, mask, (1e-3, 2e-3, 3e-3))
    assert np.allclose(found, 3.0 * 32 * 6e-9)


def test_methods_are_tuned_on_volumes_of_their_own(monkeypatch):
    system, found = sample()
    monkeypatch.setattr(iron_oxide, "HELD_OUT", Keys(0, "tuning", np.arange(1, dtype=np.uint64)))
    methods = classical_methods(system)
    assert set(methods) == {"TKD", "Tikhonov", "non-linear fit"}
    for name in ("TKD", "Tikhonov"):
        assert methods[name].setting in methods[name].settings
    method = methods["TKD"]
    maps = method(found.inputs)["concentration"]
    assert np.array_equal(maps, method.invert(found.inputs, method.setting))
