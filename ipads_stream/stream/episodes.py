"""Episodes for meta-learning: runs of samples that share the values of some parameters."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import check, keep, whole
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays
from ipads_stream.stream.adaptation import refuse_adaptive
from ipads_stream.stream.stored import Rekeyed, Rerouted, checked_draws, draw_names


@dataclass(frozen=True, kw_only=True)
class Episodes(Rekeyed):
    """A system whose samples ``t S ... t S + S - 1`` form episode t, S = ``samples``.

    The shared draws are those of sample t of the system, all others stay each sample's own. A
    sample that the failure policy substitutes keeps its place but not the values of its episode.

    Attributes:
        system: that simulates.
        samples: of an episode.
        shared: names of the draws that the samples of an episode have in common, e.g. ("rate",
            "snr", "decay"); a draw of several numbers, one per peak, is shared as a whole. "mask"
            shares the schedule, where the rate is shared, too.

    Raises:
        ConfigError: no samples, no shared draw, one that the system does not make, or a system
            that adapts to the network's errors.
    """

    samples: int = whole(low=1)
    shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self)
        keep(self, shared=checked_draws("shared", self.shared, self.system))
        if not self.shared:
            known = ", ".join(draw_names(self.system))
            raise ConfigError("shared", self.shared, f"one or more of {known}")
        refuse_adaptive("system", self.system, "episodes")

    def describe(self) -> dict[str, Any]:
        """Under the name that the digests of earlier runs were made with."""
        return {
            "_target_": "ipads_stream.stream.tasks.Tasks",
            "system": describe(self.system),
            "samples": self.samples,
            "shared": list(self.shared),
        }

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        # One progress for an episode: what a schedule changes must not change within it.
        return super().draw(keys, progress // self.samples * self.samples)

    def keys(self, keys: Keys) -> Keys:
        episode = Keys(keys.seed, keys.split, keys.indices // np.uint64(self.samples))
        return Rerouted(keys, episode, self.shared)
