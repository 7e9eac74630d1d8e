"""What every distribution must do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ipads_stream.config import instantiate
from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.units import UNITS, factor
from ipads_stream.distributions import (
    Beta,
    Choice,
    Constant,
    DiscreteUniform,
    Emphasized,
    Empirical,
    LogUniform,
    Mixture,
    Normal,
    Parameter,
    Truncated,
    Uniform,
    as_distribution,
    as_parameters,
)

NUM = 20_000
CASES = {
    "uniform": (Uniform(low=-2, high=3), stats.uniform(-2, 5)),
    "uniform_ms": (Uniform(low=20, high=700, unit="ms"), stats.uniform(0.02, 0.68)),
    "log_uniform": (LogUniform(low=1, high=1000, unit="Hz"), stats.loguniform(1, 1000)),
    "normal": (Normal(mean=2, std=0.5), stats.norm(2, 0.5)),
    "normal_bounded": (
        Normal(mean=1, std=2, low=0, high=2.5),
        stats.truncnorm(-0.5, 0.75, loc=1, scale=2),
    ),
    "normal_tail": (Normal(mean=0, std=1, low=6, high=8), stats.truncnorm(6, 8)),
    "beta": (Beta(a=2, b=5, low=1, high=3), stats.beta(2, 5, loc=1, scale=2)),
    "discrete": (DiscreteUniform(low=1, high=10), stats.randint(1, 11)),
    "choice": (Choice(values=[1, 2, 4]), stats.rv_discrete(values=([1, 2, 4], [1 / 3] * 3))),
    "choice_weighted": (
        Choice(values=[0, 1, 5], weights=[1, 0, 3]),
        stats.rv_discrete(values=([0, 1, 5], [0.25, 0, 0.75])),
    ),
}


def draws(distribution, seed=0, num=NUM, shape=()):
    keys = Keys(seed, "train", np.arange(num, dtype=np.uint64))
    return distribution.draw(keys["x"], shape, np.arange(num, dtype=np.float64))


@pytest.mark.parametrize("name", CASES)
def test_draws_follow_the_distribution(name):
    distribution, oracle = CASES[name]
    x = draws(distribution)
    assert x.shape == (NUM,)
    assert x.dtype == np.float64
    if isinstance(distribution, (Choice, DiscreteUniform)):
        values, counts = np.unique(x, return_counts=True)
        expected = oracle.pmf(np.rint(values)) * NUM
        assert stats.chisquare(counts, expected).pvalue > 0.001
    else:
        assert stats.kstest(x, oracle.cdf).pvalue > 0.001


@pytest.mark.parametrize("name", CASES)
def test_draws_stay_in_the_support_and_reach_it(name):
    distribution, _ = CASES[name]
    low, high = distribution.support
    x = draws(distribution)
    assert np.all(x >= low)
    assert np.all(x <= high)
    edges = distribution.quantile(np.array([2.0**-33, 1 - 2.0**-33]))
    assert np.all(edges >= low)
    assert np.all(edges <= high)
    if np.isfinite(low):
        assert edges[0] <= low + 0.01 * (high - low)


@pytest.mark.parametrize("name", CASES)
def test_a_sample_keeps_its_draw_in_any_batch(name):
    distribution, _ = CASES[name]
    alone = distribution.draw(Keys(0, "train", np.array([777], dtype=np.uint64))["x"], (3,))
    assert np.array_equal(draws(distribution, num=1000, shape=(3,))[777], alone[0])


@pytest.mark.parametrize("name", CASES)
def test_yaml_round_trip(name):
    distribution, _ = CASES[name]
    assert instantiate(describe(distribution), "x") == distribution


@given(u=st.lists(st.floats(2.0**-33, 1 - 2.0**-33), min_size=2, max_size=50))
def test_quantiles_rise(u):
    u = np.sort(np.array(u))
    for distribution, _ in CASES.values():
        assert np.all(np.diff(distribution.quantile(u)) >= 0)


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit])
def test_units_are_converted_once(unit):
    distribution = Uniform(low=1, high=2, unit=unit)
    assert distribution.support == (factor(unit), 2 * factor(unit))
    assert draws(distribution, num=10).min() >= factor(unit)


def test_constant():
    assert np.array_equal(draws(Constant(value=3, unit="ms"), num=4), [3e-3] * 4)


BAD = [
    (lambda: Uniform(low=2, high=1), "low"),
    (lambda: Uniform(low=1, high=1), "low"),
    (lambda: Uniform(low="a", high=1), "low"),
    (lambda: Uniform(low=float("nan"), high=1), "low"),
    (lambda: Uniform(low=0, high=float("inf")), "high"),
    (lambda: Uniform(low=0, high=True), "high"),
    (lambda: Uniform(low=0, high=1, unit="furlong"), "unit"),
    (lambda: LogUniform(low=0, high=1), "low"),
    (lambda: LogUniform(low=-1, high=1), "low"),
    (lambda: Normal(mean=0, std=0), "std"),
    (lambda: Normal(mean=0, std=1, low=2, high=1), "low"),
    (lambda: Normal(mean=0, std=1, low=40, high=41), "low"),
    (lambda: Beta(a=0, b=1), "a"),
    (lambda: Beta(a=1, b=1, low=1, high=0), "low"),
    (lambda: Choice(values=[]), "values"),
    (lambda: Choice(values=[1, "x"]), "values[1]"),
    (lambda: Choice(values=[1, 2], weights=[1]), "weights"),
    (lambda: Choice(values=[1, 2], weights=[0, 0]), "weights"),
    (lambda: Choice(values=[1, 2], weights=[-1, 2]), "weights"),
    (lambda: DiscreteUniform(low=1.5, high=3), "low"),
    (lambda: DiscreteUniform(low=4, high=3), "low"),
    (lambda: Constant(value=None), "value"),
    (lambda: Uniform(low=-1e308, high=1e308), "low"),
    (lambda: Normal(mean=0, std=1e200), "std"),
    (lambda: Choice(values=[1, 2], weights=[1e308, 1e308]), "weights[0]"),
    (lambda: LogUniform(low=1e-300, high=1e3), "low"),
    (lambda: Empirical(path="values.npy", bins=10**9), "bins"),
    (lambda: Mixture(components=[1, float("inf")]), "components[1]"),
    # No draw reaches a region at the very end of a continuous distribution.
    (
        lambda: Emphasized(
            distribution=Uniform(low=0, high=1), edges=[0.5, 1], shares=[0.2, 0.2, 0.2]
        ),
        "shares[2]",
    ),
]


@pytest.mark.parametrize(("build", "key"), BAD)
def test_bad_values_name_the_key(build, key):
    with pytest.raises(ConfigError) as error:
        build()
    assert error.value.key == key


def test_a_parameter_must_fit_its_quantity():
    with pytest.raises(ConfigError, match=r"decay\.unit='Hz'.*'ms'"):
        as_distribution("decay", Uniform(low=1, high=2, unit="Hz"), within=(0, 10), quantity="time")
    with pytest.raises(ConfigError, match=r"rate=.*support within \[0, 1\]"):
        as_distribution("rate", 1.5, within=(0, 1))
    with pytest.raises(ConfigError, match="whole numbers"):
        as_distribution("num_peaks", Uniform(low=1, high=2), within=(1, 9), integer=True)
    with pytest.raises(ConfigError, match="a number or a distribution"):
        as_distribution("rate", "fast", within=(0, 1))
    with pytest.raises(ConfigError, match="rate=nan: a finite number"):
        as_distribution("rate", float("nan"), within=(0, 1))
    assert as_distribution("rate", 0.25, within=(0, 1)) == Constant(value=0.25)


def test_a_bound_must_be_of_the_same_quantity():
    rules = {"T2": Parameter(quantity="time"), "flip": Parameter(quantity="angle")}
    T2 = Truncated(distribution=Uniform(low=1, high=9, unit="ms"), below="flip")
    with pytest.raises(ConfigError, match=r"T2\.below='flip': .* time; this one is angle"):
        as_parameters({"T2": T2, "flip": Uniform(low=1, high=2)}, rules)
    rules["flip"] = Parameter(quantity="time")
    assert as_parameters({"T2": T2, "flip": Uniform(low=1, high=2)}, rules)["T2"] == T2
