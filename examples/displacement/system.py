"""The displacement of tissue in a slice, from the phase of displacement-encoded echoes (DENSE)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core import random
from ipads_stream.core.backend import namespace
from ipads_stream.core.fields import Instance, number, ruled, whole
from ipads_stream.core.images import measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution
from ipads_stream.distributions.parameters import parameter
from ipads_stream.phantoms import Grid, NoiseField, RandomShapes, rasterized
from ipads_stream.systems import ParametricSystem

SHAPES = Instance(of=RandomShapes, allowed="phantoms.RandomShapes")
FIELD = Instance(of=NoiseField, allowed="phantoms.NoiseField")


@dataclass(frozen=True, kw_only=True)
class Displacement(ParametricSystem):
    """Stimulated echoes whose phase is that of a reference plus 2 pi k u, k the encoding.

    u(r) = r - R(r) of tissue that is at r now and was at R when it was encoded. Input: ``images``
    (B, 3, X, Y) complex64: the reference, and those encoded along X and along Y. Targets:
    ``displacement`` u (B, 2, X, Y), m, and ``mask`` (B, X, Y), where there is tissue.

    Attributes:
        brightness: of a shape.
        contrast: relative standard deviation of the brightness within the body.
        phase: of the reference, rad.
        snr: brightness 1 over the standard deviation of the noise in each real channel.
        body: shapes of tissue.
        motion: smooth noise, m, drawn for each component.
        texture: smooth noise of standard deviation 1 that ``contrast`` multiplies.
        encoding: k, cycles/m.
        matrix: voxels along each edge.
        spacing: edge of a voxel, m.

    Source: Aletras et al., Journal of Magnetic Resonance 137:247 (1999).
    """

    name: ClassVar[str] = "displacement"
    task: ClassVar[str] = "vectors"
    kind: ClassVar[str] = "slice"
    baselines: ClassVar[dict[str, str]] = {
        "phase": "displacement.baselines.phase",
        "unwrapped phase": "displacement.baselines.unwrapped_phase",
    }

    brightness: Distribution = parameter(within=(0.05, 10.0), axes=("shape",))
    contrast: Distribution = parameter(within=(0.0, 0.5))
    phase: Distribution = parameter(quantity="angle")
    snr: Distribution = parameter(within=(1.0, math.inf))
    body: RandomShapes = ruled(SHAPES)
    motion: NoiseField = ruled(FIELD)
    texture: NoiseField = ruled(FIELD)
    encoding: float = number(100.0, above=0.0)
    matrix: int = whole(64, low=8)
    spacing: float = number(1.5e-3, above=0.0)

    @property
    def grid(self) -> Grid:
        return Grid((self.matrix, self.matrix), (self.spacing, self.spacing))

    @property
    def quantities(self) -> dict[str, Quantity]:
        reach = 3 * self.motion.amplitude.support[1]  # of a normal distribution, 99.7 %
        return {"displacement": Quantity(low=-reach, high=reach, unit="mm")}

    def lengths(self) -> dict[str, int]:
        return {"shape": self.body.most}

    def forward(self, params: Arrays) -> Any:
        """The images without noise, (B, 3, X, Y).

        Args:
            params: ``displacement`` (B, 2, X, Y), m, and the complex ``reference`` (B, X, Y).
        """
        u, reference = params["displacement"], params["reference"]
        xp = namespace(u)
        turned = reference[:, None] * xp.exp(2j * math.pi * self.encoding * u)
        return xp.concat([reference[:, None], turned], axis=1)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        magnitude, mask = self.tissue(params, keys, xp)
        motion = [self.motion.draw(keys, self.grid, name=f"motion {axis}", xp=xp) for axis in "xy"]
        u = xp.where(mask[:, None], xp.stack(motion, axis=1), xp.float32(0))
        turn = xp.asarray(np.exp(1j * params["phase"]).astype(np.complex64))[:, None, None]
        images = self.forward({"displacement": u, "reference": magnitude * turn})
        sigma = xp.asarray((math.sqrt(2) / params["snr"]).astype(np.float32))[:, None, None, None]
        noise = random.complex_normal(keys["noise"], (3, *self.grid.shape), xp)
        return Sample(
            inputs={"images": images + sigma * noise},
            targets={"displacement": u, "mask": mask},
            params=params,
            weight=self.weights(params),
        )

    def tissue(self, params: Arrays, keys: Keys, xp: Any) -> tuple[Any, Any]:
        """Its brightness and where it is, each (B, X, Y)."""
        shapes = self.body.draw(keys, self.grid, name="body")
        values = np.stack([params["brightness"], np.ones_like(params["brightness"])], axis=-1)
        maps = rasterized(shapes, values, self.grid, xp=xp)
        contrast = xp.asarray(params["contrast"].astype(np.float32))[:, None, None]
        texture = self.texture.draw(keys, self.grid, name="texture", xp=xp)
        return maps[:, 0] * xp.maximum(1 + contrast * texture, 0.1), maps[:, 1] > 0.5

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Somebody's images, (X, Y[, Z], 3): the reference, encoded along X, encoded along Y.

        Raises:
            ConfigError: real images, or another number of them.
        """
        content = "the reference, encoded along X, encoded along Y"
        samples = measured_samples(
            images, self.kind, counts=(3,), content=content, numbers="complex"
        )
        return {"images": np.moveaxis(samples, -1, 1).astype(np.complex64)}
