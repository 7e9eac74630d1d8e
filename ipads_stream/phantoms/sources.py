"""Sources of susceptibility: lesions, vessels, spots of iron oxide.

Ranges are choices of this project where no source is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from ipads_stream.core.random import Keys
from ipads_stream.distributions import DiscreteUniform, Distribution, LogUniform, Mixture, Uniform
from ipads_stream.distributions.parameters import check_each, parameter
from ipads_stream.phantoms.draws import Draws, Step
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.random_shapes import RandomShapes
from ipads_stream.phantoms.rasterize import rasterized
from ipads_stream.phantoms.shapes import Shapes

Ends = tuple[float, float]
Kinds = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Shapes that differ in susceptibility from what surrounds them.

    Attributes:
        shapes: where and what they are.
        chi_ppm: of each shape relative to its surroundings.
    """

    shapes: RandomShapes
    chi_ppm: Distribution | float = parameter(quantity="ppm", within=(-1e6, 1e6))

    def __post_init__(self) -> None:
        check_each(self)

    def draw(
        self, keys: Keys, grid: Grid, *, progress: Step = None, name: str = "sources"
    ) -> tuple[Shapes, Float32[np.ndarray, "B S"]]:
        """Shapes and the susceptibility of each, ppm; the arguments are those of draws.py."""
        shapes = self.shapes.draw(keys, grid, progress=progress, name=name)
        draws = Draws(keys, progress, name)
        return shapes, draws.float32(self, "chi_ppm", shapes.num_shapes)

    def maps(
        self, keys: Keys, grid: Grid, *, progress: Step = None, name: str = "sources", xp: Any = np
    ) -> Float32[Any, "B ..."]:
        """Susceptibility in ppm, added where sources overlap, (B, *grid.shape); as draw."""
        shapes, chi = self.draw(keys, grid, progress=progress, name=name)
        return rasterized(shapes, chi[..., None], grid, rule="add", xp=xp)[:, 0]


def lesions() -> Sources:
    """Haemorrhages (paramagnetic) and calcifications (diamagnetic), 2 to 12 mm in radius."""
    shapes = _shapes((1, 6), (2.0, 12.0), (0.5, 1.0), 0.6, {"blob": 2, "ellipse": 1})
    blood, lime = Uniform(low=0.1, high=1.5, unit="ppm"), Uniform(low=-2.0, high=-0.2, unit="ppm")
    chi_ppm = Mixture(components=(blood, lime), weights=(2.0, 1.0), unit="ppm")
    return Sources(shapes=shapes, chi_ppm=chi_ppm)


def vessels() -> Sources:
    """Veins, curved, half lengths 10 to 40 mm; deoxygenated blood is paramagnetic."""
    shapes = _shapes((5, 25), (10.0, 40.0), (0.1, 0.4), 0.8, {"vessel": 1})
    return Sources(shapes=shapes, chi_ppm=Uniform(low=0.1, high=0.5, unit="ppm"))


def spio_spots() -> Sources:
    """Spots of superparamagnetic iron oxide, 0.5 to 6 mm in radius."""
    kinds = {"ellipse": 2, "blob": 2, "gaussian": 1, "cylinder": 1}
    shapes = _shapes((1, 12), (0.5, 6.0), (0.4, 1.0), 0.7, kinds)
    return Sources(shapes=shapes, chi_ppm=LogUniform(low=0.2, high=20.0, unit="ppm"))


def _shapes(number: Ends, size_mm: Ends, aspect: Ends, edge: float, kinds: Kinds) -> RandomShapes:
    """Shapes of ranges of number, size and aspect, up to an edge of the field of view."""
    return RandomShapes(
        number=DiscreteUniform(low=int(number[0]), high=int(number[1])),
        size=LogUniform(low=size_mm[0], high=size_mm[1], unit="mm"),
        aspect=Uniform(low=aspect[0], high=aspect[1]),
        position=Uniform(low=-edge, high=edge),
        kinds=kinds,
    )
