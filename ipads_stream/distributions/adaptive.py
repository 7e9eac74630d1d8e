"""A distribution whose regions are drawn as often as the network errs there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Numbers, ruled
from ipads_stream.distributions.arguments import REAL, Real
from ipads_stream.distributions.emphasized import ROUNDING, Emphasized, Regions, Reshared, at_most

SHARES = Numbers(each=REAL)


@dataclass(frozen=True, kw_only=True)
class Adaptive(Reshared):
    """Share of region k: ``floor p_k + (1 - floor) e_k / sum e``, at most ``limit p_k``.

    p is the natural share and e the running error, ``e <- memory e + (1 - memory) mean error`` of
    each block of batches. What adapts is not here: the stream holds the table of shares (see
    stream/adaptation.py) and gives every block of samples this distribution with its ``shares``, so
    a draw stays a pure function of configuration, seed, split, index and table.

    Attributes:
        floor: 0 < floor <= 1, what is kept of the natural share: no region is forgotten.
        limit: above 1, the most that the share of a region is raised by.
        memory: 0 <= memory < 1, of the running error from block to block.
        shares: q_k; None: natural.
    """

    floor: float = ruled(Real(above=0, high=1), 0.3)
    limit: float = ruled(Real(above=1), 10.0)
    memory: float = ruled(Real(low=0, below=1), 0.9)
    shares: tuple[float, ...] | None = ruled(Numbers(each=REAL, optional=True), None)

    def check(self) -> None:
        super().check()
        if self.shares is not None:
            self.check_shares(self.shares)

    def check_shares(self, shares: Any) -> None:
        """Raises ConfigError of anything but shares that this distribution can have."""
        SHARES("shares", shares)
        if len(shares) != len(self.edges) + 1:
            raise ConfigError("shares", shares, f"one more than edges ({len(self.edges) + 1})")
        if abs(sum(shares) - 1.0) > ROUNDING:
            raise ConfigError("shares", shares, f"of sum 1, not {sum(shares):g}")
        for i, (p, q) in enumerate(zip(self.natural, shares, strict=True)):
            if q < 0 or (q > 0) != (p > 0):
                allowed = "above 0 where the distribution has something, else 0"
                raise ConfigError(f"shares[{i}]", q, allowed)

    @property
    def stands_outermost(self) -> bool:
        return True

    @property
    def least(self) -> Regions:
        return self.floor * self.natural

    @property
    def most(self) -> Regions:
        return np.minimum(self.limit * self.natural, 1.0)

    @cached_property
    def sampled(self) -> Regions:
        return self.natural if self.shares is None else np.array(self.shares)

    def following(self, errors: Sequence[float]) -> "Adaptive":
        """The same with the shares that follow the running errors of the regions (none below 0)."""
        running = np.where(self.natural > 0, np.asarray(errors, dtype=np.float64), 0.0)
        if not running.sum() > 0:
            return replace(self, shares=None)
        shares = self.floor * self.natural + (1.0 - self.floor) * running / running.sum()
        shares = at_most(shares, self.most)
        return replace(self, shares=tuple((shares / shares.sum()).tolist()))

    def frozen(self) -> Emphasized:
        """The distribution as it stands, for a configuration in which nothing adapts."""
        kept = {key: getattr(self, key) for key in ("distribution", "edges", "weighted", "unit")}
        return Emphasized(**kept, shares=tuple(self.sampled.tolist()))
