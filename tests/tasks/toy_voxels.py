"""Tiny systems that somebody might write first, and what goes wrong with them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import normal, uniform
from ipads_stream.core.sample import Sample
from ipads_stream.losses.quantities import mean_inside

TE = np.array([0.01, 0.03, 0.08])


@dataclass(frozen=True, kw_only=True)
class Untasked:
    """exp(-TE / T2) with noise, and T2; it names no task."""

    name: ClassVar[str] = "voxels"
    trailing: ClassVar[bool] = False  # whether the target is (B, 1) in place of (B,)

    def draw(self, keys, progress):
        return {"T2": 0.02 + 0.1 * uniform(keys["T2"])}

    def render(self, params, keys, xp):
        T2 = params["T2"].astype(np.float32)
        noise = normal(keys["noise"], (len(TE),)) / 100
        target = T2[:, None] if self.trailing else T2
        signal = (np.exp(-TE / T2[:, None]) + noise).astype(np.float32)
        return Sample(inputs={"signal": signal}, targets={"T2": target}, params=params)


@dataclass(frozen=True, kw_only=True)
class Unknown(Untasked):
    task: ClassVar[str] = "quantitys"


@dataclass(frozen=True, kw_only=True)
class Foreign(Untasked):
    task: ClassVar[str] = "os.path.join"


@dataclass(frozen=True, kw_only=True)
class Unquantified(Untasked):
    task: ClassVar[str] = "quantities"


@dataclass(frozen=True, kw_only=True)
class Kindless(Untasked):
    task: ClassVar[str] = "quantities"

    @property
    def quantities(self):
        return {"T2": Quantity(low=0.02, high=0.12, unit="ms", scale="log")}


@dataclass(frozen=True, kw_only=True)
class Voxels(Kindless):
    kind: ClassVar[str] = "voxel"


@dataclass(frozen=True, kw_only=True)
class Misnamed(Voxels):
    @property
    def quantities(self):
        return {"T2": super().quantities["T2"], "T1": Quantity(low=0.1, high=3.0)}


@dataclass(frozen=True, kw_only=True)
class Trailing(Voxels):
    trailing: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class Spectra(Untasked):
    task: ClassVar[str] = "spectra"


@dataclass(frozen=True, kw_only=True)
class Images(Untasked):
    task: ClassVar[str] = "images"


@dataclass(frozen=True, kw_only=True)
class Vectors(Untasked):
    task: ClassVar[str] = "vectors"


class Net(torch.nn.Module):
    """One layer; no argument, so none called ``outputs``."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(len(TE), 1)

    def forward(self, inputs):
        return {"T2": self.layer(inputs["signal"])[:, 0].exp()}


class Wordless(Net):
    def forward(self, inputs):
        return {"T3": self.layer(inputs["signal"])[:, 0]}


class Square(torch.nn.Module):
    def forward(self, predictions, sample):
        return {"T2": mean_inside((predictions["T2"] - sample.targets["T2"]) ** 2, None)}


def two_columns(system):
    return lambda inputs: {"T2": np.ones((len(inputs["signal"]), 2))}


def another(system):
    return lambda inputs: {"T1": np.ones(len(inputs["signal"]))}


def fine(system):
    return lambda inputs: {"T2": np.full(len(inputs["signal"]), 0.05)}
