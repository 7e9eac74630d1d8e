"""``cupy.cuda`` of the stand-in: devices by number, streams and events in order, memory by size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from emulated import order
from emulated.counts import counting

module = ModuleType("cupy.cuda")


class Device:
    """A device by its number; as a context, the one that CuPy works on in this thread."""

    def __init__(self, device: Any = None) -> None:
        self.id = order.current.device if device is None else int(getattr(device, "id", device))
        if not 0 <= self.id < order.DEVICES:
            raise ValueError(f"cudaErrorInvalidDevice: {self.id} of {order.DEVICES}")
        self._before: list[int] = []

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        self._before.append(order.current.device)
        order.current.device = self.id
        return self

    def __exit__(self, *failure: Any) -> None:
        order.current.device = self._before.pop()

    def use(self) -> None:
        order.current.device = self.id

    def synchronize(self) -> None:
        order.device_synchronised()
        counting.synchronise("device")

    @property
    def mem_info(self) -> tuple[int, int]:
        return 2**34, 2**35


class Stream:
    """A queue of launches; as a context, the one that CuPy works on in this thread."""

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False,
                 priority: Any = None) -> None:  # fmt: skip
        self.ptr = 0 if null else order.new_stream()
        self.device_id = order.current.device
        self._before: list[tuple[int, int]] = []

    @classmethod
    def from_external(cls, obj: Any) -> Stream:
        _, ptr = obj.__cuda_stream__()
        stream = cls(null=True)
        stream.ptr, stream._owner = ptr, obj
        return stream

    def __enter__(self) -> Stream:
        streams, device = order.current.streams["cupy"], order.current.device
        self._before.append((device, streams.get(device, 0)))
        streams[device] = self.ptr
        return self

    def __exit__(self, *failure: Any) -> None:
        device, before = self._before.pop()
        order.current.streams["cupy"][device] = before

    def use(self) -> Stream:
        order.current.streams["cupy"][order.current.device] = self.ptr
        return self

    def synchronize(self) -> None:
        order.synchronised(self.ptr)
        counting.synchronise("stream")

    def record(self, event: Event | None = None) -> Event:
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        order.wait(self.ptr, event.at)

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.ptr


Stream.null = Stream(null=True)  # type: ignore[attr-defined]


class Event:
    """A place in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False,
                 interprocess: bool = False) -> None:  # fmt: skip
        self.at: dict[int, int] = {}

    def record(self, stream: Any = None) -> None:
        self.at = order.snapshot(order.stream_of("cupy") if stream is None else stream.ptr)

    def synchronize(self) -> None:
        order.finish(self.at)
        counting.synchronise("event")

    @property
    def done(self) -> bool:
        return True


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    return 1.0


def get_current_stream(device_id: int | None = None) -> Stream:
    stream = Stream(null=True)
    stream.ptr = order.stream_of("cupy")
    return stream


class UnownedMemory:
    def __init__(self, ptr: int, size: int, owner: Any, device_id: int = -1) -> None:
        self.ptr, self.size, self._owner = ptr, size, owner
        self.device_id = order.current.device if device_id < 0 else device_id


class MemoryPointer:
    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.offset = mem, offset
        self.ptr, self.device_id = mem.ptr + offset, mem.device_id

    @classmethod
    def at(cls, ptr: int, owner: Any) -> MemoryPointer:
        return cls(UnownedMemory(ptr, 0, owner), 0)

    @property
    def device(self) -> Device:
        return Device(self.device_id)


@contextmanager
def using_allocator(allocator: Callable[[int], Any] | None = None) -> Iterator[None]:
    """Where this thread's memory comes from."""
    order.current.allocators.append(allocator)
    try:
        yield
    finally:
        order.current.allocators.pop()


class MemoryPool:
    """What CuPy keeps for itself: here the sum of what was not allocated elsewhere."""

    def used_bytes(self) -> int:
        return counting.bytes_allocated

    def free_all_blocks(self, stream: Any = None) -> None:
        pass

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        pass


_pool = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    return _pool


class CUDARuntimeError(RuntimeError):
    """A failure of the driver, which may stay: the device does no more work in this process."""

    def __init__(self, status: int, message: str = "") -> None:
        self.status = status
        super().__init__(message)


class OutOfMemoryError(MemoryError):
    """No room on the device."""


CUDARuntimeError.__module__ = "cupy_backends.cuda.api.runtime"
OutOfMemoryError.__module__ = "cupy.cuda.memory"
runtime = ModuleType("cupy.cuda.runtime")
runtime.CUDARuntimeError = CUDARuntimeError
runtime.getDeviceCount = lambda: order.DEVICES
memory = ModuleType("cupy.cuda.memory")
memory.OutOfMemoryError = OutOfMemoryError
for each in (Device, Stream, Event, UnownedMemory, MemoryPointer, MemoryPool, using_allocator,
             get_current_stream, get_elapsed_time):  # fmt: skip
    setattr(module, each.__name__, each)
module.runtime, module.memory = runtime, memory
module.device = ModuleType("cupy.cuda.device")
module.device.Device = Device
module.is_available = lambda: True
