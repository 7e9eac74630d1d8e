"""The table of shares that adaptive distributions follow, part of the stream's state.

Time runs in blocks of ``every`` deliveries. The errors of block b are fed back while it is trained
on; at its end they make new shares, which hold from block b + 2 on: no batch of that block has been
made yet, since a stream is at most ``depth`` batches ahead. So which shares a sample is drawn with
follows from its index and the table alone, whatever was made ahead, by however many threads; and
the table keeps all shares there were, so that any sample of the past can be made again.
"""

from __future__ import annotations

import dataclasses
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Correlated
from ipads_stream.distributions.adaptive import Adaptive
from ipads_stream.distributions.joint import adaptive_of
from ipads_stream.stream.failure import complete, handle_nonfinite, simulate
from ipads_stream.systems import System

Shares = dict[str, list[float]]
KEPT = 8  # systems with shares of their own, for the blocks in the making


def adaptive_parameters(system: System) -> dict[str, Adaptive]:
    """Name -> distribution of those parameters of a system that adapt."""
    if not dataclasses.is_dataclass(system):
        return {}
    values = {f.name: getattr(system, f.name) for f in dataclasses.fields(system)}
    found = {name: adaptive_of(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}


def with_shares(system: System, shares: Mapping[str, Any] | None) -> System:
    """The system whose adaptive parameters have these shares: all that adapts, as configuration.

    Args:
        system: as configured.
        shares: name of the parameter -> shares of its regions; None: as configured.
    """
    if not shares:
        return system
    changed = {
        name: dataclasses.replace(value, shares=tuple(shares[name]))
        for name, value in adaptive_parameters(system).items()
    }
    return _replaced(system, changed)


def frozen(system: System, shares: Mapping[str, Any] | None = None) -> System:
    """The system with these shares for good: nothing in it adapts any more."""
    system = with_shares(system, shares)
    kept = {name: value.frozen() for name, value in adaptive_parameters(system).items()}
    return _replaced(system, kept)


def _replaced(system: System, changed: Mapping[str, Any]) -> System:
    outer = {name: getattr(system, name) for name in changed}
    values = {
        name: dataclasses.replace(outer[name], distribution=value)
        if isinstance(outer[name], Correlated)
        else value
        for name, value in changed.items()
    }
    return dataclasses.replace(system, **values)  # type: ignore[type-var]


class ShareTable:
    """Shares of all adaptive parameters, block by block.

    Args:
        system: as configured.
        batch_size: samples of a batch, over all ranks.
        echo: deliveries of each batch.
        every: deliveries of a block.

    Attributes:
        adaptive: name -> distribution; empty where nothing adapts.
        history: (first sample that is drawn with them, shares), in order; before the first the
            shares are those of the configuration.
        fed: deliveries whose errors have been counted, or passed over.
    """

    def __init__(self, system: System, *, batch_size: int, echo: int, every: int) -> None:
        self.system, self.batch_size, self.echo, self.every = system, batch_size, echo, every
        self.adaptive = adaptive_parameters(system)
        self.history: list[tuple[int, Shares]] = []
        self.fed = 0
        self._errors: dict[str, list[float]] = {}
        self._regions = {name: len(value.edges) + 1 for name, value in self.adaptive.items()}
        self._pending: Tensor | None = None  # (2, all regions): sum of errors, and their number
        self._systems: dict[int, System] = {}
        self._lock = threading.Lock()
        self._made = -1  # last sample made for delivery

    # Which shares

    def version(self, index: int) -> int:
        """Number of the shares that a sample is drawn with; 0: those of the configuration."""
        return bisect_right(self.history, index, key=lambda entry: entry[0])

    def shares(self, version: int) -> Shares | None:
        """Shares by name; None: those of the configuration."""
        return None if version == 0 else self.history[version - 1][1]

    def system_of(self, version: int) -> System:
        """The system with the shares of a version."""
        if version == 0:
            return self.system
        with self._lock:
            if version not in self._systems:
                self._systems[version] = with_shares(self.system, self.shares(version))
                for old in sorted(self._systems)[:-KEPT]:
                    del self._systems[old]
            return self._systems.get(version) or with_shares(self.system, self.shares(version))

    def note_made(self, last: int) -> None:
        """Remembers the last sample that is made for delivery, to tell feedback that is late."""
        with self._lock:
            self._made = max(self._made, last)

    def simulate(
        self, keys: Keys, xp: Any, policy: str | None
    ) -> tuple[Sample, list[dict[str, Any]], tuple[Shares | None, ...] | None]:
        """Samples, each drawn with the shares of its index.

        Args:
            keys: of the samples.
            xp: array library.
            policy: for samples that are not finite; None: as they come.

        Returns:
            The samples, a record of each that was not finite, and the shares of each sample.
        """
        if not self.adaptive:
            return *_simulated(self.system, keys, xp, policy), None
        versions = [self.version(int(index)) for index in keys.indices]
        parts, rows, events = [], [], []
        for version in sorted(set(versions)):
            some = np.flatnonzero(np.array(versions) == version)
            part_keys = Keys(keys.seed, keys.split, keys.indices[some])
            part, failed = _simulated(self.system_of(version), part_keys, xp, policy)
            events += [event | {"shares": self.shares(version)} for event in failed]
            parts.append(part)
            rows.append(some)
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
        while step // self.every > self.fed // self.every:  # blocks whose end was not fed back
            self._close(self.fed // self.every)
        sums = torch.cat([self._tally(name, batch, errors) for name in self.adaptive], dim=1)
        if total is not None:
            sums = total(sums)
        self._pending = sums if self._pending is None else self._pending + sums
        self.fed = step + 1
        if self.fed % self.every == 0:
            self._close(step // self.every)

    def _tally(self, name: str, batch: Sample, errors: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Sum of errors and their number in each region of a parameter, (2, regions), float64."""
        values = np.asarray(batch.params[name], dtype=np.float64)
        regions = self.adaptive[name].region(values)
        if isinstance(errors, Mapping):
            if name not in errors:
                raise ConfigError(
                    "errors", list(errors), f"an entry for each of {list(self.adaptive)}"
                )
            own = errors[name]
        else:
            own = errors
        own = own.detach().to(torch.float64)
        if own.shape not in (values.shape, values.shape[:1]):
            allowed = f"a tensor of shape {values.shape[:1]} or {values.shape}"
            raise ConfigError(f"errors.{name}", tuple(own.shape), allowed)
        own = own.reshape(*own.shape, *(1,) * (values.ndim - own.ndim)).expand(values.shape)
        weight = batch.weight.reshape(-1, *(1,) * (values.ndim - 1)).expand(values.shape)
        counts = torch.isfinite(own) & (weight.to(own.device) > 0)
        one_hot = np.arange(self._regions[name])[:, None] == regions.reshape(-1)
        chosen = torch.from_numpy(one_hot).to(own.device, torch.float64) * counts.reshape(-1)
        clean = torch.where(counts, own, torch.zeros_like(own)).reshape(-1)
        # A product instead of index_add: the same sums on every run of a GPU.
        return torch.stack([chosen @ clean, chosen.sum(1)])

    def _close(self, block: int) -> None:
        """Ends a block: its errors make the shares of the block after the next."""
        self.fed = (block + 1) * self.every
        pending, self._pending = self._pending, None
        if pending is None:
            return
        first = -(-(block + 2) * self.every // self.echo) * self.batch_size
        if self._made >= first:
            raise RuntimeError(
                f"the errors of deliveries {block * self.every} to {self.fed - 1} were fed back "
                f"after sample {first} had been made, which is to be drawn by them: call feed_back "
                "after every step, or raise adapt_every"
            )
        at, shares = 0, {}
        for name, value in self.adaptive.items():
            stop = at + self._regions[name]
            sums, counts = pending[:, at:stop].cpu().numpy()
            at = stop
            self._errors[name] = _running(self._errors.get(name), sums, counts, value.memory)
            shares[name] = value.following(self._errors[name]).sampled.tolist()
        with self._lock:
            self.history.append((first, shares))

    # State

    def state(self) -> dict[str, Any]:
        """The table as plain values."""
        return {
            "every": self.every,
            "fed": self.fed,
            "history": [[first, shares] for first, shares in self.history],
            "errors": {name: list(errors) for name, errors in self._errors.items()},
            "pending": None if self._pending is None else self._pending.cpu().tolist(),
        }

    def restored(self, state: Any, device: str) -> ShareTable:
        """A table of the same system in the state given.

        Raises:
            ConfigError: the state is that of another table.
        """
        if not isinstance(state, dict) or state.get("every") != self.every:
            found = state.get("every") if isinstance(state, dict) else state
            raise ConfigError("state.table.every", found, f"{self.every}, as this stream has")
        table = ShareTable(
            self.system, batch_size=self.batch_size, echo=self.echo, every=self.every
        )
        table.history = [(int(first), dict(shares)) for first, shares in state["history"]]
        table.fed = int(state["fed"])
        table._errors = {name: list(errors) for name, errors in state["errors"].items()}
        if state["pending"] is not None:
            table._pending = torch.tensor(state["pending"], dtype=torch.float64, device=device)
        return table


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
    """Running mean errors; a region without draws keeps its own, or takes the mean of the rest."""
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
