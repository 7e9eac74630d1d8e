"""The stream: an endless, reproducible IterableDataset of simulated batches.

Batch ``step`` of a stream holds the samples ``step * batch_size ... + batch_size - 1``, whatever
the number of threads or ranks; a rank takes its contiguous share. The state is therefore one
number, resuming costs nothing, and what was prefetched but not delivered is simply made again.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ipads_stream import __version__
from ipads_stream.core.backend import device_namespace
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import COUNT, Choice, Instance, Whole
from ipads_stream.core.handover import working_device
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Provenance, Sample
from ipads_stream.stream.adaptation import ShareTable, frozen
from ipads_stream.stream.blas import single_blas
from ipads_stream.stream.device import Device
from ipads_stream.stream.failure import POLICIES
from ipads_stream.stream.produce import Timings, at_step, produce, repeated
from ipads_stream.systems import System

STATE_VERSION = 1
KEPT = 1000  # of the last failures
ARGUMENTS = ("system", "seed", "split", "batch_size", "device", "threads", "depth", "repeat",
             "on_nonfinite")  # fmt: skip


class Stream(IterableDataset):
    """Whole batches of a system, on the device, without end.

    Iterating goes on from ``state_dict()["step"]``, also in a second loop over the same stream. The
    iterator that was started last counts the steps; an older one raises RuntimeError.

    Args:
        system: what is simulated (``load_system``).
        seed: of all random numbers.
        split: "train", "validation", "test" or any name; splits share no random number.
        batch_size: samples of a step, over all ranks together.
        device: "auto", "cpu", "cuda" (the current one) or its number, as in "cuda:1".
        threads: producing threads; 0 makes each batch when it is asked for.
        depth: batches made ahead.
        repeat: times in a row that each batch is delivered (1: every batch is new).
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
        repeat: int = 1,
        adapt_every: int = 100,
        on_nonfinite: str = "raise",
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        super().__init__()
        counts = {"batch_size": batch_size, "depth": depth, "repeat": repeat}
        for name, count in (counts | {"adapt_every": adapt_every}).items():
            COUNT(name, count)
        Whole(low=0)("threads", threads)
        Whole(low=0, optional=True)("rank", rank)
        Whole(low=1, optional=True)("world_size", world_size)
        Choice(among=POLICIES)("on_nonfinite", on_nonfinite)
        if (rank is None) != (world_size is None):
            raise ConfigError("rank", rank, "given together with world_size, or neither")
        Keys(seed, split, np.zeros(1, dtype=np.uint64))  # refuses a seed or split of wrong kind
        self.system, self.seed, self.split = system, seed, split
        self.batch_size, self.threads, self.depth = batch_size, threads, depth
        self.repeat, self.on_nonfinite = repeat, on_nonfinite
        self._rank, self._world_size = rank, world_size
        self.device = working_device(device)
        self.xp = device_namespace(self.device)
        self.config_hash = config_hash(system)
        self.step = 0
        self.timings = Timings()
        self.num_failures = 0
        self.failures: list[dict[str, Any]] = []
        self.table = ShareTable(system, batch_size=batch_size, repeat=repeat, every=adapt_every)
        lowest = (depth + 1) * repeat + 1
        if self.table.adaptive and adapt_every < lowest:
            allowed = f"at least {lowest}, more than is made ahead (depth, repeat)"
            raise ConfigError("adapt_every", adapt_every, allowed)
        self._lock = threading.Lock()
        self._jumps = self._iterators = 0
        self._share()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy in another process is made from; it iterates by itself."""
        return {
            "arguments": {
                **{name: getattr(self, name) for name in ARGUMENTS},
                "adapt_every": self.table.every,
                "rank": self._rank,
                "world_size": self._world_size,
            },
            "state": self.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["arguments"])  # type: ignore[misc]
        self.load_state_dict(state["state"])

    def __repr__(self) -> str:
        batches = f"batches of {self.batch_size} on {self.device}, next {self.step}"
        return f"Stream of {self.system.name} ({self.split}, seed {self.seed}): {batches}"

    def _repr_html_(self) -> str:
        return f"<b>{escape(repr(self))}</b>"

    # Samples by index

    def sample(self, indices: Sequence[int], *, raw: bool = False) -> Sample:
        """The samples of these indices, in this order, as tensors on the device.

        Args:
            indices: of the samples.
            raw: as they came out of the simulator, whether finite or not.
        """
        device = Device.of(self.device)
        numbers = Keys(self.seed, self.split, np.asarray(indices)).indices
        return self._deliver(self._make(numbers, -1, device, raw=raw)[0], device)

    def batch(self, step: int) -> Sample:
        """Batch ``step`` of this rank; the same whether reached by iterating or asked for."""
        device = Device.of(self.device)
        return self._deliver(at_step(step, self._batch(step // self.repeat, device)[0]), device)

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
        """This rank's share of the batch made as the ``number``-th, delivered ``repeat`` times."""
        if table is not None:
            table.note_made((number + 1) * self.batch_size - 1)
        first, rows = self._share()
        start = number * self.batch_size + first
        indices = np.arange(start, start + rows, dtype=np.uint64)
        return self._make(indices, number * self.repeat, device)

    def _make(
        self, indices: np.ndarray, step: int, device: Device, *, raw: bool = False
    ) -> tuple[Sample, float]:
        """A finished batch and the seconds it took; runs in a producer thread."""
        started = time.perf_counter()
        keys = Keys(self.seed, self.split, indices)
        # What is not finite is the policy's business, not a warning's.
        silent = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        with device, single_blas(), silent:
            policy = None if raw else self.on_nonfinite
            sample, events, shares = self.table.simulate(keys, self.xp, policy)
            made_at = {"step": step, "config_hash": self.config_hash}
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
                failures=tuple(event | made_at for event in events),
                shares=shares,
            )
            sample = device.hand_over(replace(sample, provenance=provenance))
        return sample, time.perf_counter() - started

    def _deliver(self, sample: Sample, device: Device) -> Sample:
        """Counts failures in the consumer: what was made ahead and dropped does not count."""
        device.receive(sample)
        assert sample.provenance is not None
        if events := sample.provenance.failures:
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
            make, first = partial(self._batch, device=device, table=table), self.step // self.repeat
            made = produce(make, first, threads=self.threads, depth=self.depth)
            with closing(repeated(made, self.step, repeat=self.repeat, device=device)) as batches:
                while jumps == self._jumps:
                    asked = time.perf_counter()
                    sample, generation, queued = next(batches)
                    self._deliver(sample, device)
                    now = time.perf_counter()
                    wait, step = now - asked, now - last
                    self.timings = Timings(wait, generation, step, queued, len(sample))
                    last = now
                    self.step += 1
                    yield sample
                    if newest != self._iterators:
                        raise RuntimeError(
                            "a newer iterator over this stream has taken over: iterate over it in "
                            "one place at a time, or build a second Stream"
                        )

    # Adapting

    def feed_back(
        self,
        batch: Sample,
        errors: torch.Tensor | Mapping[str, torch.Tensor],
        total: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        """Reports how large the network's errors were, for the distributions that follow them.

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
        return frozen(self.system, self.table.shares(self.table.newest))

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
        ahead = sum(event["step"] >= step for event in self.failures)
        return table | {
            "version": STATE_VERSION,
            "system": self.system.name,
            "config_hash": self.config_hash,
            "seed": self.seed,
            "split": self.split,
            "batch_size": self.batch_size,
            "repeat": self.repeat,
            "step": step,
            "num_failures": self.num_failures - ahead,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state, before or during iteration, on any number of threads or ranks;
        ConfigError, by the key that differs, where it is the state of another stream."""
        Instance(of=Mapping, allowed="what state_dict() gave")("state", state)
        if "echo" in state:  # the name of repeat in states of earlier versions
            state = {"repeat": state["echo"], **state}
        for key, value in self.state_at(0).items():
            if key not in ("step", "table", "num_failures") and state.get(key) != value:
                raise ConfigError(f"state.{key}", state.get(key), f"{value!r}, as this stream has")
        last = 2**63 // self.batch_size * self.repeat - 1  # whose samples have an index
        step = Whole(low=0, high=last)("state.step", state.get("step"))
        failures = Whole(low=0)("state.num_failures", state.get("num_failures", 0))
        if self.table.adaptive:
            self.table = self.table.restored(state.get("table"))
        self.step, self.num_failures = step, failures
        self.failures = []
        self._jumps += 1
