"""Sources of susceptibility: lesions, vessels, spots of iron oxide.

Ranges are choices of this project where no source is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core.random import Keys
from ipads_stream.distributions import (
    DiscreteUniform,
    Distribution,
    LogUniform,
    Mixture,
    Uniform,
    as_distribution,
)
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.random_shapes import RandomShapes
from ipads_stream.phantoms.rasterize import rasterized
from ipads_stream.phantoms.shapes import Shapes


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Shapes that differ in susceptibility from what surrounds them.

    Attributes:
        shapes: where and what they are.
        chi_ppm: of each shape relative to its surroundings.
    """

    shapes: RandomShapes
    chi_ppm: Distribution | float

    def __post_init__(self) -> None:
        chi = as_distribution("chi_ppm", self.chi_ppm, within=(-1e6, 1e6), quantity="ppm")
        object.__setattr__(self, "chi_ppm", chi)

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "sources",
    ) -> tuple[Shapes, Float32[np.ndarray, "B S"]]:
        """Shapes and the susceptibility of each, ppm.

        Args:
            keys: of B samples.
            grid: whose field of view they lie in.
            progress: global sample indices, for distributions that change over training.
            name: before the names of the random streams.
        """
        drawn = self.shapes.draw(keys, grid, progress=progress, name=name)
        chi = self.chi_ppm.draw(  # type: ignore[union-attr]
            keys[f"{name}.chi_ppm"], (drawn.num_shapes,), progress
        )
        return drawn, chi.astype(np.float32)

    def maps(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "sources",
        xp: Any = np,
    ) -> Float32[Any, "B ..."]:
        """Susceptibility in ppm, added where sources overlap, (B, *grid.shape).

        Args:
            keys, grid, progress, name: as of draw.
            xp: array library that computes: numpy or cupy.
        """
        shapes, chi = self.draw(keys, grid, progress=progress, name=name)
        return rasterized(shapes, chi[..., None], grid, rule="add", xp=xp)[:, 0]


def lesions() -> Sources:
    """Haemorrhages (paramagnetic) and calcifications (diamagnetic), 2 to 12 mm in radius."""
    return Sources(
        shapes=RandomShapes(
            number=DiscreteUniform(low=1, high=6),
            size=LogUniform(low=2.0, high=12.0, unit="mm"),
            aspect=Uniform(low=0.5, high=1.0),
            position=Uniform(low=-0.6, high=0.6),
            kinds={"blob": 2, "ellipse": 1},
        ),
        chi_ppm=Mixture(
            components=(
                Uniform(low=0.1, high=1.5, unit="ppm"),
                Uniform(low=-2.0, high=-0.2, unit="ppm"),
            ),
            weights=(2.0, 1.0),
            unit="ppm",
        ),
    )


def vessels() -> Sources:
    """Veins, curved, half lengths 10 to 40 mm; deoxygenated blood is paramagnetic."""
    return Sources(
        shapes=RandomShapes(
            number=DiscreteUniform(low=5, high=25),
            size=LogUniform(low=10.0, high=40.0, unit="mm"),
            aspect=Uniform(low=0.1, high=0.4),
            position=Uniform(low=-0.8, high=0.8),
            kinds={"vessel": 1},
        ),
        chi_ppm=Uniform(low=0.1, high=0.5, unit="ppm"),
    )


def spio_spots() -> Sources:
    """Spots of superparamagnetic iron oxide, 0.5 to 6 mm in radius."""
    return Sources(
        shapes=RandomShapes(
            number=DiscreteUniform(low=1, high=12),
            size=LogUniform(low=0.5, high=6.0, unit="mm"),
            aspect=Uniform(low=0.4, high=1.0),
            position=Uniform(low=-0.7, high=0.7),
            kinds={"ellipse": 2, "blob": 2, "gaussian": 1, "cylinder": 1},
        ),
        chi_ppm=LogUniform(low=0.2, high=20.0, unit="ppm"),
    )
