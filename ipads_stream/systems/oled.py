"""OLED: a T2 map of one shot in which four echoes overlap (MOLED), by a network.

Source: Cai et al., MRM 80:2202 (2018); Zhang et al., IEEE TMI 38:1801 (2019), whose echo times and
flip angle these are; fields and noise: qinqinyang/MOST-DL and wjgxw/MRiLab_angus. Templates and
relaxation times T1 are choices of this project (conf/system/oled.yaml).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ipads_stream.acquisition.echo_planar import calibrated, shot_image
from ipads_stream.core import random
from ipads_stream.core.backend import fused, kept, moved, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance, number, ruled, whole
from ipads_stream.core.images import measured_samples
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.phantoms import Grid
from ipads_stream.physics.bloch.line_readout import Lines
from ipads_stream.physics.bloch.single_shot import SingleShot, image, k_space, parts_of
from ipads_stream.sequences.moled_shot import MoledShot
from ipads_stream.systems.base import GONE, ParametricSystem

LEAST_PD = 0.1  # of a voxel that counts


@runtime_checkable
class Maps(Protocol):
    """What draws maps on a grid: templates or a field."""

    def draw(self, keys: Keys, grid: Grid, *, name: str, xp: Any) -> Any: ...


PHANTOM = Instance(of=Maps, allowed="one of ipads_stream.phantoms")
FIELD = Instance(of=Maps, allowed="one of ipads_stream.phantoms", optional=True)


@dataclass(frozen=True, kw_only=True)
class OLED(ParametricSystem):
    """Single-shot images of templates by the Bloch equation, with B0, B1 and noise.

    Input: ``image`` (B, 2, X, Y) float32, real and imaginary part; the largest magnitude is 1 and
    the largest sample of k-space real. Targets: T2 (s, mean of its logarithm weighted by PD) and
    ``mask``, where PD is above 0.1, each (B, X, Y).

    Attributes:
        templates: ``draw(keys, grid, ...)`` gives maps of T1, T2 (s) and PD.
        noise: standard deviation in each channel over the largest magnitude of the image.
        phase: of the receiver, rad.
        sequence: excitations, refocusing pulse and echo-planar train (sequences/moled_shot.py).
        B0: field of off-resonance, Hz; None: 0.
        B1: field of RF relative to nominal; None: 1.
        finer: voxels of the template along the edge of one of the image.
        T2_low, T2_high: s; templates are held in between.
    """

    name: ClassVar[str] = "oled"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "slice"
    baselines: ClassVar[dict[str, str]] = {
        "windowed log-fit": "ipads_stream.baselines.overlapping_echoes.windowed_log_fit",
    }

    templates: Any = ruled(PHANTOM)
    noise: Distribution = parameter(within=(0.0, 1.0))
    phase: Distribution = parameter(quantity="angle")
    sequence: MoledShot
    B0: Any = ruled(FIELD, None)
    B1: Any = ruled(FIELD, None)
    finer: int = whole(2, low=1, high=64)
    T2_low: float = number(0.02, above=0.0)
    T2_high: float = number(0.7, above=0.0)

    def check(self) -> None:
        if self.T2_low >= self.T2_high:
            raise ConfigError("T2_low", self.T2_low, f"below T2_high={self.T2_high:g} s")
        try:
            extent = np.ptp(self.shot.echoes, axis=0)
        except ValueError as error:
            raise ConfigError("sequence", self.sequence, str(error)) from None
        if math.sin(self.sequence.flip) ** 2 < 1e-12:
            raise ConfigError("sequence.flip", self.sequence.flip, "an angle that gives a signal")
        if min(self.shot.TE) > GONE * self.T2_high:
            allowed = f"echoes before {GONE * self.T2_high:g} s: later nothing is left of T2_high"
            raise ConfigError("sequence", self.sequence, allowed)
        if len(self.shot.TE) < 2 or np.hypot(*extent) * self.fov < 2 or not np.ptp(self.shot.TE):
            allowed = "echoes of at least two echo times, apart in k-space: else T2 leaves no trace"
            raise ConfigError("sequence", self.sequence, allowed)

    @property
    def channel_names(self) -> dict[str, tuple[str, ...]]:
        return {"image": ("real part", "imaginary part")}

    @property
    def quantities(self) -> dict[str, Quantity]:
        """What the network estimates."""
        return {"T2": Quantity.over((self.T2_low, self.T2_high), "ms", "log", "T2map")}

    @cached_property
    def shot(self) -> SingleShot:
        """The sequence in the parts in which it is simulated, with all lines of the image."""
        return unfolded_shot(self.played, self.sequence.acceleration)

    @cached_property
    def played(self) -> SingleShot:
        """The same with the lines that are sampled."""
        return parts_of(self.sequence.sequence())

    @property
    def matrix(self) -> int:
        """Voxels along an edge of the image."""
        return len(self.shot.lines.ky)

    @property
    def fov(self) -> float:
        """Edge of the image, m."""
        return (self.matrix - 1) / float(self.shot.lines.ky[-1] - self.shot.lines.ky[0])

    @property
    def grid(self) -> Grid:
        """Of the templates."""
        n = self.finer * self.matrix
        return Grid((n, n), (self.fov / n, self.fov / n))

    def forward(self, params: Arrays) -> Any:
        """Complex images (B, X, Y) of maps PD, T1, T2, df and B1 on ``grid``, without noise."""
        tissue = {name: params[name] for name in ("T1", "T2", "df", "B1")}
        x, y = self.grid.spacing
        return image(k_space(self.shot, params["PD"], (x, y), **tissue), self.shot.lines)

    def maps(self, keys: Keys, xp: Any) -> Arrays:
        """PD, T1, T2, df and B1 on ``grid``."""
        tissue = self.templates.draw(keys, self.grid, name="template", xp=xp)
        T1, T2 = _limited(tissue["T1"], tissue["T2"], float(self.T2_low), float(self.T2_high))
        maps = {"PD": tissue["PD"], "T2": T2, "T1": T1}
        for name, field, nominal in (("df", self.B0, 0.0), ("B1", self.B1, 1.0)):
            if field is None:
                maps[name] = xp.full_like(T2, nominal)
            else:
                maps[name] = field.draw(keys, self.grid, name=name, xp=xp)
        return maps

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        maps = self.maps(keys, xp)
        clean = self.forward(maps)
        largest = xp.max(xp.abs(clean), axis=(1, 2), keepdims=True)
        drawn = (params[name].astype(np.float32)[:, None, None] for name in ("noise", "phase"))
        sigma, phase = moved(xp, *drawn)
        noise = random.complex_normal(keys["noise of the image"], clean.shape[1:], xp)
        noisy = _received(clean, largest, phase, sigma, noise)
        PD = self.averaged(maps["PD"])
        log = self.averaged(_weighted_log(maps["T2"], maps["PD"]))
        T2, mask = _mean_T2(log, PD, math.log(self.T2_low))
        targets = {"T2": T2, "mask": mask}
        return self.batch(inputs_of(noisy, xp), targets, params)

    def averaged(self, maps: Any) -> Any:
        """Maps of ``grid`` on the voxels of the image, (B, X, Y)."""
        W = kept(self._weights, namespace(maps))
        return W @ maps @ W.T

    @cached_property
    def _weights(self) -> np.ndarray:
        """Of the voxels of ``grid`` in those of the image, along one axis."""
        n, f = self.matrix, self.finer
        # Voxel i of the image is centred on voxel f i; of an even f it takes halves at both ends.
        away = np.abs(np.arange(n * f) - f * np.arange(n)[:, None])
        weights = np.clip(f / 2 + 0.5 - away, 0.0, 1.0).astype(np.float32)
        return weights / weights.sum(axis=1, keepdims=True)

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Complex single-shot images, (X, Y[, Z], 1), as the network's inputs.

        Args:
            images: of the matrix of the sequence.
            axis: not used: the echo times are those of the sequence.

        Raises:
            ConfigError: magnitudes, several images, another matrix, values that are not finite.
        """
        content = "one image of a single shot, whose echoes lie in its phase"
        shots = measured_samples(images, self.kind, counts=[1], content=content, numbers="complex")
        if shots.shape[1:3] != (self.matrix, self.matrix):
            allowed = f"{self.matrix} x {self.matrix}, as the sequence has it"
            raise ConfigError("data", f"images of {shots.shape[1]} x {shots.shape[2]}", allowed)
        return inputs_of(shots[..., 0].astype(np.complex64), np)

    def reconstructed(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """The image (X, Y, 1) of one shot: lines aligned, coils unfolded (acquisition/echo_planar).

        Args:
            raw: complex, any unit: ``shot`` (C, L, S), the lines in the order of time;
                ``reference`` (C, 3, S), three lines without phase encoding; ``calibration``
                (C, U, V), fully sampled k-space of the coils.

        Raises:
            ConfigError: another number of coils, lines or samples than the sequence has.
        """
        R, N = self.sequence.acceleration, self.matrix
        shot, reference, calibration = (raw[name] for name in ("shot", "reference", "calibration"))
        coils = len(shot)
        if shot.shape != (coils, N // R, N) or reference.shape != (coils, 3, N):
            given = f"shot {shot.shape}, reference {reference.shape}"
            raise ConfigError("data", given, f"({coils}, {N // R}, {N}) and ({coils}, 3, {N})")
        if len(calibration) != coils or coils < R:
            given = f"{coils} coils, {len(calibration)} in the calibration"
            raise ConfigError("data", given, f"as many in both, at least acceleration={R}")
        try:
            image = shot_image(shot, reference, calibrated(calibration, N))
        except ValueError as error:
            raise ConfigError("data", "calibration", str(error)) from None
        return image[..., None]


def unfolded_shot(shot: SingleShot, acceleration: int) -> SingleShot:
    """A shot of which one line of R is sampled, with all lines at the times that lie between.

    That is what the image holds when the coils are told apart: decay and off-resonance run over
    k-space as fast as they do in the shot. All lines run forwards, as odd and even ones of measured
    shots are aligned.
    """
    if acceleration == 1:
        return shot
    lines, R = shot.lines, acceleration
    count, step = R * len(lines.ky), (lines.ky[1] - lines.ky[0]) / R
    full = Lines(
        kx=lines.kx[[0, 0]],
        ky=lines.ky[0] + step * np.arange(count),
        start=lines.start,
        spacing=lines.spacing / R,
        since=lines.since[[0, 0]],
    )
    return replace(shot, lines=full)


def inputs_of(images: Any, xp: Any) -> Arrays:
    """The network's input from complex images (B, X, Y) of any scale and phase."""
    flat = xp.reshape(xp.fft.fftn(images, axes=(1, 2)), (images.shape[0], -1))
    largest = xp.take_along_axis(flat, xp.argmax(xp.abs(flat), axis=1)[:, None], axis=1)
    turned, size = _turned(images, largest[..., None])
    scaled = _over(turned, xp.max(size, axis=(1, 2), keepdims=True))
    channels = xp.stack([xp.real(scaled), xp.imag(scaled)], axis=1)
    return {"image": channels.astype(xp.float32, copy=False)}


@fused
def _limited(xp: Any, T1: Any, T2: Any, low: float, high: float) -> tuple[Any, Any]:
    """T1 and T2, T2 within its limits and T1 at least as long."""
    T2 = xp.minimum(xp.maximum(T2, low), high)
    return xp.maximum(T1, T2), T2


@fused
def _received(xp: Any, clean: Any, largest: Any, phase: Any, sigma: Any, noise: Any) -> Any:
    scaled = clean / xp.maximum(largest, 1e-30)
    return scaled * xp.exp(1j * phase) + math.sqrt(2) * sigma * noise


@fused
def _weighted_log(xp: Any, T2: Any, PD: Any) -> Any:
    return PD * xp.log(T2)


@fused
def _mean_T2(xp: Any, log: Any, PD: Any, nothing: float) -> tuple[Any, Any]:
    """The geometric mean of T2, and where there is any tissue."""
    mask = PD > LEAST_PD
    return xp.exp(xp.where(mask, log / xp.maximum(PD, 1e-6), nothing)), mask


@fused
def _turned(xp: Any, images: Any, largest: Any) -> tuple[Any, Any]:
    """Images without the phase of the largest sample of their k-space, and their magnitude."""
    turned = images * xp.conj(largest / xp.maximum(xp.abs(largest), 1e-30))
    return turned, xp.abs(turned)


@fused
def _over(xp: Any, images: Any, largest: Any) -> Any:
    return images / xp.maximum(largest, 1e-30)
