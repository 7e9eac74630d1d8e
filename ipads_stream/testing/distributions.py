"""What every distribution promises, alone or made of others, drawn with other parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from ipads_stream.core.random import Keys, uniform
from ipads_stream.distributions import Constant, Distribution, draw_parameters
from ipads_stream.distributions.emphasized import Reshared
from ipads_stream.distributions.given import Given
from ipads_stream.testing.contract import (
    Promise,
    Report,
    check_plain_data,
    examine,
    module,
    require,
    same_rows,
)

SAMPLES, SHAPE = 3000, (4,)  # by which a distribution is judged, and draws of each
SMALLEST = 1e-4  # p-value: one right distribution in 10,000 is refused
ROUNDING = 3e-6  # of u

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Case:
    distribution: Distribution
    others: Mapping[str, Distribution]
    seed: int

    def drawn(self, distribution: Distribution, indices: Any, seed: int = 0) -> Arrays:
        """The distribution, as x, with the others, half of which stand before it."""
        indices = np.asarray(indices, dtype=np.uint64)
        others = list(self.others.items())
        half = (len(others) + 1) // 2
        parameters = dict([*others[:half], ("x", distribution), *others[half:]])
        return draw_parameters(
            {name: (each, SHAPE) for name, each in parameters.items()},
            Keys(self.seed + seed, "contract", indices),
            indices.astype(float),
        )

    @cached_property
    def draws(self) -> Arrays:
        return self.drawn(self.distribution, range(SAMPLES))

    @property
    def given(self) -> Given:
        """The circumstances of all draws."""
        values = {name: self.draws[name] for name in self.others}
        return Given(np.arange(SAMPLES, dtype=float)[:, None], values)

    @property
    def midway(self) -> Given:
        """The circumstances of one sample."""
        values = {name: float(self.draws[name][SAMPLES // 2, 0]) for name in self.others}
        return Given(float(SAMPLES // 2), values)


def check_distribution(
    distribution: Distribution,
    *,
    others: Mapping[str, Distribution] | None = None,
    seed: int = 0,
) -> Report:
    """Checks all that a distribution promises, alone and drawn with other parameters.

    Args:
        distribution: of the package or of a user.
        others: parameters that it is conditioned on or correlated with, by name.
        seed: of the draws.

    Raises:
        ContractError: a broken promise.
    """
    return examine(distribution, _Case(distribution, others or {}, seed), _PROMISES)


def _protocol(case: _Case) -> None:
    require(isinstance(case.distribution, Distribution), "it is no Distribution")
    missing = sorted(set(case.distribution.conditions.values()) - set(case.others))
    require(not missing, f"it depends on {', '.join(missing)}: give others=")


def _draws(case: _Case) -> None:
    x, given, d = case.draws["x"], case.given, case.distribution
    shape = (SAMPLES, *SHAPE)
    require(x.shape == shape and x.dtype == np.float64, f"draws are {x.dtype} of shape {x.shape}")
    below, up_to = d.cdf_below(x, given), d.cdf(x, given)
    # An atom is spread evenly over its jump.
    keys = Keys(case.seed, "contract spread", np.arange(SAMPLES, dtype=np.uint64))
    levels = below + uniform(keys["spread"], SHAPE) * (up_to - below)
    p = stats.kstest(levels.ravel(), "uniform").pvalue
    require(p > SMALLEST, f"draws do not follow its cdf (p = {p:.2g})")


def _support(case: _Case) -> None:
    supports = {name: other.support for name, other in case.others.items()}
    (low, high), wide = case.distribution.support_given(supports), case.distribution.support
    x = case.draws["x"]
    require(np.isfinite(x).all(), "draws are not finite")
    inside = low <= x.min() and x.max() <= high
    require(inside, f"draws {x.min():g} to {x.max():g}, support {low:g} to {high:g}")
    require(wide[0] <= low <= high <= wide[1], "support_given is wider than the support")
    whole = not case.distribution.is_integer or np.array_equal(x, np.round(x))
    require(whole, "is_integer, but draws are not whole")


def _inverse(case: _Case) -> None:
    u = np.sort(np.concatenate([(np.arange(999) + 0.37) / 999, [2.0**-33, 1 - 2.0**-33]]))
    d, given = case.distribution, case.midway
    x = d.quantile(u, given)
    require(np.all(np.diff(x) >= 0), "the quantile falls")
    require(np.all(d.cdf(x, given) >= u - ROUNDING), "cdf(quantile(u)) is below u")
    require(np.all(d.cdf_below(x, given) <= u + ROUNDING), "cdf_below(quantile(u)) is above u")


def _rises(case: _Case) -> None:
    d, given = case.distribution, case.midway
    low, high = d.quantile(np.array([2.0**-33, 1 - 2.0**-33]), given)
    margin = 0.1 * (high - low) + 1e-3 * max(abs(low), abs(high), 1e-9)
    levels = d.cdf(np.linspace(low - margin, high + margin, 4001), given)
    require(np.all(np.diff(levels) >= -1e-12), "the cdf falls")
    rises = levels[0] < 1e-9 and levels[-1] > 1 - 1e-9
    require(rises, f"the cdf goes from {levels[0]:g} to {levels[-1]:g}, not from 0 to 1")


def _jumps(case: _Case) -> None:
    for rows in ([0], [777], [SAMPLES - 1], [5, SAMPLES - 1, 17, 1500]):
        same_rows(case.draws, rows, case.drawn(case.distribution, rows))


def _varies(case: _Case) -> str | None:
    low, high = case.distribution.support
    return None if low < high else "it is one value"


def _anew(case: _Case) -> None:
    x = case.draws["x"]
    require(not np.array_equal(x[:, 0], x[:, 1]), "all draws of a sample are equal")
    again = case.drawn(case.distribution, range(SAMPLES), seed=1)["x"]
    require(not np.array_equal(x, again), "another seed draws the same")


def _others(case: _Case) -> None:
    plain = case.drawn(Constant(value=0.0), range(SAMPLES))
    for name in case.others:
        require(np.array_equal(plain[name], case.draws[name]), f"{name} is drawn differently")


def _importance(case: _Case) -> None:
    d, x = case.distribution, case.draws["x"]
    assert isinstance(d, Reshared)
    weights = d.importance(x)
    finite = weights.shape == x.shape and np.isfinite(weights).all() and (weights >= 0).all()
    require(finite, "weights are not finite numbers from 0")
    drawn = float(np.sum(d.natural[d.sampled > 0]))  # natural share of the regions that are drawn
    error = 5 * float(np.std(weights)) / np.sqrt(weights.size) + 1e-9
    require(abs(weights.mean() - drawn) < error, f"mean {weights.mean():.4f}, not {drawn:.4f}")


_PROMISES = [
    Promise("it is a distribution, and what it depends on is given", _protocol,
            "distribution.conditions"),
    Promise("draws follow the cumulative distribution", _draws,
            "distribution.cdf(distribution.draw(key, (4,)))"),
    Promise("draws stay in the support", _support, "distribution.support"),
    Promise("the quantile is the inverse and never falls", _inverse,
            "distribution.cdf(distribution.quantile(u))"),
    Promise("the cumulative distribution rises from 0 to 1", _rises, "distribution.cdf(x)"),
    Promise("draws are a function of seed, name and index", _jumps,
            "draw_parameters(parameters, keys, progress) of one sample and of several"),
    Promise("seeds and positions draw anew", _anew, "distribution.draw(key, (4,))", (_varies,)),
    Promise("other draws stay as they were", _others,
            "draw_parameters(parameters, keys, progress)",
            (lambda case: None if case.others else "others= was not given",)),
    Promise("weights undo the reshared draws", _importance, "distribution.importance(x)",
            (lambda case: None if isinstance(case.distribution, Reshared) else "not reshared",)),
    Promise("its YAML builds its equal", lambda case: check_plain_data(case.distribution),
            "ipads_stream.config.instantiate(describe(distribution))", (module("hydra"),)),
]  # fmt: skip
