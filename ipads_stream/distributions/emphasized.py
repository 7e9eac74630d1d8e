"""A distribution some of whose regions hold a minimum share of the draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.regions import Reshared, at_least
from ipads_stream.distributions.univariate import finite_numbers

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Emphasized(Reshared):
    """Region k holds at least ``shares[k]`` of the draws; the rest keeps its proportions.

    Low amplitudes, say, are few where amplitudes are uniform: ``edges: [0.2], shares: [0.4, 0]``
    makes two in five of them lie below 0.2. Shares that sum to 1 are met exactly.

    Attributes:
        shares: one more than edges, 0 to 1, of sum at most 1.
    """

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        least = finite_numbers("shares", self.shares)
        object.__setattr__(self, "shares", least)
        if len(least) != len(self.edges) + 1:
            raise ConfigError("shares", least, f"one more than edges ({len(self.edges) + 1})")
        for i, share in enumerate(least):
            if not 0 <= share <= 1:
                raise ConfigError(f"shares[{i}]", share, "0 to 1")
            if share > ROUNDING and not self.natural[i] > ROUNDING:
                raise ConfigError(f"shares[{i}]", share, "0: the distribution has nothing there")
        if sum(least) > 1 + ROUNDING:
            raise ConfigError("shares", least, f"of sum at most 1, not {sum(least):g}")
        for i, (p, q) in enumerate(zip(self.natural, self.sampled, strict=True)):
            if p > 0 and not q > 0:
                allowed = f"something left for region {i}, which holds {p:.2g} by nature"
                raise ConfigError("shares", least, allowed)

    @cached_property
    def sampled(self) -> Float[np.ndarray, " regions"]:
        least = np.array(self.shares)
        if abs(least.sum() - 1.0) <= ROUNDING:
            return least
        return at_least(self.natural, least)
