"""Tasks for meta-learning: runs of samples that share the values of some parameters.

Samples ``t S ... t S + S - 1`` of ``Tasks(system, samples=S, shared=("rate", "snr"))`` form task t:
the shared draws are those of sample t of the system, all others stay each sample's own. So a sample
remains a function of its index alone, and a batch of whole tasks is an ordinary batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.stream.adaptation import adaptive_parameters
from ipads_stream.stream.rerouted import Rerouted, draw_names
from ipads_stream.systems import System


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """A system whose samples come in tasks.

    A sample that the failure policy substitutes keeps its place but not the values of its task.

    Attributes:
        system: that simulates.
        samples: of a task.
        shared: names of the draws that the samples of a task have in common, e.g. ("rate", "snr",
            "decay"); a draw of several numbers, one per peak, is shared as a whole. "mask" shares
            the schedule, where the rate is shared, too.

    Raises:
        ConfigError: no samples, no shared draw, one that the system does not make, or a system
            that adapts to the network's errors.
    """

    system: System
    samples: int
    shared: tuple[str, ...]

    def __post_init__(self) -> None:
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < 1:
            raise ConfigError("samples", self.samples, "a whole number, at least 1")
        known = draw_names(self.system)
        if isinstance(self.shared, str) or not self.shared:
            raise ConfigError("shared", self.shared, f"one or more of {', '.join(known)}")
        for name in self.shared:
            if name not in known:
                raise ConfigError("shared", name, f"draws of the system: {', '.join(known)}")
        if adaptive_parameters(self.system):
            found = ", ".join(adaptive_parameters(self.system))
            raise ConfigError("system", found, "distributions that do not adapt, for tasks")
        object.__setattr__(self, "shared", tuple(self.shared))

    @property
    def name(self) -> str:
        return self.system.name

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        # One progress for a task: what a schedule changes must not change within it.
        return self.system.draw(self._keys(keys), progress // self.samples * self.samples)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        return self.system.render(params, self._keys(keys), xp)

    def _keys(self, keys: Keys) -> Keys:
        task = Keys(keys.seed, keys.split, keys.indices // np.uint64(self.samples))
        return Rerouted(keys, task, self.shared)
