"""What all distributions of one number share: keyed draws through the quantile function."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import check, keep, ruled
from ipads_stream.core.notebook import Shown
from ipads_stream.core.units import dimension, factor, interval, units_of
from ipads_stream.distributions.arguments import Unit
from ipads_stream.distributions.given import UNCONDITIONAL, Given
from ipads_stream.distributions.schedules import Pace

HALVINGS = 60  # of the unit interval, to below the spacing of float64 about 1
Values = Float[np.ndarray, "..."]
Vector = Float[np.ndarray, " n"]
Interval = tuple[float, float]
Supports = Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class Distribution(Shown, ABC):
    """A distribution of one physical quantity; numbers in its fields are in ``unit``.

    ``quantile`` never falls as u rises and is the inverse of ``cdf``, for every distribution of
    distributions too: this is what makes truncation, copulas, curricula and resharing exact, and
    lets a sample keep its rank when its distribution changes. A user's own distribution needs
    ``support`` and ``quantile``; fields with rules (core/fields.py) are checked, and fields that
    hold distributions are its parts.
    """

    unit: str = ruled(Unit(), "")

    def __post_init__(self) -> None:
        check(self)
        keep(self, unit=self._common_unit())
        self.check()

    def check(self) -> None:
        """Refuses, with ConfigError, fields that do not go together."""

    @property
    @abstractmethod
    def support(self) -> Interval:
        """A closed interval that holds every draw, in SI, whatever the draw depends on."""

    def support_given(self, supports: Supports) -> Interval:
        """The same, narrowed by the supports of the parameters that it depends on."""
        return self.support

    @property
    def is_integer(self) -> bool:
        """Whether every draw is a whole number."""
        return False

    @property
    def is_logarithmic(self) -> bool:
        """Whether its natural axis is logarithmic: something in it is uniform in the logarithm."""
        return any(part.is_logarithmic for part in self.parts.values())

    @property
    def is_weighted(self) -> bool:
        """Whether its draws carry importance weights."""
        return False

    def importance(self, x: Values) -> Values:
        """Weight of each value (SI), its natural probability over that of drawing it."""
        return np.ones(np.shape(x))

    @property
    def atoms(self) -> Vector:
        """Values that each have a probability above 0, SI; none for a continuous distribution."""
        return np.zeros(0)

    @property
    def stands_outermost(self) -> bool:
        """Whether it can be no part of another distribution."""
        return self.is_weighted or bool(self.correlations)

    @cached_property
    def parts(self) -> dict[str, "Distribution"]:
        """The distributions that this one is made of, by their key."""
        parts: dict[str, Distribution] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            listed = enumerate(value) if isinstance(value, tuple) else ()
            entries = {each.name: value} | {f"{each.name}[{i}]": part for i, part in listed}
            parts |= {key: part for key, part in entries.items() if isinstance(part, Distribution)}
        return parts

    def nested(self) -> Iterator["Distribution"]:
        """This distribution and all that it is made of."""
        yield self
        for part in self.parts.values():
            yield from part.nested()

    @property
    def references(self) -> dict[str, str]:
        """Field -> name of the parameter whose value it needs; those of parts are not listed."""
        return {}

    @cached_property
    def conditions(self) -> dict[str, str]:
        """The references of this distribution and of its parts, by dotted key."""
        inner = {
            f"{key}.{path}": name
            for key, part in self.parts.items()
            for path, name in part.conditions.items()
        }
        return inner | self.references

    @property
    def correlations(self) -> Mapping[str, float]:
        """Name of a parameter -> correlation of the normal scores with its; see Correlated."""
        return {}

    def check_references(self, dimensions: Mapping[str, str]) -> None:
        """Refuses, with ConfigError by the key of the reference, parameters of another dimension
        than what they are compared with; ``dimensions`` are those of all parameters, by name."""
        for key, part in self.parts.items():
            try:
                part.check_references(dimensions)
            except ConfigError as error:
                raise error.under(key) from None

    @property
    def unit_of(self) -> str | None:
        """Name of the parameter in whose unit it is shown; None: in its own."""
        if self.unit:
            return None
        return next(filter(None, (part.unit_of for part in self.parts.values())), None)

    @cached_property
    def paces(self) -> tuple[Pace, ...]:
        """Of all curricula in it, outermost first."""
        return tuple(pace for part in self.parts.values() for pace in part.paces)

    @property
    def varies(self) -> bool:
        """Whether it changes with the global sample index."""
        return bool(self.paces)

    def at(self, progress: float) -> "Distribution":
        """What is left of this distribution at a global sample index; itself, unless simpler."""
        return self

    @abstractmethod
    def quantile(self, u: Values, given: Given = UNCONDITIONAL) -> Values:
        """Inverse cumulative distribution, SI: ``x = F^-1(u)``, u in the open interval (0, 1)."""

    def cdf(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
        """Probability of a draw at or below x (SI): the largest u whose quantile is not above x."""
        x = np.asarray(x, dtype=np.float64)
        low, high = np.zeros(x.shape), np.ones(x.shape)
        for _ in range(HALVINGS):
            u = 0.5 * (low + high)
            is_below = self.quantile(u, given) <= x
            low, high = np.where(is_below, u, low), np.where(is_below, high, u)
        return np.where(high == 1.0, 1.0, low)

    def cdf_below(self, x: Values, given: Given = UNCONDITIONAL) -> Values:
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
        given = UNCONDITIONAL if progress is None else Given(aligned(progress, shape))
        return self.quantile(random.uniform(key, shape), given)

    def sample(
        self,
        n: int,
        seed: int = 0,
        *,
        progress: float = 0.0,
        values: Mapping[str, Any] | None = None,
    ) -> Vector:
        """n draws in ``unit``, to look at the distribution; no stream draws these.

        Args:
            n: of draws; the first of them stay the same when there are more.
            seed: of the random numbers.
            progress: global sample index, read by curricula.
            values: of the parameters that it depends on, SI, by name.
        """
        u = random.uniform(random.Keys(seed, "sample", np.arange(n))["sample"], ())
        return self.quantile(u, Given(progress, values or {})) / factor(self.unit)

    def plot(
        self, axis: Any = None, *, progress: float = 0.0, values: Mapping[str, float] | None = None
    ) -> Any:
        """Draws the exact law, a density or probabilities of single values, and returns the axis.

        Args:
            axis: of matplotlib; None: the current one.
            progress, values: as of :meth:`sample`.
        """
        from ipads_stream.distributions.law import Law, law_picture

        if axis is None:
            from matplotlib import pyplot

            axis = pyplot.gca()
        law = Law.at(self, progress, {name: [value] for name, value in (values or {}).items()})
        law_picture(axis, law, self.unit)
        return axis

    @property
    def label(self) -> str:
        """What it is, in words: ``Truncated Normal``, ``Mixture of 2``."""
        name, parts = type(self).__name__, list(self.parts.values())
        if len(parts) == 1:
            return f"{name} {parts[0].label}"
        return f"{name} of {len(parts)}" if parts else name

    @property
    def headline(self) -> str:
        low, high = (end / factor(self.unit) for end in self.support)
        reach = interval(low, high, self.unit)
        return f"{self.label}: {reach}" if reach else self.label

    @property
    def thumbnail(self) -> str:
        from ipads_stream.distributions.law import law_image

        return "" if self.conditions else law_image(self)

    def _si(self, value: float) -> float:
        return value * factor(self.unit)

    def _common_unit(self) -> str:
        """The unit of its own numbers: as given, else that of its first part with one."""
        unit = self.unit
        for key, part in self.parts.items():
            if part.unit == "":
                continue
            unit = unit or part.unit
            if dimension(part.unit) != dimension(unit):
                quantity = dimension(unit)
                allowed = f"one of {units_of(quantity)} ({quantity}, as {unit!r})"
                raise ConfigError(f"{key}.unit", part.unit, allowed)
        return unit


def aligned(values: Float[np.ndarray, "B ..."], shape: tuple[int, ...]) -> Values:
    """Values of B samples, with axes of length 1 at the end up to those of (B, *shape)."""
    values = np.asarray(values)
    missing = 1 + len(shape) - values.ndim
    return values.reshape(*values.shape, *(1,) * missing) if missing else values
