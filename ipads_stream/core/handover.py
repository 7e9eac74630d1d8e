"""Hand-over between torch and the libraries that generate: the same memory, in stream order.

torch allocates whatever outlives a call and CuPy writes into it: an array of CuPy's pool that torch
drops returns to the generating stream, which may overwrite it while training still reads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from ipads_stream.core.backend import is_cupy, is_numpy, on_stream


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
    return (
        (tensor.requires_grad and torch.is_grad_enabled())
        or torch.compiler.is_compiling()
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        or torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None
    )


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
        on_stream(device.index, torch.cuda.current_stream(device)) as cupy,
    ):
        yield tuple(cupy.from_dlpack(tensor) for tensor in plain)


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads on the CPU inside the block.

    Small networks run fastest with one: on two processors, of which others use a part, two threads
    that wait for one another took 10 to 70 times as long per row as one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
