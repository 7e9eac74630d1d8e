"""QSMnet and QSMnet+: susceptibility of a field map, by a network trained on random volumes.

Source: Yoon et al., NeuroImage 179:199 (2018); Jung et al., NeuroImage 211:116619 (2020), who widen
the range of susceptibilities by factors that differ from region to region. Both train on measured
maps; the volumes, their susceptibilities and the factors here are choices of this project
(conf/system/qsmnet*.yaml).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import (
    Distribution,
    Parameter,
    as_parameters,
    draw_parameters,
    importance_weights,
)
from ipads_stream.phantoms import Grid, NoiseField, RandomShapes, rasterized
from ipads_stream.physics import dipole

REGION = ("region",)
PARAMETERS = {
    "chi_ppm": Parameter(quantity="ppm", within=(-100.0, 100.0), axes=REGION),
    "enhanced": Parameter(within=(0.0, 1.0)),
    "factor": Parameter(within=(1e-3, 1e3), axes=REGION),
    "within": Parameter(within=(0.0, 10.0)),
    "noise": Parameter(quantity="ppm", within=(0.0, 10.0)),
}
PLAUSIBLE = (1e-3, 5.0)  # ppm: the largest field of local sources in tissue, one voxel in 1000


@dataclass(frozen=True, kw_only=True)
class QSMNet:
    """Volumes of random regions inside an object, and the field of their susceptibility.

    Inputs: ``field_ppm`` (B, X, Y, Z) relative field with noise, 0 outside the mask; ``mask``
    (B, X, Y, Z), where it was measured. Targets: ``chi_ppm`` (B, X, Y, Z), 0 outside the object;
    ``mask``. The whole object lies inside the volume: the field of sources that were cut off would
    have no explanation inside it.

    Attributes:
        chi_ppm: of a region, ppm, relative to what surrounds the object.
        factor: that an enhanced region's susceptibility is multiplied by; 1: QSMnet, more: QSMnet+.
        enhanced: share of a volume's regions that are enhanced.
        within: relative standard deviation of the susceptibility within regions.
        noise: standard deviation of the field, ppm.
        regions: shapes laid over one another inside the object.
        body: shape of the object, the same as the mask; None: the whole volume.
        variation: smooth noise of standard deviation 1 that ``within`` multiplies.
        shape: X, Y, Z, voxels.
        spacing: from voxel to voxel, m.
        B0_direction: along X, Y and Z.
    """

    name: ClassVar[str] = "qsmnet"
    kind: ClassVar[str] = "volume"
    # A field map with this key in its sidecar is in Hz, one without it in ppm.
    axis: ClassVar[tuple[str, str]] = ("ImagingFrequency", "MHz")

    chi_ppm: Distribution
    factor: Distribution
    enhanced: Distribution
    within: Distribution
    noise: Distribution
    regions: RandomShapes
    body: RandomShapes | None = None
    variation: NoiseField = field(default_factory=NoiseField)
    shape: Sequence[int] = (32, 32, 32)
    spacing: Sequence[float] = (1e-3, 1e-3, 1e-3)
    B0_direction: Sequence[float] = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in PARAMETERS}
        for name, checked in as_parameters(values, PARAMETERS).items():
            object.__setattr__(self, name, checked)
        for name in ("regions", "body"):
            value = getattr(self, name)
            if not (isinstance(value, RandomShapes) or (name == "body" and value is None)):
                raise ConfigError(name, value, "phantoms.RandomShapes")
        for name in ("shape", "spacing", "B0_direction"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != 3:
                raise ConfigError(name, getattr(self, name), "three numbers")
        if not isinstance(self.variation, NoiseField):
            raise ConfigError("variation", self.variation, "phantoms.NoiseField")
        if not 0 < math.hypot(*self.B0_direction) < math.inf:
            raise ConfigError("B0_direction", self.B0_direction, "a direction")
        for name in ("shape", "spacing"):  # which the grid has checked
            object.__setattr__(self, name, getattr(self.grid, name))
        object.__setattr__(self, "B0_direction", tuple(float(b) for b in self.B0_direction))

    @property
    def grid(self) -> Grid:
        """Voxels and their spacing."""
        return Grid(tuple(self.shape), tuple(self.spacing))

    @property
    def quantities(self) -> dict[str, Quantity]:
        """What the network estimates."""
        low, high = self.chi_ppm.support
        most = max(abs(low), abs(high)) * max(1.0, self.factor.support[1])
        return {"chi_ppm": Quantity(low=-most, high=most, unit="ppm", bids="Chimap")}

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        axes = {REGION: (self.regions.most,), (): ()}
        shapes = {name: axes[rule.axes] for name, rule in PARAMETERS.items()}
        of = {name: (value, shapes[name]) for name, value in self._distributions().items()}
        return draw_parameters(of, keys, progress)

    def _distributions(self) -> dict[str, Distribution]:
        return {name: getattr(self, name) for name in PARAMETERS}

    def forward(self, params: Arrays) -> Any:
        """The field of susceptibility maps ``chi_ppm`` (B, X, Y, Z), ppm, without noise."""
        return dipole.field(params["chi_ppm"], self.spacing, self.B0_direction)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        chi, mask = self.volumes(params, keys, xp)
        noise = random.normal(keys["field noise"], self.grid.shape, xp)
        sigma = xp.asarray(params["noise"], dtype=xp.float32)[:, None, None, None]
        measured = self.forward({"chi_ppm": chi}) + sigma * noise
        return Sample(
            inputs={"field_ppm": xp.where(mask, measured, xp.zeros_like(chi)), "mask": mask},
            targets={"chi_ppm": chi, "mask": mask},
            params=params,
            weight=importance_weights(self._distributions(), params),
        )

    def volumes(self, params: Arrays, keys: Keys, xp: Any) -> tuple[Any, Any]:
        """Susceptibility, ppm, and mask, each (B, X, Y, Z).

        Args:
            params: as drawn.
            keys: of the samples.
            xp: array library that computes: numpy or cupy.
        """
        count = self.regions.most
        is_enhanced = random.uniform(keys["is enhanced"], (count,)) < params["enhanced"][:, None]
        values = params["chi_ppm"] * np.where(is_enhanced, params["factor"], 1.0)
        shapes = self.regions.draw(keys, self.grid, name="regions")
        chi = rasterized(shapes, values.astype(np.float32)[..., None], self.grid, xp=xp)[:, 0]
        relative = params["within"].astype(np.float32)
        if np.any(relative > 0):
            noise = self.variation.draw(keys, self.grid, name="variation", xp=xp)
            chi = chi * (1 + xp.asarray(relative)[:, None, None, None] * noise)
        if self.body is None:
            return chi, xp.ones(chi.shape, dtype=bool)
        body = self.body.draw(keys, self.grid, name="body")
        ones = np.ones((*body.kind.shape, 1), np.float32)
        mask = rasterized(body, ones, self.grid, xp=xp)[:, 0] > 0.5
        return xp.where(mask, chi, xp.zeros_like(chi)), mask

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """A field map, and its mask, as the network's inputs.

        Args:
            images: (X, Y, Z, 1) a local field map, 0 outside the object, or (X, Y, Z, 2) with a
                mask that is above 0 inside.
            axis: frequency of the scanner, Hz, one number for each image, where the map is in Hz;
                None: it is in ppm.

        Raises:
            ConfigError: complex images, other numbers of images, fields that are not in that unit.
        """
        if np.iscomplexobj(images):
            raise ConfigError("data", "complex images", "a field map in ppm or Hz")
        maps = as_samples(images, self.kind)
        if maps.shape[-1] not in (1, 2):
            raise ConfigError("data", f"{maps.shape[-1]} images", "a field map, and a mask or none")
        found = maps[..., 0].astype(np.float32)
        mask = (maps[..., -1] > 0) if maps.shape[-1] == 2 else found != 0
        unit = "ppm" if axis is None else "Hz"
        if axis is not None:
            found = (found / float(axis[0]) * 1e6).astype(np.float32)
        most = float(np.quantile(abs(found[mask]), 0.999)) if mask.any() else 0.0
        if not PLAUSIBLE[0] <= most <= PLAUSIBLE[1]:
            allowed = "1e-3 to 5 ppm; ImagingFrequency in the sidecar, or axis, tells Hz from ppm"
            raise ConfigError("data", f"a field of {most:.3g} ppm if it is in {unit}", allowed)
        return {"field_ppm": np.where(mask, found, 0).astype(np.float32), "mask": mask}
