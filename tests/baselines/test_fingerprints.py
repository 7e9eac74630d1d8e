"""Matching, fitting and the posterior mean of fingerprints, against brute force."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.baselines.fingerprints.matching import Dictionary, normalized
from ipads_stream.baselines.fingerprints.methods import Estimator
from ipads_stream.baselines.fingerprints.posterior import rice_likelihood, student_likelihood
from ipads_stream.distributions import Constant, Uniform
from ipads_stream.evaluation.comparison import compare, generated


@pytest.fixture(scope="module")
def system():
    made = load_system("drone", ["schedule.num_frames=60"])
    return dataclasses.replace(made, snr=Constant(value=40.0))


@pytest.fixture(scope="module")
def estimator(system):
    return Estimator(system, atoms=3000)


def test_matching_finds_what_full_inner_products_find(system, estimator):
    signal = generated(system, samples=700, seed=1)[0]["signal"]
    dictionary = estimator.dictionary()
    assert 3000 <= len(dictionary) < 3600
    full = normalized(estimator.signals(**dictionary.tissue))
    products = signal @ full.T
    found = dictionary.match(signal)
    best = products.max(axis=1)
    # Of equals within rounding and what compression leaves out either may be found.
    assert np.all(best - products[np.arange(700), found] < 2e-6)
    assert np.mean(found == products.argmax(axis=1)) > 0.99


def test_an_atom_is_its_own_match(estimator):
    dictionary = estimator.dictionary()
    signals = estimator.signals(**dictionary.tissue)
    assert np.mean(dictionary.match(signals) == np.arange(len(dictionary))) > 0.99


def test_a_dictionary_has_no_T2_above_T1_and_covers_the_prior(estimator):
    tissue = estimator.dictionary().tissue
    assert (tissue["T2"] <= tissue["T1"]).all()
    assert tissue["T1"].min() == pytest.approx(0.1)
    assert tissue["T2"].max() == pytest.approx(0.5)
    assert set(tissue["B1"]) == {1.0}


def test_the_fit_ends_where_the_residual_is_least(system, estimator):
    inputs, _, _ = generated(system, samples=30, seed=2)
    y = normalized(inputs["signal"].astype(float))
    found = estimator.fitted(inputs["signal"])

    def residual(**changed):
        x = normalized(estimator.signals(**(found | changed)))
        return 1 - np.sum(x * y, axis=1) ** 2

    least = residual()
    for name in ("T1", "T2"):
        for factor in (0.995, 1.005):
            assert np.all(residual(**{name: found[name] * factor}) > least * (1 - 1e-9))


def brute_force(estimator, system, signal, points=320):
    """The posterior mean on one dense grid over the whole prior."""
    T1 = np.geomspace(0.1, 3.0, points)
    T2 = np.geomspace(0.02, 0.5, points)
    a, b = (x.ravel() for x in np.meshgrid(T1, T2, indexing="ij"))
    kept = b < a
    a, b = a[kept], b[kept]
    models = normalized(estimator.signals(T1=a, T2=b, B1=np.ones(len(a))))
    y = signal.astype(float)
    rho = models @ (y / np.linalg.norm(y))
    logs = -0.5 * (len(y) - 1) * np.log(1 - rho**2)
    # ln T1 is uniform; ln T2 given T1 is uniform below the smaller of T1 and 0.5 s.
    logs -= np.log(np.log(np.minimum(a, 0.5) / 0.02))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    return np.exp(weights @ np.log(a)), np.exp(weights @ np.log(b))


def test_the_posterior_mean_is_that_of_a_dense_grid(system, estimator):
    noisy = dataclasses.replace(system, snr=Constant(value=12.0))
    signal = generated(noisy, samples=5, seed=3)[0]["signal"]
    method = Estimator(noisy, atoms=3000)
    found = method.mean(signal)
    spread = method.spread(signal, method.fitted(signal))
    for i in range(5):
        T1, T2 = brute_force(method, noisy, signal[i])
        # The dense grid's own cut at T1 = T2 and at the ends of the prior is no better than this.
        assert abs(np.log(found["T1"][i] / T1)) < 0.03 * spread["T1"][i] + 1e-4
        assert abs(np.log(found["T2"][i] / T2)) < 0.03 * spread["T2"][i] + 1e-4


def test_students_likelihood_is_the_integral_over_amplitude_and_noise():
    random = np.random.Generator(np.random.Philox(4))
    x = random.normal(size=(1, 2, 8))
    y = x[:, 0] / np.linalg.norm(x[:, 0]) + 0.1 * random.normal(size=(1, 8))
    found = student_likelihood(y, x)[0]
    unit, data = normalized(x)[0], normalized(y)[0]
    a = np.linspace(-3, 5, 2001)[:, None]
    sigma = np.geomspace(0.005, 20, 1500)[None]
    integrals = []
    for model in unit:
        squares = ((data - a * model) ** 2).sum(axis=1)[:, None]
        density = sigma**-8.0 * np.exp(-squares / (2 * sigma**2)) / sigma
        integrals.append(np.trapezoid(np.trapezoid(density, sigma[0], axis=1), a[:, 0]))
    assert found[0] - found[1] == pytest.approx(np.log(integrals[0] / integrals[1]), abs=2e-3)


def test_rices_likelihood_is_largest_at_the_truth_where_gauss_is_biased():
    """Many frames without signal: a Gaussian likelihood takes their noise for signal."""
    random = np.random.Generator(np.random.Philox(5))
    time = np.linspace(0, 6, 300)
    rates = np.linspace(0.5, 1.5, 41)
    models = np.exp(-time[None] * rates[:, None])[None]
    noise = 0.1 * (random.normal(size=(50, 300)) + 1j * random.normal(size=(50, 300)))
    y = np.abs(np.exp(-time) + noise)
    rice = rates[np.concatenate([rice_likelihood(s[None], models) for s in y]).argmax(axis=1)]
    gauss = rates[np.concatenate([student_likelihood(s[None], models) for s in y]).argmax(axis=1)]
    assert abs(rice.mean() - 1) < 0.03
    assert gauss.mean() < 0.85


def test_all_methods_estimate_what_is_asked_for(system):
    unknown = dataclasses.replace(
        system, B1=Uniform(low=0.9, high=1.1), estimated=["T1", "T2", "B1"]
    )
    methods = Estimator(unknown, atoms=4000)
    inputs, targets, params = generated(unknown, samples=6, seed=1)
    bound = unknown.bound(params)
    found = methods.mean(inputs["signal"])
    for name in ("T1", "T2", "B1"):
        assert np.all(np.abs(found[name] - targets[name]) < 5 * bound[name])
    assert set(classical_methods(system)) == {"dictionary", "dictionary and fit", "posterior mean"}


@pytest.mark.slow
def test_nothing_beats_the_posterior_mean(system):
    made = compare(system, classical_methods(system), samples=800, seed=0)
    error = {method: {name: np.sqrt(np.mean(np.log(values[name] / made.truths[name]) ** 2))
                      for name in ("T1", "T2")}
             for method, values in made.estimates.items()}  # fmt: skip
    for name in ("T1", "T2"):
        assert error["posterior mean"][name] <= 1.005 * min(e[name] for e in error.values())
        bound = np.sqrt(np.mean((made.bounds[name] / made.truths[name]) ** 2))
        assert error["posterior mean"][name] == pytest.approx(bound, rel=0.1)


def test_a_dictionary_may_live_in_another_library(estimator):
    same = estimator.dictionary().on(np)
    assert isinstance(same, Dictionary)
    signal = estimator.signals(T1=np.array([0.8]), T2=np.array([0.08]), B1=np.ones(1))
    assert same.match(signal) == estimator.dictionary().match(signal)
