"""What all distributions of one number share: keyed draws through the quantile function."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import dimension, factor
from ipads_stream.distributions.given import UNCONDITIONAL, Given

LARGEST = 1e150  # sums and products of two numbers stay finite
HALVINGS = 60  # of the unit interval, to below the spacing of float64 about 1


@dataclass(frozen=True, kw_only=True)
class Distribution(ABC):
    """A distribution of one physical quantity; numbers in its fields are in ``unit``.

    ``quantile`` never falls as u rises and is the inverse of ``cdf``, for every distribution of
    distributions too: this is what makes truncation, copulas, curricula and resharing exact, and
    lets a sample keep its rank when its distribution changes.
    """

    unit: str = ""

    def __post_init__(self) -> None:
        dimension(self.unit)

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """A closed interval that holds every draw, in SI, whatever the draw depends on."""

    def support_given(self, supports: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
        """The same, narrowed by the supports of the parameters that it depends on."""
        return self.support

    @property
    def is_integer(self) -> bool:
        """Whether every draw is a whole number."""
        return False

    @property
    def atoms(self) -> Float[np.ndarray, " n"]:
        """Values that each have a probability above 0, SI; none for a continuous distribution."""
        return np.zeros(0)

    @property
    def stands_outermost(self) -> bool:
        """Whether it can be no part of another distribution."""
        return False

    @property
    def parts(self) -> dict[str, Distribution]:
        """The distributions that this one is made of, by their key."""
        return {}

    @cached_property
    def conditions(self) -> dict[str, str]:
        """Key of this distribution (dotted) -> name of the parameter whose value it needs."""
        return {
            f"{key}.{path}": name
            for key, part in self.parts.items()
            for path, name in part.conditions.items()
        }

    @cached_property
    def varies(self) -> bool:
        """Whether it changes with the global sample index."""
        return any(part.varies for part in self.parts.values())

    @abstractmethod
    def quantile(
        self, u: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        """Inverse cumulative distribution, SI: ``x = F^-1(u)``, u in the open interval (0, 1)."""

    def cdf(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        """Probability of a draw at or below x (SI): the largest u whose quantile is not above x."""
        x = np.asarray(x, dtype=np.float64)
        low, high = np.zeros(x.shape), np.ones(x.shape)
        for _ in range(HALVINGS):
            u = 0.5 * (low + high)
            is_below = self.quantile(u, given) <= x
            low, high = np.where(is_below, u, low), np.where(is_below, high, u)
        return np.where(high == 1.0, 1.0, low)

    def cdf_below(
        self, x: Float[np.ndarray, "..."], given: Given = UNCONDITIONAL
    ) -> Float[np.ndarray, "..."]:
        """Probability of a draw below x (SI), x itself left out."""
        return self.cdf(np.nextafter(x, -np.inf), given)

    def draw(
        self,
        key: random.Key,
        shape: tuple[int, ...] = (),
        progress: Float[np.ndarray, " B"] | None = None,
    ) -> Float[np.ndarray, "B ..."]:
        """Keyed draws, float64 (B, *shape), SI, of a distribution that needs no other parameter.

        Args:
            key: named random stream at B sample indices.
            shape: of one sample's draw.
            progress: (B,) global sample index, read by distributions that change over training.
        """
        u = random.uniform(key, shape)
        if progress is None:
            return self.quantile(u)
        return self.quantile(u, Given(aligned(progress, shape)))

    def _si(self, value: float) -> float:
        return value * factor(self.unit)

    def _number(self, *names: str) -> None:
        """Turns the named fields into finite floats, or says which one is not."""
        for name in names:
            object.__setattr__(self, name, finite_number(name, getattr(self, name)))


def aligned(
    values: Float[np.ndarray, "B ..."], shape: tuple[int, ...]
) -> Float[np.ndarray, "B ..."]:
    """Values of B samples, with axes of length 1 at the end up to those of (B, *shape)."""
    values = np.asarray(values)
    missing = 1 + len(shape) - values.ndim
    return values.reshape(*values.shape, *(1,) * missing) if missing else values


def finite_number(name: str, value: Any) -> float:
    """``value`` as a finite float.

    Raises:
        ConfigError: it is not a number, or not finite, or too large to calculate with.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(float(value)):
        raise ConfigError(name, value, "a finite number")
    if abs(float(value)) > LARGEST:
        raise ConfigError(name, value, f"a number from {-LARGEST:g} to {LARGEST:g}")
    return float(value)


def finite_numbers(name: str, values: Any, *, least: int = 1) -> tuple[float, ...]:
    """A list of at least ``least`` finite numbers, as a tuple.

    Raises:
        ConfigError: it is none; the message names the element.
    """
    if not isinstance(values, (list, tuple)) or len(values) < least:
        plural = "" if least == 1 else "s"
        raise ConfigError(name, values, f"a list of at least {least} number{plural}")
    return tuple(finite_number(f"{name}[{i}]", value) for i, value in enumerate(values))


def rising(name: str, values: Any, *, least: int = 1) -> tuple[float, ...]:
    """A list of numbers each above the one before.

    Raises:
        ConfigError: it is none.
    """
    numbers = finite_numbers(name, values, least=least)
    for i, (one, other) in enumerate(itertools.pairwise(numbers)):
        if not one < other:
            raise ConfigError(f"{name}[{i + 1}]", other, f"above the one before, {one:g}")
    return numbers
