"""A tiny system of quantities for tests: mono-exponential decay at eight echo times.

As voxels and as slices of 16 x 16, with a log-linear fit as the classical method, a network of two
layers, and configurations that ``compose`` takes.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.images import as_samples
from ipads_stream.core.quantity import Quantity, quantities
from ipads_stream.core.random import normal, uniform
from ipads_stream.core.sample import Sample
from ipads_stream.physics.cramer_rao import bound, fisher_information

TE = 1e-2 * np.arange(1, 9)
OUTPUTS = {
    "T2": {"low": 20, "high": 500, "unit": "ms", "scale": "log", "bids": "T2map"},
    "M0": {"low": 0.5, "high": 1.5, "bids": "M0map"},
}


@dataclass(frozen=True, kw_only=True)
class Decay:
    """S = M0 exp(-TE / T2) and Gaussian noise of standard deviation 1 / snr."""

    name: ClassVar[str] = "toy"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "voxel"
    axis: ClassVar[tuple[str, str]] = ("EchoTime", "s")
    baselines: ClassVar[dict[str, str]] = {"log-linear fit": "toy_decay.fit"}

    snr: float = 50.0
    shape: ClassVar[tuple[int, ...]] = ()

    @property
    def quantities(self) -> dict[str, Quantity]:
        return quantities(OUTPUTS)

    def draw(self, keys, progress):
        u = uniform(keys["T2"], (2,))
        return {"T2": 0.02 * 25.0 ** u[:, 0], "M0": 0.5 + u[:, 1]}

    def maps(self, params):
        return params["T2"], params["M0"]

    def forward(self, params):
        T2, M0 = self.maps(params)
        return M0[..., None] * np.exp(-TE / T2[..., None])

    def render(self, params, keys, xp):
        signal = self.forward(params)
        noise = normal(keys["noise"], signal.shape[1:]) / self.snr
        T2, M0 = self.maps(params)
        return Sample(
            inputs={"signal": (signal + noise).astype(np.float32)},
            targets={"T2": T2.astype(np.float32), "M0": M0.astype(np.float32)},
            params=params,
        )

    def bound(self, params):
        T2, M0 = (params[name][:, None] for name in ("T2", "M0"))
        decay = np.exp(-TE / T2)
        jacobian = np.stack([M0 * decay * TE / T2**2, decay], axis=-1)
        return dict(zip(("T2", "M0"), bound(fisher_information(jacobian, 1 / self.snr)).T,
                        strict=True))  # fmt: skip

    def measured(self, images, axis):
        if images.shape[-1] != len(TE):
            raise ConfigError("data", f"{images.shape[-1]} echoes", f"{len(TE)} echoes")
        if axis is None or not np.allclose(axis, TE, rtol=1e-3):
            raise ConfigError("data", f"echo times {axis}", f"{TE[0]:g} to {TE[-1]:g} s")
        return {"signal": as_samples(np.abs(images), self.kind).astype(np.float32)}


@dataclass(frozen=True, kw_only=True)
class DecaySlices(Decay):
    """The left half of a slice has twice the T2 of the right; its rim does not count."""

    kind: ClassVar[str] = "slice"
    shape: ClassVar[tuple[int, ...]] = (16, 16)

    def maps(self, params):
        left = np.where(np.arange(16) < 8, 1.0, 0.5)
        ones = np.ones((16, 16))
        return params["T2"][:, None, None] * (ones * left), params["M0"][:, None, None] * ones

    def render(self, params, keys, xp):
        sample = super().render(params, keys, xp)
        mask = np.zeros(sample.targets["T2"].shape, bool)
        mask[:, 2:-2, 2:-2] = True
        sample.targets["mask"] = mask
        return sample

    bound = None


class Perceptron(torch.nn.Module):
    """Logarithm of the signal along its last axis to the quantities, by two layers."""

    def __init__(self, *, outputs, width=32):
        super().__init__()
        self.quantities = quantities(outputs)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(len(TE), width), torch.nn.ReLU(), torch.nn.Linear(width, len(outputs))
        )

    def forward(self, inputs):
        found = self.layers(inputs["signal"].clamp_min(1e-3).log())
        return {
            name: quantity.physical(found[..., place])
            for place, (name, quantity) in enumerate(self.quantities.items())
        }


def log_linear(inputs):
    """Weighted least squares of the logarithm."""
    signal = np.maximum(inputs["signal"].astype(float), 1e-4)
    weight, log = signal**2, np.log(signal)
    total = weight.sum(-1)
    t, y = (weight * TE).sum(-1) / total, (weight * log).sum(-1) / total
    dt = TE - t[..., None]
    slope = (weight * dt * (log - y[..., None])).sum(-1) / (weight * dt**2).sum(-1)
    T2 = np.where(slope < 0, -1 / np.where(slope < 0, slope, -1), np.nan)
    return {"T2": T2, "M0": np.exp(y - slope * t)}


def fit(system):
    """The classical method, as a system declares one."""
    return log_linear


def twice(*, system, factor):
    """A classical method that a configuration names."""
    return lambda inputs: {name: factor * x for name, x in log_linear(inputs).items()}


def config(output, target="Decay", **trainer):
    """Of a short training run, as ``compose`` would give it."""
    from ipads_stream.config import compose

    changes = {"max_steps": 40, "val_every": 0, "bar": False, **trainer}
    words = [
        f"system={{_target_: toy_decay.{target}}}",
        "net={_target_: toy_decay.Perceptron, outputs: "
        "{T2: {low: 20, high: 500, unit: ms, scale: log}, M0: {low: 0.5, high: 1.5}}}",
        "loss={_target_: ipads_stream.losses.quantities.QuantityError, outputs: ${net.outputs}}",
        "trusted=[toy_decay]",
        f"output={output}",
        "logger=none",
        "stream.batch_size=64",
        "device=cpu",
        *(f"trainer.{key}={value}" for key, value in changes.items()),
    ]
    composed = compose(words)
    composed["overrides"] = words
    return composed
