"""
Apply to measured data
======================

A network that has only ever seen simulated signals reconstructs a measured protein spectrum from
a quarter of its points, beside iterative soft thresholding. Where the measured file is neither at
hand nor can be downloaded, a simulated plane takes its place.
"""

# %%
# The plane: ubiquitin, one complex signal of the indirect dimension per point of the direct one.
# Files of NMRPipe, Bruker and Varian are read by ``read_plane``, too.

import os

import matplotlib.pyplot as plt
import numpy as np
import torch

from ipads_stream import Stream, load_system
from ipads_stream.acquisition.poisson_gap import poisson_gap
from ipads_stream.baselines.signals import iterative_soft_threshold
from ipads_stream.core.random import Keys
from ipads_stream.data.named import DataUnavailable, find
from ipads_stream.data.planes.plane import read_plane, rows_between, spectrum
from ipads_stream.data.planes.simulated import simulated_plane
from ipads_stream.losses.deep_supervision import DeepSupervision
from ipads_stream.nets.dlnmr import DLNMR
from ipads_stream.physics.spectroscopy.spectrum import fid as fid_of

try:
    plane = read_plane(find("ubiquitin", progress=False))
    rows = rows_between(plane, 5.6, 10.5)  # ppm, without the water
except DataUnavailable as reason:
    print(f"a simulated plane is shown: {reason}")
    plane, rows = simulated_plane(), slice(None)
print(plane.name, plane.fid.shape)

# %%
# Every fourth point is measured, at gaps that grow along the signal; the rest is hidden. What was
# left out is known, and so is the error.

points = plane.fid.shape[1]
keys = Keys(0, "schedule", np.zeros(1, np.uint64))
mask = poisson_gap(keys["mask"], points, np.array([points // 4]))[0]
measured = np.where(mask, plane.fid, 0)

# %%
# A small network learns on the stream of simulated signals. ``ipads-stream train trainer=demo``
# trains the published one, in 100 s; ``load_model`` makes a function of its checkpoint.

STEPS = int(os.environ.get("GALLERY_STEPS", "200"))
torch.manual_seed(0)
net, loss = DLNMR(phases=3), DeepSupervision()
optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
stream = Stream(load_system("dlnmr", overrides=[f"points={points}"]), batch_size=16, device="cpu")
for _, batch in zip(range(STEPS), stream):
    optimiser.zero_grad()
    sum(loss(net(batch.inputs), batch).values()).mean().backward()
    optimiser.step()
    decay.step()


def reconstruct(fid):
    rows = torch.from_numpy(fid.astype(np.complex64))
    with torch.no_grad():
        estimate = net({"fid": rows, "mask": torch.from_numpy(mask).expand(len(rows), -1)})
    return fid_of(estimate["spectrum"].numpy())


# %%
# Rows are reconstructed one by one, by the network and by the classical method.

estimates = {
    "zero-filled": measured,
    "soft thresholding": iterative_soft_threshold.reconstruct(measured, mask),
    "network": reconstruct(measured),
}
reference = spectrum(plane)[rows].real
for name, fid in estimates.items():
    error = np.linalg.norm(spectrum(plane, fid)[rows].real - reference) / np.linalg.norm(reference)
    print(f"{name:18s} relative error {error:.3f}")

# %%
# The spectra, as contours above 5 % of the tallest peak.

levels = reference.max() * 0.05 * 1.4 ** np.arange(9)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.6), layout="constrained", sharey=True)
shown = {"fully sampled": plane.fid, **estimates}
for axis, (name, fid) in zip(axes, shown.items()):
    axis.contour(spectrum(plane, fid)[rows].real.T, levels=levels, linewidths=0.6, colors="C0")
    axis.set(title=name, xlabel=f"{plane.direct.nucleus}, point", xticks=[])
axes[0].set_ylabel(f"{plane.indirect.nucleus}, point")
