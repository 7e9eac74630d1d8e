"""Kernel, formula or adjoint, by the kind of array: the one place in which a simulator chooses.

| arrays | what computes |
|---|---|
| NumPy | the kernel in Numba |
| CuPy | the kernel in CUDA |
| torch, without a gradient | the kernel of the device, on the tensors' memory |
| torch, with a gradient in reverse mode | the kernel and its adjoint, or the formula |
| torch as dual numbers, in vmap, or in a graph being compiled | the formula |
| any other library of the array API | the formula |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ipads_stream.core.backend import device_of, is_cupy, is_numpy, is_torch, namespace
from ipads_stream.physics.arrays import precision

Kernel = Callable[[Any, Mapping[str, Any]], None]
Adjoint = Callable[[Any, Mapping[str, Any], frozenset[str]], Mapping[str, Any]]


def dispatched(
    arguments: Mapping[str, Any],
    kernel: Kernel,
    formula: Callable[[], Any],
    *,
    like: Any,
    shape: tuple[int, ...],
    dtype: str,
    adjoint: Adjoint | None = None,
) -> Any:
    """What a kernel makes of arguments, or the formula where it cannot.

    Args:
        arguments: by name; arrays of the library of like, or what a kernel takes besides. All
            tensors that the result depends on are among them.
        kernel: (out, arguments) fills out; all arrays are of NumPy or of CuPy.
        formula: () to the same result in the array API.
        like: array of the library and on the device of the result.
        shape, dtype: of the result, the dtype by its name.
        adjoint: (cotangent, arguments, wanted) to gradients by name, of those wanted at least, in
            the shapes of the arguments: see ``handover.with_adjoint``.
    """
    if not is_torch(like):
        if not (is_numpy(like) or is_cupy(like)):
            return formula()
        out = _empty(like, shape, dtype)
        kernel(out, arguments)
        return out
    from ipads_stream.core.handover import is_transformed, views, wants_gradient, with_adjoint

    tensors = {name: x for name, x in arguments.items() if is_torch(x)}
    if any(map(is_transformed, tensors.values())):
        return formula()
    wanted = frozenset(name for name, x in tensors.items() if wants_gradient(x))
    if wanted and adjoint is None:
        return formula()

    if not wanted:
        near = {name: x for name, x in tensors.items() if x.device == like.device}
        out = _empty(like, shape, dtype)
        with views(out, *near.values()) as (target, *arrays):
            kernel(target, {**arguments, **dict(zip(near, arrays, strict=True))})
        return out

    def compute(*arrays: Any) -> Any:
        result = _empty(arrays[0], shape, dtype)
        kernel(result, {**arguments, **dict(zip(tensors, arrays, strict=True))})
        return result

    def pull_back(cotangent: Any, *arrays: Any) -> tuple[Any, ...]:
        given = {**arguments, **dict(zip(tensors, arrays, strict=True))}
        slopes = adjoint(cotangent, given, wanted)  # type: ignore[misc]
        return tuple(slopes[name] if name in wanted else None for name in tensors)

    return with_adjoint(compute, pull_back, *tensors.values())


def real_option(like: Any) -> tuple[str]:
    """The option that compiles a CUDA text for the real precision of an array."""
    return (f"-DREAL={'float' if precision(like) in ('float32', 'complex64') else 'double'}",)


def _empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    xp = namespace(like)
    return xp.empty(shape, dtype=getattr(xp, dtype), device=device_of(like))
