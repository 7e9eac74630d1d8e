"""Dipole inversions: closed cases, optimality, and a simulated volume."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ipads_stream import Stream, load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.baselines.dipole_inversion import (
    DipoleGrid,
    conjugate_gradients,
    tikhonov,
    total_variation,
    truncated_division,
    tuned_division,
    tuned_tikhonov,
)
from ipads_stream.distributions import Constant
from ipads_stream.physics.fields import dipole

SPACING, ALONG = (1e-3, 1.2e-3, 0.8e-3), (0.2, 0.1, 1.0)
SHAPE = (12, 10, 11)


@pytest.fixture(scope="module")
def grid():
    return DipoleGrid(SHAPE, SPACING, ALONG)


@pytest.fixture(scope="module")
def case():
    """Two boxes in an object, without noise: chi, field, mask."""
    chi = np.zeros((2, *SHAPE), np.float32)
    chi[0, 3:6, 3:7, 3:6] = 0.3
    chi[0, 7:9, 4:8, 5:9] = -0.2
    chi[1, 4:8, 2:5, 4:9] = 0.1
    mask = np.zeros(chi.shape, dtype=bool)
    mask[:, 2:10, 2:9, 2:10] = True
    return chi, dipole.field(chi, SPACING, ALONG), mask


def nrmse(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_division_without_truncation_inverts_a_field_known_everywhere(grid):
    """Where |D| > t: a field that holds no other wave numbers gives its sources back."""
    threshold, rng = 0.1, np.random.default_rng(0)
    spectrum = grid.spectrum(rng.normal(size=(1, *grid.padded))) * (abs(grid.kernel) > threshold)
    whole = DipoleGrid(SHAPE, SPACING, ALONG)
    whole.shape = grid.padded  # nothing is cut off
    sources = whole.space(spectrum)
    field = whole.space(spectrum * grid.kernel)
    everywhere = np.ones(field.shape, dtype=bool)
    found = truncated_division(field, everywhere, whole, threshold=threshold, corrected=False)
    assert nrmse(found, sources) < 1e-4


def test_the_correction_gives_a_point_its_height(grid):
    point = np.zeros((1, *SHAPE), np.float32)
    point[0, 6, 5, 5] = 1
    whole = DipoleGrid(SHAPE, SPACING, ALONG)
    field = whole.space(whole.spectrum(point) * whole.kernel)
    whole.shape = whole.padded
    mask = np.ones(field.shape, dtype=bool)
    heights = {
        corrected: truncated_division(field, mask, whole, threshold=0.2, corrected=corrected)
        for corrected in (True, False)
    }
    assert heights[True][0, 6, 5, 5] == pytest.approx(1, abs=1e-3)
    assert 0.5 < heights[False][0, 6, 5, 5] < 0.97


def test_tikhonov_solves_the_normal_equations(grid, case):
    _, field, mask = case
    weight = 0.01
    found = tikhonov(field, mask, grid, weight=weight, iterations=60)
    inside = mask.astype(np.float32)
    missing = inside * (field - dipole.field(found, SPACING, ALONG))
    smooth = sum(abs(d) ** 2 for d in grid.differences)
    left = dipole.field(missing, SPACING, ALONG) - weight * grid.convolved(found, smooth)
    first = dipole.field(inside * field, SPACING, ALONG) * inside
    assert np.linalg.norm(left * inside) < 1e-3 * np.linalg.norm(first)
    assert not found[~mask].any()


def test_conjugate_gradients_solve_a_matrix():
    rng = np.random.default_rng(1)
    A = rng.normal(size=(8, 8))
    A = A @ A.T + np.eye(8)
    right = rng.normal(size=(3, 2, 2, 2))

    def times(x):
        return (x.reshape(3, 8) @ A).reshape(x.shape)

    found = conjugate_gradients(times, right, 12, lambda r: r)
    assert np.allclose(found.reshape(3, 8), np.linalg.solve(A, right.reshape(3, 8).T).T)


def test_total_variation_recovers_boxes_and_reaches_the_optimum(grid, case):
    chi, field, mask = case
    found = total_variation(field, mask, grid, weight=1e-5, iterations=150)
    assert nrmse(found, chi) < 0.05

    def cost(x, weight):
        padded = np.zeros((len(x), *grid.padded))
        grid.cut(padded)[...] = x
        spectrum = grid.spectrum(padded)
        slopes = sum(abs(grid.space(d * spectrum)).sum() for d in grid.differences)
        missing = (field - dipole.field(x, SPACING, ALONG)) * mask
        return 0.5 * (missing**2).sum() + weight * slopes

    strong = total_variation(field, mask, grid, weight=1e-3, iterations=300)
    other = total_variation(field, mask, grid, weight=1e-3, iterations=300, coupling=1.0)
    assert nrmse(strong, other) < 0.03  # the optimum does not know the penalty
    best = cost(strong, 1e-3)
    rng = np.random.default_rng(2)
    for x in (chi, 0.9 * strong, strong + 0.01 * rng.normal(size=chi.shape) * mask):
        assert cost(x, 1e-3) > best


def test_scaling_the_field_and_the_weight_scales_the_map(grid, case):
    _, field, mask = case
    once = total_variation(field, mask, grid, weight=1e-4, iterations=20)
    assert np.allclose(
        total_variation(10 * field, mask, grid, weight=1e-3, iterations=20), 10 * once, atol=1e-3
    )


class TestTuning:
    system = dataclasses.replace(
        load_system("qsmnet", ["shape=[16,16,16]"]), noise=Constant(value=0.002)
    )

    def test_the_setting_is_the_best_of_those_tried(self):
        division = tuned_division(self.system)
        assert division.setting in division.settings
        quiet = dataclasses.replace(self.system, noise=Constant(value=1e-5))
        loud = dataclasses.replace(self.system, noise=Constant(value=0.05))
        assert tuned_tikhonov(quiet).setting < tuned_tikhonov(loud).setting

    @pytest.mark.slow
    def test_methods_order_as_they_should(self):
        sample = Stream(self.system, device="cpu", split="test").sample(range(4))
        inputs = {name: tensor.numpy() for name, tensor in sample.inputs.items()}
        chi = sample.targets["chi_ppm"].numpy()
        errors = {
            name: nrmse(method(inputs)["chi_ppm"], chi)
            for name, method in classical_methods(self.system).items()
        }
        assert errors["total variation"] < errors["Tikhonov"] < errors["TKD"] < 1
