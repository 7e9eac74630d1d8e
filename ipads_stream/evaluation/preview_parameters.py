"""The drawn parameters of a system as a preview shows them: distribution, name, unit, values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import factor
from ipads_stream.distributions import (
    Choice,
    Conditional,
    Correlated,
    Curriculum,
    Distribution,
    Empirical,
    LogUniform,
    Proportional,
    Truncated,
)
from ipads_stream.distributions.order import links_of, plan

MANY = 12  # parameters of no known distribution that are drawn at most


@dataclass(frozen=True)
class Drawn:
    """A parameter, its draws, and where they come from.

    Attributes:
        name: of the parameter.
        distribution: None where the system draws without one.
        unit: of the configuration.
        values: of the draws, SI, (B, ...).
        support: of the distribution, SI, given those of the parameters it depends on.
    """

    name: str
    distribution: Distribution | None
    unit: str
    values: Float[np.ndarray, "B ..."]
    support: tuple[float, float] = (-np.inf, np.inf)

    @property
    def label(self) -> str:
        """Name and unit, for an axis."""
        return self.name if self.unit in ("", "1") else f"{self.name} ({self.unit})"

    @property
    def is_constant(self) -> bool:
        return self.distribution is not None and self.support[0] == self.support[1]

    @property
    def is_logarithmic(self) -> bool:
        """Whether its natural axis is logarithmic: something in it is uniform in the logarithm."""
        if self.distribution is None or not self.support[0] > 0:
            return False
        return any(isinstance(part, LogUniform) for part in nested(self.distribution))

    def shown(self, values: Any) -> Any:
        """SI in the unit of the configuration."""
        return values / factor(self.unit)

    @property
    def title(self) -> str:
        """What kind of distribution it is, and from where to where it reaches."""
        if self.distribution is None:
            return "drawn by the system"
        low, high = self.shown(np.array(self.support))
        kind = kind_of(self.distribution)
        unit = f" {self.unit}" if self.unit not in ("", "1") else ""
        match bool(np.isfinite(low)), bool(np.isfinite(high)):
            case False, False:
                return kind
            case True, False:
                return f"{kind}: from {plain(low)}{unit}"
            case False, True:
                return f"{kind}: up to {plain(high)}{unit}"
        reach = plain(low) if low == high else f"{plain(low)} to {plain(high)}"
        return f"{kind}: {reach}{unit}"


def plain(value: float) -> str:
    """A number with four digits, without a power of ten where it is not needed."""
    text = f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.4g}"
    return text.replace("-", "−")


def kind_of(distribution: Distribution) -> str:
    """A distribution in words: ``Truncated Normal``, ``Mixture of 2``, ``Uniform → LogUniform``."""
    parts = list(distribution.parts.values())
    match distribution:
        case Curriculum():
            return f"{kind_of(distribution.start)} → {kind_of(distribution.end)}"
        case Conditional():
            return f"{len(parts)} cases by {distribution.given}"
        case Proportional():
            return f"{kind_of(distribution.factor)} × {distribution.to}"
        case Truncated(above=above, below=below) if above or below:
            ends = [f"{word} {name}" for word, name in (("above", above), ("below", below)) if name]
            return f"{kind_of(parts[0])} {', '.join(ends)}"
        case Choice():
            return f"Choice of {len(distribution.values)}"
        case Empirical():
            return f"Empirical ({Path(distribution.path).name})"
    name = type(distribution).__name__
    if len(parts) == 1:
        return f"{name} {kind_of(parts[0])}"
    return f"{name} of {len(parts)}" if parts else name


def nested(distribution: Distribution) -> Iterator[Distribution]:
    """The distribution and all that it is made of."""
    yield distribution
    for part in distribution.parts.values():
        yield from nested(part)


def distributions_of(system: Any) -> dict[str, Distribution]:
    """The distributions among the fields of a system, also inside its parts, by dotted name."""
    found: dict[str, Distribution] = {}

    def visit(name: str, value: Any) -> None:
        if isinstance(value, Distribution):
            found[name] = value
            return
        inner: Mapping[Any, Any] = {}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        elif isinstance(value, Mapping):
            inner = value
        elif isinstance(value, (list, tuple)):
            inner = dict(enumerate(value))
        elif not name and hasattr(value, "__dict__"):  # a system need not be a dataclass
            inner = vars(value)
        for key, part in inner.items():
            visit(f"{name}.{key}" if name else str(key), part)

    visit("", system)
    return found


def drawn_parameters(system: Any, params: Mapping[str, Any]) -> dict[str, Drawn]:
    """The parameters that a system drew, those with a distribution first, by name.

    Args:
        system: whose fields are distributions, some of them.
        params: SI, (B, ...); what is not numeric is left out.
    """
    distributions = distributions_of(system)
    supports = _supports({name: distributions[name] for name in params if name in distributions})
    found: dict[str, Drawn] = {}
    others: dict[str, Drawn] = {}
    for name, values in params.items():
        values = np.asarray(values)
        if values.dtype.kind not in "biuf" or values.ndim == 0:
            continue
        values = values.astype(np.float64)
        distribution = distributions.get(name)
        if distribution is None:
            others[name] = Drawn(name, None, "", values)
        else:
            unit = _unit(name, distributions)
            found[name] = Drawn(name, distribution, unit, values, supports[name])
    return found | dict(list(others.items())[:MANY])


def _supports(distributions: Mapping[str, Distribution]) -> dict[str, tuple[float, float]]:
    """Each given those it depends on; without them where they are of the system's own making."""
    found: dict[str, tuple[float, float]] = {}
    inside = all(other in distributions for d in distributions.values() for other in others_of(d))
    for name in plan(links_of(distributions)).order if inside else distributions:
        try:
            found[name] = distributions[name].support_given(found)
        except ConfigError:
            found[name] = distributions[name].support
    return found


def others_of(distribution: Distribution) -> list[str]:
    """Names of the parameters that a parameter depends on: by their value, or by their rank."""
    correlation = distribution.correlation if isinstance(distribution, Correlated) else {}
    return list(dict.fromkeys([*distribution.conditions.values(), *correlation]))


def _unit(name: str, distributions: Mapping[str, Distribution], depth: int = 8) -> str:
    """Unit of a distribution; of a share of another parameter, that parameter's."""
    distribution = distributions[name]
    for part in nested(distribution):
        if distribution.unit or not isinstance(part, Proportional):
            continue
        if part.to in distributions and depth:
            return _unit(part.to, distributions, depth - 1)
    return distribution.unit


def present(params: Mapping[str, Any], shape: tuple[int, ...]) -> Bool[np.ndarray, "..."]:
    """Which draws the samples show: those of absent peaks (beyond num_peaks) are left out.

    Args:
        params: all parameters of the samples.
        shape: of the draws, (B, ...).
    """
    count = params.get("num_peaks")
    if count is None or len(shape) != 2:
        return np.ones(shape, dtype=np.bool_)
    return np.arange(shape[1]) < np.asarray(count)[:, None]


def present_values(params: Mapping[str, Any], values: Any) -> Float[np.ndarray, " draws"]:
    """The draws of one parameter in a row; those of absent peaks left out.

    Args:
        params: all parameters of the samples.
        values: of one parameter, (B, ...).
    """
    values = np.asarray(values, dtype=np.float64)
    return values[present(params, values.shape)]
