"""How a preview names parameters and finds where a curriculum begins and ends."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from ipads_stream.core.description import config_hash
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.core.units import plain
from ipads_stream.distributions import (
    Adaptive,
    Beta,
    Choice,
    Conditional,
    Constant,
    Correlated,
    CosineSchedule,
    Curriculum,
    Distribution,
    Emphasized,
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
from ipads_stream.distributions.schedules import Pace
from ipads_stream.preview.course import AtProgress, Span, span_of, stages
from ipads_stream.preview.parameters import (
    drawn_parameters,
    nested_distributions,
)

UNIFORM = Uniform(low=0.1, high=1)
STEP = StepSchedule(at=9)


@pytest.mark.parametrize(
    ("distribution", "words"),
    [
        (UNIFORM, "Uniform"),
        (Mixture(components=(UNIFORM, Normal(mean=0, std=1))), "Mixture of 2"),
        (Truncated(distribution=Normal(mean=0, std=1), low=-1), "Truncated Normal"),
        (Truncated(distribution=LogUniform(low=1, high=2), below="T1"), "LogUniform below T1"),
        (Emphasized(distribution=UNIFORM, edges=(0.2,), shares=(0.4, 0)), "Emphasized Uniform"),
        (Adaptive(distribution=UNIFORM, edges=(0.2,)), "Adaptive Uniform"),
        (Widened(distribution=UNIFORM, factors=(2.0,)), "Widened Uniform"),
        (Correlated(distribution=UNIFORM, correlation={"x": 0.5}), "Correlated Uniform"),
        (Curriculum(start=UNIFORM, end=Beta(a=1, b=2), schedule=STEP), "Uniform → Beta"),
        (Conditional(given="T1", edges=(1.0,), cases=(UNIFORM, UNIFORM)), "2 cases by T1"),
        (Proportional(factor=UNIFORM, to="T1"), "Uniform × T1"),
        (Choice(values=(1, 2, 3)), "Choice of 3"),
    ],
)
def test_kinds_in_words(distribution, words):
    assert distribution.label == words


@pytest.mark.parametrize(
    ("value", "text"),
    [(20000.0, "20000"), (0.05, "0.05"), (-80.0, "−80"), (1e7, "1e+07"), (179.2, "179.2")],
)
def test_plain_numbers(value, text):
    assert plain(value) == text


@dataclass(frozen=True, kw_only=True)
class Parts:
    name: ClassVar[str] = "parts"
    T1: Distribution
    T2: Distribution
    inner: object = None
    table: object = None

    def draw(self, keys, progress):
        return {"progress": np.asarray(progress)}

    def render(self, params, keys, xp):
        return Sample(inputs={"x": params["progress"]}, targets={}, params=params)


def test_distributions_are_found_inside_parts():
    inner = Parts(T1=UNIFORM, T2=Constant(value=2))
    system = Parts(T1=UNIFORM, T2=UNIFORM, inner=inner, table={"gm": [Constant(value=1), 5]})
    assert list(nested_distributions(system)) == ["T1", "T2", "inner.T1", "inner.T2", "table.gm.0"]


def test_units_supports_and_scales():
    system = Parts(
        T1=LogUniform(low=100, high=3000, unit="ms"),
        T2=Proportional(factor=Uniform(low=0.1, high=0.5), to="T1"),
    )
    params = {"T1": np.array([0.1]), "T2": np.array([0.05]), "noise": np.array([1.0]), "of": "x"}
    found = drawn_parameters(system, params)
    assert list(found) == ["T1", "T2", "noise"]
    assert found["T2"].label == "T2 (ms)"
    assert found["T2"].title == "Uniform × T1: 10 to 1500 ms"
    assert found["T1"].is_logarithmic and not found["T2"].is_logarithmic
    assert found["noise"].title == "drawn by the system"


def test_half_open_supports_are_told_so():
    system = Parts(T1=Normal(mean=0, std=1, low=0.5), T2=Normal(mean=0, std=1))
    found = drawn_parameters(system, {"T1": np.ones(2), "T2": np.ones(2)})
    assert (found["T1"].title, found["T2"].title) == ("Normal: from 0.5", "Normal")


def test_absent_peaks_are_left_out():
    params = {"num_peaks": np.array([1, 3]), "amplitude": np.array([[1, 0, 0], [2, 3, 4]])}
    drawn = drawn_parameters(object(), params)
    assert drawn["amplitude"].present.tolist() == [1, 2, 3, 4]
    assert drawn["num_peaks"].present.tolist() == [1, 3]


class Wave(Pace):
    """Another schedule than ours: changes from about sample 100 to about sample 10000."""

    def share(self, progress):
        return np.clip(np.log10(np.maximum(progress, 1.0)) / 2 - 1, 0, 1)


@pytest.mark.parametrize(
    ("schedule", "ends"),
    [
        (LinearSchedule(begin=5, end=20), (5, 20)),
        (CosineSchedule(end=20), (0, 20)),
        (StepSchedule(at=9), (8, 9)),
        (StepSchedule(at=0), (0, 0)),
        (PiecewiseSchedule(samples=(3, 8, 11), shares=(0, 1, 0.5)), (3, 11)),
    ],
)
def test_spans(schedule, ends):
    span = Span(*schedule.span)
    assert (span.first, span.last) == ends
    low, high = span.window()
    assert 0 <= low <= span.first and high > span.last


def test_the_span_of_an_unknown_schedule_is_looked_for():
    span = Span(*Wave().span)
    assert 95 < span.first <= 101 and 9900 < span.last < 10300


def test_the_span_of_a_system_holds_all_its_schedules():
    inside = Truncated(
        distribution=Curriculum(start=UNIFORM, end=UNIFORM, schedule=StepSchedule(at=50)), low=0.2
    )
    system = Parts(
        T1=inside, T2=Curriculum(start=1, end=2, schedule=LinearSchedule(begin=60, end=100))
    )
    span = span_of(system)
    assert (span.first, span.last) == (49, 100)
    assert stages(span, [0, 50, 100]) == {" at 0 %": 49, " at 50 %": 74, " at 100 %": 100}
    assert span_of(Parts(T1=UNIFORM, T2=UNIFORM)) is None
    assert stages(None, [0, 50]) == {"": 0.0}


def test_a_system_stands_still_at_a_point_of_the_curriculum():
    system = Parts(T1=UNIFORM, T2=UNIFORM)
    there = AtProgress(system, 77.0)
    keys = Keys(0, "train", np.arange(3, dtype=np.uint64))
    assert there.draw(keys, np.arange(3.0))["progress"].tolist() == [77.0] * 3
    assert (there.name, config_hash(there)) == ("parts", config_hash(system))
