"""The stream: an endless, reproducible IterableDataset of simulated batches.

Batch ``step`` of a stream holds the samples ``step * batch_size ... + batch_size - 1``, whatever
the number of threads or ranks; a rank takes its contiguous share. The state is therefore one
number, resuming costs nothing, and what was prefetched but not delivered is simply made again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ipads_stream import __version__
from ipads_stream.core.backend import device_namespace, resolve_device
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Provenance, Sample
from ipads_stream.stream.device import Device
from ipads_stream.stream.failure import POLICIES, handle_nonfinite, simulate
from ipads_stream.stream.produce import produce
from ipads_stream.systems import System

STATE_VERSION = 1


@dataclass
class Timings:
    """Where the time of one step went.

    Attributes:
        wait: s the consumer waited for this batch.
        generation: s it took to make this batch (in a producer thread, or inline).
        step: s from this delivery to the previous one.
        queued: batches that lay ready when this one was asked for.
        samples: in this batch, on this rank.
    """

    wait: float = 0.0
    generation: float = 0.0
    step: float = 0.0
    queued: int = 0
    samples: int = 0

    @property
    def stall(self) -> float:
        """Share of the step that the consumer spent waiting."""
        return self.wait / self.step if self.step > 0 else 0.0


class Stream(IterableDataset):
    """Whole batches of a system, on the device, without end.

    Iterating goes on from ``state_dict()["step"]``, also in a second loop over the same stream.

    Args:
        system: what is simulated (``load_system``).
        seed: of all random numbers.
        split: "train", "validation", "test" or any name; splits share no random number.
        batch_size: samples of a step, over all ranks together.
        device: "auto", "cpu" or "cuda".
        threads: producing threads; 0 makes each batch when it is asked for.
        depth: batches made ahead.
        echo: times each batch is delivered in a row (1: every batch is new).
        on_nonfinite: "raise", "substitute" or "mask" (stream/failure.py).
        rank, world_size: share of this process; by default those of torch.distributed.

    Raises:
        ConfigError: an argument that makes no sense, by name.
    """

    def __init__(
        self,
        system: System,
        *,
        seed: int = 0,
        split: str = "train",
        batch_size: int = 64,
        device: str = "auto",
        threads: int = 1,
        depth: int = 4,
        echo: int = 1,
        on_nonfinite: str = "raise",
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__()
        for name, value, lowest in (
            ("batch_size", batch_size, 1),
            ("threads", threads, 0),
            ("depth", depth, 1),
            ("echo", echo, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigError(name, value, f"a whole number, at least {lowest}")
        if on_nonfinite not in POLICIES:
            raise ConfigError("on_nonfinite", on_nonfinite, f"one of {', '.join(POLICIES)}")
        if (rank is None) != (world_size is None):
            raise ConfigError("rank", rank, "given together with world_size, or neither")
        Keys(seed, split, np.zeros(1, dtype=np.uint64))  # refuses a seed or split of wrong kind
        self.system, self.seed, self.split = system, seed, split
        self.batch_size, self.threads, self.depth = batch_size, threads, depth
        self.echo, self.on_nonfinite = echo, on_nonfinite
        self._rank, self._world_size = rank, world_size
        self.device = resolve_device(device)
        self.xp = device_namespace(self.device)
        self.config_hash = config_hash(system)
        self.step = 0  # the next batch to deliver
        self.timings = Timings()
        self.failures: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._jumps = 0
        self._share()

    # Samples by index

    def sample(self, indices: Sequence[int]) -> Sample:
        """The samples of these indices, in this order, as tensors on the device."""
        return self._make(_as_indices(indices), -1, Device.of(self.device))[0]

    def batch(self, step: int) -> Sample:
        """Batch ``step`` of this rank; the same whether reached by iterating or asked for."""
        return self._make(self._indices(step), step, Device.of(self.device))[0]

    def _share(self) -> tuple[int, int]:
        """First row of this rank in a batch, and its number of rows."""
        rank, world_size = self._rank, self._world_size
        if rank is None or world_size is None:
            initialised = torch.distributed.is_available() and torch.distributed.is_initialized()
            rank = torch.distributed.get_rank() if initialised else 0
            world_size = torch.distributed.get_world_size() if initialised else 1
        if not 0 <= rank < world_size:
            raise ConfigError("rank", rank, f"0 to world_size - 1 = {world_size - 1}")
        if self.batch_size % world_size:
            allowed = f"a multiple of the number of processes ({world_size})"
            raise ConfigError("batch_size", self.batch_size, allowed)
        rows = self.batch_size // world_size
        return rank * rows, rows

    def _indices(self, step: int) -> np.ndarray:
        first, rows = self._share()
        start = (step // self.echo) * self.batch_size + first
        return np.arange(start, start + rows, dtype=np.uint64)

    def _make(self, indices: np.ndarray, step: int, device: Device) -> tuple[Sample, float]:
        """A finished batch and the seconds it took; runs in a producer thread."""
        started = time.perf_counter()
        keys = Keys(self.seed, self.split, indices)
        # What is not finite is the policy's business, not a warning's.
        with device, np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            sample = simulate(self.system, keys, self.xp)
            sample, events = handle_nonfinite(sample, self.system, keys, self.xp, self.on_nonfinite)
            provenance = Provenance(
                system=self.system.name,
                seed=self.seed,
                split=self.split,
                indices=indices,
                step=step,
                config_hash=self.config_hash,
                version=__version__,
                backend=f"{self.xp.__name__}:{self.device}",
                substituted=np.isin(
                    indices, np.array([event["index"] for event in events], dtype=np.uint64)
                ),
            )
            sample = device.hand_over(replace(sample, provenance=provenance))
        if events:
            with self._lock:
                self.failures.extend(event | {"step": step} for event in events)
        return sample, time.perf_counter() - started

    # Iterating

    def __iter__(self) -> Iterator[Sample]:
        if get_worker_info() is not None:
            raise RuntimeError(
                "Stream makes its batches in threads of its own: use it with "
                "DataLoader(stream, batch_size=None, num_workers=0), or iterate over it directly"
            )
        device = Device.of(self.device)
        last = time.perf_counter()
        while True:
            jumps = self._jumps
            made = produce(
                lambda step: self._make(self._indices(step), step, device),
                self.step,
                threads=self.threads,
                depth=self.depth,
            )
            try:
                while jumps == self._jumps:
                    asked = time.perf_counter()
                    (sample, generation), queued = next(made)
                    device.receive(sample)
                    now = time.perf_counter()
                    self.timings = Timings(
                        wait=now - asked,
                        generation=generation,
                        step=now - last,
                        queued=queued,
                        samples=len(sample),
                    )
                    last = now
                    self.step += 1
                    yield sample
            finally:
                made.close()

    # State

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly: the next batch to deliver, and guards."""
        return self.state_at(self.step)

    def state_at(self, step: int) -> dict[str, Any]:
        """The state in which batch ``step`` is the next to be delivered."""
        return {
            "version": STATE_VERSION,
            "system": self.system.name,
            "config_hash": self.config_hash,
            "seed": self.seed,
            "split": self.split,
            "batch_size": self.batch_size,
            "echo": self.echo,
            "step": step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state, before or during iteration, on any number of threads or ranks.

        Raises:
            ConfigError: the state belongs to another stream; the key that differs is named.
        """
        here = self.state_at(0)
        for key, value in here.items():
            if key == "step":
                continue
            if state.get(key) != value:
                raise ConfigError(f"state.{key}", state.get(key), f"{value!r}, as this stream has")
        step = state.get("step")
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ConfigError("state.step", step, "a whole number, at least 0")
        self.step = step
        self._jumps += 1


def _as_indices(indices: Sequence[int]) -> np.ndarray:
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise ConfigError("indices", index, "whole numbers")
        if not 0 <= int(index) < 2**63:
            raise ConfigError("indices", int(index), "0 to 2^63 - 1")
    return np.array([int(index) for index in indices], dtype=np.uint64)
