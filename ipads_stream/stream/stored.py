"""A fixed set of samples, as stored data would be, without storing it.

Sample ``n`` of ``Stored(system, num_samples)`` is sample ``n mod num_samples`` of the system: what
training on a stored set sees epoch after epoch. Draws named in ``fresh`` (masks, noise) keep the
true index and are new every time, as augmentation of a stored set would make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Key, Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.systems import System


@dataclass(frozen=True)
class Stored:
    """The first ``num_samples`` samples of a system, over and over.

    Attributes:
        system: that simulates.
        num_samples: size of the set.
        fresh: names of the draws that do not repeat, e.g. ("mask", "noise").
    """

    system: System
    num_samples: int
    fresh: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.num_samples, bool) or not isinstance(self.num_samples, int):
            raise ConfigError("num_samples", self.num_samples, "a whole number")
        if self.num_samples < 1:
            raise ConfigError("num_samples", self.num_samples, "at least 1")

    @property
    def name(self) -> str:
        return self.system.name

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return self.system.draw(_Repeating(keys, self.num_samples, self.fresh), progress)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        return self.system.render(params, _Repeating(keys, self.num_samples, self.fresh), xp)


class _Repeating(Keys):
    """Keys whose sample index starts anew after ``period`` samples, except for some names."""

    _fresh: dict[str, Key]

    def __init__(self, keys: Keys, period: int, fresh: tuple[str, ...]) -> None:
        super().__init__(keys.seed, keys.split, keys.indices % np.uint64(period))
        object.__setattr__(self, "_fresh", {name: keys[name] for name in fresh})

    def __getitem__(self, name: str) -> Key:
        return self._fresh[name] if name in self._fresh else super().__getitem__(name)
