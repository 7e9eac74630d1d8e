"""``torch.cuda.CUDAGraph`` of the stand-in: what a stream is asked for is written down, not done.

As on a device, nothing runs while it is captured: memory that would be written holds nothing. What
a capture refuses there is refused here: waiting for the device, copies to and from the host, work
on other streams, the libraries that CuPy lends to no capture (cuBLAS, cuSOLVER), and, of torch,
all but making memory, which its allocator keeps for the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emulated import order
from emulated.order import Memory

LIBRARIES = {
    "matmul", "dot", "vdot", "inner", "tensordot", "inv", "solve", "eigh", "eigvalsh", "svd", "qr",
    "cholesky", "lstsq", "pinv", "det", "slogdet", "matrix_rank",
}  # fmt: skip


class CaptureError(RuntimeError):
    """CUDA refuses this while a stream is captured."""


def refuse(what: str) -> None:
    """An error where this thread captures a stream."""
    if order.current.capture is not None:
        raise CaptureError(f"cudaErrorStreamCaptureUnsupported: {what}")


def capturing(name: str, stream: int, operands: int = 0) -> Graph | None:
    """The graph that this thread captures, to which a launch on a stream belongs."""
    graph = order.current.capture
    if graph is None:
        return None
    if stream != graph.stream:
        raise CaptureError(f"cudaErrorStreamCaptureIsolation: {name} on another stream")
    if name in LIBRARIES or (name == "einsum" and operands > 1):  # a matrix product
        raise NotImplementedError(
            f"calling cuBLAS API during stream capture is currently unsupported ({name})"
        )
    return graph


class Graph:
    """``torch.cuda.CUDAGraph``."""

    def __init__(self, keep_graph: bool = False) -> None:
        self.stream = 0
        self._work: list[Callable[[], None]] = []
        self._reads: list[Memory] = []
        self._writes: list[Memory] = []
        self._is_complete = False

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        if capture_error_mode not in ("global", "thread_local", "relaxed"):
            raise RuntimeError(f"Unknown capture error mode {capture_error_mode}")
        self.stream = order.stream_of("torch")
        if self.stream == 0:
            raise RuntimeError("CUDA graphs must be captured on a non-default stream.")
        refuse("a capture within a capture")
        order.current.capture = self

    def capture_end(self) -> None:
        if order.current.capture is not self:
            raise RuntimeError("capture_end without capture_begin in this thread")
        order.current.capture = None
        self._is_complete = True

    def note(
        self, run: Callable[[], None], reads: list[Memory], writes: list[Memory], memory: Any
    ) -> None:
        """Another launch; ``memory`` is what it writes, which stays as if nothing had been."""
        self._work.append(run)
        self._reads += [x for x in reads if not any(x is y for y in self._writes)]
        self._writes += writes
        for array in memory:
            if array.dtype.kind in "fc":
                array[...] = np.nan

    def replay(self) -> None:
        from emulated.counts import counting

        if not self._is_complete:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        refuse("a replay")
        stream = order.stream_of("torch")
        for memory in self._reads:
            order.check(memory, stream, order.current.device)
        for run in self._work:
            run()
        now = order.tick(stream)
        for memory in self._writes:
            memory.stream, memory.tick = stream, now
        counting.launch("graph")
