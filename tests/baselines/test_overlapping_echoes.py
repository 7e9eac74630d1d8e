"""Echoes separated by windows and fitted: exact where they do not overlap."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.baselines import overlapping_echoes as classical
from ipads_stream.distributions import Constant
from ipads_stream.evaluation.comparison import compare
from ipads_stream.report.figures import NETWORK

TE = np.array([0.11, 0.082, 0.052, 0.022])
PLACES = np.array([[1 / 6, 3 / 8], [-1 / 6, 1 / 8], [1 / 6, -1 / 8], [-1 / 6, -3 / 8]])
LIMITS = (0.02, 0.7)


@pytest.fixture(scope="module")
def system():
    return load_system("oled")


def test_the_fit_of_an_exact_decay_is_exact():
    T2 = np.geomspace(0.021, 0.69, 20)
    S0 = np.linspace(0.1, 3, 20)
    decays = S0[:, None] * np.exp(-TE / T2[:, None])
    assert classical.log_fit(decays, TE, LIMITS) == pytest.approx(T2, rel=1e-4)


def test_it_weighs_echoes_by_the_square_of_their_size():
    """Where noise is small, the spread is that of the best linear estimate from log S."""
    rng = np.random.default_rng(0)
    clean, sigma = np.exp(-TE / 0.06), 1e-3
    found = classical.log_fit(clean + sigma * rng.normal(size=(20_000, 4)), TE, LIMITS)
    design = np.stack([np.ones(4), -TE], axis=1)
    covariance = np.linalg.inv(design.T @ (design * (clean / sigma)[:, None] ** 2))
    assert np.std(1 / found) == pytest.approx(np.sqrt(covariance[1, 1]), rel=0.03)


def test_what_does_not_decay_gets_the_upper_limit():
    growing, empty = np.exp(TE / 0.1)[None], np.zeros((1, 4))
    assert classical.log_fit(growing, TE, LIMITS) == pytest.approx(LIMITS[1])
    assert np.isfinite(classical.log_fit(empty, TE, LIMITS)).all()


def test_windows_separate_smooth_echoes():
    """Four Gaussians, each on its carrier: what comes out is each alone."""
    n = 64
    r = (np.arange(n) - n // 2) / n
    smooth = np.exp(-(r[:, None] ** 2 + r**2) / (2 * 0.15**2))
    sizes = np.array([0.3, 0.5, 0.7, 1.0])
    carriers = np.exp(2j * np.pi * n * (PLACES[:, :1, None] * r[:, None] + PLACES[:, 1:, None] * r))
    image = (sizes[:, None, None] * smooth * carriers).sum(axis=0)[None]
    found = classical.separated(image, PLACES)[0]
    assert found == pytest.approx(np.moveaxis(sizes[:, None, None] * smooth, 0, -1), abs=0.03)


def test_a_window_goes_round_the_edge_of_k_space():
    spike = np.zeros((1, 32, 32), complex)
    spike[0, 0, 0] = 1  # all of k-space alike: a window's sum, wherever it lies
    sums = classical.separated(spike, np.array([[0.0, 0.0], [0.5, 0.5], [0.0, -0.5]]))[0, 0, 0]
    assert sums == pytest.approx(sums[0], rel=1e-5)


def test_uniform_tissue_is_found_within_a_few_percent(system):
    """A disc without B0 and B1, of T2 that the amplitudes were not taken from."""
    n, m = system.grid.shape[0], system.matrix
    c = (np.arange(n) - n // 2) / n
    PD = (np.hypot(c[:, None], c) < 0.4)[None].astype(np.float32)
    fit = classical.windowed_log_fit(system)
    for T2 in (0.05, 0.08, 0.2):
        of = {"PD": PD, "T2": np.full_like(PD, T2), "T1": np.full_like(PD, 1.2),
              "df": np.zeros_like(PD), "B1": np.ones_like(PD)}  # fmt: skip
        image = system.forward(of)
        inputs = {"image": np.stack([image.real, image.imag], axis=1)}
        middle = fit(inputs)["T2"][0, m // 2 - 8 : m // 2 + 8, m // 2 - 8 : m // 2 + 8]
        assert np.median(middle) == pytest.approx(T2, rel=0.08)


def test_it_beats_a_constant_on_templates(system):
    plain = dataclasses.replace(system, B0=None, B1=None, noise=Constant(value=0.01))

    def constant(inputs):
        return {"T2": np.full(inputs["image"].shape[::2][:1] + inputs["image"].shape[2:], 0.1183)}

    methods = classical_methods(plain) | {NETWORK: constant}
    made = compare(plain, methods, samples=4, seed=1)
    inside = made.mask
    errors = {name: np.abs(np.log(of["T2"] / made.truths["T2"]))[inside].mean()
              for name, of in made.estimates.items()}  # fmt: skip
    assert errors["windowed log-fit"] < 0.6 * errors[NETWORK]
