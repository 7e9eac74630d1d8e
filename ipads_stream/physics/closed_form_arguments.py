"""Arguments of the closed forms: brought to one array library and dtype, and refused as numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_of, namespace

_TIMES = ("T1", "T2", "T2s", "TR", "ESP")
_RANGES = {
    **{name: (lambda x: x > 0, "a positive time in s") for name in _TIMES},
    **{
        name: (lambda x: 0 <= x < math.inf, "a finite time in s from 0 on") for name in ("TE", "TI")
    },
    **{name: (lambda x: 0 <= x < math.inf, "a finite number from 0 on") for name in ("B1", "M0")},
    "efficiency": (lambda x: -1 <= x <= 1, "from -1 to 1"),
}


def prepared(**arguments: Any) -> tuple[Any, ...]:
    """The array library, and every argument as its array of the common floating dtype.

    Args:
        arguments: numbers, or arrays of one library that broadcast; NumPy in float64 where all are
            numbers.

    Raises:
        ValueError: a number is out of range, by name. Values of arrays are not looked at.
        TypeError: arrays of several libraries.
    """
    for name, x in arguments.items():
        if not hasattr(x, "shape"):
            rule, allowed = _RANGES.get(name, (math.isfinite, "a finite number"))
            if not rule(x):
                raise ValueError(f"{name}={x}: {allowed} is allowed")
    _check_order(arguments, "TE", "TR")
    _check_order(arguments, "TI", "TR")
    T1, T2 = arguments.get("T1", math.inf), arguments.get("T2", math.inf)
    numbers = not any(hasattr(x, "shape") for x in (T1, T2))
    if numbers and math.isfinite(T2) and T2 > 2 * T1:
        raise ValueError(f"T2={T2}: at most 2 T1 = {2 * T1} s is allowed")
    arrays = [x for x in arguments.values() if hasattr(x, "shape")] or [np.asarray(0.0)]
    xp, where = namespace(*arrays), device_of(arrays[0])
    kinds = [x.dtype for x in arrays if xp.isdtype(x.dtype, "real floating")]
    kind = xp.result_type(*kinds) if kinds else xp.float64
    return xp, *(
        xp.astype(x, kind) if hasattr(x, "shape") else xp.asarray(x, dtype=kind, device=where)
        for x in arguments.values()
    )


def as_phasor(xp: Any, modulus: Any, turns: Any) -> Any:
    """modulus exp(2 pi i turns), complex of the same precision.

    Args:
        xp: array library.
        modulus, turns: real arrays that broadcast.
    """
    angle = 2 * math.pi * (turns - xp.round(turns))
    kind = xp.complex64 if modulus.dtype == xp.float32 else xp.complex128
    real, imaginary = modulus * xp.cos(angle), modulus * xp.sin(angle)
    return xp.astype(real, kind) + 1j * xp.astype(imaginary, kind)


def _check_order(arguments: dict[str, Any], early: str, late: str) -> None:
    a, b = arguments.get(early), arguments.get(late)
    if a is None or b is None or hasattr(a, "shape") or hasattr(b, "shape"):
        return
    if a > b * (1 + 1e-9):
        raise ValueError(f"{early}={a}: at most {late}={b} is allowed")
