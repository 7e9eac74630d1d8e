"""
A system of your own, end to end
================================

T2 of a voxel from eight echoes with Rician noise: a system in thirty lines, a network that learns
from its stream, a classical fit, and the bound that neither can pass.
"""

# %%
# A system is a frozen dataclass. Fields made with ``parameter`` are drawn, those made with
# ``number`` are checked; ``render`` makes inputs and targets of the drawn parameters, on NumPy or
# CuPy.

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import matplotlib.pyplot as plt
import numpy as np
import torch

from ipads_stream import Stream
from ipads_stream.core import random
from ipads_stream.core.fields import number
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Distribution, LogUniform
from ipads_stream.distributions.parameters import parameter
from ipads_stream.losses.quantities import QuantityError
from ipads_stream.nets.perceptron import Perceptron
from ipads_stream.systems import ParametricSystem

TE = 0.01 * np.arange(1, 9)  # s


@dataclass(frozen=True, kw_only=True)
class Decay(ParametricSystem):
    name: ClassVar[str] = "decay"
    task: ClassVar[str] = "quantities"
    kind: ClassVar[str] = "voxel"

    T2: Distribution = parameter(quantity="time", within=(1e-3, 5.0))
    sigma: float = number(0.02, above=0.0)

    @property
    def quantities(self):
        low, high = self.T2.support
        return {"T2": Quantity(low=low, high=high, unit="ms", scale="log")}

    def render(self, params, keys, xp):
        T2 = xp.asarray(params["T2"])
        noise = self.sigma * random.normal(keys["noise"], (2, len(TE)), xp)
        signal = xp.hypot(xp.exp(-xp.asarray(TE) / T2[:, None]) + noise[:, 0], noise[:, 1])
        inputs = {"signal": signal.astype(xp.float32)}
        return Sample(inputs, {"T2": T2.astype(xp.float32)}, params)


system = Decay(T2=LogUniform(low=10, high=200, unit="ms"))

# %%
# What it makes: parameters that make no sense are refused by name.

samples = Stream(system, split="test", device="cpu").sample(range(4000))
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.plot(1e3 * TE, samples.inputs["signal"][:8].T, ".-")
axis.set(xlabel="echo time (ms)", ylabel="signal")
try:
    Decay(T2=LogUniform(low=10, high=200, unit="Hz"))
except ValueError as error:
    print(error)

# %%
# A network and a loss of the package learn on the stream. Any loop of PyTorch will do; the command
# line's adds checkpoints, exact resumption, schedules and logs.

STEPS = int(os.environ.get("GALLERY_STEPS", "1000"))
OUTPUTS = {"T2": {"low": 10, "high": 200, "unit": "ms", "scale": "log"}}
torch.manual_seed(0)
net = Perceptron(inputs={"signal": 8}, outputs=OUTPUTS, widths=(64, 64))
loss = QuantityError(outputs=OUTPUTS)
optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
for _, batch in zip(range(STEPS), Stream(system, batch_size=512, device="cpu")):
    optimiser.zero_grad()
    loss(net(batch.inputs), batch)["T2"].mean().backward()
    optimiser.step()
    decay.step()

# %%
# A baseline is any function of the inputs. The Cramer-Rao bound is computed from the derivative of
# the signal and the noise; amplitude 1 is known to both.


def fit(inputs):
    """T2 of least distance among the logarithms of a thousand."""
    T2 = np.geomspace(0.005, 0.4, 1000)
    decays = np.exp(-TE / T2[:, None])
    distances = ((inputs["signal"].numpy()[:, None] - decays) ** 2).sum(-1)
    return T2[distances.argmin(-1)]


truth = samples.targets["T2"].numpy()
with torch.no_grad():
    estimates = {"network": net(samples.inputs)["T2"].numpy(), "least squares": fit(samples.inputs)}
slope = np.exp(-TE / truth[:, None]) * TE / truth[:, None]  # of the signal over log T2
bound = system.sigma / np.sqrt((slope**2).sum(-1))

# %%
# Errors by T2. The noise of magnitudes is Rician, which least squares does not know of.

edges = np.geomspace(0.01, 0.2, 9)
middle = np.sqrt(edges[1:] * edges[:-1])


def by_T2(values):
    inside = [(truth >= low) & (truth < high) for low, high in pairwise(edges)]
    return [100 * np.sqrt(np.mean(values[mask] ** 2)) for mask in inside]


figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, estimate in estimates.items():
    axis.plot(1e3 * middle, by_T2(np.log(estimate / truth)), "o-", label=name)
axis.plot(1e3 * middle, by_T2(bound), "k--", label="Cramer-Rao bound")
axis.set(xlabel="T2 (ms)", ylabel="error of T2 (%)", ylim=(0, None))
axis.legend()
