"""The hand-over on a CUDA device."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.__main__ import main
from ipads_stream.config import conf_dir
from ipads_stream.core.sample import Sample

SYSTEMS = sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))


@pytest.fixture
def stream():
    return Stream(load_system("dlnmr"), batch_size=64, device="cuda", threads=2, depth=4)


@pytest.mark.gpu
def test_samples_equal_those_of_the_cpu_to_tolerance(stream):
    cpu = Stream(load_system("dlnmr"), batch_size=64, device="cpu").sample(range(64))
    gpu = stream.sample(range(64))
    assert torch.equal(cpu.inputs["mask"], gpu.inputs["mask"].cpu())
    for name, values in cpu.params.items():
        assert np.array_equal(values, gpu.params[name])
    difference = (cpu.targets["spectrum"] - gpu.targets["spectrum"].cpu()).abs().max()
    assert difference < 1e-4


@pytest.mark.slow
@pytest.mark.gpu
def test_kept_batches_are_not_overwritten(stream):
    batches = iter(stream)
    kept = [next(batches) for _ in range(4)]
    copies = [batch.targets["spectrum"].clone() for batch in kept]
    for _ in range(200):
        next(batches).targets["spectrum"].mul_(0)  # a consumer that writes
    batches.close()
    for batch, copy in zip(kept, copies, strict=True):
        assert torch.equal(batch.targets["spectrum"], copy)


@pytest.mark.gpu
def test_tensors_belong_to_torch_and_are_ready(stream):
    before = torch.cuda.memory_allocated()
    batch = next(iter(stream))
    assert batch.inputs["fid"].device.type == "cuda"
    assert torch.cuda.memory_allocated() > before
    again = stream.sample(batch.provenance.indices.tolist())
    assert torch.equal(batch.inputs["fid"], again.inputs["fid"])


@pytest.mark.gpu
def test_graphs_deliver_what_single_launches_do(stream):
    graphed = Stream(stream.system, batch_size=64, device="cuda", threads=2, graphs=True)
    for step, batch in zip(range(12), graphed, strict=False):
        alone = stream.batch(step)
        for name in ("fid", "mask"):
            assert torch.equal(batch.inputs[name], alone.inputs[name])
        assert torch.equal(batch.targets["spectrum"], alone.targets["spectrum"])
        batch.inputs["fid"].mul_(0)  # a consumer that writes


# What follows has its counterpart on the emulated GPU (tests/emulated_gpu) and asks a real one.


@dataclasses.dataclass(frozen=True)
class Hungry:
    """A system whose batch does not fit, or whose kernel writes where there is nothing."""

    name = "hungry"
    what: str

    def draw(self, keys, progress):
        return {"x": np.zeros(len(keys.indices))}

    def render(self, params, keys, xp):
        if self.what == "address":
            text = 'extern "C" __global__ void wrong(float* x) { *(float*)8 = *x; }'
            wrong = xp.RawModule(code=text).get_function("wrong")
            wrong((1,), (1,), (xp.zeros(1, dtype=xp.float32),))
        width = 4 if self.what == "address" else 1 << 44
        signal = xp.zeros((len(keys.indices), width), dtype=xp.float32)
        return Sample({"signal": signal}, {"signal": signal}, params)


@pytest.mark.gpu(emulated=False)
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_renders_the_samples_of_the_cpu(name):
    system = load_system(name)
    host, device = (Stream(system, batch_size=8, device=x).batch(0) for x in ("cpu", "cuda"))
    for group in ("inputs", "targets"):
        for key, expected in getattr(host, group).items():
            found = getattr(device, group)[key].cpu()
            if expected.dtype == torch.bool:
                assert (found != expected).double().mean() <= 1e-3, key
            else:
                assert (found - expected).abs().max() <= 1e-3 * expected.abs().max(), key


@pytest.mark.gpu(emulated=False)
@pytest.mark.parametrize("name", SYSTEMS)
def test_memory_does_not_grow(name):
    reserved = []
    for _ in range(2):  # new iterators have new threads, but the same streams of the device
        taken = iter(Stream(load_system(name), batch_size=64, device="cuda", threads=2))
        for _ in range(16):
            next(taken)
        taken.close()
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[1] <= 1.05 * reserved[0]


@pytest.mark.gpu(emulated=False)
def test_a_batch_that_does_not_fit_is_said_to_be_so_and_harms_no_other():
    with pytest.raises((MemoryError, torch.OutOfMemoryError)):
        Stream(Hungry("memory"), batch_size=2, device="cuda", threads=0).batch(0)
    test_samples_equal_those_of_the_cpu_to_tolerance(
        Stream(load_system("dlnmr"), batch_size=64, device="cuda")
    )


@pytest.mark.gpu(emulated=False)
def test_a_wrong_address_is_said_to_be_one():
    """In a process of its own: the device does no more work in one where that happened."""
    text = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_cuda import Hungry;"
        "from ipads_stream import Stream;"
        "Stream(Hungry('address'), batch_size=2, device='cuda', threads=0).batch(0)"
    )
    line = [sys.executable, "-c", text, str(Path(__file__).parent)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "illegal" in done.stderr.lower() and "sample 0" not in done.stderr


@pytest.mark.gpu(emulated=False)
def test_training_goes_on_and_is_evaluated(tmp_path):
    words = ["logger=none", "trainer.bar=false", "trainer.val_every=0", "trainer.max_time=null",
             "device=cuda", "system.points=32", "stream.batch_size=8"]  # fmt: skip
    run, resumed = tmp_path / "run", tmp_path / "run" / "run.ckpt"
    assert main(["train", *words, "trainer.max_steps=10", f"output={run}"]) == 0
    assert main(["train", f"resume={resumed}", "trainer.max_steps=20"]) == 0
    evaluated = [f"checkpoint={resumed}", "samples=8", "device=cuda", f"output={tmp_path / 'out'}"]
    assert main(["evaluate", *evaluated]) == 0
    frozen = ["system=dlnmr", "num_samples=64", "device=cuda", f"path={tmp_path / 'set'}"]
    assert main(["freeze", *frozen]) == 0


@pytest.mark.gpu(emulated=False)
def test_two_ranks_share_a_batch(tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device")
    words = ["logger=none", "trainer.bar=false", "trainer.val_every=0", "trainer.max_time=null",
             "device=cuda", "trainer.devices=2", "trainer.max_steps=5",
             "system.points=32"]  # fmt: skip
    line = [sys.executable, "-m", "ipads_stream", "train", *words, f"output={tmp_path / 'run'}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
