"""The exact law of a drawn parameter: what its histogram is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.distributions import Conditional, Curriculum, Distribution
from ipads_stream.distributions.given import Given
from ipads_stream.distributions.univariate import aligned
from ipads_stream.evaluation.preview_parameters import Drawn, nested, present

DISTINCT = 40  # more values than these are drawn as a continuum
CIRCUMSTANCES = 256  # draws of other parameters that a law is averaged over
CERTAIN = 1.0 - 1e-9


@dataclass(frozen=True)
class Law:
    """``F(x) = mean_k F(x | y_k)`` over drawn values y_k of the parameters it depends on.

    Attributes:
        distribution: of the parameter.
        given: sample index and the values y_k, (k, 1); without conditions k is 1.
    """

    distribution: Distribution
    given: Given

    @property
    def is_exact(self) -> bool:
        """Whether no draw of another parameter is in it."""
        return not self.given.values

    def up_to(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probability of a draw at or below x (SI)."""
        return self.distribution.cdf(self._rows(x), self.given).mean(axis=0)

    def below(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probability of a draw below x (SI)."""
        return self.distribution.cdf_below(self._rows(x), self.given).mean(axis=0)

    def _rows(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, "k n"]:
        return np.tile(x, (len(self.given.progress), 1))

    def values(self) -> Float[np.ndarray, " n"]:
        """All values that are drawn, where they are few; none of a continuum."""
        if self.distribution.is_integer:
            low, high = self.distribution.support
            if not high - low < DISTINCT:
                return np.zeros(0)
            return np.arange(np.rint(low), np.rint(high) + 1)
        # Those that can be drawn at once, whatever other parameters are.
        cases = [d for d in nested(self.distribution) if isinstance(d, Conditional)]
        atoms = np.concatenate(
            [self.distribution.atoms, *(a.atoms for c in cases for a in c.cases)]
        )
        atoms = np.unique(atoms)
        if not 0 < atoms.size <= DISTINCT or self.shares(atoms).sum() < CERTAIN:
            return np.zeros(0)
        return atoms

    def shares(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probability of each of some values (SI)."""
        return self.up_to(values) - self.below(values)

    def between(self, edges: Float[np.ndarray, " n"]) -> Float[np.ndarray, " bins"]:
        """Probability of each interval [edge, next edge), the last one closed (SI)."""
        levels = self.below(edges)
        levels[-1] = self.up_to(edges[-1:])[0]
        return np.diff(levels)


def law_of(drawn: Drawn, params: Mapping[str, Any], progress: float) -> Law | None:
    """The law of a parameter at a sample index; None where it cannot be told.

    Args:
        drawn: the parameter.
        params: all parameters of the samples, SI, (B, ...).
        progress: global sample index.
    """
    if drawn.distribution is None:
        return None
    distribution = _at(drawn.distribution, progress)
    others = dict.fromkeys(distribution.conditions.values())
    if not set(others) <= set(params):
        return None
    shape = drawn.values.shape
    shown = present(params, shape)
    values = {
        name: np.broadcast_to(aligned(np.asarray(params[name]), shape[1:]), shape)[shown]
        for name in others
    }
    if values:  # some of them, evenly over the range of the first
        order = np.argsort(next(iter(values.values())), kind="stable")
        some = order[:: max(order.size // CIRCUMSTANCES, 1)]
        values = {name: every[some][:, None] for name, every in values.items()}
    count = len(next(iter(values.values()), np.zeros(1)))
    return Law(distribution, Given(np.full((count, 1), progress), values))


def _at(distribution: Distribution, progress: float) -> Distribution:
    """The end of a curriculum that is all there is at a sample index."""
    while isinstance(distribution, Curriculum):
        share = float(distribution.schedule.share(np.array(progress)))
        if 0.0 < share < 1.0:
            return distribution
        distribution = distribution.start if share == 0.0 else distribution.end
    return distribution
