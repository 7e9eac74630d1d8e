"""The drawn parameters of a system as a preview shows them: distribution, name, unit, values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.units import factor, interval, labelled
from ipads_stream.distributions import Distribution
from ipads_stream.distributions.joint import links_of, plan
from ipads_stream.distributions.law import Law
from ipads_stream.distributions.univariate import aligned
from ipads_stream.systems import System

MANY = 12  # parameters of no known distribution that are drawn at most
CIRCUMSTANCES = 256  # draws of other parameters that a law is averaged over


@dataclass(frozen=True)
class Drawn:
    """A parameter, its draws, and where they come from.

    Attributes:
        name: of the parameter.
        distribution: None where the system draws without one.
        unit: of the configuration.
        values: of the draws, SI, (B, ...).
        support: of the distribution, SI, given those of the parameters it depends on.
        params: all parameters of the samples, SI, (B, ...).
        progress: global sample index at which they were drawn.
    """

    name: str
    distribution: Distribution | None
    unit: str
    values: Float[np.ndarray, "B ..."]
    support: tuple[float, float] = (-np.inf, np.inf)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    progress: float = 0.0

    @property
    def label(self) -> str:
        """Name and unit, for an axis."""
        return labelled(self.name, self.unit)

    @property
    def is_constant(self) -> bool:
        return self.distribution is not None and self.support[0] == self.support[1]

    @property
    def is_integer(self) -> bool:
        return self.distribution is not None and self.distribution.is_integer

    @property
    def varies(self) -> bool:
        return self.distribution is not None and self.distribution.varies

    @property
    def is_logarithmic(self) -> bool:
        """Whether its natural axis is logarithmic."""
        law = self.distribution
        return law is not None and self.support[0] > 0 and law.is_logarithmic

    @property
    def title(self) -> str:
        """What kind of distribution it is, and from where to where it reaches."""
        if self.distribution is None:
            return "drawn by the system"
        low, high = self.shown(np.array(self.support))
        reach = interval(float(low), float(high), self.unit)
        return f"{self.distribution.label}: {reach}" if reach else self.distribution.label

    def shown(self, values: Any) -> Any:
        """SI in the unit of the configuration."""
        return values / factor(self.unit)

    @property
    def present(self) -> Float[np.ndarray, " draws"]:
        """The draws in a row; those of absent peaks left out."""
        return self.values[present(self.params, self.values.shape)]

    @property
    def others(self) -> list[str]:
        """Names of the parameters that this one depends on: by their value, or by their rank."""
        if self.distribution is None:
            return []
        law = self.distribution
        return list(dict.fromkeys([*law.conditions.values(), *law.correlations]))

    @property
    def law(self) -> Law | None:
        """The exact law, averaged over draws of what it depends on; None where it is not known."""
        law = self.distribution
        others = () if law is None else law.at(self.progress).conditions.values()
        if law is None or not set(others) <= set(self.params):
            return None
        shape = self.values.shape
        shown = present(self.params, shape)
        values = {
            name: np.broadcast_to(aligned(np.asarray(self.params[name]), shape[1:]), shape)[shown]
            for name in dict.fromkeys(others)
        }
        if values:  # few of them, evenly over the range of the first
            order = np.argsort(next(iter(values.values())), kind="stable")
            chosen = order[:: max(order.size // CIRCUMSTANCES, 1)]
            values = {name: every[chosen] for name, every in values.items()}
        return Law.at(law, self.progress, values)


def members(thing: Any, is_wanted: Callable[[Any], bool]) -> dict[str, Any]:
    """What is wanted among the fields of an object, also inside its parts, by dotted name."""
    wanted: dict[str, Any] = {}

    def visit(name: str, value: Any) -> None:
        if is_wanted(value):
            wanted[name] = value
            return
        inner: Mapping[Any, Any] = {}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        elif isinstance(value, Mapping):
            inner = value
        elif isinstance(value, (list, tuple)):
            inner = dict(enumerate(value))
        elif not name and hasattr(value, "__dict__"):  # a system need not be a dataclass
            inner = vars(value)
        for key, part in inner.items():
            visit(f"{name}.{key}" if name else str(key), part)

    visit("", thing)
    return wanted


def nested_distributions(system: System) -> dict[str, Distribution]:
    """The distributions among the fields of a system, also inside its parts, by dotted name."""
    return members(system, lambda value: isinstance(value, Distribution))


def drawn_parameters(
    system: System, params: Mapping[str, Any], progress: float = 0.0
) -> dict[str, Drawn]:
    """The parameters that a system drew, those with a distribution first, by name."""
    distributions = nested_distributions(system)
    supports = _supports({name: distributions[name] for name in params if name in distributions})
    known: dict[str, Drawn] = {}
    others: dict[str, Drawn] = {}
    for name, values in params.items():
        values = np.asarray(values)
        if values.dtype.kind not in "biuf" or values.ndim == 0:
            continue
        values = values.astype(np.float64)
        if name not in distributions:
            others[name] = Drawn(name, None, "", values, params=params, progress=progress)
            continue
        unit, law = _unit(name, distributions), distributions[name]
        known[name] = Drawn(name, law, unit, values, supports[name], params, progress)
    return known | dict(list(others.items())[:MANY])


def _supports(distributions: Mapping[str, Distribution]) -> dict[str, tuple[float, float]]:
    """Each given those it depends on; without them where the system makes them itself."""
    supports: dict[str, tuple[float, float]] = {}
    laws = distributions.values()
    names = {name for law in laws for name in (*law.conditions.values(), *law.correlations)}
    is_closed = names <= set(distributions)
    for name in plan(links_of(distributions)).order if is_closed else distributions:
        try:
            supports[name] = distributions[name].support_given(supports)
        except ConfigError:
            supports[name] = distributions[name].support
    return supports


def _unit(name: str, distributions: Mapping[str, Distribution], depth: int = 8) -> str:
    """Unit of a distribution; of a share of another parameter, that parameter's."""
    other = distributions[name].unit_of
    if other is not None and other in distributions and depth:
        return _unit(other, distributions, depth - 1)
    return distributions[name].unit


def present(params: Mapping[str, Any], shape: tuple[int, ...]) -> Bool[np.ndarray, "..."]:
    """Which draws the samples show: those of absent peaks (beyond num_peaks) are left out."""
    count = params.get("num_peaks")
    if count is None or len(shape) != 2:
        return np.ones(shape, dtype=np.bool_)
    return np.arange(shape[1]) < np.asarray(count)[:, None]
