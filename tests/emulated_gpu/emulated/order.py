"""Streams as ordered stand-ins: work runs at once, but use without an order is an error.

Every launch is a tick of its stream. Memory remembers the tick that wrote it; who reads it on
another stream must have waited for that tick by an event, or the host must have synchronised with
it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

DEVICES = 2


class RaceError(AssertionError):
    """Memory used on a stream that is not ordered after the one that wrote it."""


@dataclass
class Memory:
    """Where an array lives: device, owner (cupy or torch), stream and tick of its last write."""

    device: int
    owner: str
    stream: int
    tick: int


class _Current(threading.local):
    def __init__(self) -> None:
        self.device = 0
        self.streams: dict[str, dict[int, int]] = {"cupy": {}, "torch": {}}
        self.allocators: list[Any] = []
        self.capture: Any = None  # the graph that this thread captures


current = _Current()
_lock = threading.Lock()
_ticks: dict[int, int] = {}  # launches of a stream
_done: dict[int, int] = {}  # of those, how many the host knows to be finished
_seen: dict[int, dict[int, int]] = {}  # stream -> other stream -> tick that it has waited for
_next = iter(range(1, 2**31))


def new_stream() -> int:
    with _lock:
        return next(_next)


def stream_of(library: str) -> int:
    """The stream that a library works on in this thread; 0 is the default one."""
    return current.streams[library].get(current.device, 0)


def tick(stream: int) -> int:
    """Another launch on a stream."""
    with _lock:
        _ticks[stream] = _ticks.get(stream, 0) + 1
        return _ticks[stream]


def synchronised(stream: int) -> None:
    """The host has waited for all work of a stream."""
    with _lock:
        _done[stream] = _ticks.get(stream, 0)


def device_synchronised() -> None:
    with _lock:
        _done.update(_ticks)


def snapshot(stream: int) -> dict[int, int]:
    """What an event recorded on the stream stands for."""
    with _lock:
        return {**_seen.get(stream, {}), stream: _ticks.get(stream, 0)}


def wait(stream: int, event: dict[int, int]) -> None:
    with _lock:
        mine = _seen.setdefault(stream, {})
        for other, at in event.items():
            mine[other] = max(mine.get(other, 0), at)


def finish(event: dict[int, int]) -> None:
    """The host has waited for an event."""
    with _lock:
        for other, at in event.items():
            _done[other] = max(_done.get(other, 0), at)


def check(memory: Memory, stream: int, device: int) -> None:
    """That memory may be used by work on a stream."""
    if memory.device != device:
        raise ValueError(f"memory of device {memory.device} is used on device {device}")
    if memory.stream == stream or _done.get(memory.stream, 0) >= memory.tick:
        return
    if _seen.get(stream, {}).get(memory.stream, 0) < memory.tick:
        raise RaceError(
            f"memory written on stream {memory.stream} is used on stream {stream} of "
            f"{threading.current_thread().name}: no event and no synchronisation lies between"
        )
