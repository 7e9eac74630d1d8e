"""Draws that take the place of other samples: what lets samples share, repeat or mix draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipads_stream.core.random import Key, Keys
from ipads_stream.systems import System


class Rerouted(Keys):
    """Keys of some samples, except for the draws of some names, which are those of other samples.

    Args:
        keys: of most draws.
        other: of the draws in ``names``; of as many samples.
        names: of draws.
    """

    _base: Keys
    _other: Keys
    _names: frozenset[str]

    def __init__(self, keys: Keys, other: Keys, names: Sequence[str]) -> None:
        super().__init__(keys.seed, keys.split, keys.indices)
        object.__setattr__(self, "_base", keys)
        object.__setattr__(self, "_other", other)
        object.__setattr__(self, "_names", frozenset(names))

    def __getitem__(self, name: str) -> Key:
        return (self._other if name in self._names else self._base)[name]


class _Noting(Keys):
    """Keys that remember the names of the draws they were asked for."""

    names: list[str]

    def __init__(self, keys: Keys) -> None:
        super().__init__(keys.seed, keys.split, keys.indices)
        object.__setattr__(self, "names", [])

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
