"""Distributions of distributions against laws that are known otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from scipy import stats

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
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
    Emphasized,
    Histogram,
    LinearSchedule,
    LogUniform,
    Mixture,
    Normal,
    Parameter,
    PiecewiseSchedule,
    Proportional,
    StepSchedule,
    Truncated,
    Uniform,
    Widened,
    as_parameters,
    draw_parameters,
    importance_weights,
)
from ipads_stream.distributions.emphasized import at_least, at_most
from ipads_stream.distributions.given import Given

NUM = 20_000
U = Uniform(low=0, high=1)


def draws(parameters, num=NUM, seed=0, shape=(), progress=None):
    indices = np.arange(num, dtype=np.uint64)
    progress = indices.astype(np.float64) if progress is None else np.full(num, float(progress))
    shaped = {name: (value, shape) for name, value in parameters.items()}
    return draw_parameters(shaped, Keys(seed, "train", indices), progress)


def follows(x, cdf):
    return stats.kstest(x, cdf).pvalue > 1e-3


def test_the_plain_cumulative_distributions_are_those_of_scipy():
    x = np.linspace(-3, 9, 401)
    for distribution, law in (
        (Uniform(low=-2, high=3), stats.uniform(-2, 5)),
        (LogUniform(low=0.5, high=8), stats.loguniform(0.5, 8)),
        (Normal(mean=2, std=0.5), stats.norm(2, 0.5)),
        (Normal(mean=1, std=2, low=0, high=2.5), stats.truncnorm(-0.5, 0.75, 1, 2)),
        (Normal(mean=0, std=1, low=6, high=8), stats.truncnorm(6, 8)),
        (Beta(a=2, b=5, low=1, high=3), stats.beta(2, 5, 1, 2)),
        (DiscreteUniform(low=1, high=6), stats.randint(1, 7)),
        (
            Choice(values=[4, 0, 1], weights=[1, 1, 2]),
            stats.rv_discrete(values=([0, 1, 4], [0.25, 0.5, 0.25])),
        ),
    ):
        assert np.allclose(distribution.cdf(x), law.cdf(x), atol=1e-12)


class TestMixture:
    def test_it_holds_each_component_in_its_share(self):
        mixture = Mixture(
            components=[Normal(mean=0, std=1), LogUniform(low=1, high=30)], weights=[1, 3]
        )
        x = draws({"x": mixture})["x"]
        law = lambda t: 0.25 * stats.norm.cdf(t) + 0.75 * stats.loguniform(1, 30).cdf(t)  # noqa: E731
        assert follows(x, law)
        u = (np.arange(100_000) + 0.5) / 100_000
        assert np.abs(law(mixture.quantile(u)) - u).max() < 2e-6

    def test_uniform_components_are_exact(self):
        mixture = Mixture(components=[Uniform(low=0, high=2), Uniform(low=1, high=5)])
        u = np.array([0.1, 0.25, 0.4, 0.625, 0.9])
        # F rises by 1/4 in 0..1, by 3/8 in 1..2, by 3/8 in 2..5.
        assert np.allclose(mixture.quantile(u), [0.4, 1.0, 1.4, 2.0, 4.2], atol=1e-12)

    def test_whole_numbers_stay_whole(self):
        mixture = Mixture(components=[DiscreteUniform(low=1, high=2), Choice(values=[7, 2])])
        values, counts = np.unique(draws({"x": mixture})["x"], return_counts=True)
        assert values.tolist() == [1, 2, 7]
        assert stats.chisquare(counts, np.array([0.25, 0.5, 0.25]) * NUM).pvalue > 1e-3


class TestTruncated:
    def test_a_value_bounds_another(self):
        parameters = {
            "T1": Uniform(low=100, high=3000, unit="ms"),
            "T2": Truncated(distribution=Uniform(low=20, high=700, unit="ms"), below="T1"),
        }
        drawn = draws(parameters)
        assert np.all(drawn["T2"] <= drawn["T1"])
        top = np.minimum(0.7, drawn["T1"])
        assert follows((drawn["T2"] - 0.02) / (top - 0.02), "uniform")

    def test_it_is_what_rejection_keeps(self):
        law = Truncated(distribution=Normal(mean=0, std=1), low=-0.3, high=1.7)
        x = draws({"x": Normal(mean=0, std=1)}, seed=1)["x"]
        kept = x[(x >= -0.3) & (x <= 1.7)]
        assert stats.ks_2samp(draws({"x": law})["x"], kept).pvalue > 1e-3

    def test_a_bound_that_leaves_nothing_is_an_error_when_drawn(self):
        parameters = {
            "T1": Uniform(low=0.01, high=3, unit="s"),
            "T2": Truncated(distribution=Proportional(factor=0.1, to="T1"), low=0.2),
        }
        with pytest.raises(ValueError, match="nothing of Proportional lies between"):
            draws(parameters)


class TestConditional:
    def test_each_range_has_its_own_distribution(self):
        law = Conditional(
            given="a", edges=[300], given_unit="ms", cases=[U, Uniform(low=5, high=9)]
        )
        drawn = draws({"x": law, "a": Uniform(low=0, high=1, unit="s")})
        low = drawn["a"] < 0.3
        assert follows(drawn["x"][low], "uniform")
        assert follows(drawn["x"][~low], stats.uniform(5, 4).cdf)

    def test_a_value_per_sample_holds_for_all_draws_of_it(self):
        law = Conditional(given="kind", edges=[0.5], cases=[U, Uniform(low=5, high=9)])
        indices = np.arange(200, dtype=np.uint64)
        parameters = {"x": (law, (3, 2)), "kind": (Choice(values=[0, 1]), ())}
        drawn = draw_parameters(parameters, Keys(0, "train", indices), indices.astype(float))
        assert np.array_equal(
            drawn["x"] > 2, np.broadcast_to(drawn["kind"][:, None, None] > 0, (200, 3, 2))
        )

    def test_few_cases_and_many_are_chosen_alike(self):
        """Few are computed everywhere, many only where they hold."""
        few = Conditional(given="a", edges=[0.2, 0.7], cases=[U, 3, LogUniform(low=4, high=9)])
        many = Conditional(
            given="a",
            edges=[0.1, 0.2, 0.5, 0.7],
            cases=[U, U, 3, 3, LogUniform(low=4, high=9)],
        )
        parent = random.uniform(Keys(2, "train", np.arange(300))["a"], (5,))
        u = random.uniform(Keys(3, "train", np.arange(300))["x"], (5,))
        for at in (parent, parent[:, :1], np.array(0.3), np.array(0.2)):
            given = Given(0.0, {"a": at})
            assert np.array_equal(few.quantile(u, given), many.quantile(u, given))
            assert np.array_equal(few.cdf(4 * u, given), many.cdf(4 * u, given))
            one = np.array(3.5)
            assert np.array_equal(few.cdf(one, given), many.cdf(one, given))

    def test_chains_of_conditions_are_drawn_in_order(self):
        parameters = {
            "c": Proportional(factor=Uniform(low=0.5, high=1), to="b"),
            "b": Proportional(factor=Uniform(low=0.5, high=1), to="a"),
            "a": Uniform(low=1, high=2),
        }
        drawn = draws(parameters)
        assert list(drawn) == ["c", "b", "a"]
        for smaller, larger in (("c", "b"), ("b", "a")):
            assert follows(2 * drawn[smaller] / drawn[larger] - 1, "uniform")


class TestCorrelated:
    @pytest.mark.parametrize("rho", [-0.95, -0.3, 0.6, 0.9])
    def test_ranks_have_the_stated_correlation(self, rho):
        parameters = {
            "a": LogUniform(low=1, high=9),
            "x": Correlated(distribution=U, correlation={"a": rho}),
        }
        drawn = draws(parameters)
        expected = 6 / np.pi * np.arcsin(rho / 2)
        found = stats.spearmanr(drawn["a"], drawn["x"]).statistic
        assert abs(found - expected) < 3 * (1 - expected**2) / np.sqrt(NUM) * 1.1
        assert follows(drawn["x"], "uniform")

    def test_the_whole_matrix_is_that_of_the_network(self):
        normal = Normal(mean=0, std=1)
        parameters = {
            "y": Correlated(distribution=normal, correlation={"x": -0.5, "b": 0.4}),
            "x": Correlated(distribution=normal, correlation={"a": 0.8}),
            "a": normal,
            "b": normal,
        }
        drawn = draws(parameters, num=100_000)
        found = np.corrcoef([drawn[name] for name in ("y", "x", "a", "b")])
        # y meets a through x alone: -0.5 x 0.8; b is independent of x and of a.
        expected = np.array(
            [[1, -0.5, -0.4, 0.4], [-0.5, 1, 0.8, 0], [-0.4, 0.8, 1, 0], [0.4, 0, 0, 1]]
        )
        assert np.abs(found - expected).max() < 4 / np.sqrt(100_000)

    def test_another_marginal_distribution_keeps_the_ranks(self):
        law = Correlated(distribution=U, correlation={"a": 0.7})
        one = draws({"a": U, "x": law})
        other = draws({"a": Normal(mean=3, std=2), "x": law})
        assert np.array_equal(one["x"], other["x"])

    def test_it_changes_no_parameter_but_its_own(self):
        plain = draws({"a": U, "x": U, "b": Correlated(distribution=U, correlation={"a": 0.5})})
        law = Correlated(distribution=U, correlation={"a": 0.9})
        other = draws({"a": U, "x": law, "b": Correlated(distribution=U, correlation={"a": 0.5})})
        assert np.array_equal(plain["a"], other["a"])
        assert np.array_equal(plain["b"], other["b"])
        assert not np.array_equal(plain["x"], other["x"])

    def test_correlations_that_no_law_has_are_refused(self):
        parameters = {
            "a": U,
            "b": Correlated(distribution=U, correlation={"a": 0.9}),
            "c": Correlated(distribution=U, correlation={"a": 0.9, "b": -0.9}),
        }
        rules = {name: Parameter() for name in parameters}
        with pytest.raises(ConfigError, match=r"c\.correlation=.*not positive definite"):
            as_parameters(parameters, rules)
        R = np.array([[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1]])
        assert np.linalg.eigvalsh(R).min() < 0


class TestCurriculum:
    @pytest.mark.parametrize("shape", [(1, 7), (7, 1), (7,)])
    def test_progress_broadcasts(self, shape: tuple[int, ...]) -> None:
        law = Curriculum(start=U, end=Uniform(low=2, high=4), schedule=LinearSchedule(end=100))
        progress = np.linspace(1, 99, 7).reshape(shape)
        u = np.random.default_rng(0).uniform(size=np.broadcast_shapes(shape, (5, 7, 7))[-2:])
        share = progress / 100
        want = (1 - share) * U.quantile(u) + share * (2 + 2 * u)
        np.testing.assert_allclose(law.quantile(u, Given(progress=progress)), want, rtol=1e-14)

    def test_halfway_between_two_uniform_ones(self):
        law = Curriculum(start=U, end=Uniform(low=2, high=4), schedule=LinearSchedule(end=1000))
        assert follows(draws({"x": law}, progress=0)["x"], "uniform")
        assert follows(draws({"x": law}, progress=500)["x"], stats.uniform(1, 1.5).cdf)
        assert follows(draws({"x": law}, progress=5000)["x"], stats.uniform(2, 2).cdf)
        assert law.cdf(np.array([1.75])) == 1
        indices = np.arange(3, dtype=np.uint64)
        keys = Keys(0, "train", indices)
        ends = [law.draw(keys["x"], (), np.full(3, p)) for p in (0.0, 1e9)]
        assert np.array_equal(ends[0], U.draw(keys["x"]))
        assert np.array_equal(ends[1], Uniform(low=2, high=4).draw(keys["x"]))

    def test_a_sample_moves_smoothly(self):
        law = Curriculum(
            start=LogUniform(low=1, high=9),
            end=Normal(mean=0, std=1),
            schedule=CosineSchedule(end=100),
        )
        key = Keys(0, "train", np.array([7], dtype=np.uint64))["x"]
        path = [law.draw(key, (), np.array([float(p)]))[0] for p in range(101)]
        # |dx| <= |x1 - x0| pi / 2 / 100 for a cosine
        assert np.abs(np.diff(path)).max() <= abs(path[-1] - path[0]) * np.pi / 200 * 1.001

    def test_a_share_holds_for_all_draws_of_a_sample_and_for_one(self):
        end = LogUniform(low=1, high=9)
        law = Curriculum(start=U, end=end, schedule=LinearSchedule(end=300))
        progress = np.arange(300.0)[:, None]
        u = random.uniform(Keys(2, "train", np.arange(300))["x"], (7,))
        share = progress / 300
        expected = (1 - share) * u + share * end.quantile(u)
        assert np.array_equal(law.quantile(u, Given(progress)), expected)
        some = u > 0.4
        masked = law.quantile(u[some], Given(progress).where(some))
        assert np.array_equal(masked, expected[some])
        one = law.quantile(np.array(0.4), Given(progress))
        assert np.allclose(one, (1 - share) * 0.4 + share * end.quantile(np.array(0.4)))

    def test_a_step_is_seen_at_its_sample(self):
        law = Curriculum(start=U, end=Uniform(low=5, high=6), schedule=StepSchedule(at=1234))
        x = draws({"x": law})["x"]
        assert x[:1234].max() < 1
        assert x[1234:].min() > 5

    def test_schedules(self):
        n = np.array([0.0, 50, 100, 150, 200, 1e12])
        assert np.allclose(LinearSchedule(begin=50, end=150).share(n), [0, 0, 0.5, 1, 1, 1])
        assert np.allclose(CosineSchedule(begin=50, end=150).share(n), [0, 0, 0.5, 1, 1, 1])
        assert CosineSchedule(end=4).share(np.array([1.0]))[0] == pytest.approx(0.146447, abs=1e-6)
        assert StepSchedule(at=100).share(n).tolist() == [0, 0, 1, 1, 1, 1]
        schedule = PiecewiseSchedule(samples=[50, 100, 200], shares=[1, 0, 0.5])
        assert np.allclose(schedule.share(n), [1, 1, 0, 0.25, 0.5, 0.5])


class TestReshared:
    def test_a_region_holds_its_minimum_and_nothing_changes_inside(self):
        law = Emphasized(distribution=Uniform(low=0.05, high=1), edges=[0.2], shares=[0.4, 0])
        x = draws({"x": law})["x"]
        low = x < 0.2
        assert stats.binomtest(int(low.sum()), NUM, 0.4).pvalue > 1e-3
        assert follows(x[low], stats.uniform(0.05, 0.15).cdf)
        assert follows(x[~low], stats.uniform(0.2, 0.8).cdf)

    def test_what_holds_enough_already_stays(self):
        law = Emphasized(distribution=U, edges=[0.5], shares=[0.4, 0.1])
        u = np.linspace(0.01, 0.99, 99)
        assert np.allclose(law.quantile(u), u, atol=1e-15)

    @for_all(
        p=st.lists(st.floats(0.01, 1), min_size=2, max_size=6),
        s=st.lists(st.floats(0, 1), min_size=6, max_size=6),
    )
    def test_shares_meet_their_bounds(self, p, s):
        natural = np.array(p) / sum(p)
        least = np.array(s[: len(p)]) * 0.9 / max(len(p), 1)
        shares = at_least(natural, least)
        assert shares.sum() == pytest.approx(1)
        assert np.all(shares >= least - 1e-12)
        free = shares > least + 1e-12
        if free.any():  # those above their minimum keep their proportions
            ratios = shares[free] / natural[free]
            assert np.ptp(ratios) <= 1e-9 * ratios.max()
        most = np.minimum(natural * 1.5, 1)
        cut = at_most(shares, most)
        assert cut.sum() == pytest.approx(1)
        assert np.all(cut <= most + 1e-12)

    def test_adaptive_shares_follow_the_errors(self):
        law = Adaptive(distribution=U, edges=[0.1, 0.5], floor=0.3, limit=10)
        assert law.sampled.tolist() == pytest.approx([0.1, 0.4, 0.5])
        moved = law.following([3.0, 1.0, 0.0])
        assert moved.shares == pytest.approx((0.3 * 0.1 + 0.7 * 0.75, 0.3 * 0.4 + 0.7 * 0.25, 0.15))
        assert law.following([0, 0, 0]) == law
        bounded = Adaptive(distribution=U, edges=[0.1, 0.5], floor=0.3, limit=2).following(
            [1, 0, 0]
        )
        assert bounded.shares[0] == pytest.approx(0.2)
        assert sum(bounded.shares) == pytest.approx(1)
        assert min(np.array(bounded.shares) / law.natural) > 0.3
        assert moved.frozen().quantile(np.array([0.3])) == moved.quantile(np.array([0.3]))

    @pytest.mark.parametrize("kind", ["adaptive", "emphasized"])
    def test_weighted_estimates_are_unbiased(self, kind):
        """E_q[w f] = E_p[f] for a function of several draws of a sample."""
        natural = {"x": Uniform(low=0.05, high=1), "y": U}
        if kind == "emphasized":
            law = Emphasized(distribution=natural["x"], edges=[0.2], shares=[0.5, 0], weighted=True)
        else:
            law = Adaptive(
                distribution=natural["x"], edges=[0.2, 0.6], shares=[0.4, 0.4, 0.2], weighted=True
            )
        parameters = {"x": law, "y": natural["y"]}
        drawn = draws(parameters, num=100_000, shape=(3,))
        weights = importance_weights(parameters, drawn)
        assert weights.mean() == pytest.approx(1, abs=4 * weights.std() / np.sqrt(100_000))
        for f in (
            lambda x: np.exp(-3 * x.sum(axis=1)),
            lambda x: (x.min(axis=1) < 0.1).astype(float),
        ):
            estimate = weights * f(drawn["x"])
            plain = f(draws(natural, num=100_000, shape=(3,), seed=5)["x"])
            error = np.hypot(estimate.std(), plain.std()) / np.sqrt(100_000)
            assert abs(estimate.mean() - plain.mean()) < 3 * error
            biased = f(drawn["x"])
            assert abs(biased.mean() - plain.mean()) > 10 * error  # the test can fail

    def test_weights_do_not_go_with_correlations(self):
        """Ranks that are correlated are those of the reshared draws: p / q would not undo that."""
        law = Emphasized(distribution=U, edges=[0.2], shares=[0.5, 0], weighted=True)
        with pytest.raises(ConfigError, match=r"distribution\.weighted=True"):
            Correlated(distribution=law, correlation={"y": 0.3})
        parameters = {"x": law, "y": Correlated(distribution=U, correlation={"x": 0.3})}
        with pytest.raises(ConfigError, match=r"y\.correlation\.x='x'.*weighted"):
            as_parameters(parameters, {name: Parameter() for name in parameters})

    def test_without_weights_there_are_none(self):
        assert importance_weights({"x": U}, draws({"x": U})) is None


class TestWidened:
    def test_one_factor_scales_about_a_value(self):
        law = Widened(distribution=Normal(mean=1, std=1), factors=[2], about=1)
        assert follows(draws({"x": law})["x"], stats.norm(1, 2).cdf)

    def test_each_region_has_its_factor(self):
        law = Widened(distribution=Uniform(low=-1, high=1), edges=[0], factors=[3, 1.5])
        u = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
        assert np.allclose(law.quantile(u), [-3, -1.5, 0, 0.75, 1.5])
        assert law.support == (-3, 1.5)
        shifted = Widened(
            distribution=Uniform(low=0, high=4), edges=[1, 3], factors=[2, 1, 4], about=2
        )
        assert np.allclose(shifted.quantile(np.array([0, 0.25, 0.5, 0.75, 1])), [-1, 1, 2, 3, 7])


def test_a_histogram_of_numbers():
    law = Histogram(edges=[1, 2, 4, 8], shares=[0, 3, 1], unit="ms")
    assert law.support == (0.002, 0.008)
    x = draws({"x": law})["x"] * 1e3
    assert stats.binomtest(int((x < 4).sum()), NUM, 0.75).pvalue > 1e-3
    assert follows(x[x < 4], stats.uniform(2, 2).cdf)


def test_a_constant_part_may_be_a_bare_number():
    assert Mixture(components=[1, 2.5]).components[1] == Constant(value=2.5)
