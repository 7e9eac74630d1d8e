"""CUDA graphs: what rendering a batch of fixed shape launches, recorded once, launched as a whole.

Drawn parameters and sample numbers, all that changes from batch to batch, lie in one buffer on the
device: ``render`` is recorded with arrays of the device for both, and one upload writes the buffer
before each launch. So a system can be recorded if its ``render`` asks the host for nothing that
depends on them: no shape, no branch, no table drawn there. Of any other the error says so.

torch records, not CuPy: memory comes from torch (core/handover.py), whose allocator keeps what a
graph uses apart from all else only while torch itself records. Each producing thread has a graph
of its own; the batch is copied out and the stream waited for (``CudaDevice.hand_over``) before the
thread launches it again.
"""

import copy
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ipads_stream.core.backend import fft_plans, is_device_failure, packed, unpacked
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import keep
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.systems import System


class Graphed:
    """A system that renders the batches of a stream by graphs, and all else as it does itself.

    Args:
        system: that is recorded.
        split: of the stream; substitutes have another.
        num_rows: gives the samples of a batch of this process.
    """

    def __init__(self, system: System, split: str, num_rows: Callable[[], int]) -> None:
        self.system, self.split, self.num_rows = system, split, num_rows
        self.name, self.draw = system.name, system.draw
        self._of_thread = threading.local()

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        if keys.split != self.split or len(keys.indices) != self.num_rows():
            return self.system.render(params, keys, xp)
        if not hasattr(self._of_thread, "graph"):
            self._of_thread.graph = Recorded(self.system, params, keys, xp)
        return self._of_thread.graph.launch(params, keys)


class Recorded:
    """The graph of a system's ``render`` for params and keys of these shapes.

    Raises:
        ConfigError: the system cannot be recorded.
    """

    def __init__(self, system: System, params: Arrays, keys: Keys, xp: Any) -> None:
        content, self._layout = packed([*params.values(), keys.indices])
        self._buffer = xp.asarray(content)
        *values, indices = unpacked(self._buffer, self._layout)
        there, keys = dict(zip(params, values, strict=True)), copy.copy(keys)
        keep(keys, indices=indices)
        self._graph, is_recording = torch.cuda.CUDAGraph(), False
        try:
            system.render(there, keys, xp)  # compiles, moves constants, makes plans
            # Other threads go on meanwhile, and may allocate.
            self._graph.capture_begin(capture_error_mode="thread_local")
            is_recording = True
            try:
                self._sample = system.render(there, keys, xp)
            finally:
                self._graph.capture_end()
        except Exception as error:
            if is_device_failure(error) and not is_recording:
                raise
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            allowed = f"false: render of {system.name} asks the host for what is drawn ({reason})"
            raise ConfigError("graphs", True, allowed) from error
        self._plans = fft_plans()  # the graph launches what they own, which they would free

    def launch(self, params: Arrays, keys: Keys) -> Sample:
        """The batch of other params and keys, in memory that the next launch writes."""
        content, layout = packed([*params.values(), keys.indices])
        if layout != self._layout:
            raise ConfigError("graphs", True, "false where what is drawn changes its shape or type")
        self._buffer.set(content)
        self._graph.replay()
        return replace(self._sample, params=params)
