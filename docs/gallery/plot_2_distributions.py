"""
A distribution study of your own
================================

Synthetic training fails where its distribution misses the target. Here the same network is trained
on two distributions of the myelin water fraction, and tested on all of it.
"""

# %%
# Distributions are written in the unit of a paper and draw in SI. They are quantile functions, so a
# sample keeps its rank when its distribution changes.

import os

import matplotlib.pyplot as plt
import numpy as np
import torch

from ipads_stream import Stream, load_system
from ipads_stream.core.random import Keys
from ipads_stream.distributions import LogUniform, Mixture, Uniform
from ipads_stream.losses.quantities import QuantityError
from ipads_stream.nets.perceptron import Perceptron

shapes = {
    "uniform": Uniform(low=20, high=500, unit="ms"),
    "log-uniform": LogUniform(low=20, high=500, unit="ms"),
    "mixture": Mixture(
        components=[Uniform(low=60, high=100, unit="ms"), Uniform(low=200, high=500, unit="ms")],
        weights=[0.7, 0.3],
    ),
}
keys = Keys(0, "train", np.arange(20000, dtype=np.uint64))
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, distribution in shapes.items():
    values = distribution.draw(keys["T2"], (), np.zeros(20000))
    axis.hist(1e3 * values, bins=100, histtype="step", density=True, label=name)
axis.set(xlabel="T2 (ms)", ylabel="density (1/ms)")
axis.legend()

# %%
# The arms of the study: what differs between them is one distribution. All else is drawn alike, so
# sample *n* of both arms has the same relaxation times and the same noise.

UNIFORM = "{_target_: ipads_stream.distributions.Uniform, low: 0, high: %d, unit: '%%'}"
ARMS = {"trained to 10 %": f"MWF={UNIFORM % 10}", "trained to 30 %": f"MWF={UNIFORM % 30}"}
systems = {name: load_system("ann_mwf", overrides=[MWF]) for name, MWF in ARMS.items()}

# %%
# The same network, loss and number of steps for each.

STEPS = int(os.environ.get("GALLERY_STEPS", "300"))
OUTPUTS = {"MWF": {"low": 0, "high": 30, "unit": "%"}}


def trained(system):
    torch.manual_seed(0)
    net = Perceptron(inputs={"features": 8, "log_snr": 1}, outputs=OUTPUTS, widths=(64, 64))
    loss = QuantityError(outputs=OUTPUTS)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _, batch in zip(range(STEPS), Stream(system, batch_size=512, device="cpu")):
        optimiser.zero_grad()
        loss(net(batch.inputs), batch)["MWF"].mean().backward()
        optimiser.step()
    return net


nets = {name: trained(system) for name, system in systems.items()}

# %%
# Both are tested on the same samples of a split of its own, up to 30 %.

test = Stream(systems["trained to 30 %"], split="test", device="cpu").sample(range(4000))
truth = 100 * test.targets["MWF"].numpy()
edges = np.arange(0, 31, 3)
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, net in nets.items():
    with torch.no_grad():
        error = 100 * net(test.inputs)["MWF"].numpy() - truth
    groups = [error[(truth >= low) & (truth < low + 3)] for low in edges[:-1]]
    axis.plot(edges[:-1] + 1.5, [np.sqrt(np.mean(group**2)) for group in groups], "o-", label=name)
axis.axvspan(0, 10, color="0.93", zorder=0)
axis.set(xlabel="true myelin water fraction (%)", ylabel="RMSE (%)", ylim=(0, None))
axis.legend()

# %%
# Where the narrow arm was trained it is the better one; beyond, it has never seen what it is asked.
# A study with several seeds, intervals and tests of significance is one YAML file:
# see :doc:`/guides/shift`.
