"""Where the voxels of a map are."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import keep


@dataclass(frozen=True)
class Grid:
    """A regular grid; voxel i of n along an axis is centred at (i - n // 2) spacing.

    Attributes:
        shape: voxels along each of 2 or 3 axes.
        spacing: of the voxels, m, as many numbers.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    def __post_init__(self) -> None:
        shape, spacing = tuple(self.shape), tuple(self.spacing)
        if len(shape) not in (2, 3) or not all(
            isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in shape
        ):
            raise ConfigError("shape", self.shape, "two or three whole numbers, at least 1")
        if len(spacing) != len(shape) or not all(0 < d < math.inf for d in spacing):
            raise ConfigError("spacing", self.spacing, f"{len(shape)} positive lengths in m")
        keep(self, shape=tuple(int(n) for n in shape), spacing=tuple(float(d) for d in spacing))

    @property
    def num_axes(self) -> int:
        """D, 2 or 3."""
        return len(self.shape)

    @property
    def num_voxels(self) -> int:
        """Of the whole grid."""
        return math.prod(self.shape)

    @property
    def field_of_view(self) -> tuple[float, ...]:
        """Length of each axis, m."""
        return tuple(n * d for n, d in zip(self.shape, self.spacing, strict=True))

    def coordinates(self, xp: Any = np) -> tuple[Any, ...]:
        """Positions along each axis, m, float32, in shapes that broadcast to the grid's.

        Args:
            xp: array library, numpy or cupy.
        """
        positions = []
        for axis, (n, d) in enumerate(zip(self.shape, self.spacing, strict=True)):
            along = (xp.arange(n, dtype=xp.float64) - n // 2) * d
            sizes = tuple(n if k == axis else 1 for k in range(self.num_axes))
            positions.append(xp.reshape(along.astype(xp.float32), sizes))
        return tuple(positions)
