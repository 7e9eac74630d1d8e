"""The stream: an endless, reproducible IterableDataset of simulated batches.

Batch ``step`` of a stream holds the samples ``step * batch_size ... + batch_size - 1``, whatever
the number of threads or ranks; a rank takes its contiguous share. The state is therefore one
number, resuming costs nothing, and what was prefetched but not delivered is simply made again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from ipads_stream.stream.adaptation import ShareTable, frozen
from ipads_stream.stream.device import Device
from ipads_stream.stream.echo import at_step, echoed
from ipads_stream.stream.failure import POLICIES
from ipads_stream.stream.timings import Timings
from ipads_stream.systems import System

STATE_VERSION = 1
KEPT = 1000  # of the last failures


class Stream(IterableDataset):
    """Whole batches of a system, on the device, without end.

    Iterating goes on from ``state_dict()["step"]``, also in a second loop over the same stream. The
    iterator that was started last counts the steps; an older one raises RuntimeError.

    Args:
        system: what is simulated (``load_system``).
        seed: of all random numbers.
        split: "train", "validation", "test" or any name; splits share no random number.
        batch_size: samples of a step, over all ranks together.
        device: "auto", "cpu" or "cuda".
        threads: producing threads; 0 makes each batch when it is asked for.
        depth: batches made ahead.
        echo: times each batch is made once and delivered in a row (1: every batch is new).
        adapt_every: deliveries after which the shares of adaptive distributions change; they hold
            from one such block later on (stream/adaptation.py).
        on_nonfinite: "raise", "substitute" or "mask" (stream/failure.py).
        rank, world_size: share of this process; by default those of torch.distributed.

    Attributes:
        step: the next batch to deliver.
        timings: of the last delivery.
        num_failures: non-finite samples in the batches delivered so far.
        failures: the last of them, index, parameters and what else ``replay`` needs.

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
        adapt_every: int = 100,
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
            ("adapt_every", adapt_every, 1),
            ("rank", rank, 0),
            ("world_size", world_size, 1),
        ):
            if value is None and name in ("rank", "world_size"):
                continue
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
        self.step = 0
        self.timings = Timings()
        self.num_failures = 0
        self.failures: list[dict[str, Any]] = []
        self.table = ShareTable(system, batch_size=batch_size, echo=echo, every=adapt_every)
        if self.table.adaptive and adapt_every < (depth + 1) * echo + 1:
            allowed = f"at least {(depth + 1) * echo + 1}, more than is made ahead (depth, echo)"
            raise ConfigError("adapt_every", adapt_every, allowed)
        self._lock = threading.Lock()
        self._jumps = self._iterators = 0
        self._share()

    # Samples by index

    def sample(self, indices: Sequence[int], *, raw: bool = False) -> Sample:
        """The samples of these indices, in this order, as tensors on the device.

        Args:
            indices: of the samples.
            raw: as they came out of the simulator, whether finite or not.
        """
        device = Device.of(self.device)
        return self._deliver(self._make(_as_indices(indices), -1, device, raw=raw)[0], device)

    def batch(self, step: int) -> Sample:
        """Batch ``step`` of this rank; the same whether reached by iterating or asked for."""
        device = Device.of(self.device)
        return self._deliver(at_step(step, self._batch(step // self.echo, device)[0]), device)

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

    def _batch(
        self, number: int, device: Device, table: ShareTable | None = None
    ) -> tuple[Sample, float]:
        """This rank's share of the batch made as the ``number``-th, delivered ``echo`` times."""
        if table is not None:
            table.note_made((number + 1) * self.batch_size - 1)
        first, rows = self._share()
        start = number * self.batch_size + first
        indices = np.arange(start, start + rows, dtype=np.uint64)
        return self._make(indices, number * self.echo, device)

    def _make(
        self, indices: np.ndarray, step: int, device: Device, *, raw: bool = False
    ) -> tuple[Sample, float]:
        """A finished batch and the seconds it took; runs in a producer thread."""
        started = time.perf_counter()
        keys = Keys(self.seed, self.split, indices)
        # What is not finite is the policy's business, not a warning's.
        with device, np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            sample, events, shares = self.table.simulate(
                keys, self.xp, None if raw else self.on_nonfinite
            )
            provenance = Provenance(
                system=self.system.name,
                seed=self.seed,
                split=self.split,
                indices=indices,
                step=step,
                config_hash=self.config_hash,
                version=__version__,
                backend=f"{self.xp.__name__}:{self.device}",
                substituted=sample.substituted,
                on_nonfinite=self.on_nonfinite,
                failures=tuple(
                    event | {"step": step, "config_hash": self.config_hash} for event in events
                ),
                shares=shares,
            )
            sample = device.hand_over(replace(sample, provenance=provenance))
        return sample, time.perf_counter() - started

    def _deliver(self, sample: Sample, device: Device) -> Sample:
        """Counts failures in the consumer: what was made ahead and dropped does not count."""
        device.receive(sample)
        assert sample.provenance is not None
        events = sample.provenance.failures
        if events:
            with self._lock:
                self.num_failures += len(events)
                self.failures.extend(events)
                del self.failures[:-KEPT]
        return sample

    # Iterating

    def __iter__(self) -> Iterator[Sample]:
        if get_worker_info() is not None:
            raise RuntimeError(
                "Stream makes its batches in threads of its own: use it with "
                "DataLoader(stream, batch_size=None, num_workers=0), or iterate over it directly"
            )
        device = Device.of(self.device)
        self._iterators += 1
        newest = self._iterators
        last = time.perf_counter()
        while True:
            jumps, table = self._jumps, self.table
            made = echoed(
                partial(self._batch, device=device, table=table),
                self.step,
                echo=self.echo,
                threads=self.threads,
                depth=self.depth,
                device=device,
            )
            try:
                while jumps == self._jumps:
                    asked = time.perf_counter()
                    sample, generation, queued = next(made)
                    self._deliver(sample, device)
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
                    if newest != self._iterators:
                        raise RuntimeError(
                            "a newer iterator over this stream has taken over: iterate over it in "
                            "one place at a time, or build a second Stream"
                        )
            finally:
                made.close()

    # Adapting

    def feed_back(
        self,
        batch: Sample,
        errors: torch.Tensor | Mapping[str, torch.Tensor],
        total: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """Tells how large the network's errors were, for the distributions that follow them.

        Call it after each training step, in the order of the batches, on all ranks; nothing is
        copied from the device until a block of ``adapt_every`` deliveries ends. A batch that was
        counted before (after resuming) is passed over.

        Args:
            batch: that was trained on, as delivered.
            errors: at least 0, (B,) for each sample, or name of the parameter -> (B, ...) for each
                of its draws; what is not finite (NaN: an absent peak) does not count.
            total: sum of a tensor over all ranks (all-reduce); None: there is one rank.

        Raises:
            ConfigError: errors of another shape.
            RuntimeError: too late, samples that these errors should shape have been made.
        """
        self.table.feed_back(batch, errors, total)

    def frozen_system(self) -> System:
        """The system with the newest shares for good: ``describe`` gives its YAML."""
        return frozen(self.system, self.table.shares(len(self.table.history)))

    # State

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on exactly: the next batch to deliver, and guards."""
        return self.state_at(self.step)

    def state_at(self, step: int) -> dict[str, Any]:
        """The state in which batch ``step`` is the next to be delivered.

        Where something adapts, the errors of all batches before ``step`` should have been fed back;
        batches from ``step`` on whose errors were are not counted again.
        """
        table = {"table": self.table.state()} if self.table.adaptive else {}
        return table | {
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
            if key in ("step", "table"):
                continue
            if state.get(key) != value:
                raise ConfigError(f"state.{key}", state.get(key), f"{value!r}, as this stream has")
        step = state.get("step")
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ConfigError("state.step", step, "a whole number, at least 0")
        if self.table.adaptive:
            self.table = self.table.restored(state.get("table"), self.device)
        self.step = step
        self._jumps += 1


def _as_indices(indices: Sequence[int]) -> np.ndarray:
    try:
        indices = list(indices)
    except TypeError as error:
        raise ConfigError("indices", indices, "a sequence of whole numbers") from error
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise ConfigError("indices", index, "whole numbers")
        if not 0 <= int(index) < 2**63:
            raise ConfigError("indices", int(index), "0 to 2^63 - 1")
    return np.array([int(index) for index in indices], dtype=np.uint64)
