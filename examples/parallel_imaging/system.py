"""Images of random shapes from undersampled Cartesian k-space of a ring of coils."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition import coils
from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance, number, ruled, whole
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution
from ipads_stream.distributions.parameters import parameter
from ipads_stream.phantoms import Grid, PolynomialField, RandomShapes, rasterized
from ipads_stream.systems import ParametricSystem
from parallel_imaging.encoding import encode

SHAPES, FIELD = Instance(of=RandomShapes, allowed="phantoms.RandomShapes"), Instance(
    of=PolynomialField, allowed="phantoms.PolynomialField")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ParallelImaging(ParametricSystem):
    """k-space y_c = mask (F(s_c x) + noise) of an image x and of coils c.

    Inputs: ``kspace`` (B, C, X, Y) complex64, 0 where it is not sampled, ``mask`` (B, X, Y) and
    ``sensitivities`` s (B, C, X, Y), sum_c |s_c|^2 = 1, those of the first coil real. Target:
    ``image`` x (B, X, Y) complex64.

    Attributes:
        brightness: magnitude of a shape.
        acceleration: points of k-space over those that are sampled.
        snr: brightness 1 over the standard deviation of the noise in each real channel of a coil.
        body: shape outside which nothing is, of brightness 1.
        shapes: inside it, laid over one another.
        phase: of the image, rad.
        num_coils: on a ring about the field of view.
        matrix: points along each edge.
        fov: edge of the field of view, m.
        calibration: points along each edge of the middle of k-space that is always sampled.
    """

    name: ClassVar[str] = "parallel_imaging"
    task: ClassVar[str] = "images"
    baselines: ClassVar[dict[str, str]] = {
        "zero-filling": "parallel_imaging.baselines.zero_filling",
        "CG-SENSE": "parallel_imaging.baselines.cg_sense",
    }

    brightness: Distribution = parameter(within=(0.0, 10.0), axes=("shape",))
    acceleration: Distribution = parameter(within=(1.0, 64.0))
    snr: Distribution = parameter(within=(1.0, math.inf))
    body: RandomShapes = ruled(SHAPES)
    shapes: RandomShapes = ruled(SHAPES)
    phase: PolynomialField = ruled(FIELD)
    num_coils: int = whole(8, low=1)
    matrix: int = whole(64, low=8)
    fov: float = number(0.22, above=0.0)
    calibration: int = whole(16, low=12)

    def check(self) -> None:
        fewest, most = self.calibration**2, self.matrix**2 / self.acceleration.support[1]
        if fewest > most:
            allowed = f"at most {math.isqrt(int(most))}: acceleration leaves {int(most)} points"
            raise ConfigError("calibration", self.calibration, allowed)

    @property
    def grid(self) -> Grid:
        return Grid((self.matrix, self.matrix), (self.fov / self.matrix,) * 2)

    def lengths(self) -> dict[str, int]:
        return {"shape": self.shapes.most}

    @cached_property
    def sensitivities(self) -> np.ndarray:
        """Of loops on a ring that look at the axis, (C, X, Y) complex64."""
        x, y = np.broadcast_arrays(*self.grid.coordinates())
        places = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(float)
        centres, normals = coils.ring(self.num_coils, 0.65 * self.fov)
        loops = coils.loop_sensitivities(places, centres, normals, 0.2 * self.fov)
        loops = loops * np.exp(-1j * np.angle(loops[:1]))
        return (loops / np.linalg.norm(loops, axis=0)).astype(np.complex64)

    def forward(self, params: Arrays) -> Any:
        """k-space without noise of ``image``, ``sensitivities`` and ``mask``, (B, C, X, Y)."""
        return encode(params["image"], params["sensitivities"], params["mask"])

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        image, mask = self.images(params, keys, xp), xp.asarray(self.masks(params, keys))
        receivers = xp.broadcast_to(
            xp.asarray(self.sensitivities), (len(mask), *self.sensitivities.shape)
        )
        sigma = xp.asarray((math.sqrt(2) / params["snr"]).astype(np.float32))[:, None, None, None]
        noise = sigma * random.complex_normal(keys["noise"], self.sensitivities.shape, xp)
        kspace = self.forward({"image": image, "sensitivities": receivers, "mask": mask})
        return Sample(
            inputs={
                "kspace": kspace + mask[:, None] * noise, "mask": mask, "sensitivities": receivers
            },
            targets={"image": image},
            params=params,
            weight=self.weights(params),
        )  # fmt: skip

    def images(self, params: Arrays, keys: Keys, xp: Any) -> Any:
        """Shapes within a body, with a smooth phase, (B, X, Y) complex64."""
        body = self.body.draw(keys, self.grid, name="body")
        inside = rasterized(body, np.ones((*body.kind.shape, 1)), self.grid, xp=xp)[:, 0]
        shapes = self.shapes.draw(keys, self.grid, name="shapes")
        values = params["brightness"][..., None]
        magnitude = rasterized(shapes, values, self.grid, background=1.0, xp=xp)[:, 0]
        phase = self.phase.draw(keys, self.grid, name="phase", xp=xp)
        return inside * magnitude * xp.exp(1j * phase)

    def masks(self, params: Arrays, keys: Keys) -> np.ndarray:
        """Random points, each by the weight 1 / (|k| + 0.1)^2, and the middle, (B, X, Y).

        |k| is 1 at the end of an axis. The points without replacement that have the largest
        ln(u) / weight, u uniform.

        Source: Efraimidis and Spirakis, Information Processing Letters 97:181 (2006).
        """
        n = self.matrix
        k = (np.arange(n) - n // 2) / (n / 2)
        score = np.log(random.uniform(keys["mask"], (n, n))) * (np.hypot(k[:, None], k) + 0.1) ** 2
        first = n // 2 - self.calibration // 2
        middle = slice(first, first + self.calibration)
        score[:, middle, middle] = np.inf
        rank = np.argsort(np.argsort(-score.reshape(len(score), -1), axis=1, kind="stable"), axis=1)
        count = np.rint(n * n / params["acceleration"])
        return (rank < count[:, None]).reshape(score.shape)

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Somebody's k-space, (X, Y, C) complex of any extent and unit, 0 where not sampled.

        Raises:
            ConfigError: real numbers, or a middle with gaps: ESPIRiT takes sensitivities from it.
        """
        if images.ndim != 3 or not np.iscomplexobj(images):
            given = f"{images.dtype} of shape {images.shape}"
            raise ConfigError("data", given, "complex k-space of one slice, coils along one axis")
        kspace = np.moveaxis(images, -1, 0).astype(np.complex64)
        try:
            receivers = coils.espirit(kspace, calibration=self.calibration)
        except ValueError as error:
            raise ConfigError("data", "k-space", f"a sampled middle ({error})") from None
        mask = np.any(kspace != 0, axis=0)
        return {"kspace": kspace[None], "mask": mask[None], "sensitivities": receivers[None]}
