"""OLED: a T2 map of one shot in which four echoes overlap (MOLED), by a network.

Source: Cai et al., MRM 80:2202 (2018); Zhang et al., IEEE TMI 38:1801 (2019), whose echo times and
flip angle these are; fields and noise: qinqinyang/MOST-DL and wjgxw/MRiLab_angus. Templates and
relaxation times T1 are choices of this project (conf/system/oled.yaml).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core import random
from ipads_stream.core.backend import namespace
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
from ipads_stream.phantoms import Grid
from ipads_stream.physics.single_shot import SingleShot, image, k_space, parts_of
from ipads_stream.sequences.moled_shot import MoledShot

PARAMETERS = {
    "noise": Parameter(within=(0.0, 1.0)),
    "phase": Parameter(quantity="angle"),
}
LEAST_PD = 0.1  # of a voxel that counts


@dataclass(frozen=True, kw_only=True)
class OLED:
    """Single-shot images of templates by the Bloch equation, with B0, B1 and noise.

    Input: ``image`` (B, 2, X, Y) float32, real and imaginary part; the largest magnitude is 1 and
    the largest sample of k-space real. Targets: T2 (s, mean of its logarithm weighed by PD) and
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
    kind: ClassVar[str] = "slice"

    templates: Any
    noise: Distribution
    phase: Distribution
    sequence: MoledShot
    B0: Any = None
    B1: Any = None
    finer: int = 2
    T2_low: float = 0.02
    T2_high: float = 0.7

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in PARAMETERS}
        for name, checked in as_parameters(values, PARAMETERS).items():
            object.__setattr__(self, name, checked)
        for name in ("templates", "B0", "B1"):
            value = getattr(self, name)
            if not hasattr(value, "draw") and (name == "templates" or value is not None):
                raise ConfigError(name, value, "one of ipads_stream.phantoms")
        if isinstance(self.finer, bool) or not isinstance(self.finer, int) or self.finer < 1:
            raise ConfigError("finer", self.finer, "a whole number from 1")
        if not 0 < self.T2_low < self.T2_high < math.inf:
            raise ConfigError("T2_low", self.T2_low, f"between 0 and T2_high={self.T2_high:g} s")
        try:
            extent = np.ptp(self.shot.echoes, axis=0)
        except ValueError as error:
            raise ConfigError("sequence", self.sequence, str(error)) from None
        if len(self.shot.TE) < 2 or np.hypot(*extent) * self.fov < 2 or not np.ptp(self.shot.TE):
            allowed = "echoes of at least two echo times, apart in k-space: else T2 leaves no trace"
            raise ConfigError("sequence", self.sequence, allowed)

    @property
    def quantities(self) -> dict[str, Quantity]:
        """What the network estimates."""
        ends = {"low": self.T2_low, "high": self.T2_high}
        return {"T2": Quantity(**ends, unit="ms", scale="log", bids="T2map")}

    @cached_property
    def shot(self) -> SingleShot:
        """The sequence in the parts in which it is simulated."""
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

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        return draw_parameters(
            {name: (value, ()) for name, value in self._distributions().items()}, keys, progress
        )

    def _distributions(self) -> dict[str, Distribution]:
        return {name: getattr(self, name) for name in PARAMETERS}

    def forward(self, params: Arrays) -> Any:
        """Complex images (B, X, Y) of maps PD, T1, T2, df and B1 on ``grid``, without noise."""
        of = {name: params[name] for name in ("T1", "T2", "df", "B1")}
        x, y = self.grid.spacing
        return image(k_space(self.shot, params["PD"], (x, y), **of), self.shot.lines)

    def maps(self, keys: Keys, xp: Any) -> Arrays:
        """PD, T1, T2, df and B1 on ``grid``.

        Args:
            keys: of the samples.
            xp: array library that computes: numpy or cupy.
        """
        found = self.templates.draw(keys, self.grid, name="template", xp=xp)
        T2 = xp.clip(found["T2"], self.T2_low, self.T2_high)
        fields = {"df": (self.B0, 0.0), "B1": (self.B1, 1.0)}
        return {"PD": found["PD"], "T2": T2, "T1": xp.maximum(found["T1"], T2)} | {
            name: xp.full_like(T2, idle) if of is None
            else of.draw(keys, self.grid, name=name, xp=xp)
            for name, (of, idle) in fields.items()
        }  # fmt: skip

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        maps = self.maps(keys, xp)
        clean = self.forward(maps)
        clean = clean / xp.maximum(xp.max(xp.abs(clean), axis=(1, 2), keepdims=True), 1e-30)
        sigma = xp.asarray(params["noise"], dtype=xp.float32)[:, None, None]
        phase = xp.asarray(params["phase"], dtype=xp.float32)[:, None, None]
        noise = random.complex_normal(keys["noise of the image"], clean.shape[1:], xp)
        noisy = clean * xp.exp(1j * phase) + math.sqrt(2) * sigma * noise
        PD = self.averaged(maps["PD"])
        log = self.averaged(maps["PD"] * xp.log(maps["T2"]))
        mask = PD > LEAST_PD
        T2 = xp.exp(xp.where(mask, log / xp.maximum(PD, 1e-6), math.log(self.T2_low)))
        return Sample(
            inputs=inputs_of(noisy, xp),
            targets={"T2": T2.astype(xp.float32), "mask": mask},
            params=params,
            weight=importance_weights(self._distributions(), params),
        )

    def averaged(self, maps: Any) -> Any:
        """Maps of ``grid`` on the voxels of the image, (B, X, Y)."""
        n, f = self.matrix, self.finer
        # Voxel i of the image is centred on voxel f i; of an even f it takes halves at both ends.
        away = np.abs(np.arange(n * f) - f * np.arange(n)[:, None])
        weights = np.clip(f / 2 + 0.5 - away, 0.0, 1.0).astype(np.float32)
        weights /= weights.sum(axis=1, keepdims=True)
        W = namespace(maps).asarray(weights)
        return W @ maps @ W.T

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays:
        """Complex single-shot images, (X, Y[, Z], 1), as the network's inputs.

        Args:
            images: of the matrix of the sequence.
            axis: not used: the echo times are those of the sequence.

        Raises:
            ConfigError: magnitudes, several images, another matrix, values that are not finite.
        """
        if not np.iscomplexobj(images):
            raise ConfigError("data", "real images", "complex images: the echoes lie in the phase")
        shots = as_samples(images, self.kind)
        if shots.shape[-1] != 1:
            raise ConfigError("data", f"{shots.shape[-1]} images", "one image, of a single shot")
        if shots.shape[1:3] != (self.matrix, self.matrix):
            allowed = f"{self.matrix} x {self.matrix}, as the sequence has it"
            raise ConfigError("data", f"images of {shots.shape[1]} x {shots.shape[2]}", allowed)
        if not np.isfinite(shots).all():
            raise ConfigError("data", "values that are not finite", "finite values")
        return inputs_of(shots[..., 0].astype(np.complex64), np)


def inputs_of(images: Any, xp: Any) -> Arrays:
    """The network's input from complex images (B, X, Y) of any scale and phase."""
    flat = xp.reshape(xp.fft.fftn(images, axes=(1, 2)), (images.shape[0], -1))
    largest = xp.take_along_axis(flat, xp.argmax(xp.abs(flat), axis=1)[:, None], axis=1)
    turned = images * xp.conj(largest / xp.maximum(xp.abs(largest), 1e-30))[..., None]
    scaled = turned / xp.maximum(xp.max(xp.abs(turned), axis=(1, 2), keepdims=True), 1e-30)
    both = xp.stack([xp.real(scaled), xp.imag(scaled)], axis=1)
    return {"image": both.astype(xp.float32)}
