"""
A first stream
==============

A published system, an endless stream of its samples, and what makes the stream reproducible.
"""

# %%
# A system is what is simulated. Overrides are keys of its YAML file.

import matplotlib.pyplot as plt
import numpy as np

from ipads_stream import Stream, load_system

system = load_system("dlnmr", overrides=["rate=0.25", "points=128"])
stream = Stream(system, seed=0, split="train", batch_size=16, device="cpu")
batch = next(iter(stream))
for name, values in (batch.inputs | batch.targets).items():
    print(f"{name:10s} {values.dtype} {tuple(values.shape)}")

# %%
# The network sees an undersampled signal and its mask; it should give the spectrum of the whole.

fid, mask = batch.inputs["fid"][0].numpy(), batch.inputs["mask"][0].numpy()
spectrum = batch.targets["spectrum"][0].numpy()

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
left.plot(fid.real, color="0.8", zorder=0)
left.plot(np.flatnonzero(mask), fid.real[mask], ".", label="measured")
left.set(xlabel="point of the indirect dimension", ylabel="real part", title="input")
left.legend()
right.plot(spectrum.real)
right.set(xlabel="frequency bin", ylabel="real part", title="target")

# %%
# Sample *n* depends on the configuration, the seed, the split and *n* alone. Any sample can be
# asked for, in any order, in any company.

alone = stream.sample([777])
among = stream.sample([5, 777, 10**12])
same = np.array_equal(alone.inputs["fid"][0].numpy(), among.inputs["fid"][1].numpy())
print("sample 777 is the same alone and among others:", same)

# %%
# The physics behind each sample is at hand, in SI units, and so is all that is needed to make it
# again.

print({name: np.shape(values) for name, values in batch.params.items()})
print(batch.provenance.record(0))

# %%
# Each parameter has a random stream of its own. Another decay changes the decays alone: the
# amplitudes and frequencies of sample 777 stay.

faster = Stream(
    load_system("dlnmr", overrides=["rate=0.25", "points=128", "decay.high=60"]), device="cpu"
)
before, after = (s.sample([777]).params for s in (stream, faster))
for name in before:
    print(f"{name:12s}", "the same" if np.array_equal(before[name], after[name]) else "changed")

# %%
# The state of a stream is the number of batches delivered. Another one goes on from there exactly.

state = stream.state_dict()
second = Stream(system, seed=0, split="train", batch_size=16, device="cpu")
second.load_state_dict(state)
following, expected = next(iter(second)), stream.sample(range(16, 32))
print("goes on exactly:", bool((following.inputs["fid"] == expected.inputs["fid"]).all()))
