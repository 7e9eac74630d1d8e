"""The table of shares that adaptive distributions follow, part of the stream's state.

The errors of a block of ``every`` deliveries make, at its end, the shares of the block after the
next, of which nothing has been made yet: a stream is at most ``depth`` batches ahead. The shares of
a sample follow from its index and the table alone. The table keeps those of the last blocks, so
that its size and the time to resume do not grow; training writes all of them to ``shares.jsonl``.
"""

import dataclasses
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance, Number, Numbers, Whole
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Correlated, Distribution
from ipads_stream.distributions.adaptive import Adaptive
from ipads_stream.stream.failure import complete, handle_nonfinite, simulate
from ipads_stream.systems import System

Shares = dict[str, list[float]]
INDEX = Whole(low=0, high=2**63 - 1)
KEPT = 16  # of the last shares, those of the blocks in the making among them


def adaptive_parameters(system: System) -> dict[str, Adaptive]:
    """Name -> distribution of those parameters of a system that adapt."""
    if not dataclasses.is_dataclass(system):
        return {}
    values = {f.name: getattr(system, f.name) for f in dataclasses.fields(system)}
    parts = [(name, part) for name, value in values.items() if isinstance(value, Distribution)
             for part in value.nested()]  # fmt: skip
    return {name: part for name, part in parts if isinstance(part, Adaptive)}


def refuse_adaptive(key: str, system: System, purpose: str) -> None:
    """Refuses, by ``key``, a system that adapts to the network's errors."""
    if adaptive := adaptive_parameters(system):
        allowed = f"distributions that do not adapt, for {purpose}"
        raise ConfigError(key, ", ".join(adaptive), allowed)


def with_shares(system: System, shares: Mapping[str, Any] | None) -> System:
    """The system with these shares in its adaptive parameters, by name; None: as configured."""
    if not shares:
        return system
    return _changed(system, lambda name, x: dataclasses.replace(x, shares=tuple(shares[name])))


def frozen(system: System, shares: Mapping[str, Any] | None = None) -> System:
    """The system with these shares for good: nothing in it adapts any more."""
    return _changed(with_shares(system, shares), lambda name, adaptive: adaptive.frozen())


def _changed(system: System, change: Callable[[str, Adaptive], Distribution]) -> System:
    values = {}
    for name, adaptive in adaptive_parameters(system).items():
        outer, values[name] = getattr(system, name), change(name, adaptive)
        if isinstance(outer, Correlated):
            values[name] = dataclasses.replace(outer, distribution=values[name])
    return dataclasses.replace(system, **values)  # type: ignore[type-var]


class ShareTable:
    """Shares of all adaptive parameters, in blocks of ``every`` deliveries.

    A batch of ``batch_size`` samples, over all ranks, is delivered ``repeat`` times.

    Attributes:
        adaptive: name -> distribution; empty where nothing adapts.
        history: (first sample that is drawn with them, shares), the last in order; before the very
            first the shares are those of the configuration.
        fed: deliveries whose errors have been counted, or passed over.
    """

    def __init__(self, system: System, *, batch_size: int, repeat: int, every: int) -> None:
        self.system, self.batch_size = system, batch_size
        self.repeat, self.every = repeat, every
        self.adaptive = adaptive_parameters(system)
        # How many were dropped before the history; both change at once, producers read them.
        self._kept: tuple[int, list[tuple[int, Shares]]] = 0, []
        self.fed = 0
        self._errors: dict[str, list[float]] = {}
        self._regions = {name: len(value.edges) + 1 for name, value in self.adaptive.items()}
        self._pending: Tensor | None = None  # (2, all regions): sum of errors, and their number
        # Version -> the system with its shares.
        self.system_of = lru_cache(KEPT)(lambda version: with_shares(system, self.shares(version)))
        self._lock = threading.Lock()
        self._made = -1  # last sample made for delivery

    # Which shares

    @property
    def history(self) -> list[tuple[int, Shares]]:
        return self._kept[1]

    @property
    def newest(self) -> int:
        """Number of the newest shares."""
        dropped, history = self._kept
        return dropped + len(history)

    def version(self, index: int) -> int:
        """Number of the shares that a sample is drawn with; 0: those of the configuration.

        Raises:
            ConfigError: the shares of that sample are not kept any more.
        """
        dropped, history = self._kept
        found = bisect_right(history, index, key=lambda entry: entry[0])
        if dropped and not found:
            allowed = f"{history[0][0]} or more: the shares of earlier samples are not kept"
            raise ConfigError("index", index, allowed)
        return dropped + found

    def shares(self, version: int) -> Shares | None:
        """Shares by name; None: those of the configuration."""
        dropped, history = self._kept
        return None if version == 0 else history[version - dropped - 1][1]

    def note_made(self, last: int) -> None:
        """Remembers the last sample that is made for delivery, to recognise late feedback."""
        with self._lock:
            self._made = max(self._made, last)

    def simulate(
        self, keys: Keys, xp: Any, policy: str | None
    ) -> tuple[Sample, list[dict[str, Any]], tuple[Shares | None, ...] | None]:
        """Samples, each drawn with the shares of its index, records of those that were not finite,
        and the shares of each; policy None: as they come."""
        if not self.adaptive:
            return *_simulated(self.system, keys, xp, policy), None
        versions = [self.version(int(index)) for index in keys.indices]
        parts, rows, events = [], [], []
        for version in sorted(set(versions)):
            places = np.flatnonzero(np.array(versions) == version)
            part_keys = Keys(keys.seed, keys.split, keys.indices[places])
            part, failed = _simulated(self.system_of(version), part_keys, xp, policy)
            events += [event | {"shares": self.shares(version)} for event in failed]
            parts.append(part)
            rows.append(places)
        sample = parts[0] if len(parts) == 1 else merged(parts, rows, xp)
        return sample, events, tuple(self.shares(version) for version in versions)

    # Feedback

    def feed_back(
        self,
        batch: Sample,
        errors: Tensor | Mapping[str, Tensor],
        total: Callable[[Tensor], Tensor] | None,
    ) -> None:
        """See ``Stream.feed_back``."""
        assert batch.provenance is not None
        step = batch.provenance.step
        if not self.adaptive or step < self.fed:
            return
        if step // self.every > self.fed // self.every:  # the end of a block was not fed back
            self._close(self.fed // self.every)
            self.fed = step // self.every * self.every
        sums = torch.cat([self._tally(name, batch, errors) for name in self.adaptive], dim=1)
        if total is not None:
            sums = total(sums)
        # What was restored lies on the host: which device a rank has is not known until it trains.
        self._pending = sums if self._pending is None else self._pending.to(sums.device) + sums
        self.fed = step + 1
        if self.fed % self.every == 0:
            self._close(step // self.every)

    def _tally(self, name: str, batch: Sample, errors: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Sum of errors and their number in each region of a parameter, (2, regions), float64."""
        values = np.asarray(batch.params[name], dtype=np.float64)
        regions = self.adaptive[name].region(values)
        if isinstance(errors, Mapping) and name not in errors:
            allowed = f"an entry for each of {list(self.adaptive)}"
            raise ConfigError("errors", list(errors), allowed)
        error = errors[name] if isinstance(errors, Mapping) else errors
        error = error.detach().to(torch.float64)
        if error.shape not in (values.shape, values.shape[:1]):
            allowed = f"a tensor of shape {values.shape[:1]} or {values.shape}"
            raise ConfigError(f"errors.{name}", tuple(error.shape), allowed)
        error = error.reshape(*error.shape, *(1,) * (values.ndim - error.ndim)).expand(values.shape)
        weight = batch.weight.reshape(-1, *(1,) * (values.ndim - 1)).expand(values.shape)
        counts = torch.isfinite(error) & (weight.to(error.device) > 0)
        one_hot = np.arange(self._regions[name])[:, None] == regions.reshape(-1)
        chosen = torch.from_numpy(one_hot).to(error.device, torch.float64) * counts.reshape(-1)
        clean = torch.where(counts, error, torch.zeros_like(error)).reshape(-1)
        # A product instead of index_add: the same sums on every run of a GPU.
        return torch.stack([chosen @ clean, chosen.sum(1)])

    def _close(self, block: int) -> None:
        """Ends a block: its errors make the shares of the block after the next."""
        self.fed = (block + 1) * self.every
        pending, self._pending = self._pending, None
        if pending is None:
            return
        first = -(-(block + 2) * self.every // self.repeat) * self.batch_size
        if self._made >= first:
            raise RuntimeError(
                f"the errors of deliveries {block * self.every} to {self.fed - 1} were fed back "
                f"after sample {first} had been made, which is to be drawn by them: call feed_back "
                "after every step, or raise adapt_every"
            )
        shares, ends = {}, np.cumsum(list(self._regions.values()))
        tallies = np.split(pending.cpu().numpy(), ends[:-1], axis=1)
        for (name, value), (sums, counts) in zip(self.adaptive.items(), tallies, strict=True):
            self._errors[name] = _running(self._errors.get(name), sums, counts, value.memory)
            shares[name] = value.following(self._errors[name]).sampled.tolist()
        dropped, history = self._kept
        self._keep(dropped, [*history, (first, shares)])

    def _keep(self, dropped: int, history: list[tuple[int, Shares]]) -> None:
        more = max(len(history) - KEPT, 0)
        self._kept = dropped + more, history[more:]

    # State

    def state(self) -> dict[str, Any]:
        """The table as plain values."""
        return {
            "every": self.every,
            "fed": self.fed,
            "history": [[first, shares] for first, shares in self.history],
            "dropped": self._kept[0],
            "errors": {name: list(errors) for name, errors in self._errors.items()},
            "pending": None if self._pending is None else self._pending.cpu().tolist(),
        }

    def restored(self, state: Any) -> "ShareTable":
        """A table of the same system in this state; ConfigError, by key, of what is none of its."""
        if not isinstance(state, dict) or state.get("every") != self.every:
            every = state.get("every") if isinstance(state, dict) else state
            raise ConfigError("state.table.every", every, f"{self.every}, as this stream has")
        table = ShareTable(
            self.system, batch_size=self.batch_size, repeat=self.repeat, every=self.every
        )
        table.fed = INDEX("state.table.fed", state.get("fed"))
        dropped = INDEX("state.table.dropped", state.get("dropped", 0))
        history = Instance(of=list)("state.table.history", state.get("history"))
        more = max(len(history) - KEPT, 0)
        table._keep(dropped + more, self._entries(history[more:]))
        errors = Instance(of=dict)("state.table.errors", state.get("errors"))
        for name, means in errors.items():
            regions = Numbers(each=Number(low=0.0), count=self._regions.get(name, -1))
            table._errors[name] = list(regions(f"state.table.errors.{name}", means))
        if state.get("pending") is not None:
            sums = Numbers(each=Number(low=0.0), count=sum(self._regions.values()))
            both = Numbers(each=sums, count=2)("state.table.pending", state["pending"])
            table._pending = torch.tensor(both, dtype=torch.float64)
        return table

    def _entries(self, history: list[Any]) -> list[tuple[int, Shares]]:
        """The last shares of a state, once all of them can be drawn with."""
        entries: list[tuple[int, Shares]] = []
        for i, entry in enumerate(history):
            key = f"state.table.history[{i}]"
            if not isinstance(entry, (list, tuple)) or len(entry) != 2:
                raise ConfigError(key, entry, "a sample and the shares from it on")
            first, shares = INDEX(key, entry[0]), entry[1]
            if not isinstance(shares, dict) or shares.keys() != self.adaptive.keys():
                raise ConfigError(key, shares, f"shares of {', '.join(self.adaptive)}")
            if entries and first <= entries[-1][0]:
                raise ConfigError(key, first, f"a sample after {entries[-1][0]}")
            for name, adaptive in self.adaptive.items():
                try:
                    adaptive.check_shares(shares[name])
                except ConfigError as error:
                    raise ConfigError(f"{key}.{name}", shares[name], str(error)) from error
            entries.append((first, dict(shares)))
        return entries


def _simulated(
    system: System, keys: Keys, xp: Any, policy: str | None
) -> tuple[Sample, list[dict[str, Any]]]:
    sample = simulate(system, keys, xp)
    if policy is None:
        return complete(sample), []
    return handle_nonfinite(sample, system, keys, xp, policy)


def _running(
    before: list[float] | None, sums: np.ndarray, counts: np.ndarray, memory: float
) -> list[float]:
    """Running mean errors; a region without draws keeps its mean, or takes that of the others."""
    if not counts.sum():
        return before if before is not None else [0.0] * len(sums)
    everywhere = max(float(sums.sum() / counts.sum()), 0.0)
    now = np.where(counts > 0, np.maximum(sums, 0.0) / np.maximum(counts, 1.0), np.nan)
    if before is None:
        return np.where(np.isnan(now), everywhere, now).tolist()
    old = np.asarray(before)
    return np.where(np.isnan(now), old, memory * old + (1.0 - memory) * now).tolist()


def merged(samples: list[Sample], rows: list[np.ndarray], xp: Any) -> Sample:
    """One batch out of parts, row ``rows[i][j]`` being row j of part i."""
    order = np.argsort(np.concatenate(rows))

    def joined(arrays: list[Any], space: Any) -> Any:
        return space.concatenate(arrays)[space.asarray(order)]

    def group(name: str, space: Any) -> dict[str, Any]:
        parts = [getattr(sample, name) for sample in samples]
        return {key: joined([part[key] for part in parts], space) for key in parts[0]}

    return Sample(
        inputs=group("inputs", xp),
        targets=group("targets", xp),
        params=group("params", np),
        weight=joined([sample.weight for sample in samples], np),
        substituted=joined([sample.substituted for sample in samples], np),
    )
