"""The posterior mean against closed forms and integrals over a grid."""

from __future__ import annotations

import numpy as np
import pytest

from ipads_stream.baselines.posterior import (
    PosteriorMean,
    at_quantiles,
    gaussian,
    gaussian_of_any_amount,
    student,
)
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, LogUniform, Normal, Truncated, Uniform

TIMES = np.linspace(0.01, 0.3, 12)


def _method(distributions, forward, likelihood=gaussian, **given):
    scales = given.pop("scales", dict.fromkeys(distributions, "linear"))
    return PosteriorMean(
        distributions=distributions, forward=forward, likelihood=likelihood, measured="y",
        sigma="sigma", scales=scales, prior_points=20_000, **given,
    )  # fmt: skip


def test_a_normal_prior_and_a_linear_signal():
    """Mean (y.a / sigma^2) / (|a|^2 / sigma^2 + 1 / s^2) of x ~ N(0, s), y = a x + noise."""
    a, s = np.array([1.0, -0.5, 2.0]), 0.7
    method = _method({"x": Normal(mean=0.0, std=s)}, lambda p: p["x"][:, None] * a)
    y = np.random.default_rng(0).normal(size=(20, 3))
    for sigma in (0.02, 0.5, 3.0):
        found, effective = method.sampled({"y": y, "sigma": np.full(20, sigma)})
        precision = a @ a / sigma**2 + 1 / s**2
        exact = y @ a / sigma**2 / precision
        assert np.abs(found["x"] - exact).max() * np.sqrt(precision) < 0.15
        assert effective.min() > 50


@pytest.mark.parametrize("likelihood", [gaussian, gaussian_of_any_amount])
def test_two_unknowns_against_a_grid(likelihood):
    ends = {"A": (0.2, 1.0), "T2": (0.02, 0.2)}
    distributions = {
        "A": Uniform(low=0.2, high=1.0),
        "T2": LogUniform(low=0.02, high=0.2),
        "known": Constant(value=2.0),
    }

    def forward(p):
        first = p["A"][:, None] * np.exp(-TIMES / p["T2"][:, None])
        return first + (1 - p["A"][:, None]) * np.exp(-TIMES / 0.5) + 0 * p["known"][:, None]

    method = _method(distributions, forward, likelihood, scales={"A": "linear", "T2": "log"})
    rng = np.random.default_rng(1)
    u = rng.uniform(size=(4, 2))
    truth = at_quantiles(distributions, ("A", "T2"), u)
    sigma = np.full(4, 0.02)
    y = forward(truth) + 0.02 * rng.normal(size=(4, len(TIMES)))
    found = method({"y": y, "sigma": sigma})
    A = np.linspace(*ends["A"], 151)
    log_T2 = np.linspace(*np.log(ends["T2"]), 151)
    grid = {"A": np.repeat(A, 151), "T2": np.exp(np.tile(log_T2, 151)), "known": np.ones(151**2)}
    signals = forward(grid)
    for i in range(4):
        if likelihood is gaussian:
            log_p = -0.5 * np.sum((y[i] - signals) ** 2, axis=1) / 0.02**2
        else:  # the amount integrated by brute force, its logarithm uniform
            amounts = np.geomspace(0.6, 1.6, 150)
            square = np.sum(signals**2, axis=1)[:, None]
            residual = y[i] @ y[i] - 2 * amounts * (signals @ y[i])[:, None] + amounts**2 * square
            each = -0.5 * residual / 0.02**2
            top = each.max(axis=1)
            log_p = top + np.log(np.exp(each - top[:, None]).sum(axis=1))
        weights = np.exp(log_p - log_p.max())
        weights /= weights.sum()
        for name, x in (("A", grid["A"]), ("T2", np.log(grid["T2"]))):
            mean = weights @ x
            spread = np.sqrt(weights @ (x - mean) ** 2)
            value = np.log(found[name][i]) if name == "T2" else found[name][i]
            assert abs(value - mean) < 0.15 * spread


def test_parameters_that_depend_on_others_follow_them():
    distributions = {
        "b": Truncated(distribution=Uniform(low=0.0, high=2.0), above="a"),
        "a": Uniform(low=0.0, high=1.0),
    }
    drawn = at_quantiles(distributions, ("a", "b"), np.array([[0.5, 0.5], [0.1, 0.0]]))
    assert np.allclose(drawn["a"], [0.5, 0.1])
    assert np.allclose(drawn["b"], [1.25, 0.1])


def test_the_proposal_has_the_density_that_it_says():
    """The mean of 1 over the density, over a box, is the box's volume."""
    keys = Keys(0, "t", np.arange(2, dtype=np.uint64))
    covariance = np.array([[[1.0, 0.5], [0.5, 1.0]], [[0.2, 0.0], [0.0, 2.0]]])
    u, log_density = student(keys, np.zeros((2, 2)), covariance, 200_000)
    inside = np.abs(u).max(axis=-1) < 1
    assert np.allclose(np.mean(inside * np.exp(-log_density), axis=1), 4, rtol=0.02)


def test_the_answer_does_not_change_from_call_to_call():
    method = _method({"x": Uniform(low=0.0, high=1.0)}, lambda p: p["x"][:, None] * np.ones(2))
    inputs = {"y": np.array([[0.4, 0.5]]), "sigma": np.array([0.1])}
    assert np.array_equal(method(inputs)["x"], method(inputs)["x"])
