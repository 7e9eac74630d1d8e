"""A tiny system of spectra: two overlapping lines apart, and how much there is of one."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import complex_normal, uniform
from ipads_stream.core.sample import Sample
from ipads_stream.losses.quantities import mean_inside

POINTS = 64


@dataclass(frozen=True, kw_only=True)
class Lines:
    """spectra = a_k L_k, a line of choline and one of creatine; the input is their noisy sum."""

    name: ClassVar[str] = "lines"
    task: ClassVar[str] = "spectra"
    kind: ClassVar[str] = "voxel"
    axis: ClassVar[tuple[str, str]] = ("EchoTime", "s")
    components: ClassVar[tuple[str, ...]] = ("Cho", "Cr")
    baselines: ClassVar[dict[str, str]] = {"half each": "toy_spectra.half"}

    noise: float = 0.05

    @property
    def ppm(self):
        return np.linspace(4.0, 2.5, POINTS)

    @property
    def quantities(self):
        return {"amount": Quantity(low=0.0, high=5.0, unit="mM")}

    def draw(self, keys, progress):
        return {"a": 1 + 4 * uniform(keys["a"], (2,))}

    def render(self, params, keys, xp):
        lines = np.stack([1 / (1 + 8j * (self.ppm - place)) for place in (3.2, 3.0)])
        spectra = (params["a"][..., None] * lines).astype(np.complex64)
        noise = self.noise * complex_normal(keys["noise"], (POINTS,))
        return Sample(
            inputs={"spectrum": spectra.sum(axis=1) + noise},
            targets={"spectra": spectra, "amount": params["a"][:, 0].astype(np.float32)},
            params=params,
        )

    def measured(self, images, axis):
        return {"spectrum": np.fft.fftshift(np.fft.fft(images, norm="ortho"), axes=-1)}


def half(system):
    def apart(inputs):
        each = inputs["spectrum"][:, None] / 2
        return {"spectra": np.concatenate([each, each], axis=1)}

    return apart


class Net(torch.nn.Module):
    """A share of the sum for each component."""

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.full((2, 1), 0.4))

    def forward(self, inputs):
        spectra = self.share * inputs["spectrum"][:, None]
        return {"spectra": spectra, "amount": spectra[:, 0].real.amax(dim=1)}


class Loss(torch.nn.Module):
    def forward(self, predictions, sample):
        error = (predictions["spectra"] - sample.targets["spectra"]).abs().square()
        return {"spectra": mean_inside(error, None)}
