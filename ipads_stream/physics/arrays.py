"""Numbers and arrays brought to one library, dtype and device."""

from __future__ import annotations

from typing import Any

from ipads_stream.core.backend import device_of, is_numpy, namespace


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
