"""Schedules: how far a curriculum has come at a global sample index, from 0 to 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions.univariate import finite_number, finite_numbers, rising


class Schedule(ABC):
    """Share of the way from the start to the end of a curriculum."""

    @abstractmethod
    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """0 to 1, of a global sample index."""


def _index(name: str, value: object) -> float:
    number = finite_number(name, value)
    if number < 0:
        raise ConfigError(name, value, "a sample index, at least 0")
    return number


@dataclass(frozen=True, kw_only=True)
class LinearSchedule(Schedule):
    """``s = (n - begin) / (end - begin)`` from sample ``begin`` to sample ``end``."""

    end: float
    begin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("begin", "end"):
            object.__setattr__(self, name, _index(name, getattr(self, name)))
        if not self.begin < self.end:
            raise ConfigError("begin", self.begin, f"below end={self.end:g}")

    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        way = (np.asarray(progress, dtype=np.float64) - self.begin) / (self.end - self.begin)
        return way.clip(0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class CosineSchedule(LinearSchedule):
    """``s = (1 - cos(pi t)) / 2`` with t linear from ``begin`` to ``end``: slow at both ends."""

    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return 0.5 - 0.5 * np.cos(np.pi * super().share(progress))


@dataclass(frozen=True, kw_only=True)
class StepSchedule(Schedule):
    """0 before sample ``at``, 1 from it on."""

    at: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", _index("at", self.at))

    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return (np.asarray(progress) >= self.at).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class PiecewiseSchedule(Schedule):
    """Straight between the points (``samples[i]``, ``shares[i]``), constant outside them."""

    samples: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        samples = rising("samples", self.samples, least=2)
        shares = finite_numbers("shares", self.shares)
        if samples[0] < 0:
            raise ConfigError("samples[0]", samples[0], "a sample index, at least 0")
        if len(shares) != len(samples):
            raise ConfigError("shares", shares, f"as many as samples ({len(samples)})")
        for i, share in enumerate(shares):
            if not 0 <= share <= 1:
                raise ConfigError(f"shares[{i}]", share, "0 to 1")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "shares", shares)

    def share(self, progress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.interp(progress, self.samples, self.shares)
