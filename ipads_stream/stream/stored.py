"""Systems that make the samples of another one under other keys, and a fixed set of samples."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Names, check, keep, whole
from ipads_stream.core.random import Key, Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.systems import System


class Rerouted(Keys):
    """Keys of samples, except for the draws in ``names``, which are those of as many others."""

    _base: Keys
    _other: Keys
    _names: frozenset[str]

    def __init__(self, keys: Keys, other: Keys, names: Sequence[str]) -> None:
        super().__init__(keys.seed, keys.split, keys.indices)
        keep(self, _base=keys, _other=other, _names=frozenset(names))

    def __getitem__(self, name: str) -> Key:
        return (self._other if name in self._names else self._base)[name]


class _Noting(Keys):
    """Keys that remember the names of the draws they were asked for."""

    names: list[str]

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys.seed, keys.split, keys.indices)
        keep(self, names=[])

    def __getitem__(self, name: str) -> Key:
        if name not in self.names:
            self.names.append(name)
        return super().__getitem__(name)


def draw_names(system: System) -> tuple[str, ...]:
    """Names of the draws that a system makes, in order: one sample is simulated to see them."""
    keys = _Noting(Keys(0, "names", np.zeros(1, dtype=np.uint64)))
    with np.errstate(all="ignore"):
        params = system.draw(keys, np.zeros(1))
        system.render(params, keys, np)
    return tuple(keys.names)


def checked_draws(key: str, names: Any, system: System) -> tuple[str, ...]:
    """The names, each of a draw that the system makes; otherwise ConfigError by ``key``."""
    names = Names()(key, names)
    known = draw_names(system) if names else ()
    for name in names:
        if name not in known:
            raise ConfigError(key, name, f"draws of the system: {', '.join(known)}")
    return names


@dataclass(frozen=True)
class Rekeyed(ABC):
    """A system that makes the samples of another one under keys of its own.

    Attributes:
        system: that simulates.
    """

    system: System

    @property
    def name(self) -> str:
        return self.system.name

    @abstractmethod
    def keys(self, keys: Keys) -> Keys:
        """Keys that the samples are simulated with."""

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return self.system.draw(self.keys(keys), progress)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        return self.system.render(params, self.keys(keys), xp)


@dataclass(frozen=True)
class Stored(Rekeyed):
    """Sample ``n mod num_samples`` of a system as sample n: what training on a stored set sees.

    Draws named in ``fresh`` keep the true index, as augmentation of a stored set would make them.

    Attributes:
        system: that simulates.
        num_samples: size of the set.
        fresh: names of the draws that do not repeat, e.g. ("mask", "noise").

    Raises:
        ConfigError: an empty set, a fresh draw that the system does not make.
    """

    num_samples: int = whole(low=1)
    fresh: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self)
        keep(self, fresh=checked_draws("fresh", self.fresh, self.system))

    def places(self, keys: Keys) -> np.ndarray:
        """Which sample of the set each index stands for, (B,)."""
        return keys.indices % np.uint64(self.num_samples)

    def keys(self, keys: Keys) -> Keys:
        return Rerouted(Keys(keys.seed, keys.split, self.places(keys)), keys, self.fresh)
