"""The exact laws that histograms, pairs, courses and regions are compared with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import norm, spearmanr

from ipads_stream.core.random import Keys
from ipads_stream.distributions import (
    Adaptive,
    Beta,
    Choice,
    Conditional,
    Constant,
    Correlated,
    Curriculum,
    DiscreteUniform,
    Emphasized,
    Histogram,
    LinearSchedule,
    LogUniform,
    Mixture,
    Normal,
    Proportional,
    Truncated,
    Uniform,
    draw_parameters,
)
from ipads_stream.preview.course import exact_quantiles, exact_shares
from ipads_stream.preview.histograms import bin_edges, parameter_histograms, region_shares
from ipads_stream.preview.joint import conditional_quantiles, rank_correlation, together
from ipads_stream.preview.parameters import drawn_parameters

COUNT = 4000


@dataclass(frozen=True)
class Two:
    x: Any
    y: Any


def draws(system, progress=0.0, count=COUNT):
    keys = Keys(0, "train", np.arange(count, dtype=np.uint64))
    return draw_parameters(
        {"x": (system.x, ()), "y": (system.y, ())}, keys, np.full(count, progress)
    )


def law(y, x=None, progress=0.0, count=COUNT):
    system = Two(x=x or Uniform(low=0, high=1), y=y)
    params = draws(system, progress, count)
    return drawn_parameters(system, params, progress)["y"].law, params


RISING = LinearSchedule(end=100)


@pytest.mark.parametrize(
    "distribution",
    [
        Normal(mean=1, std=2),
        LogUniform(low=1, high=50),
        Beta(a=0.7, b=2),
        Histogram(edges=(0, 1, 3), shares=(3, 1)),
        Mixture(components=(Uniform(low=0, high=1), Uniform(low=4, high=5))),
        Emphasized(distribution=Uniform(low=0, high=1), edges=(0.2,), shares=(0.5, 0)),
        Curriculum(start=Uniform(low=0, high=1), end=Normal(mean=5, std=1), schedule=RISING),
        Truncated(distribution=Uniform(low=-1, high=3), above="x"),
        Proportional(factor=Normal(mean=2, std=0.5), to="x"),
        Conditional(
            given="x", edges=(0.6,), cases=(Uniform(low=0, high=1), Uniform(low=2, high=3))
        ),
        Correlated(distribution=Uniform(low=0, high=2), correlation={"x": 0.8}),
    ],
    ids=lambda distribution: type(distribution).__name__,
)
def test_bins_hold_what_the_law_says(distribution):
    """Counts of draws against probabilities of bins: within 5 standard deviations."""
    found, params = law(distribution, x=Uniform(low=0.2, high=1), progress=40.0)
    edges = np.linspace(params["y"].min(), params["y"].max(), 15)
    shares = np.histogram(params["y"], bins=edges)[0] / COUNT
    exact = found.between(edges)
    spread = np.sqrt(np.maximum(exact, 1 / COUNT) / COUNT)
    assert np.all(np.abs(shares - exact) < 5 * spread + 3e-3)
    assert found.is_exact != bool(distribution.conditions)
    assert found.values().size == 0


def test_a_conditional_law_is_the_average_over_the_parent():
    """y uniform below x, x uniform on (1, 2): P(y <= 1) = mean 1 / x = ln 2."""
    found, _ = law(
        Truncated(distribution=Uniform(low=0, high=5), below="x"), Uniform(low=1, high=2)
    )
    assert found.up_to(np.array([1.0]))[0] == pytest.approx(np.log(2), abs=2e-3)


@pytest.mark.parametrize(
    ("distribution", "values", "shares"),
    [
        (DiscreteUniform(low=2, high=5), [2, 3, 4, 5], [0.25] * 4),
        (Choice(values=(0.5, 3), weights=(1, 3)), [0.5, 3], [0.25, 0.75]),
        (Conditional(given="x", edges=(0.5,), cases=(Constant(value=1), Constant(value=1.5))),
         [1, 1.5], [0.5, 0.5]),
        (Curriculum(start=Choice(values=(0.5, 3)), end=Uniform(low=0, high=1), schedule=RISING),
         [0.5, 3], [0.5, 0.5]),
        (Curriculum(start=DiscreteUniform(low=1, high=2), end=DiscreteUniform(low=1, high=4),
                    schedule=LinearSchedule(begin=5, end=6)), [1, 2, 3, 4], [0.5, 0.5, 0, 0]),
    ],
)  # fmt: skip
def test_single_values_have_their_probabilities(distribution, values, shares):
    found, _ = law(distribution)
    # At the start of a curriculum there is its start alone.
    kept = [value for value, share in zip(values, shares, strict=True) if share]
    np.testing.assert_allclose(found.values(), kept)
    np.testing.assert_allclose(found.shares(np.array(values, float)), shares, atol=0.02)


def test_many_or_mixed_values_are_a_continuum():
    assert law(DiscreteUniform(low=1, high=500))[0].values().size == 0
    mixed = Mixture(components=(Constant(value=1), Uniform(low=0, high=2)))
    assert law(mixed)[0].values().size == 0


def test_what_depends_on_what_is_not_drawn_has_no_law():
    system = Two(x=1, y=Proportional(factor=Uniform(low=0, high=1), to="elsewhere"))
    params = {"y": np.ones(3)}
    assert drawn_parameters(system, params)["y"].law is None


def test_bins_end_where_the_distribution_ends():
    system = Two(x=Uniform(low=0, high=10), y=DiscreteUniform(low=1, high=100))
    found = drawn_parameters(system, draws(system))
    edges = bin_edges(found["x"], [found["x"].values])
    assert (edges[0], edges[-1]) == (0, 10)
    edges = bin_edges(found["y"], [found["y"].values])
    assert np.all(edges % 1 == 0.5) and edges[0] == 0.5 and edges[-1] >= 100.5


@pytest.fixture
def axes_of(monkeypatch):
    kept = {}

    class Kept(Figure):
        def savefig(self, *args, **kwargs):
            super().savefig(*args, **kwargs)
            kept.update({axis.get_xlabel(): axis for axis in self.axes if axis.get_xlabel()})

    monkeypatch.setattr("matplotlib.figure.Figure", Kept)
    return kept


def heights(axis):
    """Area under each stepped line: draws and exact."""
    return [patch.get_data().values for patch in axis.patches if hasattr(patch, "get_data")]


def test_only_log_uniform_parameters_get_a_logarithmic_axis(tmp_path, axes_of):
    system = Two(x=LogUniform(low=20, high=100, unit="ms"), y=Uniform(low=0, high=360, unit="deg"))
    parameter_histograms([drawn_parameters(system, draws(system))], tmp_path / "parameters.png")
    assert {label: axis.get_xscale() for label, axis in axes_of.items()} == {
        "x (ms)": "log", "y (deg)": "linear",
    }  # fmt: skip
    drawn, exact = heights(axes_of["y (deg)"])
    assert drawn.sum() == pytest.approx(100)
    np.testing.assert_allclose(exact, 100 / drawn.size)  # uniform: each bin holds as much
    np.testing.assert_allclose(heights(axes_of["x (ms)"])[1], 100 / drawn.size)


def test_start_and_end_are_drawn_where_something_changes(tmp_path, axes_of):
    system = Two(
        x=Uniform(low=0, high=1),
        y=Curriculum(start=Uniform(low=0, high=1), end=Uniform(low=1, high=4), schedule=RISING),
    )
    both = [drawn_parameters(system, draws(system, at), at) for at in (0.0, 100.0)]
    parameter_histograms(both, tmp_path / "parameters.png")
    assert len(heights(axes_of["x"])) == 2
    start, exact_start, end, exact_end = heights(axes_of["y"])
    half = start.size // 2
    assert start[half:].sum() == 0 and end[: start.size // 4 - 1].sum() == 0
    assert exact_start.max() == pytest.approx(3 * exact_end.max(), rel=0.01)


def test_quantiles_given_another_parameter():
    """Of a copula of two normals: median rho x, 90 % interval 1.645 (1 - rho^2)^(1/2) around it."""
    rho = 0.6
    system = Two(
        x=Normal(mean=0, std=1),
        y=Correlated(distribution=Normal(mean=0, std=1), correlation={"x": rho}),
    )
    params = draws(system)
    found = drawn_parameters(system, params)
    at = np.array([-2.0, 0.0, 1.5])
    low, median, high = conditional_quantiles(found["y"], found["x"], at)
    half = norm.ppf(0.95) * np.sqrt(1 - rho**2)
    np.testing.assert_allclose(median, rho * at, atol=1e-9)
    np.testing.assert_allclose(high - median, half)
    np.testing.assert_allclose(median - low, half)
    y, x = together(found["y"], found["x"])
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert rank_correlation(x, np.ones(x.size)) == 0.0


def test_quantiles_given_a_value():
    system = Two(
        x=Uniform(low=1, high=2), y=Truncated(distribution=Uniform(low=0, high=5), below="x")
    )
    found = drawn_parameters(system, draws(system))
    at = np.array([1.0, 2.0])
    np.testing.assert_allclose(
        conditional_quantiles(found["y"], found["x"], at),
        [[0.05, 0.1], [0.5, 1.0], [0.95, 1.9]],
    )


def test_pairs_of_peaks_and_samples():
    system = Two(x=Uniform(low=0, high=1), y=Uniform(low=0, high=1))
    params = {"x": np.array([1.0, 2.0]), "y": np.array([[5.0, 6.0], [7.0, 8.0]])}
    params["num_peaks"] = np.array([1, 2])
    found = drawn_parameters(system, params)
    y, x = together(found["y"], found["x"])
    assert (x.tolist(), y.tolist()) == ([1, 2, 2], [5, 7, 8])


def test_the_course_of_quantiles_and_shares():
    steps = np.array([0.0, 50.0, 100.0])
    moving = Curriculum(start=Uniform(low=0, high=1), end=Uniform(low=10, high=12), schedule=RISING)
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    expected = [levels, 5 + 1.5 * levels, 10 + 2 * levels]
    np.testing.assert_allclose(exact_quantiles(moving, steps), np.transpose(expected))
    counted = Curriculum(start=1, end=DiscreteUniform(low=1, high=4), schedule=RISING)
    shares = exact_shares(counted, np.arange(1.0, 5.0), steps)
    np.testing.assert_allclose(shares[:, 0], [1, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(shares[:, 2], [0.25] * 4, atol=1e-12)
    np.testing.assert_allclose(shares.sum(axis=0), 1)


def test_regions_are_drawn_with_their_bounds(tmp_path, axes_of):
    adaptive = Adaptive(
        distribution=Uniform(low=0, high=1, unit="ms"), edges=(0.25,), floor=0.4, limit=2.0
    )
    np.testing.assert_allclose(adaptive.least, [0.1, 0.3])
    np.testing.assert_allclose(adaptive.most, [0.5, 1.0])
    system = Two(
        x=adaptive.following([1.0, 1.0]),
        y=Emphasized(distribution=Uniform(low=0, high=1), edges=(0.2,), shares=(0.5, 0)),
    )
    np.testing.assert_array_equal(system.y.most, 1)
    parameters = drawn_parameters(system, draws(system))
    assert region_shares(parameters, tmp_path / "regions.png")
    axis = axes_of["region of y"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0 to 0.2", "0.2 to 1"]
    bars = [patch.get_height() for patch in axis.patches]
    np.testing.assert_allclose(bars, [20, 80, 50, 50])
    (dots,) = [line for line in axis.lines if line.get_label() == "drawn"]
    np.testing.assert_allclose(dots.get_ydata(), [50, 50], atol=3)
    assert axes_of["region of x (ms)"].patches[2].get_height() == pytest.approx(40)


def test_nothing_emphasised_no_picture(tmp_path):
    system = Two(x=Uniform(low=0, high=1), y=1.0)
    path = tmp_path / "regions.png"
    assert region_shares(drawn_parameters(system, {"x": np.ones(3)}), path) is None
    assert not path.exists()


def test_the_course_of_what_depends_on_another_parameter():
    """From uniform on (0, 1) to x: at half of the way y is 0.5 u + 0.5 x, its law an average."""
    y = Curriculum(
        start=Uniform(low=0, high=1), end=Proportional(factor=1.0, to="x"), schedule=RISING
    )
    found, params = law(y, x=Uniform(low=1, high=3), progress=50.0)
    at = np.quantile(params["y"], [0.1, 0.5, 0.9])
    np.testing.assert_allclose(found.up_to(at), [0.1, 0.5, 0.9], atol=0.025)
