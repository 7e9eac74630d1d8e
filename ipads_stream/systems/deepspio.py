"""DeepSPIO: the concentration of iron oxide particles from images that their field has modulated.

Source: IEEE TPAMI 44:143 (2022) and its precursor, ISMRM 2019, abstract 4887: the field is the
convolution of the concentration with a dipole, the images are Bloch simulations of slices in it.
Timings, ranges, noise and the susceptibility of the particles are not stated in what was read and
are choices of this project (conf/system/deepspio.yaml).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.acquisition.noise_limit import chosen_rows, noise_of_volumes, with_noise
from ipads_stream.acquisition.receive_phase import without_phase_plane
from ipads_stream.core import random
from ipads_stream.core.backend import fused, moved
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import SPACING, VOLUME, instance, number, ruled
from ipads_stream.core.images import check_axis, measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.phantoms import NoiseField, PolynomialField, RandomShapes, rasterized
from ipads_stream.physics.bloch.slice_modulation import slice_images, slice_profile
from ipads_stream.physics.fields import dipole
from ipads_stream.sequences import pulses
from ipads_stream.sequences.scanner import Scanner
from ipads_stream.systems.base import GONE, VolumeSystem

SPOT = ("spot",)
CLEARLY = 0.9  # of the least noise of the training: an estimate is 3 % off where it is all noise
EDGE, FREQUENCIES = 1.25, 641  # of the tabulated profile: bandwidths to either side, and values


@dataclass(frozen=True, kw_only=True)
class DeepSPIO(VolumeSystem):
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
        shape, spacing, B0_direction: as of VolumeSystem; along Z the thickness of a slice.
    """

    name: ClassVar[str] = "deepspio"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "volume"
    baselines: ClassVar[dict[str, str]] = {
        "TKD": "ipads_stream.baselines.iron_oxide.tuned_division",
        "Tikhonov": "ipads_stream.baselines.iron_oxide.tuned_tikhonov",
        "non-linear fit": "ipads_stream.baselines.iron_oxide.tuned_nonlinear",
    }

    concentration: Distribution = parameter(quantity="concentration", within=(0.0, 1e4), axes=SPOT)
    contrast: Distribution = parameter(within=(0.0, 0.3))
    receive_phase: Distribution = parameter(quantity="angle")
    snr: Distribution = parameter(within=(1e-3, math.inf))
    spots: RandomShapes = instance(RandomShapes)
    body: RandomShapes = instance(RandomShapes)
    tissue: NoiseField = instance(NoiseField)
    shim: PolynomialField = instance(PolynomialField)
    chi_ppm: float = number(2.0, low=-1e4, high=1e4)
    relaxivity: float = number(100.0, low=0.0, high=1e6)
    T2s: float = number(0.04, above=0.0, below=1e6)
    TE: float = number(4e-3, above=0.0, below=1.0)
    flip: float = number(math.pi / 3, above=0.0, high=2 * math.pi)
    duration: float = number(2e-3, above=0.0)
    time_bandwidth: float = number(4.0, above=0.0, below=1e3)
    B0: float = number(3.0, above=0.0, below=1e3)
    shape: Sequence[int] = ruled(VOLUME, (24, 24, 24))
    spacing: Sequence[float] = ruled(SPACING, (2e-3, 2e-3, 2e-3))

    def check(self) -> None:
        if self.chi_ppm == 0:
            allowed = "not 0: without a field, iron looks like tissue of less signal"
            raise ConfigError("chi_ppm", self.chi_ppm, allowed)
        if GONE * self.T2s < self.TE:
            allowed = f"at most {GONE * self.T2s:g} s: later nothing is left of the signal (T2s)"
            raise ConfigError("TE", self.TE, allowed)
        if self.duration / 2 > self.TE:
            allowed = f"the pulse's second half, {self.duration / 2:g} s, or more"
            raise ConfigError("TE", self.TE, allowed)

    @property
    def bandwidth(self) -> float:
        """Of the pulse, and so across a slice, Hz."""
        return self.time_bandwidth / self.duration

    @cached_property
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
        profile = slice_profile(pulse.samples, float(np.diff(pulse.edges)[0]), df)
        return np.asarray(profile / (profile.sum() * (df[1] - df[0]) / self.bandwidth))

    @property
    def hertz(self) -> float:
        """df per mol/m^3 of iron and unit of the dipole's field."""
        return self.chi_ppm * 1e-6 * GAMMA_BAR_1H * self.B0

    def lengths(self) -> dict[str, int]:
        return {SPOT[0]: self.spots.most}

    def forward(self, params: Arrays) -> Any:
        """Images (B, X, Y, Z) without noise of maps (B, X, Y, Z), differentiable in all of them.

        Args:
            params: ``concentration``, mol/m^3, ``M0`` and ``shim``, Hz.
        """
        iron, width = params["concentration"], self.bandwidth
        rates = float(1 / self.T2s), float(self.relaxivity)
        signal = _decayed(params["M0"], iron, -float(self.TE), *rates)
        ppm = dipole.field(iron, self.spacing, self.B0_direction)  # of a susceptibility of 1
        df = _scaled_and_moved(ppm, float(self.hertz), params["shim"])
        return slice_images(
            df, signal, self.profile, edge=EDGE * width, bandwidth=width, TE=self.TE
        )

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        maps, mask = self.maps(params, keys, xp)
        turned = np.exp(1j * params["receive_phase"]).astype(np.complex64)
        sigma = math.exp(-self.TE / self.T2s) * math.sqrt(2) / params["snr"]
        turned, sigma = moved(xp, turned, sigma.astype(np.float32))
        by_sample = (slice(None), None, None, None)
        image = self.forward(maps)
        noise = random.complex_normal(keys["noise"], self.grid.shape, xp)
        image = _received(image, turned[by_sample], sigma[by_sample], noise)
        targets = {"concentration": maps["concentration"], "mask": mask}
        inputs = {"image": without_phase_plane(image, mask, xp), "mask": mask}
        return self.batch(inputs, targets, params)

    def maps(self, params: Arrays, keys: Keys, xp: Any) -> tuple[Arrays, Any]:
        """What :meth:`forward` takes, and the mask of the body, each (B, X, Y, Z)."""
        body = self.body.draw(keys, self.grid, name="body")
        ones = np.ones((*body.kind.shape, 1), np.float32)
        share = rasterized(body, ones, self.grid, xp=xp)[:, 0]
        spots = self.spots.draw(keys, self.grid, name="spots")
        values = params["concentration"].astype(np.float32)[..., None]
        iron = rasterized(spots, values, self.grid, rule="add", xp=xp)[:, 0]
        contrast = xp.asarray(params["contrast"].astype(np.float32))[:, None, None, None]
        tissue = self.tissue.draw(keys, self.grid, name="tissue", xp=xp)
        mask, iron, M0 = _inside(share, iron, contrast, tissue)
        shim = self.shim.draw(keys, self.grid, name="shim", xp=xp)
        return {"concentration": iron, "M0": M0, "shim": shim}, mask

    def limit_snr(self, inputs: Mapping[str, np.ndarray]) -> tuple[Arrays, np.ndarray]:
        """Inputs with noise where they are clearly above the highest ``snr``, and where they are.

        Tissue without iron is taken to have the median magnitude. Volumes that have structure all
        over show no noise and stay as they are.
        """
        image, mask = np.asarray(inputs["image"], np.complex64), np.asarray(inputs["mask"], bool)
        sigma = noise_of_volumes(image, mask)
        level = [np.median(np.abs(x[inside])) if inside.any() else 0.0
                 for x, inside in zip(image, mask, strict=True)]  # fmt: skip
        least = np.array(level) / self.snr.support[1]
        is_clean = sigma < CLEARLY * least
        added = np.sqrt(np.where(is_clean, least**2 - sigma**2, 0.0))
        channels = np.ascontiguousarray(image).reshape(len(image), -1).view(np.float32)
        noisy = with_noise(channels, added, is_magnitude=False).view(np.complex64)
        turned = without_phase_plane(noisy.reshape(image.shape), mask, np)
        return chosen_rows(inputs, {"image": turned.astype(np.complex64)}, is_clean), is_clean

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Gradient echo images of contiguous slices, and the body's mask, as the network's inputs.

        Args:
            images: (X, Y, Z, 1) complex, 0 outside the body, or (X, Y, Z, 2) with a mask that is
                above 0 inside; the phase of a scanner whose sign is the other one conjugated.
            axis: echo times, s, equal for the mask; None: it is that of the system.

        Raises:
            ConfigError: real images, other numbers of images, another echo time, nothing but 0.
        """
        content = "an image, and a mask or none"
        samples = measured_samples(
            images, self.kind, counts=[1, 2], content=content, numbers="complex"
        )
        if axis is not None:
            check_axis(np.atleast_1d(axis)[:1], self.TE, "echo time (s)", rtol=1e-2)
        image = samples[..., 0].astype(np.complex64)
        mask = samples[..., 1].real > 0 if samples.shape[-1] == 2 else image != 0
        if not (abs(image) * mask).any():
            raise ConfigError("data", "no signal", "an image that is not 0 in its mask")
        return {"image": without_phase_plane(image, mask, np), "mask": mask}


@fused
def _decayed(xp: Any, M0: Any, iron: Any, minus_TE: float, rate: float, relaxivity: float) -> Any:
    return M0 * xp.exp(minus_TE * (rate + relaxivity * iron))


@fused
def _scaled_and_moved(xp: Any, field: Any, scale: float, offset: Any) -> Any:
    return field * scale + offset


@fused
def _inside(xp: Any, share: Any, iron: Any, contrast: Any, tissue: Any) -> tuple[Any, Any, Any]:
    """The mask of the body, iron in it and the magnetisation of tissue."""
    mask = share > 0.5
    return mask, xp.where(mask, iron, 0), share * xp.maximum(1 + contrast * tissue, 0.1)


@fused
def _received(xp: Any, image: Any, turned: Any, sigma: Any, noise: Any) -> Any:
    return image * turned + sigma * noise
