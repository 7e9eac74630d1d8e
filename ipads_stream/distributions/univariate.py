"""What all distributions of one number share: keyed draws through the quantile function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import dimension, factor


@dataclass(frozen=True, kw_only=True)
class Distribution(ABC):
    """A distribution of one physical quantity; numbers in its fields are in ``unit``."""

    unit: str = ""

    def __post_init__(self) -> None:
        dimension(self.unit)

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """Smallest closed interval that holds every draw, in SI."""

    @property
    def is_integer(self) -> bool:
        """Whether every draw is a whole number."""
        return False

    @abstractmethod
    def quantile(self, u: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Inverse cumulative distribution, SI: ``x = F^-1(u)``, u in the open interval (0, 1)."""

    def draw(
        self,
        key: random.Key,
        shape: tuple[int, ...] = (),
        progress: Float[np.ndarray, " B"] | None = None,
    ) -> Float[np.ndarray, "B ..."]:
        """Keyed draws, float64 (B, *shape), SI.

        Args:
            key: named random stream at B sample indices.
            shape: of one sample's draw.
            progress: (B,) global sample index, read by distributions that change over training.
        """
        return self.quantile(random.uniform(key, shape))

    def _si(self, value: float) -> float:
        return value * factor(self.unit)

    def _number(self, *names: str) -> None:
        """Turns the named fields into finite floats, or says which one is not."""
        for name in names:
            object.__setattr__(self, name, finite_number(name, getattr(self, name)))


def finite_number(name: str, value: Any) -> float:
    """``value`` as a finite float.

    Raises:
        ConfigError: it is not a number, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
        raise ConfigError(name, value, "a finite number")
    return float(value)
