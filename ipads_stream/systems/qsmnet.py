"""QSMnet and QSMnet+: susceptibility of a field map, by a network trained on random volumes.

Source: Yoon et al., NeuroImage 179:199 (2018); Jung et al., NeuroImage 211:116619 (2020), who widen
the range of susceptibilities by factors that differ from region to region. Both train on measured
maps; the volumes, their susceptibilities and the factors here are choices of this project
(conf/system/qsmnet*.yaml).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import instance
from ipads_stream.core.images import measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.phantoms import NoiseField, RandomShapes, rasterized
from ipads_stream.physics.fields import dipole
from ipads_stream.systems.base import VolumeSystem

REGION = ("region",)
PLAUSIBLE = (1e-3, 5.0)  # ppm: the largest field of local sources in tissue, one voxel in 1000


@dataclass(frozen=True, kw_only=True)
class QSMNet(VolumeSystem):
    """Volumes of random regions inside an object, and the field of their susceptibility.

    Inputs: ``field_ppm`` (B, X, Y, Z) relative field with noise, 0 outside the mask; ``mask``
    (B, X, Y, Z), where it was measured. Targets: ``chi_ppm`` (B, X, Y, Z), 0 outside the object;
    ``mask``. The whole object lies inside the volume: the field of sources that were cut off would
    have no explanation inside it.

    Attributes:
        chi_ppm: of a region, ppm, relative to what surrounds the object.
        factor: of an enhanced region's susceptibility; 1: QSMnet, more: QSMnet+.
        enhanced: share of a volume's regions that are enhanced.
        within: relative standard deviation of the susceptibility within regions.
        noise: standard deviation of the field, ppm.
        regions: shapes laid over one another inside the object.
        body: shape of the object, the same as the mask; None: the whole volume.
        variation: smooth noise of standard deviation 1 that ``within`` multiplies.
        shape, spacing, B0_direction: as of VolumeSystem.
    """

    name: ClassVar[str] = "qsmnet"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "volume"
    axis: ClassVar[tuple[str, str]] = ("ImagingFrequency", "MHz")
    field_unit: ClassVar[str] = "ppm"
    baselines: ClassVar[dict[str, str]] = {
        "TKD": "ipads_stream.baselines.dipole_inversion.tuned_division",
        "Tikhonov": "ipads_stream.baselines.dipole_inversion.tuned_tikhonov",
        "total variation": "ipads_stream.baselines.dipole_inversion.tuned_total_variation",
    }

    chi_ppm: Distribution = parameter(quantity="ppm", within=(-100.0, 100.0), axes=REGION)
    factor: Distribution = parameter(within=(1e-3, 1e3), axes=REGION)
    enhanced: Distribution = parameter(within=(0.0, 1.0))
    within: Distribution = parameter(within=(0.0, 10.0))
    noise: Distribution = parameter(quantity="ppm", within=(0.0, 10.0))
    regions: RandomShapes = instance(RandomShapes)
    body: RandomShapes | None = instance(RandomShapes, None, optional=True)
    variation: NoiseField = instance(NoiseField, NoiseField())

    def check(self) -> None:
        if self.chi_ppm.support == (0, 0):
            raise ConfigError("chi_ppm", 0, "other than 0 somewhere: all fields would be 0")
        super().check()

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """What the network estimates."""
        low, high = self.chi_ppm.support
        most = max(abs(low), abs(high)) * max(1.0, self.factor.support[1])
        return {"chi_ppm": Quantity(low=-most, high=most, unit="ppm", bids="Chimap")}

    def lengths(self) -> dict[str, int]:
        return {REGION[0]: self.regions.most}

    def forward(self, params: Arrays) -> Any:
        """The field of susceptibility maps ``chi_ppm`` (B, X, Y, Z), ppm, without noise."""
        return dipole.field(params["chi_ppm"], self.spacing, self.B0_direction)

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        chi, mask = self.volumes(params, keys, xp)
        noise = random.normal(keys["field noise"], self.grid.shape, xp)
        sigma = xp.asarray(params["noise"], dtype=xp.float32)[:, None, None, None]
        measured = self.forward({"chi_ppm": chi}) + sigma * noise
        inputs = {"field_ppm": xp.where(mask, measured, 0), "mask": mask}
        return self.batch(inputs, {"chi_ppm": chi, "mask": mask}, params)

    def volumes(self, params: Arrays, keys: Keys, xp: Any) -> tuple[Any, Any]:
        """Susceptibility, ppm, and mask, each (B, X, Y, Z)."""
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
        return xp.where(mask, chi, 0), mask

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
        content = "a field map (ppm or Hz), and a mask or none"
        maps = measured_samples(images, self.kind, counts=[1, 2], content=content, numbers="real")
        if min(maps.shape[1:4]) < 2:
            raise ConfigError("data", f"a map of {maps.shape[1:4]} voxels", "a volume, not a plane")
        field = maps[..., 0].astype(np.float32)
        mask = (maps[..., -1] > 0) if maps.shape[-1] == 2 else field != 0
        unit = "ppm" if axis is None else "Hz"
        if axis is not None:
            field = (field / float(axis[0]) * 1e6).astype(np.float32)
        most = float(np.quantile(abs(field[mask]), 0.999)) if mask.any() else 0.0
        if not PLAUSIBLE[0] <= most <= PLAUSIBLE[1]:
            given = f"a field of {most:.3g} ppm if it is in {unit}"
            allowed = (
                "1e-3 to 5 ppm; Units in the sidecar says what it is in, or axis that it is in Hz"
            )
            raise ConfigError("data", given, allowed)
        return {"field_ppm": np.where(mask, field, 0).astype(np.float32), "mask": mask}
