"""torch with a CUDA device that is not there: tensors of the host that say, and act, otherwise.

A storage carries a mark: its device and its place in the order of streams (order.Memory). A mode of
torch's function protocol reads the marks, answers ``device``, ``is_cuda`` ..., moves tensors,
refuses mixing and counts. The arithmetic is that of the host.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from emulated import order
from emulated.counts import counting
from emulated.graphs import Graph, refuse
from emulated.order import Memory

_T = torch.Tensor


def memory_of(tensor: Any) -> Memory | None:
    """The mark of a tensor's storage; None on the host."""
    with torch._C.DisableTorchFunction():
        try:
            return getattr(tensor.untyped_storage(), "emulated", None)
        except (NotImplementedError, RuntimeError):  # in vmap and other transformations
            return None


def marked(tensor: Any, memory: Memory | None = None) -> Any:
    """The tensor as one of the device."""
    stream = order.stream_of("torch")
    with torch._C.DisableTorchFunction():
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return tensor
        if getattr(storage, "emulated", None) is None:
            if memory is None:
                memory = Memory(order.current.device, "torch", stream, order.tick(stream))
                if counting is not None:
                    counting.allocate(storage.nbytes())
            storage.emulated = memory
    return tensor


def host_of(tensor: Any) -> np.ndarray:
    with torch._C.DisableTorchFunction():
        return tensor.detach().numpy()


def _device(x: Any) -> torch.device | None:
    """A CUDA device that an argument names, with its number."""
    if isinstance(x, str) and x.partition(":")[0] == "cuda":
        x = torch.device(x)
    if isinstance(x, torch.device) and x.type == "cuda":
        return torch.device("cuda", order.current.device if x.index is None else x.index)
    return None


def _names_cpu(x: Any) -> bool:
    return x == "cpu" if isinstance(x, str) else isinstance(x, torch.device) and x.type == "cpu"


def _tensors(x: Any) -> Iterator[Any]:
    if isinstance(x, _T):
        yield x
    elif isinstance(x, list | tuple):
        for each in x:
            yield from _tensors(each)
    elif isinstance(x, dict):
        yield from _tensors(list(x.values()))


SYNCHRONISE = {
    _T.item: "item", _T.tolist: "tolist", _T.__bool__: "bool", _T.__int__: "int",
    _T.__float__: "float", _T.__index__: "index", _T.nonzero: "nonzero", torch.nonzero: "nonzero",
    _T.masked_select: "masked_select", torch.masked_select: "masked_select",
    torch.equal: "equal", _T.equal: "equal", torch.unique: "unique", _T.__format__: "format",
    _T.__repr__: "repr", torch.allclose: "allclose",
}  # fmt: skip
ANY_DEVICE = {
    "copy_", "__set__", "__getitem__", "__setitem__", "type_as", "result_type", "is_same_size",
    "_has_compatible_shallow_copy_type",
}  # fmt: skip
FREE = {  # of no kernel
    _T.shape.__get__, _T.dtype.__get__, _T.requires_grad.__get__, _T.requires_grad.__set__,
    _T.grad.__get__, _T.grad_fn.__get__, _T.is_leaf.__get__, _T.ndim.__get__, _T.size, _T.dim,
    _T.detach, _T.view, _T.is_complex, _T.is_floating_point, _T.numel, _T.data.__get__,
    _T.requires_grad_, _T.stride, _T.__len__, _T.layout.__get__, _T.backward, _T.data_ptr,
    _T.__hash__, _T.untyped_storage, _T.is_contiguous,
}  # fmt: skip


class CudaMode(TorchFunctionMode):
    """Makes the marks count, in the thread that entered it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _backward.device is not None:  # what torch's engine made carries no mark
            for each in _tensors([args, kwargs]):
                marked(each)
        special = SPECIAL.get(func)
        if special is not None:
            return special(func, args, kwargs)
        device = _device(kwargs.get("device"))
        if device is not None:
            return _made(func, args, kwargs, device)
        given = [(x, memory_of(x)) for x in _tensors([args, kwargs])]
        on_device = [memory for _, memory in given if memory is not None]
        if not on_device:
            return func(*args, **kwargs)
        if func in SYNCHRONISE:
            order.synchronised(order.stream_of("torch"))
            counting.synchronise(SYNCHRONISE[func])
        if func not in FREE:
            _check(func, given, on_device)
            refuse(f"{func} of torch")
        result = func(*args, **kwargs)
        index = on_device[0].device
        before = order.current.device
        order.current.device = index
        try:
            for each in _tensors(result):
                marked(each)
        finally:
            order.current.device = before
        return result


def _check(func: Any, given: Any, on_device: list[Memory]) -> None:
    name = getattr(func, "__name__", str(func))
    if name not in ANY_DEVICE:
        for x, memory in given:
            with torch._C.DisableTorchFunction():
                scalar = x.ndim == 0
            if memory is None and not scalar and not name.startswith("_foreach"):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found cuda and cpu: {name}"
                )
    stream = order.stream_of("torch")
    for memory in on_device:
        order.check(memory, stream, memory.device)
    if name.endswith("_") or name in ("__setitem__", "__iadd__", "__imul__"):
        on_device[0].stream, on_device[0].tick = stream, order.tick(stream)


def _made(func: Any, args: Any, kwargs: Any, device: torch.device) -> Any:
    """A factory on the device."""
    _exists(device)
    before, order.current.device = order.current.device, device.index
    try:
        made = func(*args, **{**kwargs, "device": torch.device("cpu")})
        if func in (torch.tensor, torch.as_tensor, torch.asarray):
            sources = [x for x in _tensors(args) if memory_of(x) is not None]
            if sources:
                return made
            if func is not torch.tensor:
                with torch._C.DisableTorchFunction():
                    made = made.clone()
            counting.upload(host_of(made).tobytes(), "tensor")
        return marked(made)
    finally:
        order.current.device = before


def _exists(device: torch.device) -> None:
    if device.index >= order.DEVICES:
        raise RuntimeError(f"CUDA error: invalid device ordinal {device}")


def _get_device(func: Any, args: Any, kwargs: Any) -> Any:
    memory = memory_of(args[0])
    return func(*args) if memory is None else torch.device("cuda", memory.device)


def _to(func: Any, args: Any, kwargs: Any) -> Any:
    """``Tensor.to``: a copy between devices, or a change of dtype on one."""
    tensor, *rest = args
    memory = memory_of(tensor)
    target: Any = None
    for x in [*rest, *kwargs.values()]:
        if isinstance(x, _T):
            other = memory_of(x)
            target = torch.device("cpu") if other is None else torch.device("cuda", other.device)
        elif _device(x) is not None:
            target = _device(x)
        elif _names_cpu(x):
            target = torch.device("cpu")

    def local(x: Any) -> Any:
        return torch.device("cpu") if _device(x) is not None else x

    rest = [x.dtype if isinstance(x, _T) else local(x) for x in rest]
    kwargs = {key: local(x) for key, x in kwargs.items()}
    if target is None or (memory is not None and target.type == "cuda"
                          and target.index == memory.device):  # fmt: skip
        result = func(tensor, *rest, **kwargs)
        return result if memory is None else marked(result)
    if target.type == "cuda":
        _exists(target)
        with torch._C.DisableTorchFunction():
            moved = func(tensor, *rest, **kwargs)
            moved = moved.clone() if moved is tensor or _shares(moved, tensor) else moved
        if memory is None:
            counting.upload(host_of(moved).tobytes(), "to")
            if not kwargs.get("non_blocking"):
                counting.synchronise("to the device")
        before, order.current.device = order.current.device, target.index
        try:
            marked(moved)
            if not kwargs.get("non_blocking"):
                order.synchronised(order.stream_of("torch"))
            return moved
        finally:
            order.current.device = before
    if memory is None:
        return func(tensor, *rest, **kwargs)
    order.check(memory, order.stream_of("torch"), memory.device)
    order.synchronised(order.stream_of("torch"))
    counting.synchronise("to the host")
    with torch._C.DisableTorchFunction():
        moved = func(tensor, *rest, **kwargs)
        return moved.clone() if moved is tensor or _shares(moved, tensor) else moved


def _shares(a: Any, b: Any) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _cpu(func: Any, args: Any, kwargs: Any) -> Any:
    return _to(_T.to, (args[0], torch.device("cpu")), {})


def _cuda(func: Any, args: Any, kwargs: Any) -> Any:
    target = args[1] if len(args) > 1 else kwargs.get("device")
    if isinstance(target, int):
        target = torch.device("cuda", target)
    return _to(_T.to, (args[0], torch.device("cuda") if target is None else target), {})


def _numpy(func: Any, args: Any, kwargs: Any) -> Any:
    if memory_of(args[0]) is not None:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
    return func(*args, **kwargs)


def _record_stream(tensor: Any, stream: FakeStream) -> None:
    memory = memory_of(tensor)
    if memory is None:
        raise RuntimeError("record_stream of a tensor of the host")
    if memory.owner != "torch":
        raise AssertionError("record_stream has no effect on memory that is not torch's")


def _grad(func: Any, args: Any, kwargs: Any) -> Any:
    grad = func(*args, **kwargs)
    return marked(grad) if grad is not None and memory_of(args[0]) is not None else grad


def _empty_like(func: Any, args: Any, kwargs: Any) -> Any:
    """``new_zeros`` and the like, on the device of the tensor unless another is named."""
    memory, device = memory_of(args[0]), kwargs.get("device")
    if _device(device) is not None:
        return _made(func, args, kwargs, _device(device))  # type: ignore[arg-type]
    made = func(*args, **kwargs)
    return made if memory is None or device is not None else marked(made)


SPECIAL: dict[Any, Callable[[Any, Any, Any], Any]] = {
    _T.device.__get__: _get_device,
    _T.is_cuda.__get__: lambda func, args, kwargs: memory_of(args[0]) is not None,
    _T.is_cpu.__get__: lambda func, args, kwargs: memory_of(args[0]) is None,
    _T.get_device: lambda func, args, kwargs: -1 if memory_of(args[0]) is None
    else memory_of(args[0]).device,  # type: ignore[union-attr]
    _T.to: _to,
    _T.cpu: _cpu,
    _T.cuda: _cuda,
    _T.numpy: _numpy,
    _T.__array__: _numpy,
    _T.grad.__get__: _grad,
    _T.new_zeros: _empty_like, _T.new_ones: _empty_like, _T.new_empty: _empty_like,
    _T.new_full: _empty_like, _T.new_tensor: _empty_like, torch.zeros_like: _empty_like,
    torch.ones_like: _empty_like, torch.empty_like: _empty_like, torch.full_like: _empty_like,
    torch.rand_like: _empty_like, torch.randn_like: _empty_like,
}  # fmt: skip
mode = CudaMode()


def _active() -> bool:
    return any(x is mode for x in _get_current_function_mode_stack())


class FakeStream:
    """``torch.cuda.Stream``."""

    def __init__(self, device: Any = None, priority: int = 0, *, ptr: int | None = None) -> None:
        self.cuda_stream = order.new_stream() if ptr is None else ptr
        index = getattr(device, "index", device)
        self.device = torch.device("cuda", order.current.device if index is None else int(index))
        self.device_index = self.device.index
        CREATED.append(self) if ptr is None else None

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.cuda_stream

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, FakeStream) and other.cuda_stream == self.cuda_stream

    def __hash__(self) -> int:
        return self.cuda_stream

    def synchronize(self) -> None:
        order.synchronised(self.cuda_stream)
        counting.synchronise("stream")

    def record_event(self, event: Any = None) -> Any:
        event = FakeEvent() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Any) -> None:
        order.wait(self.cuda_stream, event.at)

    def wait_stream(self, stream: Any) -> None:
        order.wait(self.cuda_stream, order.snapshot(stream.cuda_stream))

    def query(self) -> bool:
        return True


CREATED: list[FakeStream] = []


class FakeEvent:
    """``torch.cuda.Event``."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
        self.at: dict[int, int] = {}

    def record(self, stream: Any = None) -> None:
        self.at = order.snapshot(order.stream_of("torch") if stream is None else stream.cuda_stream)

    def wait(self, stream: Any = None) -> None:
        order.wait(order.stream_of("torch") if stream is None else stream.cuda_stream, self.at)

    def synchronize(self) -> None:
        order.finish(self.at)
        counting.synchronise("event")

    def query(self) -> bool:
        return True


def _current_stream(device: Any = None) -> FakeStream:
    return FakeStream(device, ptr=order.stream_of("torch"))


class _OnDevice:
    """``torch.cuda.device``; a thread that enters it comes under the mode."""

    def __init__(self, device: Any) -> None:
        self.index = _index_of(device)
        self._stack = ExitStack()

    def __enter__(self) -> None:
        self._before, order.current.device = order.current.device, self.index
        if not _active():
            self._stack.enter_context(mode)

    def __exit__(self, *failure: Any) -> None:
        order.current.device = self._before
        self._stack.close()


def _index_of(device: Any) -> int:
    index = (
        torch.device(device).index if isinstance(device, str) else getattr(device, "index", device)
    )
    index = order.current.device if index is None else int(index)
    if index >= order.DEVICES:
        raise RuntimeError(f"CUDA error: invalid device ordinal {index}")
    return index


@contextmanager
def _on_stream(stream: FakeStream) -> Iterator[None]:
    """``torch.cuda.stream``."""
    streams, device = order.current.streams["torch"], stream.device.index
    before_device, order.current.device = order.current.device, device
    before = streams.get(device, 0)
    streams[device] = stream.cuda_stream
    try:
        yield
    finally:
        streams[device], order.current.device = before, before_device


def _set_device(device: Any) -> None:
    order.current.device = _index_of(device)


def _synchronize(device: Any = None) -> None:
    order.device_synchronised()
    counting.synchronise("device")


def _from_dlpack(array: Any, **_: Any) -> Any:
    from emulated.array import ndarray

    if not isinstance(array, ndarray):
        return _original_from_dlpack(array)
    order.wait(order.stream_of("torch"), order.snapshot(order.stream_of("cupy")))
    with torch._C.DisableTorchFunction():
        host = array._host
        if not host.flags.writeable:
            raise BufferError("read-only")
        if any(stride < 0 for stride in host.strides):
            raise BufferError("negative strides")
        tensor = torch.from_numpy(host)
        storage = tensor.untyped_storage()
        storage.emulated, storage.keeps = array._memory, array
    return tensor


def _grouped(tensors: Any, with_indices: bool = False) -> Any:
    """Gradients by device and type, which torch asks the tensors themselves for."""
    groups = {}
    for (device, dtype), value in _group(tensors, with_indices).items():
        memory = memory_of(value[0][0][0])
        named = device if memory is None else torch.device("cuda", memory.device)
        groups[named, dtype] = value
    return groups


_group = torch._C._group_tensors_by_device_and_dtype
_original_from_dlpack = torch.from_dlpack
_run_backward = torch.autograd._engine_run_backward


class _Properties:
    name, major, minor = "emulated", 9, 0
    total_memory, multi_processor_count = 2**35, 4


def _engine(*args: Any, **kwargs: Any) -> Any:
    """Backward with the mode in force, for derivatives written in Python."""
    outputs = [memory_of(x) for x in _tensors(args[0])]
    if not any(outputs):
        return _run_backward(*args, **kwargs)
    _backward.device = next(x.device for x in outputs if x is not None)
    try:
        if _active():
            return _run_backward(*args, **kwargs)
        with mode:
            return _run_backward(*args, **kwargs)
    finally:
        _backward.device = None


class _Backward(threading.local):
    device: int | None = None


_backward = _Backward()


def patches() -> Iterator[Any]:
    """All that stands in for torch's side of CUDA."""
    cuda = torch.cuda
    values = {
        "is_available": lambda: True, "device_count": lambda: order.DEVICES,
        "current_device": lambda: order.current.device, "set_device": _set_device,
        "device": _OnDevice, "stream": _on_stream, "Stream": FakeStream, "Event": FakeEvent,
        "current_stream": _current_stream, "default_stream": lambda d=None: FakeStream(d, ptr=0),
        "CUDAGraph": Graph, "synchronize": _synchronize, "empty_cache": lambda: None,
        "get_device_name": lambda device=None: "emulated",
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_properties": lambda device=None: _Properties(),
        "memory_allocated": lambda device=None: counting.bytes_allocated,
        "max_memory_allocated": lambda device=None: counting.bytes_allocated,
        "reset_peak_memory_stats": lambda device=None: None,
        "memory_stats": lambda device=None: {},
        "is_current_stream_capturing": lambda: order.current.capture is not None,
        "is_initialized": lambda: True,
        "manual_seed_all": lambda seed: None, "init": lambda: None, "_lazy_init": lambda: None,
        "get_rng_state": lambda device="cuda": torch.zeros(16, dtype=torch.uint8),
        "get_rng_state_all": list, "set_rng_state_all": lambda states: None,
        "is_bf16_supported": lambda including_emulation=True: True,
    }  # fmt: skip
    for name, value in values.items():
        yield mock.patch.object(cuda, name, value)
    yield mock.patch.object(_T, "record_stream", _record_stream)
    yield mock.patch.object(torch, "from_dlpack", _from_dlpack)
    yield mock.patch.object(torch.autograd, "_engine_run_backward", _engine)
    yield mock.patch.object(torch._C, "_group_tensors_by_device_and_dtype", _grouped)
    yield mock.patch.object(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, create=True)
