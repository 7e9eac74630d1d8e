"""A posterior by importance samples and by a grid: they agree, whatever proposed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import ndtri

from ipads_stream import load_system
from ipads_stream.baselines.grid import grid_posterior
from ipads_stream.baselines.importance import Corrected, Target, normalised
from ipads_stream.baselines.relaxation import log_linear_fit, maximum_likelihood, posterior_mean
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Mixture, Uniform

COUNT = 60


@pytest.fixture(scope="module")
def case():
    """A system, samples, and mean and root of the exact posterior's scores."""
    system = load_system("t2_map")
    keys = Keys(0, "importance", np.arange(COUNT, dtype=np.uint64))
    sample = system.render(system.draw(keys, np.zeros(COUNT)), keys, np)
    z, logs = Target(system).grid(sample.inputs)
    weights, _, evidence = normalised(logs)
    mean = np.einsum("vn,vnp->vp", weights, z)
    away = z - mean[:, None]
    root = np.linalg.cholesky(np.einsum("vn,vnp,vnq->vpq", weights, away, away))
    return system, sample, mean, root, evidence


def test_a_grid_has_mean_and_integral_of_a_normal_density():
    centre, size = np.array([0.3, -1.2]), np.array([0.002, 0.4])
    constant = np.log(2 * np.pi * size.prod())

    def target(z, rows):
        return -0.5 * (((z - centre) / size) ** 2).sum(-1) - constant

    z, logs = grid_posterior(target, 3, 2)
    weights, _, integral = normalised(logs)
    mean = np.einsum("vn,vnp->vp", weights, z)
    assert integral == pytest.approx(np.zeros(3), abs=1e-3)
    assert mean == pytest.approx(np.broadcast_to(centre, (3, 2)), abs=1e-4)
    with pytest.raises(ValueError, match="1 to 3"):
        grid_posterior(target, 1, 4)


def test_importance_samples_are_the_grid(case):
    system, sample, mean, root, evidence = case
    corrected = Corrected(system=system, proposal=lambda inputs: (mean, root), points=1024)
    ((_, part),) = corrected.parts(sample.inputs)
    exact = posterior_mean(system)(sample.inputs)
    assert np.median(part.effective) > 0.6 * 1024
    for name, values in part.estimates.items():
        error = np.log(values / exact[name]) / (part.deviations[name] / values)
        assert np.sqrt(np.mean(error**2)) < 0.1  # of a standard deviation
    assert part.evidence == pytest.approx(evidence, abs=0.2)
    low, high = part.quantile(0.05)["T2"], part.quantile(0.95)["T2"]
    assert np.all(low < part.estimates["T2"]) and np.all(part.estimates["T2"] < high)
    width = (high - low) / part.deviations["T2"]
    assert np.median(width) == pytest.approx(2 * 1.645, rel=0.1)


def test_a_wrong_proposal_is_made_right_and_says_so(case):
    system, sample, mean, root, _ = case
    for shift, stages in ((1, {0}), (60, {2})):
        wrong = mean + shift * root[:, :, 0]
        corrected = Corrected(system=system, proposal=lambda inputs, m=wrong: (m, root))
        ((_, part),) = corrected.parts(sample.inputs)
        assert stages <= set(part.how.tolist())
        exact = posterior_mean(system)(sample.inputs)["T2"]
        error = np.log(part.estimates["T2"] / exact) / (part.deviations["T2"] / exact)
        assert np.sqrt(np.mean(error**2)) < 0.8, shift


def test_points_belong_to_the_voxel(case):
    system, sample, mean, root, _ = case
    corrected = Corrected(system=system, proposal=lambda inputs: (mean, root))
    numbers = np.arange(COUNT, dtype=np.uint64)
    whole = corrected.posterior(sample.inputs, mean, root, numbers)
    rows = [7, 3]
    here = {name: x[rows] for name, x in sample.inputs.items()}
    part = corrected.posterior(here, mean[rows], root[rows], numbers[rows])
    assert np.array_equal(part.scores, whole.scores[rows])
    np.testing.assert_allclose(part.weights, whole.weights[rows], rtol=1e-4, atol=1e-6)


def test_the_prior_is_the_distribution_that_is_drawn(case):
    system, sample, *_ = case
    uneven = Mixture(components=[Uniform(low=0.02, high=0.1), Uniform(low=0.02, high=0.7)],
                     weights=[3, 1])  # fmt: skip
    other = dataclasses.replace(system, T2=uneven)
    u = (np.arange(200) + 0.5) / 200
    z = np.stack([ndtri(u), np.zeros(200)], -1)[None]
    here = {name: x[:1] for name, x in sample.inputs.items()}
    difference = (Target(other)(here, z) - Target(system)(here, z))[0]
    T2 = 0.02 * 35**u
    density = 0.75 / 0.08 * (T2 < 0.1) + 0.25 / 0.68  # in T2
    expected = np.log(density * T2 * np.log(35))
    np.testing.assert_allclose(difference, expected, atol=0.02)


def test_methods_are_as_near_as_they_can(case):
    system, count, errors = case[0], 400, {}
    keys = Keys(1, "methods", np.arange(count, dtype=np.uint64))
    sample = system.render(system.draw(keys, np.zeros(count)), keys, np)
    for make in (log_linear_fit, maximum_likelihood, posterior_mean):
        found = make(system)(sample.inputs)
        assert found.keys() == system.quantities.keys()
        errors[make.__name__] = np.sqrt(np.mean(np.log(found["T2"] / sample.targets["T2"]) ** 2))
    assert errors["posterior_mean"] < errors["log_linear_fit"]
    assert 0.95 * errors["posterior_mean"] < errors["maximum_likelihood"]
    assert errors["maximum_likelihood"] < 1.5 * errors["posterior_mean"]
