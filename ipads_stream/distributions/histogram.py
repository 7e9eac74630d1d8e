"""A histogram as a distribution."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.core.fields import Numbers, ruled
from ipads_stream.distributions.arguments import REAL, check_shares
from ipads_stream.distributions.tabulated import Tabulated


@dataclass(frozen=True, kw_only=True)
class Histogram(Tabulated):
    """Uniform inside each bin: F is straight between (``edges[k]``, sum of shares below it).

    Attributes:
        edges: of the bins, rising.
        shares: of the bins, in any proportion; one fewer than edges.
    """

    edges: tuple[float, ...] = ruled(Numbers(each=REAL, least=2, rises=True))
    shares: tuple[float, ...] = ruled(Numbers(each=REAL))

    def check(self) -> None:
        check_shares("shares", self.shares, "bins between edges", len(self.edges) - 1)

    @cached_property
    def _knots(self) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        edges = np.array([self._si(edge) for edge in self.edges])
        levels = np.concatenate([[0.0], np.cumsum(self.shares) / np.sum(self.shares)])
        levels[-1] = 1.0
        filled = np.flatnonzero(self.shares)
        reached = slice(filled[0], filled[-1] + 2)  # empty bins at the ends are no support
        return edges[reached], levels[reached]
