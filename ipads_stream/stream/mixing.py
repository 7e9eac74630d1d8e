"""Few samples used over and over, and their exact mixture with others in every batch.

Both are systems, so that a stream of them has threads, ranks, state and failures like any other,
and sample n stays a function of configuration, seed, split and n.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.stream.adaptation import adaptive_parameters, merged
from ipads_stream.stream.failure import complete
from ipads_stream.stream.rerouted import Rerouted, draw_names
from ipads_stream.systems import System

REAL, SYNTHETIC = "real", "synthetic"


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """The first ``num_samples`` samples of a system, in a new keyed order on every pass.

    Attributes:
        system: that the samples come from.
        num_samples: size of the set.
        fresh: names of the draws that are new each time a sample is used, e.g. ("rate", "mask").

    Raises:
        ConfigError: an empty set, a fresh draw that the system does not make.
    """

    system: System
    num_samples: int
    fresh: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = self.num_samples
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError("num_samples", count, "a whole number, at least 1")
        known = draw_names(self.system)
        for name in self.fresh:
            if name not in known:
                raise ConfigError("fresh", name, f"draws of the system: {', '.join(known)}")
        object.__setattr__(self, "fresh", tuple(self.fresh))

    @property
    def name(self) -> str:
        return self.system.name

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return self.system.draw(self._keys(keys), progress)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        return self.system.render(params, self._keys(keys), xp)

    def places(self, keys: Keys) -> np.ndarray:
        """Which sample of the set each index stands for, (B,): a permutation for every pass."""
        passes, places = np.divmod(keys.indices, np.uint64(self.num_samples))
        some, row = np.unique(passes, return_inverse=True)
        orders = random.permutation(Keys(keys.seed, keys.split, some)["order"], self.num_samples)
        found: np.ndarray = orders[row, places.astype(np.int64)].astype(np.uint64)
        return found

    def _keys(self, keys: Keys) -> Keys:
        return Rerouted(Keys(keys.seed, keys.split, self.places(keys)), keys, self.fresh)


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Two systems in one stream: of every ``batch_size`` samples in a row, ``count`` are real.

    Of the first n samples ``floor(n count / batch_size)`` are real, so they are spread evenly over
    the batch, and over the ranks that share it. Both parts have splits of their own: synthetic
    samples are not those of an earlier run on the same seed.

    Attributes:
        synthetic, real: systems; names, shapes and types of their inputs and targets agree.
        count: real samples in a batch.
        batch_size: samples of a batch.

    Raises:
        ConfigError: more real samples than a batch holds, a system that adapts.
    """

    synthetic: System
    real: System
    count: int
    batch_size: int

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int):
            raise ConfigError("count", self.count, "a whole number")
        if not 0 <= self.count <= self.batch_size:
            raise ConfigError("count", self.count, f"0 to batch_size={self.batch_size}")
        for name, system in self._systems().items():
            if adaptive_parameters(system):
                found = ", ".join(adaptive_parameters(system))
                raise ConfigError(name, found, "distributions that do not adapt, for mixing")

    @property
    def name(self) -> str:
        return self.synthetic.name

    def is_real(self, indices: np.ndarray) -> np.ndarray:
        """Which samples are real, (B,) bool."""
        return self._before(indices + np.uint64(1)) > self._before(indices)

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        """``is_real``, and the parameters of both systems as ``real.<name>``, ``synthetic.<name>``
        with zeros in the rows of the other."""
        params: Arrays = {"is_real": self.is_real(keys.indices)}
        for name, system in self._systems().items():
            rows = self._rows(name, params)
            # Without a row of its own, one is drawn for the names and shapes of the parameters.
            some = rows if rows.size else np.zeros(1, dtype=np.int64)
            own = system.draw(self._keys(keys, name, some), progress[some])
            for key, values in own.items():
                spread = np.zeros((len(keys.indices), *values.shape[1:]), values.dtype)
                spread[rows] = values[: rows.size]
                params[f"{name}.{key}"] = spread
        return params

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        samples, places = [], []
        for name, system in self._systems().items():
            rows = self._rows(name, params)
            if not rows.size:
                continue
            marks = {key: key.removeprefix(f"{name}.") for key in params if key != "is_real"}
            own = {short: params[key][rows] for key, short in marks.items() if short != key}
            sample = complete(system.render(own, self._keys(keys, name, rows), xp))
            samples.append(replace(sample, params={}))
            places.append(rows)
        if len(samples) == 2:
            _check_alike(samples)
        return replace(merged(samples, places, xp), params=params)

    def _systems(self) -> dict[str, System]:
        return {SYNTHETIC: self.synthetic, REAL: self.real}

    def _rows(self, name: str, params: Arrays) -> np.ndarray:
        is_real = params["is_real"]
        return np.flatnonzero(is_real if name == REAL else ~is_real)

    def _keys(self, keys: Keys, name: str, rows: np.ndarray) -> Keys:
        indices = keys.indices[rows]
        before = self._before(indices)
        own = before if name == REAL else indices - before
        return Keys(keys.seed, f"{keys.split}/{name}", own)

    def _before(self, indices: np.ndarray) -> np.ndarray:
        """Number of real samples before each index: floor(n count / batch_size) in integers."""
        batches, places = np.divmod(indices, np.uint64(self.batch_size))
        count = np.uint64(self.count)
        before: np.ndarray = batches * count + places * count // np.uint64(self.batch_size)
        return before


def _check_alike(samples: list[Sample]) -> None:
    """Refuses signals that do not fit into one batch."""
    one, other = samples
    for group in ("inputs", "targets"):
        synthetic, real = getattr(one, group), getattr(other, group)
        shapes = [
            {k: (v.shape[1:], v.dtype) for k, v in part.items()} for part in (synthetic, real)
        ]
        if shapes[0] != shapes[1]:
            found = ", ".join(f"{k} {tuple(s)} {t}" for k, (s, t) in shapes[1].items())
            allowed = ", ".join(f"{k} {tuple(s)} {t}" for k, (s, t) in shapes[0].items())
            raise ConfigError(f"real.{group}", found, f"as the synthetic ones: {allowed}")
