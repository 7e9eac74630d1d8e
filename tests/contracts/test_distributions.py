"""What every distribution must do, alone or made of others, drawn with the rest of a system."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ipads_stream.config import instantiate
from ipads_stream.core.description import describe
from ipads_stream.distributions import (
    Adaptive,
    Beta,
    Choice,
    Conditional,
    Constant,
    Correlated,
    CosineSchedule,
    Curriculum,
    DiscreteUniform,
    Distribution,
    Emphasized,
    Empirical,
    Histogram,
    LinearSchedule,
    LogUniform,
    Mixture,
    Normal,
    PiecewiseSchedule,
    Proportional,
    StepSchedule,
    Truncated,
    Uniform,
    Widened,
)
from ipads_stream.testing import check_distribution

OTHERS = {
    "before": Beta(a=2, b=3, low=1, high=2),
    "parent": Uniform(low=100, high=900, unit="ms"),
    "after": LogUniform(low=1, high=50, unit="Hz"),
}
T = Uniform(low=20, high=700, unit="ms")
BIMODAL = Mixture(components=[Normal(mean=0, std=1), Uniform(low=3, high=5)], weights=[3, 1])


@pytest.fixture(scope="session")
def measured(tmp_path_factory):
    """A file of measured values."""
    path = tmp_path_factory.mktemp("measured") / "values.npy"
    np.save(path, stats.gamma(3, scale=2).ppf((np.arange(500) + 0.5) / 500))
    return str(path)


CASES = {
    "uniform": lambda path: T,
    "log_uniform": lambda path: LogUniform(low=1, high=1000),
    "normal": lambda path: Normal(mean=2, std=0.5),
    "normal_bounded": lambda path: Normal(mean=1, std=2, low=0, high=2.5),
    "normal_tail": lambda path: Normal(mean=0, std=1, low=6, high=8),
    "beta": lambda path: Beta(a=2, b=5, low=1, high=3),
    "discrete": lambda path: DiscreteUniform(low=1, high=10, unit="ms"),
    "choice": lambda path: Choice(values=[5, 0, 1], weights=[3, 1, 0]),
    "constant": lambda path: Constant(value=3),
    "histogram": lambda path: Histogram(edges=[0, 1, 3, 4, 9], shares=[1, 0, 3, 2]),
    "empirical": lambda path: Empirical(path=path, bins=20, low=0, high=20, unit="ms"),
    "empirical_quantiles": lambda path: Empirical(path=path, low=0, unit="ms"),
    "empirical_kernel": lambda path: Empirical(path=path, method="kernel", low=0),
    "mixture": lambda path: BIMODAL,
    "mixture_of_kinds": lambda path: Mixture(
        components=[LogUniform(low=0.5, high=50), Choice(values=[2, 100]), Constant(value=7.5)]
    ),
    "mixture_of_whole_numbers": lambda path: Mixture(
        components=[DiscreteUniform(low=1, high=4), DiscreteUniform(low=3, high=9)]
    ),
    "mixture_with_a_gap": lambda path: Mixture(
        components=[Uniform(low=0, high=1), Uniform(low=5, high=5.001)], weights=[0.3, 0.7]
    ),
    "truncated": lambda path: Truncated(distribution=T, low=30, high=500),
    "truncated_mixture": lambda path: Truncated(distribution=BIMODAL, low=-1, high=4),
    "truncated_whole_numbers": lambda path: Truncated(
        distribution=DiscreteUniform(low=1, high=10), low=2.5, high=7
    ),
    "truncated_by_a_value": lambda path: Truncated(distribution=T, below="parent"),
    "truncated_on_both_sides": lambda path: Truncated(
        distribution=Normal(mean=1, std=1), above="parent", high=3
    ),
    "conditional": lambda path: Conditional(
        given="parent", edges=[300, 500], given_unit="ms", cases=[T, Constant(value=0.1), 0.2]
    ),
    "conditional_of_truncated": lambda path: Conditional(
        given="parent",
        edges=[0.4],
        cases=[Truncated(distribution=T, below="parent"), Normal(mean=1, std=0.1)],
    ),
    "proportional": lambda path: Proportional(
        factor=Uniform(low=5, high=30, unit="%"), to="parent"
    ),
    "truncated_proportional": lambda path: Truncated(
        distribution=Proportional(factor=Uniform(low=0.05, high=0.9), to="parent"),
        low=20,
        unit="ms",
    ),
    "correlated": lambda path: Correlated(distribution=T, correlation={"parent": 0.7}),
    "correlated_with_two": lambda path: Correlated(
        distribution=BIMODAL, correlation={"parent": 0.5, "before": -0.6}
    ),
    "widened": lambda path: Widened(
        distribution=Normal(mean=0, std=1), edges=[-1, 0.5], factors=[2, 1, 3], about=0.2
    ),
    "widened_choice": lambda path: Widened(
        distribution=Choice(values=[0.1, 0.2, 0.7]), factors=[3.3], about=0.1
    ),
    "emphasized": lambda path: Emphasized(
        distribution=Uniform(low=0.05, high=1), edges=[0.2, 0.6], shares=[0.4, 0, 0]
    ),
    "emphasized_whole_numbers": lambda path: Emphasized(
        distribution=DiscreteUniform(low=1, high=10), edges=[4], shares=[0.1, 0.85]
    ),
    "adaptive": lambda path: Adaptive(
        distribution=LogUniform(low=0.05, high=1), edges=[0.1, 0.4], shares=[0.5, 0.3, 0.2]
    ),
    "correlated_adaptive": lambda path: Correlated(
        distribution=Adaptive(distribution=T, edges=[100], shares=[0.5, 0.5]),
        correlation={"after": 0.3},
    ),
    "curriculum": lambda path: Curriculum(
        start=T, end=LogUniform(low=1, high=90, unit="ms"), schedule=LinearSchedule(end=2000)
    ),
    "curriculum_whole_numbers": lambda path: Curriculum(
        start=DiscreteUniform(low=1, high=3),
        end=DiscreteUniform(low=1, high=10),
        schedule=CosineSchedule(begin=500, end=2500),
    ),
    "curriculum_of_mixtures": lambda path: Curriculum(
        start=BIMODAL, end=Constant(value=2), schedule=StepSchedule(at=1500)
    ),
    "curriculum_of_conditions": lambda path: Curriculum(
        start=Truncated(distribution=T, below="parent"),
        end=Proportional(factor=0.9, to="parent"),
        schedule=PiecewiseSchedule(samples=[0, 1000, 2000], shares=[0, 0.5, 0.25]),
    ),
    "truncated_curriculum": lambda path: Truncated(
        distribution=Curriculum(start=T, end=0.3, schedule=LinearSchedule(end=9000)), high=400
    ),
}


@pytest.fixture(params=CASES)
def distribution(request, measured):
    return CASES[request.param](measured)


def test_every_kind_is_tested():
    """A distribution without a case here is not one of the package."""
    import ipads_stream.distributions as package

    classes = {value for value in vars(package).values() if isinstance(value, type)}
    kinds = {value for value in classes if issubclass(value, Distribution)}
    built = {type(build(None)) for name, build in CASES.items() if "empirical" not in name}
    assert kinds - built == {Distribution, Empirical}


def test_it_keeps_its_promises(distribution):
    report = check_distribution(distribution, others=OTHERS)
    assert "draws follow the cumulative distribution" in report.checked
    assert set(report.skipped) <= {
        "weights undo the reshared draws",
        "seeds and positions draw anew",
    }


BROKEN = {"_target_": "ipads_stream.distributions.Uniform", "low": 2, "high": 1}


def test_errors_in_any_part_name_the_dotted_key(distribution):
    for path in distribution.parts:
        node = describe(distribution)
        holder, _, last = path.partition("[")
        if last:
            node[holder][int(last[:-1])] = BROKEN
        else:
            node[holder] = BROKEN
        with pytest.raises(ValueError, match=r"low=2\.0: below high=1") as error:
            instantiate(node, "system.x")
        assert error.value.key == f"system.x.{path}.low"


def test_an_unknown_key_is_refused(distribution):
    with pytest.raises(ValueError, match="no such key") as error:
        instantiate(describe(distribution) | {"lo": 1}, "system.x")
    assert error.value.key == "system.x.lo"


def test_a_wrong_unit_is_refused(distribution):
    with pytest.raises(ValueError, match="unit") as error:
        instantiate(describe(distribution) | {"unit": "furlong"}, "system.x")
    assert error.value.key == "system.x.unit"
