"""DeepSPIO: the concentration of iron oxide particles from images that their field has modulated.

Source: IEEE TPAMI 44:143 (2022) and its precursor, ISMRM 2019, abstract 4887: the field is the
convolution of the concentration with a dipole, the images are Bloch simulations of slices in it.
Timings, ranges, noise and the susceptibility of the particles are not stated in what was read and
are choices of this project (conf/system/deepspio.yaml).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core import random
from ipads_stream.core.backend import namespace
from ipads_stream.core.constants import GAMMA_BAR_1H
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
from ipads_stream.phantoms import Grid, NoiseField, PolynomialField, RandomShapes, rasterized
from ipads_stream.physics import dipole
from ipads_stream.physics.slice_modulation import slice_images, slice_profile
from ipads_stream.sequences import pulses
from ipads_stream.sequences.scanner import Scanner

SPOT = ("spot",)
PARAMETERS = {
    "concentration": Parameter(quantity="concentration", within=(0.0, 1e4), axes=SPOT),
    "contrast": Parameter(within=(0.0, 0.3)),
    "receive_phase": Parameter(quantity="angle"),
    "snr": Parameter(within=(1e-3, math.inf)),
}
PARTS = {"spots": RandomShapes, "body": RandomShapes, "tissue": NoiseField, "shim": PolynomialField}
SHAPES = ("shape", "spacing", "B0_direction")
EDGE, FREQUENCIES = 1.25, 641  # of the tabulated profile: bandwidths to either side, and values


@dataclass(frozen=True, kw_only=True)
class DeepSPIO:
    """Spots of particles in a body, and the gradient echoes of slices through them.

    Inputs: ``image`` (B, X, Y, Z) complex, slices along Z, over its own size and without the plane
    of its phase, 0 outside the mask; ``mask`` (B, X, Y, Z), the body. Targets: ``concentration`` of
    iron (B, X, Y, Z), ``mask``.

    Attributes:
        concentration: of iron in a spot, mol/m^3.
        contrast: relative standard deviation of the tissue's signal.
        receive_phase: rad.
        snr: signal of tissue without iron over the noise of a real channel.
        spots, body: shapes of the particles' places and of the body.
        tissue: smooth noise of standard deviation 1 that ``contrast`` multiplies.
        shim: field that is not the particles', Hz.
        chi_ppm: of iron, ppm per mol/m^3: what its magnetisation at this B0 amounts to.
        relaxivity: of dispersed particles, 1/s per mol/m^3.
        T2s: of tissue without particles, s.
        TE: from the middle of the pulse, s.
        flip: rad.
        duration: of the pulse, a sinc with Hann's window, s.
        time_bandwidth: of the pulse.
        B0: T.
        shape: X, Y, Z, voxels.
        spacing: from voxel to voxel, m; along Z the thickness of a slice.
        B0_direction: along X, Y and Z.
    """

    name: ClassVar[str] = "deepspio"
    kind: ClassVar[str] = "volume"

    concentration: Distribution
    contrast: Distribution
    receive_phase: Distribution
    snr: Distribution
    spots: RandomShapes
    body: RandomShapes
    tissue: NoiseField
    shim: PolynomialField
    chi_ppm: float = 2.0
    relaxivity: float = 100.0
    T2s: float = 0.04
    TE: float = 4e-3
    flip: float = math.pi / 3
    duration: float = 2e-3
    time_bandwidth: float = 4.0
    B0: float = 3.0
    shape: Sequence[int] = (24, 24, 24)
    spacing: Sequence[float] = (2e-3, 2e-3, 2e-3)
    B0_direction: Sequence[float] = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in PARAMETERS}
        for name, checked in as_parameters(values, PARAMETERS).items():
            object.__setattr__(self, name, checked)
        for name, part in PARTS.items():
            if not isinstance(getattr(self, name), part):
                raise ConfigError(name, getattr(self, name), f"phantoms.{part.__name__}")
        for name in SHAPES:
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != 3:
                raise ConfigError(name, getattr(self, name), "three numbers")
        object.__setattr__(self, "shape", self.grid.shape)  # which the grid has checked
        for name in ("spacing", "B0_direction"):
            object.__setattr__(self, name, tuple(float(x) for x in getattr(self, name)))
        if not 0 < math.hypot(*self.B0_direction) < math.inf:
            raise ConfigError("B0_direction", self.B0_direction, "a direction")
        for name in ("T2s", "TE", "flip", "duration", "time_bandwidth", "B0"):
            value = getattr(self, name)
            if isinstance(value, bool) or not 0 < value < math.inf:
                raise ConfigError(name, value, "a number above 0")
        if not 0 <= self.relaxivity < math.inf:
            raise ConfigError("relaxivity", self.relaxivity, "a number, 0 or more")
        if self.chi_ppm == 0 or not math.isfinite(self.chi_ppm):
            allowed = "not 0: without a field, iron cannot be told from tissue of less signal"
            raise ConfigError("chi_ppm", self.chi_ppm, allowed)
        if self.duration / 2 > self.TE:
            raise ConfigError(
                "TE", self.TE, f"the pulse's second half, {self.duration / 2:g} s, or more"
            )

    @property
    def grid(self) -> Grid:
        """Voxels and their spacing."""
        return Grid(tuple(self.shape), tuple(self.spacing))

    @property
    def bandwidth(self) -> float:
        """Of the pulse, and so across a slice, Hz."""
        return self.time_bandwidth / self.duration

    @property
    def quantities(self) -> dict[str, Quantity]:
        """What the network estimates."""
        high = self.concentration.support[1]
        return {"concentration": Quantity(low=0.0, high=max(high, 1e-6), unit="mM")}

    @cached_property
    def profile(self) -> np.ndarray:
        """Of a slice, by frequency, over the image of tissue that is all the same."""
        pulse = pulses.sinc(float(self.flip), Scanner(), duration=self.duration,
                            time_bandwidth=float(self.time_bandwidth))  # fmt: skip
        edge = EDGE * self.bandwidth
        df = np.linspace(-edge, edge, FREQUENCIES)
        found = slice_profile(pulse.samples, float(np.diff(pulse.edges)[0]), df)
        return np.asarray(found / (found.sum() * (df[1] - df[0]) / self.bandwidth))

    @property
    def hertz(self) -> float:
        """df per mol/m^3 of iron and unit of the dipole's field."""
        return self.chi_ppm * 1e-6 * GAMMA_BAR_1H * self.B0

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        axes = {SPOT: (self.spots.most,), (): ()}
        of = self._distributions().items()
        return draw_parameters({n: (x, axes[PARAMETERS[n].axes]) for n, x in of}, keys, progress)

    def _distributions(self) -> dict[str, Distribution]:
        return {name: getattr(self, name) for name in PARAMETERS}

    def forward(self, params: Arrays) -> Any:
        """Images (B, X, Y, Z) without noise of maps (B, X, Y, Z), differentiable in all of them.

        Args:
            params: ``concentration``, mol/m^3, ``M0`` and ``shim``, Hz.
        """
        iron = params["concentration"]
        decay = namespace(iron).exp(-self.TE * (1 / self.T2s + self.relaxivity * iron))
        return slice_images(
            self.off_resonance(iron) + params["shim"],
            params["M0"] * decay,
            self.profile,
            edge=EDGE * self.bandwidth,
            bandwidth=self.bandwidth,
            TE=self.TE,
        )

    def off_resonance(self, concentration: Any) -> Any:
        """df of particles, Hz, of the shape of their concentration (..., X, Y, Z), mol/m^3."""
        relative = dipole.field(concentration, self.spacing, self.B0_direction)
        return relative * self.hertz

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        maps, mask = self.maps(params, keys, xp)
        turned = np.exp(1j * params["receive_phase"]).astype(np.complex64)
        image = self.forward(maps) * xp.asarray(turned)[:, None, None, None]
        sigma = math.exp(-self.TE / self.T2s) * math.sqrt(2) / params["snr"]
        noise = random.complex_normal(keys["noise"], self.grid.shape, xp)
        image = image + xp.asarray(sigma.astype(np.float32))[:, None, None, None] * noise
        return Sample(
            inputs=normalised(image, mask, xp),
            targets={"concentration": maps["concentration"], "mask": mask},
            params=params,
            weight=importance_weights(self._distributions(), params),
        )

    def maps(self, params: Arrays, keys: Keys, xp: Any) -> tuple[Arrays, Any]:
        """What :meth:`forward` takes, and the mask of the body, each (B, X, Y, Z).

        Args:
            params: as drawn.
            keys: of the samples.
            xp: array library that computes: numpy or cupy.
        """
        body = self.body.draw(keys, self.grid, name="body")
        ones = np.ones((*body.kind.shape, 1), np.float32)
        share = rasterized(body, ones, self.grid, xp=xp)[:, 0]
        mask = share > 0.5
        spots = self.spots.draw(keys, self.grid, name="spots")
        values = params["concentration"].astype(np.float32)[..., None]
        iron = rasterized(spots, values, self.grid, rule="add", xp=xp)[:, 0]
        contrast = xp.asarray(params["contrast"].astype(np.float32))[:, None, None, None]
        tissue = 1 + contrast * self.tissue.draw(keys, self.grid, name="tissue", xp=xp)
        shim = self.shim.draw(keys, self.grid, name="shim", xp=xp)
        maps = {
            "concentration": xp.where(mask, iron, xp.zeros_like(iron)),
            "M0": share * xp.maximum(tissue, 0.1),
            "shim": shim,
        }
        return maps, mask

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Gradient echo images of contiguous slices, and the body's mask, as the network's inputs.

        Args:
            images: (X, Y, Z, 1) complex, 0 outside the body, or (X, Y, Z, 2) with a mask that is
                above 0 inside; the phase of a scanner whose sign is the other one conjugated.
            axis: echo times, s, equal for the mask; None: it is that of the system.

        Raises:
            ConfigError: real images, other numbers of images, another echo time, nothing but 0.
        """
        if not np.iscomplexobj(images):
            raise ConfigError("data", "real images", "complex images: magnitude and phase")
        if images.shape[-1] not in (1, 2):
            raise ConfigError("data", f"{images.shape[-1]} images", "an image, and a mask or none")
        if axis is not None and not np.allclose(axis[0], self.TE, rtol=1e-2):
            raise ConfigError("data", f"an echo time of {1e3 * float(axis[0]):g} ms",
                              f"{1e3 * self.TE:g} ms")  # fmt: skip
        samples = as_samples(images, self.kind)
        image = samples[..., 0].astype(np.complex64)
        mask = samples[..., 1].real > 0 if samples.shape[-1] == 2 else image != 0
        if not np.isfinite(image).all() or not (abs(image) * mask).any():
            raise ConfigError("data", "no signal or values that are not finite", "an image")
        return normalised(image, mask, np)


def normalised(image: Any, mask: Any, xp: Any) -> Arrays:
    """The network's inputs: S over sum |S|^2 / sum |S|, which voids do not change much, without the
    plane of its phase; 0 outside the mask.

    The plane turns along each axis by the angle of sum S(n + 1) S(n)*, most of which shim and
    receiver are, and leaves no phase to sum S |S|: weak iron would be hidden under it.

    Args:
        image: (B, X, Y, Z), of any unit and phase.
        mask: the body.
        xp: array library of both.
    """
    axes = (1, 2, 3)
    inside = xp.where(mask, image, xp.zeros_like(image))
    for axis in axes:
        ahead, behind = (slice(1, None), slice(None, -1))
        place = (slice(None),) * axis
        turning = inside[(*place, ahead)] * xp.conj(inside[(*place, behind)])
        angle = xp.angle(xp.sum(turning, axis=axes, keepdims=True))
        steps = xp.arange(image.shape[axis], dtype=xp.float32).reshape((-1, *(1,) * (3 - axis)))
        inside = inside * xp.exp(-1j * angle * steps)
    size = xp.abs(inside)
    total = xp.maximum(xp.sum(size, axis=axes, keepdims=True), 1e-30)
    mean = xp.sum(inside * size, axis=axes, keepdims=True)
    phasor = xp.conj(mean) / xp.maximum(xp.abs(mean), 1e-30)
    scale = total / xp.maximum(xp.sum(size**2, axis=axes, keepdims=True), 1e-30)
    return {"image": inside * (phasor * scale), "mask": mask}
