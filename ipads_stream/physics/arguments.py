"""Arguments of the simulators: which values, types, libraries and shapes are allowed.

T1 is a positive time wherever it stands; a formalism says only what differs. Values are looked at
on the host alone: on a GPU it would stop the stream, and transforms of torch hide them.
"""

from __future__ import annotations

import contextlib
import math
import operator
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_of, is_cupy, is_numpy, is_torch, namespace
from ipads_stream.physics.arrays import host, is_array, on_host

STRONGEST_GRADIENT = 1.0  # T/m; head-only and preclinical coils reach 0.5 and 1.0
_LIBRARIES = {"NumPy": is_numpy, "CuPy": is_cupy, "torch": is_torch}


@dataclass(frozen=True, kw_only=True)
class Range:
    """What the values of an array may be; of complex ones their modulus.

    Attributes:
        noun: what they are, with the unit.
        low, high: the closed interval in which they lie.
        positive: whether 0 is left out, too.
        infinite: whether infinity will do.
    """

    noun: str = "number"
    low: float = -math.inf
    high: float = math.inf
    positive: bool = False
    infinite: bool = False

    def __call__(self, name: str, x: np.ndarray) -> None:
        """Refuse the first of the values that is not allowed."""
        if x.dtype.kind not in "fciu":
            raise ValueError(f"{name}={x!r}: numbers are allowed")
        if not x.size:
            return
        size = np.abs(x) if x.dtype.kind == "c" else x
        # Two plain numbers in place of arrays: NaN is the least and the largest where there is one.
        if not (self._holds(size.min().item()) and self._holds(size.max().item())):
            bad = np.array([not self._holds(value) for value in size.ravel().tolist()])
            raise ValueError(f"{name}={x.ravel()[bad][0]}: {self.allowed} is allowed")

    def _holds(self, x: int | float) -> bool:
        low = x > 0 if self.positive else x >= self.low
        return low and x <= self.high and (self.infinite or math.isfinite(x))

    @property
    def allowed(self) -> str:
        """What may stand there, in words."""
        finite, positive = "" if self.infinite else "finite ", "positive " if self.positive else ""
        if math.isfinite(self.high):
            return f"a {finite}{self.noun} from {self.low:g} to {self.high:g}"
        start = f" from {self.low:g} on" if math.isfinite(self.low) else ""
        return f"a {finite}{positive}{self.noun}{start}"


TIME = Range(noun="time in s", low=0.0)
POSITIVE_TIME = Range(noun="time in s", positive=True)
RELAXATION = Range(noun="time in s", positive=True, infinite=True)
RANGES: dict[str, Range] = {
    **dict.fromkeys(("T1", "T2", "T2s", "T2p"), RELAXATION),
    **dict.fromkeys(("dt", "TR", "TE", "TI", "duration", "gap"), TIME),
    **dict.fromkeys(("ESP", "dwell", "decay"), POSITIVE_TIME),
    **dict.fromkeys(("flip", "phase", "increment", "receiver"), Range(noun="angle in rad")),
    **dict.fromkeys(("shift_ppm", "df_ppm", "offsets_ppm"), Range(noun="number of ppm")),
    **dict.fromkeys(("initial", "Mz0", "efficiency"), Range(low=-1.0, high=1.0)),
    **dict.fromkeys(("M0", "fraction", "fractions"), Range(low=0.0)),
    "B0": Range(noun="field in T", positive=True),
    "B1": Range(noun="factor"),
    "D": Range(noun="number of m^2/s", low=0.0),
    "amplitude": Range(noun="number of T", low=-1e-3, high=1e-3),  # saturation takes microtesla
    "df": Range(noun="number of Hz"),
    "exchange": Range(noun="rate in Hz", low=0.0),
    "interval": RELAXATION,
    "memory": Range(noun="time in s", low=0.0, infinite=True),
    "gradient": Range(noun="number of T/m", low=-STRONGEST_GRADIENT, high=STRONGEST_GRADIENT),
    "position": Range(noun="number of m"),
    "tolerance": Range(positive=True),
    "voxel": Range(noun="length in m", low=0.0),
}


def check_values(named: Mapping[str, Any], changed: Mapping[str, Range] | None = None) -> None:
    """Refuse values that make no sense, where they can be looked at; None is left out.

    The part of a name after its last dot selects the range, common or, where given, changed.
    """
    ranges = RANGES | dict(changed or {})
    values = on_host({name: x for name, x in named.items() if x is not None})
    for name, x in values.items():
        noun = name.rpartition(".")[2]
        ranges.get(name, ranges.get(noun, Range()))(name, x)
    for name, T2 in values.items():
        T1 = values.get(name[:-2] + "T1")
        if name.rpartition(".")[2] != "T2" or T1 is None:
            continue
        wrong = (T2 > 2 * T1) & np.isfinite(T2)  # inf leaves transverse relaxation out
        if np.any(wrong):
            T1, T2 = (np.broadcast_to(x, wrong.shape)[wrong].flat[0] for x in (T1, T2))
            raise ValueError(f"{name}={T2}: at most 2 T1 = {2 * T1} s is allowed")


def whole_number(
    name: str, x: Any, low: int = 1, allowed: str = "", high: int | float = math.inf
) -> int:
    """x as int, of Python, NumPy or any library; ``allowed`` is said in place of the lowest."""
    with contextlib.suppress(TypeError):
        number, is_flag = operator.index(x), isinstance(x, bool | np.bool_)
        if low <= number <= high and not is_flag:
            return number
    allowed = allowed or f"a whole number from {low} on"
    raise ValueError(f"{name}={x!r}: {allowed} is allowed")


def check_shape(name: str, x: Any, *shapes: Any, note: str = "") -> None:
    """Refuse a number or an array of a shape that is none of those allowed; the note is added."""
    shape = tuple(np.shape(x))
    if shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{name}: shape {shape}; {wanted} is allowed{note}")


def common_shape(named: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape to which named arguments broadcast, or a ValueError that names theirs."""
    try:
        return np.broadcast_shapes(*(tuple(np.shape(x)) for x in named.values()))
    except ValueError as error:
        shapes = ", ".join(f"{name} {tuple(np.shape(x))}" for name, x in named.items())
        raise ValueError(f"{shapes}: these shapes do not fit together") from error


def numbers_of(name: str, x: Any) -> np.ndarray:
    """The values of x in NumPy; refuses those that a transform of torch hides."""
    values = host(x)
    if values is None:
        raise ValueError(f"{name}: numbers are needed, they are hidden by a transform of torch")
    return np.asarray(values, float)


def check_arrays(named: Mapping[str, Any], numbers: Collection[str] = ()) -> None:
    """Refuse what is no array nor, where ``numbers`` names it, a number; None is left out."""
    for name, x in named.items():
        number = name in numbers
        if x is None or is_array(x) or (number and isinstance(x, Real)):
            continue
        allowed = f"{'a number or ' if number else ''}an array of NumPy, CuPy or torch"
        raise TypeError(f"{name}={reprlib.repr(x)} ({type(x).__name__}): {allowed} is allowed")


def check_one_library(named: Mapping[str, Any]) -> None:
    """Refuse arrays of several libraries, by name; numbers go with any."""
    names: dict[str, list[str]] = {}
    for name, x in named.items():
        if is_array(x):
            other = type(x).__module__.partition(".")[0]
            library = next((known for known, belongs in _LIBRARIES.items() if belongs(x)), other)
            names.setdefault(library, []).append(name)
    if len(names) > 1:
        given = "; ".join(f"{', '.join(group)}: {library}" for library, group in names.items())
        raise TypeError(f"{given}; arrays of one library are allowed")


def leading_array(named: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> Any:
    """An empty array of the library, the floating dtype and the device that a result takes.

    Whole numbers do not count for the dtype; without any array it is float64 of NumPy. Others may
    be of NumPy beside any library, and lead where no named argument is an array. Refused are what
    is no array or number, complex numbers, booleans, other precisions, and a mixture of libraries.
    """
    given = {**named, **(others or {})}
    for name, x in given.items():
        if x is None:
            raise TypeError(f"{name}=None: a number or an array is allowed")
    check_arrays(given, numbers=given)
    arrays = {name: x for name, x in given.items() if is_array(x)}
    leading = {name: x for name, x in arrays.items() if name in named or not is_numpy(x)}
    check_one_library(leading)
    like = next(iter(leading.values()), np.empty(0))
    xp = namespace(like)
    fields = {name: x for name, x in arrays.items() if name in named} or {
        name: x for name, x in arrays.items()
        if namespace(x) is xp and xp.isdtype(x.dtype, "real floating")
    }  # fmt: skip
    kinds = {name: x.dtype for name, x in fields.items() if not xp.isdtype(x.dtype, "integral")}
    for name, kind in kinds.items():
        if not xp.isdtype(kind, "real floating"):
            raise TypeError(f"{name} of {kind}: real numbers are allowed")
    kind = xp.result_type(*kinds.values()) if kinds else xp.float64
    if kind not in (xp.float32, xp.float64):
        raise TypeError(f"{', '.join(kinds)} of {kind}: float32 or float64 is allowed")
    return xp.empty((0,), dtype=kind, device=device_of(like))
