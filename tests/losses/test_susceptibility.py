"""The loss of QSMnet: its three terms against direct sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.losses.susceptibility import Susceptibility, slopes
from ipads_stream.physics.fields import dipole

SPACING = (1e-3, 1e-3, 2e-3)


def sample(seed=0, shape=(2, 6, 5, 4)):
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, dtype=bool)
    mask[:, 1:, :-1, :] = True
    chi = (rng.normal(0, 0.1, shape) * mask).astype(np.float32)
    targets = {"chi_ppm": torch.from_numpy(chi), "mask": torch.from_numpy(mask)}
    return Sample(inputs={}, targets=targets, params={}), rng.normal(0, 0.1, shape)


def test_the_terms_are_the_means_that_they_are_said_to_be():
    given, found = sample()
    target, mask = (given.targets[name].numpy() for name in ("chi_ppm", "mask"))
    loss = Susceptibility(spacing=SPACING, B0_direction=(1, 0, 1), scale="none")
    terms = loss({"chi_ppm": torch.from_numpy(found).float()}, given)
    assert list(terms) == ["model", "gradient", "chi_ppm"]  # the last one is what is validated
    error = found - target
    implied = dipole.field(found, SPACING, (1, 0, 1)) - dipole.field(
        target.astype(float), SPACING, (1, 0, 1)
    )
    for row in range(2):
        expected = abs(error[row])[mask[row]].mean()
        assert terms["chi_ppm"][row] == pytest.approx(expected, rel=1e-5)
        expected = 0.5 * abs(implied[row])[mask[row]].mean()
        assert terms["model"][row] == pytest.approx(expected, rel=1e-5)


def test_the_gradient_term_sums_over_neighbours():
    given, found = sample()
    mask = given.targets["mask"]
    expected = 0.0
    inside = [tuple(place) for place in np.argwhere(mask[0].numpy())]
    for n, a in enumerate(inside):
        for b in inside[n + 1 :]:
            step = np.subtract(a, b)
            if abs(step).max() == 1:
                expected += abs(found[0][a] - found[0][b]) / np.linalg.norm(step)
    got = slopes(torch.from_numpy(found), mask)[0]
    assert got == pytest.approx(expected / len(inside), rel=1e-9)
    flat = slopes(torch.full((1, 4, 4, 4), 3.0), None)
    assert flat == 0


def test_terms_are_relative_to_the_sample():
    given, found = sample()
    predictions = {"chi_ppm": torch.from_numpy(found).float()}
    once = Susceptibility(spacing=SPACING)(predictions, given)
    strong = Sample(
        inputs={}, params={},
        targets=given.targets | {"chi_ppm": 10 * given.targets["chi_ppm"]},
    )  # fmt: skip
    again = Susceptibility(spacing=SPACING)({"chi_ppm": 10 * predictions["chi_ppm"]}, strong)
    for name, term in once.items():
        assert torch.allclose(term, again[name], rtol=1e-4), name


def test_a_perfect_map_costs_nothing_and_parts_can_be_left_out():
    given, _ = sample()
    loss = Susceptibility(spacing=SPACING, model=0, gradient=0)
    terms = loss({"chi_ppm": given.targets["chi_ppm"]}, given)
    assert list(terms) == ["chi_ppm"]
    assert not terms["chi_ppm"].any()


def test_senseless_arguments_are_refused():
    with pytest.raises(ConfigError, match="model=-1"):
        Susceptibility(spacing=SPACING, model=-1)
    with pytest.raises(ConfigError, match="scale='rms'"):
        Susceptibility(spacing=SPACING, scale="rms")
