"""Arguments of the closed forms: brought to one array library and dtype, and refused by value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_of, is_cupy
from ipads_stream.physics.arrays import is_array
from ipads_stream.physics.epg_arguments import (
    check_T2,
    common_dtype,
    common_shape,
    host,
    is_cuda,
    refuse,
    shared_library,
)

# Whether values are allowed, and what is said of them. A steady state needs recovery: T1 is finite.
_RANGES = {
    "T1": (lambda x: (x > 0) & np.isfinite(x), "a positive and finite time in s"),
    **{name: (lambda x: x > 0, "a positive time in s") for name in ("T2", "T2s", "TR", "ESP")},
    **{name: (lambda x: (x >= 0) & np.isfinite(x), "a finite time in s from 0 on")
       for name in ("TE", "TI")},
    "M0": (lambda x: (x >= 0) & np.isfinite(x), "a finite number from 0 on"),
    "efficiency": (lambda x: np.abs(x) <= 1, "from -1 to 1"),
}  # fmt: skip


def prepared(**arguments: Any) -> tuple[Any, ...]:
    """The array library, and every argument as its array of the common floating dtype.

    Args:
        arguments: numbers, or arrays of one library that broadcast; NumPy in float64 where all are
            numbers; whole numbers do not count for the dtype.

    Raises:
        ValueError: a value is out of range or the shapes do not fit, by name. Values are looked at
            on the host only: not on a GPU, where it would stop the stream, nor where torch hides
            them.
        TypeError: an argument is neither an array nor a number, or arrays of several libraries.
    """
    xp = shared_library(arguments)
    kind = common_dtype(xp, arguments)
    if "TR" in arguments:  # elsewhere TE has an axis of its own
        common_shape(arguments)
    values = on_host(arguments)
    for name, x in values.items():
        rule, allowed = _RANGES.get(name, (np.isfinite, "a finite number"))
        refuse(name, x, rule(x), allowed)
    for early in ("TE", "TI"):
        if early in values and "TR" in values:
            _check_order(values, early)
    if "T1" in values and "T2" in values:
        check_T2(values["T1"], values["T2"])
    where = next((device_of(x) for x in arguments.values() if is_array(x)), None)
    return xp, *(
        xp.astype(x, kind) if is_array(x) else xp.asarray(x, dtype=kind, device=where)
        for x in arguments.values()
    )


def on_host(arguments: dict[str, Any]) -> dict[str, np.ndarray]:
    """Those arguments, by name, whose values can be looked at without stopping a GPU."""
    near = {name: x for name, x in arguments.items() if not is_cupy(x) and not is_cuda(x)}
    seen = {name: host(x) for name, x in near.items()}
    return {name: x for name, x in seen.items() if x is not None}


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


def _check_order(values: dict[str, np.ndarray], early: str) -> None:
    first, TR = np.broadcast_arrays(values[early], values["TR"])
    late = first > TR * (1 + (1e-9 if TR.dtype != np.float32 else 1e-6))
    if np.any(late):
        raise ValueError(f"{early}={first[late].flat[0]}: at most TR={TR[late].flat[0]} is allowed")
