"""Handing a batch from the simulator's array library to torch.

On the CPU arrays are wrapped, without a copy. On CUDA each producer thread copies its outputs, on a
stream of its own and ahead of time, into memory that torch owns: that of CuPy's pool would be
overwritten while training still reads it, since ``record_stream`` knows torch's memory alone.
"""

import threading
from collections import deque
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ipads_stream.core.backend import on_stream
from ipads_stream.core.handover import allocate, to_torch
from ipads_stream.core.sample import Sample


class Device(nullcontext[Any]):
    """The producing side of a device; entered by the thread that renders."""

    @staticmethod
    def of(name: str) -> "Device":
        """The device of this name; ``cuda`` is that which the calling thread, the consumer's, works
        on."""
        if name == "cpu":
            return Device()
        index = name.partition(":")[2]
        return _cuda_device(int(index) if index else torch.cuda.current_device())

    def hand_over(self, sample: Sample) -> Sample:
        """The batch as tensors; parameters stay on the host."""
        # A view of what a system keeps, such as coils for one sample, is read-only: it is copied.
        batch = sample.mapped(lambda array: to_torch(np.require(array, requirements=["C", "W"])))
        return replace(batch, weight=torch.from_numpy(sample.weight))

    def receive(self, sample: Sample) -> None:
        """Called by the consumer's thread when it takes the batch."""


class OfThread(threading.local):
    """A thread starts on device 0, without a stream of its own."""

    stream: Any = None
    stack: Any = None


class CudaDevice(Device):
    """Renders on a CUDA stream of the calling thread and leaves finished, torch-owned tensors.

    A thread takes a stream for a batch and gives it back: memory is kept by stream, so that there
    are as few as threads that render at once, whatever the number of streams of batches.
    """

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index
        self._free: deque[Any] = deque()
        self._local = OfThread()

    def __enter__(self) -> Device:
        try:
            self._local.stream = self._free.pop()
        except IndexError:
            self._local.stream = torch.cuda.Stream(self.index)
        stack = self._local.stack = ExitStack()
        stack.callback(self._free.append, self._local.stream)
        stack.enter_context(torch.cuda.device(self.index))
        stack.enter_context(torch.cuda.stream(self._local.stream))
        stack.enter_context(on_stream(self.index, self._local.stream, allocate))
        return self

    def __exit__(self, *failure: Any) -> None:
        self._local.stack.close()

    def hand_over(self, sample: Sample) -> Sample:
        batch = sample.mapped(lambda array: to_torch(array).clone())
        weight = self._weight(sample.weight)
        # Waits in the producer's thread only: the consumer takes batches that are finished.
        self._local.stream.synchronize()
        return replace(batch, weight=weight)

    def _weight(self, weight: np.ndarray) -> torch.Tensor:
        """Weights of the samples; those of all that count alike are not moved."""
        device = torch.device("cuda", self.index)
        if (weight == 1).all():
            return torch.ones(len(weight), device=device)
        return torch.from_numpy(weight).to(device, non_blocking=True)

    def receive(self, sample: Sample) -> None:
        consumer = torch.cuda.current_stream(self.index)
        for group in (sample.inputs, sample.targets, {"weight": sample.weight}):
            for tensor in group.values():
                tensor.record_stream(consumer)


_cuda_device = lru_cache(None)(CudaDevice)  # one of each, with the streams that it has
