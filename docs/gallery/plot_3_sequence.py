"""
Simulate a sequence
===================

An echo-planar image of a disc, with and without an error of the main field, and a phase graph of a
train of spin echoes.
"""

# %%
# A phantom is maps: an amplitude, relaxation times, and what the scanner does there. Each voxel is
# filled with isochromats, so that dephasing within it is simulated, too.

import matplotlib.pyplot as plt
import numpy as np

from ipads_stream.physics import bloch, epg
from ipads_stream.physics.bloch.phantom import from_maps
from ipads_stream.sequences.epi import epi

FOV, SIZE = 0.22, 64
x = np.linspace(-1, 1, SIZE, dtype=np.float32)
radius = np.hypot(x[:, None], x)
disc = np.where(radius < 0.7, 1.0, 0.0).astype(np.float32)
bump = (60 * np.exp(-(((x[:, None] - 0.3) ** 2 + x**2) / 0.05))).astype(np.float32)  # Hz

# %%
# A ready sequence; ``sequences.read_pulseq("mine.seq")`` reads one of your own.

sequence = epi(fov=FOV, matrix=SIZE, TE=0.03)


def image(**maps):
    phantom = from_maps(disc, (FOV / SIZE, FOV / SIZE), isochromats=(3, 3), T1=1.0, T2=0.08, **maps)
    lines = bloch.signal(sequence, phantom).reshape(SIZE, SIZE)
    lines[1::2] = lines[1::2, ::-1]  # every other line runs backwards
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(lines), norm="ortho"))


figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
extent = [-500 * FOV, 500 * FOV] * 2
shown = {
    "field error (Hz)": bump.T,
    "image without it": abs(image()),
    "image with it": abs(image(df=bump)),
}
for axis, (title, values) in zip(axes, shown.items()):
    drawn = axis.imshow(values, origin="lower", extent=extent, cmap="gray")
    axis.set(title=title, xlabel="x (mm)", ylabel="y (mm)")
    figure.colorbar(drawn, ax=axis, shrink=0.8)

# %%
# Extended phase graphs need no voxels: a train of 32 spin echoes, where B1 is as asked and where it
# is 30 % too low. Arrays of parameters are batches.

B1 = np.array([1.0, 0.7], dtype=np.float32)
echoes = epg.cpmg(ESP=0.01, num_echoes=32, T1=1.0, T2=0.08, B1=B1)
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for value, train in zip(B1, np.abs(echoes)):
    axis.plot(10 * np.arange(1, 33), train, ".-", label=f"B1 = {value:.1f}")
axis.set(xlabel="time (ms)", ylabel="echo")
axis.legend()
