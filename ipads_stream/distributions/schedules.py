"""Paces of curricula: the share of the way at a global sample index, from 0 to 1."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Numbers, check, ruled
from ipads_stream.distributions.arguments import Real

FARTHEST = 12  # a pace of no known span is followed up to 10^12 samples
INDEX = Real(low=0)


class Pace(ABC):
    """Share of the way from the start to the end of a curriculum."""

    @abstractmethod
    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """0 to 1, of a global sample index."""

    @property
    def span(self) -> tuple[float, float]:
        """The global sample indices between which the share changes."""
        indices = np.concatenate([[0.0], np.geomspace(1, 10.0**FARTHEST, 100 * FARTHEST + 1)])
        changing = np.flatnonzero(np.diff(self.share(indices)))
        if not changing.size:
            return 0.0, 1.0
        return float(indices[changing[0]]), float(indices[changing[-1] + 1])


@dataclass(frozen=True, kw_only=True)
class LinearSchedule(Pace):
    """``s = (n - begin) / (end - begin)`` from sample ``begin`` to sample ``end``."""

    end: float = ruled(INDEX)
    begin: float = ruled(INDEX, 0.0)

    def __post_init__(self) -> None:
        check(self)
        if not self.begin < self.end:
            raise ConfigError("begin", self.begin, f"below end={self.end:g}")

    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        way = (np.asarray(progress, dtype=np.float64) - self.begin) / (self.end - self.begin)
        return way.clip(0.0, 1.0)

    @property
    def span(self) -> tuple[float, float]:
        return self.begin, self.end


@dataclass(frozen=True, kw_only=True)
class CosineSchedule(LinearSchedule):
    """``s = (1 - cos(pi t)) / 2`` with t linear from ``begin`` to ``end``: slow at both ends."""

    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return 0.5 - 0.5 * np.cos(np.pi * super().share(progress))


@dataclass(frozen=True, kw_only=True)
class StepSchedule(Pace):
    """0 before sample ``at``, 1 from it on."""

    at: float = ruled(INDEX)

    def __post_init__(self) -> None:
        check(self)

    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return (np.asarray(progress) >= self.at).astype(np.float64)

    @property
    def span(self) -> tuple[float, float]:
        return max(self.at - 1.0, 0.0), self.at


@dataclass(frozen=True, kw_only=True)
class PiecewiseSchedule(Pace):
    """Straight between the points (``samples[i]``, ``shares[i]``), constant outside them."""

    samples: tuple[float, ...] = ruled(Numbers(each=INDEX, least=2, rises=True))
    shares: tuple[float, ...] = ruled(Numbers(each=Real(low=0, high=1)))

    def __post_init__(self) -> None:
        check(self)
        if len(self.shares) != len(self.samples):
            raise ConfigError("shares", self.shares, f"as many as samples ({len(self.samples)})")

    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.interp(progress, self.samples, self.shares)

    @property
    def span(self) -> tuple[float, float]:
        return self.samples[0], self.samples[-1]
