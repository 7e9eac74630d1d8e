"""What a template draws: each distribution from a random stream under the template's name.

The arguments of every ``draw`` are keys: of B samples; grid: of the maps; progress: global sample
indices, for distributions that change over training; name: prefix of the names of the random
streams; xp: array library that computes, numpy or cupy.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.random import Key, Keys
from ipads_stream.core.units import dimension
from ipads_stream.distributions import Distribution, as_distribution
from ipads_stream.phantoms.grid import Grid

Step = Float[np.ndarray, " B"] | None


@dataclass(frozen=True)
class Draws:
    """Random numbers of one template in some samples; the attributes are arguments of ``draw``."""

    keys: Keys
    progress: Step
    name: str

    def key(self, what: str) -> Key:
        """The stream of a draw."""
        return self.keys[f"{self.name}.{what}"]

    def of(self, template: Any, what: str, *shape: int) -> Any:
        """Draws of a field of a template, which is a distribution, (B, *shape), SI."""
        return getattr(template, what).draw(self.key(what), shape, self.progress)

    def float32(self, template: Any, what: str, *shape: int) -> Any:
        """The same in single precision."""
        return self.of(template, what, *shape).astype(np.float32)

    def length(self, template: Any, what: str, grid: Grid, *shape: int) -> Any:
        """The same of a length in m; without a unit it is a share of the shortest field of view."""
        drawn = self.of(template, what, *shape)
        is_length = dimension(getattr(template, what).unit) == "length"
        return drawn if is_length else drawn * min(grid.field_of_view)

    def part(self, what: Any) -> dict[str, Any]:
        """The keyword arguments of ``draw`` for a part of the template."""
        return {"progress": self.progress, "name": f"{self.name}.{what}"}


def as_length(name: str, value: Any) -> Distribution:
    """A distribution of lengths: in a unit of length, or without one a share of the field of view.

    Raises:
        ConfigError: neither a distribution nor a number, another unit, or a support not above 0.
    """
    is_length = isinstance(value, Distribution) and dimension(value.unit) == "length"
    quantity = "length" if is_length else "number"
    return as_distribution(name, value, within=(1e-9, math.inf), quantity=quantity)
