"""What every ready sequence checks before it uses its arguments, and how large it may get."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, get_type_hints

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number, Numbers, Rule, Whole
from ipads_stream.sequences.sequence import Sequence

P = ParamSpec("P")
RULES: dict[Any, Rule] = {
    int: Whole(),
    float: Number(),
    float | None: Number(optional=True),
    list[float]: Numbers(),
    list[float] | None: Numbers(optional=True),
}
# What is said of an argument that a sequence does not describe itself.
SHARED = {
    "fov": "m, square.",
    "matrix": "samples of a line, and lines.",
    "thickness": "of the slice, m; None: pulses act everywhere.",
    "dwell": "time between samples, s.",
    "refocusing": "angle of the refocusing pulses, rad.",
    "crushing": "turns of the phase by each crusher over the slice, or over a pixel; 0: none.",
    "spoiling": "turns of the phase over the slice, or over a pixel where there is none; 0: none.",
    "scanner": "whose limits hold; None: a human one of 3 T.",
}
RAISES = "Raises:\n    ConfigError: a value that the scanner cannot play, by name."
MOST_LINES = 100_000  # windows of the receiver, or pulses
MOST_SAMPLES = 20_000_000  # enough for 4096 lines of 4096 samples


def ready(make: Callable[P, Sequence]) -> Callable[P, Sequence]:
    """The same function, which first refuses arguments that are not what its annotations say.

    int: a whole number; float: a finite number; list[float]: a list of finite numbers; each or None
    where the annotation says so. Its docstring is completed by what all sequences share.
    """

    hints = get_type_hints(make)
    rules = {name: RULES[hint] for name, hint in hints.items() if hint in RULES}

    @functools.wraps(make)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Sequence:
        for name, value in kwargs.items():
            if name in rules:
                rules[name](name, value)
        if kwargs.get("scanner", "") is None:
            kwargs.pop("scanner")
        return make(*args, **kwargs)

    checked.__doc__ = _completed(inspect.getdoc(make) or "", hints)
    return checked


def _completed(doc: str, names: Iterable[str]) -> str:
    head, _, arguments = doc.partition("Args:\n")
    described, source, origin = arguments.partition("Source:")
    shared = [f"    {name}: {SHARED[name]}\n" for name in names
              if name in SHARED and f"{name}:" not in described]  # fmt: skip
    parts = [f"{head}Args:\n{''.join(shared)}{described.rstrip()}", RAISES, source + origin]
    return "\n\n".join(part for part in parts if part)


def check_size(counts: Mapping[str, int], lines: int, samples: int) -> None:
    """Refuse a sequence so large that it is a mistake: it would take hours, or all memory, to
    build.

    counts: arguments that decide how large it gets, each a whole number from 1; lines: windows of
    the receiver, or pulses, together; samples: in each.
    """
    for name, count in counts.items():
        Whole(low=1)(name, count)
    if lines <= MOST_LINES and lines * samples <= MOST_SAMPLES:
        return
    values = tuple(counts.values())
    asked = f"{lines} lines of {samples} samples; {MOST_LINES} lines and {MOST_SAMPLES} samples"
    allowed = f"less: it asks for {asked} together are allowed at most"
    raise ConfigError(", ".join(counts), values[0] if len(values) == 1 else values, allowed)
