"""Templates of relaxation: random shapes inside a body, with or without textures over them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from ipads_stream.core.backend import fused
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance, ruled
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution, Uniform
from ipads_stream.distributions.parameters import check_each, parameter
from ipads_stream.phantoms.draws import Draws, Step
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.random_shapes import RandomShapes
from ipads_stream.phantoms.rasterize import draw_values, rasterized
from ipads_stream.phantoms.textures import Texture

SHAPES: dict[str, Any] = {"of": RandomShapes, "allowed": "phantoms.RandomShapes"}
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

    T2: Distribution = parameter(quantity="time", within=(1e-4, 20.0))
    T1: Distribution = parameter(quantity="time", within=(1e-4, 20.0))
    PD: Distribution = parameter(within=(0.0, 1.0))
    shapes: RandomShapes = ruled(Instance(**SHAPES))
    body: RandomShapes | None = ruled(Instance(**SHAPES, optional=True), None)
    texture: Texture | None = None
    share: Distribution | float = parameter(SHARE, within=(0.0, 1.0))

    def __post_init__(self) -> None:
        check_each(self)
        if self.PD.support[1] == 0 and self.texture is None:
            raise ConfigError("PD", 0, "above 0 somewhere: all images would be 0")
        if self.texture is not None and not hasattr(self.texture, "draw"):
            raise ConfigError("texture", self.texture, "a texture of phantoms, or null")

    def draw(
        self, keys: Keys, grid: Grid, *, progress: Step = None, name: str = "template", xp: Any = np
    ) -> dict[str, Float32[Any, "B ..."]]:
        """Maps "T1", "T2" (s) and "PD", each (B, *grid.shape); the arguments are draws.py's."""
        draws = Draws(keys, progress, name)
        shapes = self.shapes.draw(keys, grid, **draws.part("shapes"))
        quantities = {"T2": self.T2, "T1": self.T1, "PD": self.PD}
        values = draw_values(keys, quantities, shapes, progress=progress, prefix=f"{name}.")
        ground = [x.draw(draws.key(f"{key} below"), (), progress) for key, x in quantities.items()]
        below = np.stack(ground, axis=-1).astype(np.float32)
        values[..., 0], below[..., 0] = np.log(values[..., 0]), np.log(below[..., 0])
        maps = rasterized(shapes, values, grid, background=below, xp=xp)
        log_T2, T1, PD = maps[:, 0], maps[:, 1], maps[:, 2]
        if self.texture is not None:
            w = xp.asarray(draws.float32(self, "share")).reshape(-1, *(1,) * grid.num_axes)
            pair = self.texture.draw(keys, grid, count=2, xp=xp, **draws.part("texture"))
            low, high = self.T2.support
            span = math.log(low), math.log(high / low)
            log_T2, PD = _poured(w, log_T2, PD, pair[:, 0], pair[:, 1], *span)
        if self.body is None:
            return {"T1": T1, "T2": xp.exp(log_T2), "PD": PD}
        body = self.body.draw(keys, grid, **draws.part("body"))
        ones = np.ones((*body.kind.shape, 1), np.float32)
        T2, PD = _in_body(log_T2, PD, rasterized(body, ones, grid, xp=xp)[:, 0])
        return {"T1": T1, "T2": T2, "PD": PD}


@fused
def _poured(
    xp: Any, w: Any, log_T2: Any, PD: Any, t1: Any, t2: Any, low: float, span: float
) -> tuple[Any, Any]:
    """Both maps with the share w of textures t1 and t2."""
    return (1 - w) * log_T2 + w * (low + span * t1), (1 - w) * PD + w * t2


@fused
def _in_body(xp: Any, log_T2: Any, PD: Any, share: Any) -> tuple[Any, Any]:
    """T2, and PD over the share of each voxel that lies in the body."""
    return xp.exp(log_T2), PD * share
