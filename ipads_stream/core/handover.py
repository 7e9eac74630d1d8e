"""Hand-over between torch and the libraries that generate: the same memory, in stream order.

torch owns whatever outlives a call: an array of CuPy's that torch drops returns to the generating
stream, which may overwrite it while training still reads. CuPy allocates from torch's memory, too:
of two pools each would keep what the other lacks. That costs the host some microseconds an array.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ipads_stream.core.backend import (
    device_namespace,
    is_cupy,
    is_numpy,
    on_stream,
    resolve_device,
)
from ipads_stream.core.errors import ConfigError


def working_device(device: str = "auto") -> str:
    """``cpu``, ``cuda`` or ``cuda:1``, on which both CuPy and torch work; ``auto`` warns where one
    of them sees a GPU and the other does not.

    Raises:
        ConfigError: no such name or device, or one of both libraries cannot use it.
    """
    has_torch = torch.cuda.is_available()
    reason = "torch finds no GPU" if torch.version.cuda else "torch is a CPU build"
    if device == "auto":
        resolved = resolve_device(device)
        if resolved == "cuda" and not has_torch:
            warnings.warn(f"device=auto is the CPU: CuPy finds a GPU, {reason}", stacklevel=2)
            return "cpu"
        if resolved == "cpu" and has_torch:
            lacks = "CuPy, which pip install 'ipads_stream[cuda13]' or [cuda12] brings, does not"
            warnings.warn(f"device=auto is the CPU: torch finds a GPU, {lacks}", stacklevel=2)
        return resolved
    device_namespace(device)
    if resolve_device(device) != "cpu" and not has_torch:
        raise ConfigError("device", device, f"cpu here ({reason})")
    return device


def network_device(device: str = "auto") -> str:
    """The device that torch runs a network on, with ``auto`` where batches are made, too.

    Raises:
        ConfigError: no such name, or a GPU that torch does not find.
    """
    if device == "auto":
        return working_device()
    if resolve_device(device) != "cpu" and not torch.cuda.is_available():
        raise ConfigError("device", device, "cpu or auto: torch finds no CUDA device")
    return device


def allocate(size: int) -> tuple[int, Any]:
    """Bytes of torch's on the current device and stream, for ``on_stream``: address and owner."""
    storage = torch.empty(size, dtype=torch.uint8, device="cuda")
    return storage.data_ptr(), storage


def to_torch(array: Any) -> torch.Tensor:
    """The array as a tensor on its device, without a copy.

    A CuPy array is ordered after CuPy's current stream: call this while the producer's is current.
    """
    if is_numpy(array):
        return torch.from_numpy(array)
    if is_cupy(array):
        return torch.from_dlpack(array)
    if isinstance(array, torch.Tensor):
        return array
    raise TypeError(f"to_torch takes a NumPy or CuPy array or a tensor, got {type(array).__name__}")


def is_traced(tensor: torch.Tensor) -> bool:
    """Whether torch follows the tensor: for a gradient, as a dual number, in vmap, in a graph."""
    return wants_gradient(tensor) or is_transformed(tensor)


def wants_gradient(tensor: torch.Tensor) -> bool:
    """Whether torch follows the tensor for reverse mode alone, which ``with_adjoint`` serves."""
    return tensor.requires_grad and torch.is_grad_enabled() and not is_transformed(tensor)


def is_transformed(tensor: torch.Tensor) -> bool:
    """Whether the tensor is a dual number, in vmap or torch.func, or in a graph being compiled."""
    return (
        torch.compiler.is_compiling()
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None
    )


def with_adjoint(
    compute: Callable[..., Any],
    pull_back: Callable[..., tuple[Any, ...]],
    *tensors: torch.Tensor,
) -> torch.Tensor:
    """What ``compute`` makes of the tensors, with ``pull_back`` as its derivative in reverse mode.

    Both run on NumPy or CuPy arrays over the tensors' memory, which they must not change. The
    derivative has none of its own: asking for it is an error.

    Args:
        compute: arrays to an array; not one that shares memory with them.
        pull_back: (cotangent, *arrays) to one gradient or None per array, in its shape; of a
            complex array conjugate, as torch has it: d/d(real part) + i d/d(imaginary part).
        tensors: on one device; none dual, in vmap or in a graph (``is_transformed``).
    """
    return _Adjoint.apply(compute, pull_back, *tensors)


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compute: Any, pull_back: Any, *tensors: torch.Tensor) -> torch.Tensor:
        ctx.pull_back = pull_back
        ctx.save_for_backward(*tensors)
        with views(*tensors) as arrays:
            return _owned(compute(*arrays))

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        tensors = ctx.saved_tensors
        with torch.no_grad(), views(cotangent.contiguous(), *tensors) as (first, *arrays):
            slopes = ctx.pull_back(first, *arrays)
            owned = [None if slope is None else _owned(slope) for slope in slopes]
        grads = [
            None if x is None else x.to(tensor.dtype).reshape(tensor.shape)
            for x, tensor in zip(owned, tensors, strict=True)
        ]
        if torch.is_grad_enabled():
            grads = [None if x is None else _Once.apply(x, cotangent, *tensors) for x in grads]
        return None, None, *grads


class _Once(torch.autograd.Function):
    """A slope that cannot be followed further.

    torch's once_differentiable takes it for a constant where the cotangent is one.
    """

    @staticmethod
    def forward(ctx: Any, slope: torch.Tensor, *sources: torch.Tensor) -> torch.Tensor:
        return slope.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        raise RuntimeError(
            "this derivative is written by hand and has none itself: a second derivative is that "
            "of the formula (such as bloch.evolve_formula)"
        )


def _owned(array: Any) -> torch.Tensor:
    """The array as a tensor, on a GPU in torch's memory."""
    tensor = to_torch(array)
    return tensor.clone() if tensor.is_cuda else tensor


@contextlib.contextmanager
def views(*tensors: torch.Tensor) -> Iterator[tuple[Any, ...]]:
    """NumPy or CuPy arrays over the tensors' memory; on CUDA within torch's current stream."""
    device = tensors[0].device
    plain = [tensor.detach().resolve_conj().resolve_neg() for tensor in tensors]
    if device.type == "cpu":
        yield tuple(tensor.numpy() for tensor in plain)
        return
    if device.type != "cuda":
        raise TypeError(f"views takes tensors on cpu or cuda, got {device}")
    with (
        torch.cuda.device(device),
        on_stream(device.index, torch.cuda.current_stream(device), allocate) as cupy,
    ):
        yield tuple(cupy.from_dlpack(tensor) for tensor in plain)


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many threads on the CPU inside the block.

    Small networks run fastest with one: on two processors, of which others use a part, two threads
    that wait for one another took 10 to 70 times as long per row as one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
