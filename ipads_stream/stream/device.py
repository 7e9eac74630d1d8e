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

from ipads_stream.core.backend import on_stream, resolve_device
from ipads_stream.core.handover import to_torch
from ipads_stream.core.sample import Arrays, Sample


class Device:
    """The producing side of a device; entered by the thread that renders."""

    @staticmethod
    def of(name: str) -> Device:
        return CudaDevice() if resolve_device(name) == "cuda" else Device()

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

    _local = threading.local()

    def __enter__(self) -> Device:
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream()
        self._stack = ExitStack()
        self._stack.enter_context(torch.cuda.stream(self._local.stream))
        self._stack.enter_context(on_stream(torch.cuda.current_device(), self._local.stream))
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stack.close()

    def hand_over(self, sample: Sample) -> Sample:
        batch = _converted(sample, lambda array: to_torch(array).clone())
        batch = replace(batch, weight=torch.from_numpy(sample.weight).to("cuda"))
        # Waits in the producer's thread only: the consumer takes batches that are finished.
        self._local.stream.synchronize()
        return batch

    def receive(self, sample: Sample) -> None:
        consumer = torch.cuda.current_stream()
        for group in (sample.inputs, sample.targets, {"weight": sample.weight}):
            for tensor in group.values():
                tensor.record_stream(consumer)


def _converted(sample: Sample, convert: Any) -> Sample:
    def each(arrays: Arrays) -> Arrays:
        return {name: convert(array) for name, array in arrays.items()}

    return replace(sample, inputs=each(sample.inputs), targets=each(sample.targets))
