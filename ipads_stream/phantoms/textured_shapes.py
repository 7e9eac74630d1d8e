"""Templates of relaxation: random shapes inside a body, with or without textures over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, Uniform, as_distribution
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.random_shapes import RandomShapes
from ipads_stream.phantoms.rasterize import draw_values, rasterized
from ipads_stream.phantoms.textures import Texture

SHARE = Uniform(low=0.0, high=0.7)


@dataclass(frozen=True, kw_only=True)
class TexturedShapes:
    """Maps of T1, T2 and proton density of shapes laid over one another.

    With textures t1 and t2 from 0 to 1 and a share w of each sample
        log T2 = (1 - w) log T2_shape + w (log low + t1 log(high / low)),
        PD = (1 - w) PD_shape + w t2,
    low and high the ends of T2. PD is 0 outside the body.

    Attributes:
        T2, T1: of a shape, s.
        PD: of a shape, 0 to 1.
        shapes: laid over the first, which fills everything.
        body: shape outside which nothing is; None: there is no outside.
        texture: poured over the shapes; None: shapes alone.
        share: w.
    """

    T2: Distribution
    T1: Distribution
    PD: Distribution
    shapes: RandomShapes
    body: RandomShapes | None = None
    texture: Texture | None = None
    share: Distribution | float = SHARE

    def __post_init__(self) -> None:
        for name, within in (("T2", (1e-4, 20.0)), ("T1", (1e-4, 20.0))):
            found = as_distribution(name, getattr(self, name), within=within, quantity="time")
            object.__setattr__(self, name, found)
        for name in ("PD", "share"):
            found = as_distribution(name, getattr(self, name), within=(0.0, 1.0))
            object.__setattr__(self, name, found)
        for name in ("shapes", "body"):
            value = getattr(self, name)
            if not (isinstance(value, RandomShapes) or (name == "body" and value is None)):
                raise ConfigError(name, value, "phantoms.RandomShapes")
        if self.texture is not None and not hasattr(self.texture, "draw"):
            raise ConfigError("texture", self.texture, "a texture of phantoms, or null")

    def draw(
        self,
        keys: Keys,
        grid: Grid,
        *,
        progress: Float[np.ndarray, " B"] | None = None,
        name: str = "template",
        xp: Any = np,
    ) -> dict[str, Float32[Any, "B ..."]]:
        """Maps "T1", "T2" (s) and "PD", each (B, *grid.shape).

        Args:
            keys: of B samples.
            grid: of the maps.
            progress: global sample indices, for distributions that change over training.
            name: before the names of the random streams.
            xp: array library that computes: numpy or cupy.
        """
        drawn = self.shapes.draw(keys, grid, progress=progress, name=f"{name}.shapes")
        quantities = {"T2": self.T2, "T1": self.T1, "PD": self.PD}
        prefix = f"{name}."
        values = draw_values(keys, quantities, drawn, progress=progress, prefix=prefix)
        ground = [of.draw(keys[f"{prefix}{key} below"], (), progress)
                  for key, of in quantities.items()]  # fmt: skip
        below = np.stack(ground, axis=-1).astype(np.float32)
        values[..., 0], below[..., 0] = np.log(values[..., 0]), np.log(below[..., 0])
        maps = rasterized(drawn, values, grid, background=below, xp=xp)
        log_T2, T1, PD = maps[:, 0], maps[:, 1], maps[:, 2]
        if self.texture is not None:
            share = self.share.draw(keys[f"{name}.share"], (), progress)  # type: ignore[union-attr]
            w = xp.asarray(share.astype(np.float32)).reshape(-1, *(1,) * grid.num_axes)
            pair = self.texture.draw(
                keys, grid, count=2, progress=progress, name=f"{name}.texture", xp=xp
            )
            low, high = self.T2.support
            poured = math.log(low) + math.log(high / low) * pair[:, 0]
            log_T2, PD = (1 - w) * log_T2 + w * poured, (1 - w) * PD + w * pair[:, 1]
        if self.body is not None:
            body = self.body.draw(keys, grid, progress=progress, name=f"{name}.body")
            ones = np.ones((*body.kind.shape, 1), np.float32)
            PD = PD * rasterized(body, ones, grid, xp=xp)[:, 0]
        return {"T1": T1, "T2": xp.exp(log_T2), "PD": PD}
