"""What notebooks show: one short line, and a table that escapes what it holds."""

from dataclasses import dataclass

import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.core.notebook import Shown
from ipads_stream.distributions import (
    Choice,
    Curriculum,
    LogUniform,
    Normal,
    StepSchedule,
    Truncated,
    Uniform,
)
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.sequences import Block, Sequence

T1 = LogUniform(low=100, high=3000, unit="ms")


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (T1, "<LogUniform: 100 to 3000 ms>"),
        (Normal(mean=0, std=1), "<Normal>"),
        (Truncated(distribution=T1, below="TR"), "<LogUniform below TR: 100 to 3000 ms>"),
        (Phantom(np.zeros((2, 5, 3)), T1=np.ones(5)), "<Phantom: 5 spins, batch (2,)>"),
        (Sequence((Block(2e-3),), name="pause"), "<Sequence pause: 2 ms, 0 samples>"),
    ],
)
def test_one_line(shown, line):
    assert repr(shown) == line
    assert line[1:-1] in shown._repr_html_()


@pytest.mark.parametrize("name", ["drone", "oled", "dlnmr"])
def test_systems_fit_on_a_line(name):
    system = load_system(name)
    assert len(repr(system)) < 100
    table = system._repr_html_()
    assert all(f"<b>{key}</b>" in table for key in system.distributions())


def test_a_dataclass_keeps_a_line_of_its_own():
    @dataclass(frozen=True)
    class Told(Shown):
        x: int = 1

        def __repr__(self):
            return "mine"

    @dataclass(frozen=True)
    class Plain(Shown):
        x: int = 1

    assert (repr(Told()), repr(Plain())) == ("mine", "<Plain>")


def test_tables_escape():
    class Script(Shown):
        headline, entries = "<script>", {"<script>": "<script>"}

    assert "<script>" not in Script()._repr_html_()


def test_only_what_stands_alone_has_a_picture():
    assert "data:image/png" in T1._repr_html_()
    assert "<img" not in Truncated(distribution=T1, below="TR")._repr_html_()


class TestSample:
    def test_it_is_in_the_unit_keyed_and_of_the_support(self):
        x = T1.sample(500, seed=3)
        assert x.shape == (500,) and x.min() >= 100 and x.max() <= 3000
        assert np.array_equal(x, T1.sample(500, seed=3))
        assert np.array_equal(x[:7], T1.sample(7, seed=3))
        assert not np.array_equal(x, T1.sample(500))

    def test_it_takes_the_values_and_the_index_it_depends_on(self):
        below = Truncated(distribution=T1, below="TR")
        assert below.sample(200, values={"TR": 0.2}).max() <= 200
        with pytest.raises(KeyError, match="TR"):
            below.sample(3)
        course = Curriculum(start=1.0, end=2.0, schedule=StepSchedule(at=10))
        assert (course.sample(1), course.sample(1, progress=10)) == (1, 2)


class TestPlot:
    @pytest.fixture
    def axis(self):
        from matplotlib.figure import Figure

        return Figure().subplots()

    @pytest.mark.parametrize("law", [Uniform(low=2, high=6, unit="ms"), Normal(mean=0, std=2), T1])
    def test_the_area_of_a_density_is_one(self, axis, law):
        assert law.plot(axis) is axis
        (steps,) = (patch.get_data() for patch in axis.patches)
        edges = np.log10(steps.edges) if law.is_logarithmic else steps.edges
        assert np.sum(steps.values * np.diff(edges)) == pytest.approx(1, abs=5e-3)

    def test_labels_carry_the_unit(self, axis):
        Uniform(low=2, high=6, unit="ms").plot(axis)
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("value (ms)", "density (1/ms)")

    def test_single_values_are_bars(self, axis):
        Choice(values=[1, 4], weights=[1, 3]).plot(axis)
        assert [bar.get_height() for bar in axis.patches] == pytest.approx([25, 0, 0, 75])

    def test_what_depends_on_another_is_drawn_given_it(self, axis):
        Truncated(distribution=Uniform(low=0, high=9), below="x").plot(axis, values={"x": 3.0})
        (steps,) = (patch.get_data() for patch in axis.patches)
        assert steps.edges[np.flatnonzero(steps.values)[-1]] <= 3.0
