"""What the arguments of a configured class may be, stated where its fields are declared.

    @dataclass(frozen=True, kw_only=True)
    class Shot:
        TE: float = number(above=0.0)
        data: str = choice("complex", among=("complex", "magnitude"))

``check`` reads what the fields say and refuses by name. A rule also serves on its own, for an
argument of a function: ``Whole(low=1)("steps", steps)``.
"""

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from ipads_stream.core.errors import ConfigError

RULE = "rule"  # key of a field's metadata


class Rule(Protocol):
    """Checks one value; gives it back in the form in which it is kept."""

    def __call__(self, name: str, value: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Number:
    """A finite number.

    Attributes:
        low, high: the closed interval that it lies in.
        above, below: the open one.
        optional: whether None is allowed.
        infinite: whether infinity is allowed.
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    optional: bool = False
    infinite: bool = False

    kind = "number"
    types: tuple[type, ...] = (int, float, np.integer, np.floating)

    def __call__(self, name: str, value: Any) -> Any:
        if value is None and self.optional:
            return value
        is_number = isinstance(value, self.types) and not isinstance(value, (bool, np.bool_))
        if not is_number or not self._holds(value):
            raise ConfigError(name, value, self.allowed)
        return value

    def _holds(self, value: Any) -> bool:
        above = self.above == -math.inf or value > self.above
        below = self.below == math.inf or value < self.below
        inside = self.low <= value <= self.high and above and below
        return bool(inside and (self.infinite or math.isfinite(value)))

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        bounds = {"at least": self.low, "above": self.above, "at most": self.high,
                  "below": self.below}  # fmt: skip
        interval = " and ".join(f"{x} {end:g}" for x, end in bounds.items() if math.isfinite(end))
        finite = "" if self.infinite or self.kind != "number" else "finite "
        text = f"a {finite}{self.kind}" + (f", {interval}" if interval else "")
        return text + (", or null" if self.optional else "")


@dataclass(frozen=True, kw_only=True)
class Whole(Number):
    """A whole number.

    Attributes:
        odd: whether it must be odd; the others are those of :class:`Number`.
    """

    odd: bool = False

    kind = "whole number"
    types: tuple[type, ...] = (int, np.integer)

    def _holds(self, value: Any) -> bool:
        return super()._holds(value) and not (self.odd and value % 2 == 0)

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        text = super().allowed
        return text.replace("a whole", "an odd whole") if self.odd else text


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A list of numbers, or of what else ``each`` allows, kept as a tuple.

    Attributes:
        each: what every one of them may be.
        count: how many there are; None: ``least`` or more.
        least: how many there are at least.
        rises: whether each is above the one before.
        what: they are, in words.
        optional: whether None is allowed.
        convert: made of each, such as ``float``; None: as given.
    """

    each: Rule = Number()
    count: int | None = None
    least: int = 1
    rises: bool = False
    what: str = "numbers"
    optional: bool = False
    convert: type | None = None

    def __call__(self, name: str, value: Any) -> Any:
        if value is None and self.optional:
            return value
        if isinstance(value, np.ndarray):
            value = value.tolist()
        length = len(value) if _is_list(value) else -1
        if length < self.least or (self.count is not None and length != self.count):
            least = f"at least {self.least} " if self.least > 1 else ""
            asked = f"a list of {least if self.count is None else f'{self.count} '}{self.what}"
            raise ConfigError(name, value, asked + ", or null" * self.optional)
        checked = [self.each(f"{name}[{i}]", x) for i, x in enumerate(value)]
        for i in range(1, length if self.rises else 0):
            if not checked[i - 1] < checked[i]:
                allowed = f"above the one before, {checked[i - 1]:g}"
                raise ConfigError(f"{name}[{i}]", checked[i], allowed)
        return tuple(checked if self.convert is None else map(self.convert, checked))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several words.

    Attributes:
        among: the words.
        optional: whether None is allowed.
    """

    among: tuple[str, ...]
    optional: bool = False

    def __call__(self, name: str, value: Any) -> Any:
        if (value is None and self.optional) or (isinstance(value, str) and value in self.among):
            return value
        allowed = f"one of {', '.join(self.among)}" + ", or null" * self.optional
        raise ConfigError(name, value, allowed)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def __call__(self, name: str, value: Any) -> Any:
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        raise ConfigError(name, value, "true or false")


@dataclass(frozen=True, kw_only=True)
class Names:
    """A list of names, kept as a tuple.

    Attributes:
        what: that is named, for the error.
    """

    what: str = "names"

    def __call__(self, name: str, value: Any) -> Any:
        if not _is_list(value) or not all(isinstance(word, str) for word in value):
            raise ConfigError(name, value, f"a list of {self.what}")
        return tuple(value)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An object of a class, or of one of several.

    Attributes:
        of: the class or classes.
        allowed: how an error describes them; "": their names.
        optional: whether None is allowed.
    """

    of: Any
    allowed: str = ""
    optional: bool = False

    def __call__(self, name: str, value: Any) -> Any:
        if (value is None and self.optional) or isinstance(value, self.of):
            return value
        classes = self.of if isinstance(self.of, tuple) else (self.of,)
        names = " or ".join(f"{each.__module__}.{each.__qualname__}" for each in classes)
        raise ConfigError(name, value, (self.allowed or names) + ", or null" * self.optional)


@dataclass(frozen=True)
class Direction:
    """Three numbers, not all 0, kept as a tuple of floats."""

    def __call__(self, name: str, value: Any) -> Any:
        kept = Numbers(count=3, convert=float)(name, value)
        if not any(kept):
            raise ConfigError(name, value, "a direction: three numbers, not all 0")
        return kept


COUNT = Whole(low=1)
COUNTS = Numbers(each=COUNT)
POSITIVE = Number(above=0.0)
VOLUME = Numbers(each=Whole(low=1, high=2048), count=3, convert=int)  # voxels along X, Y and Z
# Of the voxels of a volume, m; what is larger than a person was meant in another unit.
SPACING = Numbers(each=Number(above=0.0, below=10.0), count=3, convert=float)


def ruled(rule: Rule, default: Any = MISSING) -> Any:
    """A field of a dataclass with a rule; without a default a value must be given."""
    return field(default=default, metadata={RULE: rule})


def number(
    default: Any = MISSING,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    optional: bool = False,
    infinite: bool = False,
) -> Any:
    """A field for a number; the arguments are those of :class:`Number`."""
    rule = Number(
        low=low, high=high, above=above, below=below, optional=optional, infinite=infinite
    )
    return ruled(rule, default)


def whole(
    default: Any = MISSING,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    optional: bool = False,
) -> Any:
    """A field for a whole number."""
    return ruled(Whole(low=low, high=high, optional=optional), default)


def choice(default: Any = MISSING, *, among: Sequence[str], optional: bool = False) -> Any:
    """A field for one of several words."""
    return ruled(Choice(among=tuple(among), optional=optional), default)


def flag(default: Any = MISSING) -> Any:
    """A field for true or false."""
    return ruled(Flag(), default)


def instance(of: Any, default: Any = MISSING, *, optional: bool = False) -> Any:
    """A field for an object of a class."""
    return ruled(Instance(of=of, optional=optional), default)


def check(thing: Any) -> None:
    """Checks every field of a dataclass that has a rule, and keeps what the rule gives back;
    ConfigError by the name of the field."""
    for each in fields(thing):
        rule = each.metadata.get(RULE)
        if rule is None:
            continue
        value = getattr(thing, each.name)
        kept = rule(each.name, value)
        if kept is not value:
            keep(thing, **{each.name: kept})


def keep(thing: Any, **values: Any) -> None:
    """Sets fields of a frozen dataclass while it is made: values in the form they are kept in."""
    for name, value in values.items():
        object.__setattr__(thing, name, value)
