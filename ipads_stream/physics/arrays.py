"""Numbers and arrays: what is one of them, and brought to one library, dtype and device."""

from __future__ import annotations

import reprlib
from collections.abc import Collection
from numbers import Real
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_of, is_cupy, is_numpy, is_torch, namespace

_LIBRARIES = {"NumPy": is_numpy, "CuPy": is_cupy, "torch": is_torch}


def as_float(x: Any, like: Any) -> Any:
    """x as an array of the library, floating dtype and device of another, differentiable.

    Args:
        x: a number, numbers in a sequence, a NumPy array, or an array of that library.
        like: floating array.
    """
    xp = namespace(like)
    if hasattr(x, "shape") and not is_numpy(x):
        return xp.astype(x, like.dtype)
    return xp.asarray(x, dtype=like.dtype, device=device_of(like))


def is_array(x: Any) -> bool:
    """Whether x is an array, which a number is not, nor a scalar of NumPy."""
    return hasattr(x, "shape") and not isinstance(x, np.generic)


def check_arrays(named: dict[str, Any], numbers: Collection[str] = ()) -> None:
    """Refuse what is neither an array nor, where it may be one, a number; None is left out.

    Args:
        named: arguments by name.
        numbers: names of those that may be numbers.

    Raises:
        TypeError: names the argument, its value, its type and what is allowed.
    """
    for name, x in named.items():
        number = name in numbers
        if x is None or is_array(x) or (number and isinstance(x, Real)):
            continue
        allowed = f"{'a number or ' if number else ''}an array of NumPy, CuPy or torch"
        raise TypeError(f"{name}={reprlib.repr(x)} ({type(x).__name__}): {allowed} is allowed")


def check_one_library(named: dict[str, Any]) -> None:
    """Refuse arrays of several libraries; numbers go with any.

    Args:
        named: arguments by name.

    Raises:
        TypeError: names the arguments and their libraries.
    """
    found: dict[str, list[str]] = {}
    for name, x in named.items():
        if is_array(x):
            found.setdefault(_library(x), []).append(name)
    if len(found) > 1:
        given = "; ".join(f"{', '.join(names)}: {library}" for library, names in found.items())
        raise TypeError(f"{given}; arrays of one library are allowed")


def _library(x: Any) -> str:
    for name, belongs in _LIBRARIES.items():
        if belongs(x):
            return name
    return type(x).__module__.partition(".")[0]
