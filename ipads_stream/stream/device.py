"""Handing a batch from the simulator's array library to torch.

On the CPU the arrays are wrapped, without a copy. On CUDA each producer thread works on a stream of
its own. Every output ends in memory that torch owns: memory of CuPy's pool would go back to the
producing stream when the consumer drops the tensor, and be overwritten while training still reads
it, because ``record_stream`` ignores memory that is not torch's. The one device-to-device copy into
torch's memory runs on the producing stream, ahead of time; the hand-over itself copies nothing.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
import torch

from ipads_stream.core.backend import on_stream
from ipads_stream.core.handover import to_torch
from ipads_stream.core.sample import Arrays, Sample


class Device:
    """The producing side of a device; entered by the thread that renders."""

    @staticmethod
    def of(name: str) -> Device:
        """The device that the calling thread, the consumer's, works on."""
        if name == "cuda":
            return CudaDevice(torch.cuda.current_device())
        return Device()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def hand_over(self, sample: Sample) -> Sample:
        """The batch as tensors; parameters stay on the host."""
        batch = _converted(sample, lambda array: to_torch(np.ascontiguousarray(array)))
        return replace(batch, weight=torch.from_numpy(sample.weight))

    def receive(self, sample: Sample) -> None:
        """Called by the consumer's thread when it takes the batch."""


class CudaDevice(Device):
    """Renders on a CUDA stream of the calling thread and leaves finished, torch-owned tensors."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._local = threading.local()  # a thread starts on device 0 and has no stream yet

    def __enter__(self) -> Device:
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self.index)
        stack = self._local.stack = ExitStack()
        stack.enter_context(torch.cuda.device(self.index))
        stack.enter_context(torch.cuda.stream(self._local.stream))
        stack.enter_context(on_stream(self.index, self._local.stream))
        return self

    def __exit__(self, *failure: Any) -> None:
        self._local.stack.close()

    def hand_over(self, sample: Sample) -> Sample:
        batch = _converted(sample, lambda array: to_torch(array).clone())
        weight = torch.from_numpy(sample.weight).to(torch.device("cuda", self.index))
        # Waits in the producer's thread only: the consumer takes batches that are finished.
        self._local.stream.synchronize()
        return replace(batch, weight=weight)

    def receive(self, sample: Sample) -> None:
        consumer = torch.cuda.current_stream()
        for group in (sample.inputs, sample.targets, {"weight": sample.weight}):
            for tensor in group.values():
                tensor.record_stream(consumer)


def _converted(sample: Sample, convert: Any) -> Sample:
    def each(arrays: Arrays) -> Arrays:
        return {name: convert(array) for name, array in arrays.items()}

    return replace(sample, inputs=each(sample.inputs), targets=each(sample.targets))
