"""What every ready sequence checks before it uses its arguments, and how large it may get."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, ParamSpec, get_type_hints

from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences.sequence import Sequence

P = ParamSpec("P")
MOST_LINES = 100_000  # windows of the receiver, or pulses
MOST_SAMPLES = 20_000_000  # enough for 4096 lines of 4096 samples


def ready(make: Callable[P, Sequence]) -> Callable[P, Sequence]:
    """The same function, which first refuses arguments that are not what its annotations say.

    int: a whole number; float: a finite number; list[float]: a list of finite numbers; each or
    None where the annotation says so.

    Args:
        make: a function of keywords that returns a sequence.

    Raises:
        ConfigError: such an argument, by name.
    """

    @functools.wraps(make)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Sequence:
        hints = get_type_hints(make)
        for name, value in kwargs.items():
            _check(name, value, str(hints.get(name)))
        return make(*args, **kwargs)

    return checked


def _check(name: str, value: Any, hint: str) -> None:
    if "None" in hint and value is None:
        return
    null = ", or null" if "None" in hint else ""
    if "list[float]" in hint:
        if not isinstance(value, (list, tuple)) or not all(_is_finite(each) for each in value):
            raise ConfigError(name, value, f"a list of finite numbers{null}")
    elif "int" in hint:
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise ConfigError(name, value, f"a whole number{null}")
    elif "float" in hint and not _is_finite(value):
        raise ConfigError(name, value, f"a finite number{null}")


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_dummies(num_dummies: int) -> None:
    """Refuse what is not a number of repetitions without readout."""
    if not 0 <= num_dummies <= MOST_LINES:
        raise ConfigError("num_dummies", num_dummies, f"a whole number from 0 to {MOST_LINES}")


def check_size(counts: Mapping[str, int], lines: int, samples: int) -> None:
    """Refuse a sequence that nobody can mean: it would take hours, or all memory, to build.

    Args:
        counts: arguments that decide how large it gets, each a whole number from 1.
        lines: windows of the receiver, or pulses, together.
        samples: in each.

    Raises:
        ConfigError: names the counts.
    """
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(name, count, "a whole number from 1")
    if lines <= MOST_LINES and lines * samples <= MOST_SAMPLES:
        return
    values = tuple(counts.values())
    asked = f"{lines} lines of {samples} samples; {MOST_LINES} lines and {MOST_SAMPLES} samples"
    allowed = f"less: it asks for {asked} together are allowed at most"
    raise ConfigError(", ".join(counts), values[0] if len(values) == 1 else values, allowed)
