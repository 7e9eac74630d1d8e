"""Numbers and arrays: what is one of them, and brought to one library, dtype and device."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from ipads_stream.core.backend import (
    device_of,
    interned,
    is_cupy,
    is_numpy,
    is_torch,
    kept,
    namespace,
)


def is_array(x: Any) -> bool:
    """Whether x is an array, which a number is not, nor a scalar of NumPy."""
    return hasattr(x, "shape") and not isinstance(x, np.generic)


def as_sequence(x: Any) -> Any:
    """x, a list or tuple of numbers, as an array of NumPy in float64; all else as it is."""
    return np.asarray(x, float) if isinstance(x, list | tuple) else x


def as_float(x: Any, like: Any, kind: str | None = None) -> Any:
    """x in the library, device and floating dtype (or ``kind``) of another, differentiable."""
    xp = namespace(like)
    dtype = like.dtype if kind is None else getattr(xp, kind)
    if is_array(x) and not is_numpy(x):
        return xp.astype(x, dtype, copy=False)
    if is_cupy(like) and not is_array(x) and isinstance(x, Real):
        return kept(interned(np.asarray(x, float)), xp, dtype)
    return xp.asarray(x, dtype=dtype, device=device_of(like))


def as_constant(x: np.ndarray, like: Any) -> Any:
    """x of NumPy, which is the same array each time, as :func:`as_float` has it; on a GPU kept."""
    return kept(x, namespace(like), like.dtype) if is_cupy(like) else as_float(x, like)


def as_float64(x: Any, like: Any) -> Any:
    """x as :func:`as_float` has it, in float64."""
    return as_float(x, like, "float64")


def precision(x: Any) -> str:
    """The name of the dtype of an array, such as "float32"."""
    return str(x.dtype).rpartition(".")[2]


def complex_of(kind: str) -> str:
    """The name of the complex dtype of the precision of a real one."""
    return {"float32": "complex64", "float64": "complex128"}[kind]


def phasor(xp: Any, modulus: Any, turns: Any, kind: str | None = None) -> Any:
    """modulus exp(2 pi i turns), in which whole turns cost no digits, of a complex dtype kind."""
    angle = 2 * np.pi * (turns - xp.round(turns))
    real, imaginary = modulus * xp.cos(angle), modulus * xp.sin(angle)
    dtype = getattr(xp, kind or complex_of(precision(modulus)))
    return xp.astype(real, dtype) + 1j * xp.astype(imaginary, dtype)


def rotated(xp: Any, m: Any, angle: Any) -> tuple[Any, ...]:
    """Vectors after a rotation, right-handed, by Rodrigues' formula; smooth at no rotation as well.

    m, angle: three components each, arrays that broadcast; angles in rad.
    """
    square = angle[0] ** 2 + angle[1] ** 2 + angle[2] ** 2
    small = square < 1e-4
    size = xp.sqrt(xp.where(small, xp.ones_like(square), square))
    # 1 - cos is 2 sin^2: no difference of nearly equal numbers.
    a = xp.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), xp.sin(size) / size)
    series = 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56))
    b = xp.where(small, series, 2 * (xp.sin(0.5 * size) / size) ** 2)
    once = tuple(angle[i - 2] * m[i - 1] - angle[i - 1] * m[i - 2] for i in range(3))
    twice = tuple(angle[i - 2] * once[i - 1] - angle[i - 1] * once[i - 2] for i in range(3))
    return tuple(m[i] + a * once[i] + b * twice[i] for i in range(3))


def host(x: Any) -> np.ndarray | None:
    """The values of x in NumPy; None where they are hidden, as in vmap or in a compiled graph."""
    if is_cupy(x):
        return x.get()
    if is_torch(x):
        from ipads_stream.core.handover import is_traced

        plain = x.detach()
        return None if is_traced(plain) else plain.cpu().numpy()
    return np.asarray(x)


def on_host(named: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Those arguments, by name, whose values can be looked at without stopping a GPU."""
    near = {name: x for name, x in named.items() if not is_cupy(x)}
    seen = {name: host(x) for name, x in near.items() if not (is_torch(x) and x.is_cuda)}
    return {name: x for name, x in seen.items() if x is not None}
