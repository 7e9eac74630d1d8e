"""Every system on an emulated GPU: the samples of the CPU, and what a batch asks of the device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ipads_stream import Stream, load_system
from ipads_stream.config import conf_dir

SYSTEMS = sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))
VOLUME = ["shape=[12,10,8]"]
SMALL = {
    "deepspio": VOLUME,
    "oled": ["sequence.matrix=16"],
    "drone": ["schedule.num_frames=20"],
    "qsmnet": VOLUME,
    "qsmnet_unrolled": VOLUME,
}
BATCH = 3
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "gpu.md"
FAR = {"oled": 1e-4}  # more than the rounding of a single step: a course of pulses over a spin


def small(name):
    return load_system(name, SMALL.get(name, []))


def assert_same(device, host, tolerance=1e-5):
    """Inputs and targets, relative to the largest of each."""
    for group in ("inputs", "targets"):
        assert getattr(device, group).keys() == getattr(host, group).keys()
        for name, expected in getattr(host, group).items():
            tensor = getattr(device, group)[name]
            assert tensor.is_cuda, name
            assert (tensor.dtype, tensor.shape) == (expected.dtype, expected.shape), name
            found = tensor.cpu()
            if expected.dtype == torch.bool:
                assert torch.equal(found, expected), name
                continue
            size = max(float(expected.abs().max()), 1e-30)
            assert float((found - expected).abs().max()) <= tolerance * size, name


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_batch_is_that_of_the_cpu_and_asks_little(name, gpu):
    system = small(name)
    host = Stream(system, device="cpu", threads=0, batch_size=BATCH)
    stream = Stream(system, device="cuda", threads=0, batch_size=BATCH)
    assert_same(stream.batch(0), host.batch(0), FAR.get(name, 1e-5))
    with gpu.of() as before:
        stream.batch(1)
    with gpu.of() as counts:
        stream.batch(2)
    again = {place for place, _ in before.contents & counts.contents}
    assert not again, "what does not change is moved once"
    launches, synchronisations, uploads = bounds()[name]
    assert counts.launches.total() <= launches, counts.launches
    assert counts.synchronisations.total() <= synchronisations <= 2, counts.synchronisations
    assert counts.uploads.total() <= uploads, counts.uploads


def bounds():
    """Launches, synchronisations and uploads by system, as the guide has them."""
    lines = [line.strip("| ").split(" | ") for line in GUIDE.read_text().splitlines()]
    rows = [cells for cells in lines if len(cells) == 7 and cells[0] in SYSTEMS]
    return {name: (int(a), int(b), int(c)) for name, _, a, _, b, _, c in rows}


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_deliver_the_same(name, threads, gpu):
    system = small(name)
    one = Stream(system, device="cuda", threads=0, batch_size=2)
    stream = Stream(system, device="cuda", threads=threads, depth=3, batch_size=2, repeat=2)
    batches = iter(stream)
    for step in range(6):
        batch, alone = next(batches), one.batch(step // 2)
        for group in ("inputs", "targets"):
            for key, tensor in getattr(batch, group).items():
                assert torch.equal(tensor, getattr(alone, group)[key])
    batches.close()
