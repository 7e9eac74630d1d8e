"""The hand-over on a CUDA device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system

pytestmark = pytest.mark.gpu


@pytest.fixture
def stream():
    return Stream(load_system("dlnmr"), batch_size=64, device="cuda", threads=2, depth=4)


def test_samples_equal_those_of_the_cpu_to_tolerance(stream):
    cpu = Stream(load_system("dlnmr"), batch_size=64, device="cpu").sample(range(64))
    gpu = stream.sample(range(64))
    assert torch.equal(cpu.inputs["mask"], gpu.inputs["mask"].cpu())
    for name, values in cpu.params.items():
        assert np.array_equal(values, gpu.params[name])
    difference = (cpu.targets["spectrum"] - gpu.targets["spectrum"].cpu()).abs().max()
    assert difference < 1e-4


def test_kept_batches_are_not_overwritten(stream):
    batches = iter(stream)
    kept = [next(batches) for _ in range(4)]
    copies = [batch.targets["spectrum"].clone() for batch in kept]
    for _ in range(1000):
        next(batches).targets["spectrum"].mul_(0)  # a consumer that writes
    batches.close()
    for batch, copy in zip(kept, copies, strict=True):
        assert torch.equal(batch.targets["spectrum"], copy)


def test_tensors_belong_to_torch_and_are_ready(stream):
    before = torch.cuda.memory_allocated()
    batch = next(iter(stream))
    assert batch.inputs["fid"].device.type == "cuda"
    assert torch.cuda.memory_allocated() > before
    again = stream.sample(batch.provenance.indices.tolist())
    assert torch.equal(batch.inputs["fid"], again.inputs["fid"])
