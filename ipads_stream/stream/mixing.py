"""Few samples used over and over, and their exact mixture with others in every batch.

Both are systems: sample n stays a function of configuration, seed, split and n.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Whole
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.stream.adaptation import merged, refuse_adaptive
from ipads_stream.stream.failure import complete
from ipads_stream.stream.stored import Stored
from ipads_stream.systems import System

REAL, SYNTHETIC = "real", "synthetic"


@dataclass(frozen=True, kw_only=True)
class Shuffled(Stored):
    """As :class:`Stored`, in a new keyed order on every pass."""

    def places(self, keys: Keys) -> np.ndarray:
        """Which sample of the set each index stands for, (B,): a permutation for every pass."""
        passes, places = np.divmod(keys.indices, np.uint64(self.num_samples))
        different, row = np.unique(passes, return_inverse=True)
        pass_keys = Keys(keys.seed, keys.split, different)
        orders = random.permutation(pass_keys["order"], self.num_samples)
        return orders[row, places.astype(np.int64)].astype(np.uint64)


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
        Whole()("count", self.count)
        if not 0 <= self.count <= self.batch_size:
            raise ConfigError("count", self.count, f"0 to batch_size={self.batch_size}")
        for name, system in ((SYNTHETIC, self.synthetic), (REAL, self.real)):
            refuse_adaptive(name, system, "mixing")

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
        for name, system, rows, numbers in self._parts(params["is_real"], keys):
            # Where it has no row, one is drawn for the names and shapes of the parameters.
            drawn = rows if rows.size else np.zeros(1, dtype=np.int64)
            part_keys = Keys(keys.seed, f"{keys.split}/{name}", numbers[drawn])
            for key, values in system.draw(part_keys, progress[drawn]).items():
                spread = np.zeros((len(keys.indices), *values.shape[1:]), values.dtype)
                spread[rows] = values[: rows.size]
                params[f"{name}.{key}"] = spread
        return params

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        samples, places = [], []
        for name, system, rows, numbers in self._parts(params["is_real"], keys):
            if not rows.size:
                continue
            prefix = f"{name}."
            named = {key: x for key, x in params.items() if key.startswith(prefix)}
            drawn = {key.removeprefix(prefix): x[rows] for key, x in named.items()}
            part_keys = Keys(keys.seed, f"{keys.split}/{name}", numbers[rows])
            sample = complete(system.render(drawn, part_keys, xp))
            samples.append(replace(sample, params={}))
            places.append(rows)
        for group in ("inputs", "targets") if len(samples) == 2 else ():
            synthetic, real = (
                {name: f"{name} {tuple(x.shape[1:])} {x.dtype}" for name, x in part.items()}
                for part in (getattr(sample, group) for sample in samples)
            )
            if synthetic != real:
                allowed = f"as the synthetic ones: {', '.join(synthetic.values())}"
                raise ConfigError(f"real.{group}", ", ".join(real.values()), allowed)
        return replace(merged(samples, places, xp), params=params)

    def _parts(
        self, is_real: np.ndarray, keys: Keys
    ) -> Iterator[tuple[str, System, np.ndarray, np.ndarray]]:
        """Name, system and rows of both parts, and the number of each sample in its part."""
        before = self._before(keys.indices)
        yield SYNTHETIC, self.synthetic, np.flatnonzero(~is_real), keys.indices - before
        yield REAL, self.real, np.flatnonzero(is_real), before

    def _before(self, indices: np.ndarray) -> np.ndarray:
        """Number of real samples before each index: floor(n count / batch_size) in integers."""
        batches, places = np.divmod(indices, np.uint64(self.batch_size))
        count = np.uint64(self.count)
        return batches * count + places * count // np.uint64(self.batch_size)
