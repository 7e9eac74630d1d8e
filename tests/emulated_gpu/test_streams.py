"""What a stream does with batches of a device: threads, policies, mixing, shares, states, files."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import torch

from ipads_stream import ConfigError, Frozen, Stream, freeze, load_system, replay
from ipads_stream.core import backend
from ipads_stream.core.handover import working_device
from ipads_stream.core.random import normal, uniform
from ipads_stream.core.sample import Sample
from ipads_stream.stream.failure import SimulationError
from ipads_stream.stream.mixing import Mixed, Shuffled
from ipads_stream.stream.replay import digest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy:
    """Noise on a level, some of it not a number."""

    name = "toy"
    nan_at: tuple[int, ...] = ()

    def draw(self, keys, progress):
        return {"level": uniform(keys["level"])}

    def render(self, params, keys, xp):
        level = xp.asarray(params["level"].astype(np.float32))
        bad = np.isin(keys.indices, self.nan_at) & (keys.split == "train")
        signal = normal(keys["noise"], (8,), xp) + level[:, None]
        signal = xp.where(xp.asarray(bad)[:, None], xp.nan * signal, signal)
        return Sample({"signal": signal}, {"level": level}, params)


def stream_of(system, device="cuda", **options):
    return Stream(system, device=device, **{"batch_size": 4, "threads": 0, **options})


def taken(stream, count):
    batches = iter(stream)
    try:
        return [next(batches) for _ in range(count)]
    finally:
        batches.close()


def same(batch, other):
    for group in ("inputs", "targets"):
        for name, tensor in getattr(batch, group).items():
            torch.testing.assert_close(tensor.cpu(), getattr(other, group)[name].cpu())
    assert torch.equal(batch.weight.cpu(), other.weight.cpu())
    assert np.array_equal(batch.provenance.substituted, other.provenance.substituted)
    for name, array in batch.params.items():
        assert np.array_equal(array, other.params[name])


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("repeat", [1, 3])
def test_batches_are_those_of_the_cpu(gpu, threads, repeat):
    options = {"threads": threads, "repeat": repeat}
    for batch, host in zip(taken(stream_of(Toy(), **options), 7),
                           taken(stream_of(Toy(), "cpu", **options), 7), strict=True):  # fmt: skip
        same(batch, host)
        assert batch.inputs["signal"].is_cuda and batch.weight.is_cuda


@pytest.mark.parametrize("policy", ["mask", "substitute"])
def test_what_is_not_a_number_is_kept_from_training(gpu, policy):
    system = Toy(nan_at=(1, 6))
    options = {"on_nonfinite": policy}
    stream = stream_of(system, **options)
    for batch, host in zip(taken(stream, 3), taken(stream_of(system, "cpu", **options), 3),
                           strict=True):  # fmt: skip
        same(batch, host)
        assert torch.isfinite(batch.inputs["signal"]).all()
    assert stream.num_failures == 2
    with pytest.raises(SimulationError, match="sample 1: non-finite"):
        stream_of(system).batch(0)
    assert torch.isnan(stream.sample([1], raw=True).inputs["signal"]).any()


def failing(monkeypatch, failure):
    """Makes rendering fail; gives the sizes of the batches that were tried."""
    rendered = []

    def render(self, params, keys, xp):
        rendered.append(len(keys.indices))
        raise failure

    monkeypatch.setattr(Toy, "render", render)
    return rendered


def test_failures_of_the_device_are_raised_as_what_they_are(gpu, monkeypatch):
    import cupy

    for failure in (
        MemoryError("no room"),
        cupy.cuda.memory.OutOfMemoryError("no room"),
        cupy.cuda.runtime.CUDARuntimeError(700, "cudaErrorIllegalAddress"),
        torch.OutOfMemoryError("no room"),
    ):
        rendered = failing(monkeypatch, failure)
        with pytest.raises(type(failure)) as caught:
            stream_of(Toy()).batch(0)
        assert caught.value is failure
        assert rendered == [4]  # once, and no sample by itself
    failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(SimulationError, match="sample 0: ZeroDivisionError"):
        stream_of(Toy()).batch(0)


def test_streams_of_the_device_are_used_again(gpu):
    from emulated.torch_side import CREATED

    before = len(CREATED)
    for _ in range(3):
        stream = stream_of(Toy(), threads=2)
        taken(stream, 4)
        stream.batch(0)
        stream.sample([3])
    assert len(CREATED) - before <= 2


def test_memory_comes_from_torch(gpu, monkeypatch):
    from ipads_stream.core import handover
    from ipads_stream.stream import device

    sizes = []

    def allocate(size):
        sizes.append(size)
        return handover.allocate(size)

    monkeypatch.setattr(device, "allocate", allocate)
    stream_of(Toy()).batch(0)
    assert sizes.count(4 * 8 * 4) >= 1  # the noise


def test_a_constant_is_moved_once_for_all_threads_and_freed_with_its_owner(gpu):
    import cupy

    constant = np.arange(3.0)
    seen = []

    def read(constant=constant):
        with cupy.cuda.Stream(non_blocking=True):
            seen.append(float(backend.kept(constant, cupy).sum()))

    with gpu.of() as counts:
        for _ in range(3):
            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
    assert seen == [3, 3, 3]
    assert counts.uploads.total() == 1
    assert backend.kept(constant, np) is constant
    number = len(backend._kept)
    del constant, read, thread
    assert len(backend._kept) == number - 1


def test_kernels_are_read_and_compiled_once(gpu, monkeypatch):
    from pathlib import Path

    stream = stream_of(load_system("dlnmr", ["points=32"]))
    stream.batch(0)
    monkeypatch.setattr(Path, "read_text", lambda *_: pytest.fail("a CUDA text is read again"))
    stream.batch(1)


def test_devices_by_number(gpu):
    stream = stream_of(Toy(), "cuda:1")
    batch = stream.batch(0)
    assert batch.inputs["signal"].device == torch.device("cuda", 1)
    same(batch, stream_of(Toy(), "cpu").batch(0))
    with torch.cuda.device(1):  # as of the rank of a process
        assert stream_of(Toy()).batch(0).inputs["signal"].device.index == 1
    with pytest.raises(ConfigError, match="cuda:0 to cuda:1 here"):
        stream_of(Toy(), "cuda:2")
    for wrong in ("cuda:", "cuda:x", "gpu", 3):
        with pytest.raises(ConfigError, match="as in cuda:1"):
            stream_of(Toy(), wrong)


def test_one_library_without_the_other_says_so(gpu, monkeypatch):
    import cupy

    assert working_device() == "cuda"
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.warns(UserWarning, match="CuPy finds a GPU, torch is a CPU build"):
            assert working_device() == "cpu"
        with pytest.raises(ConfigError, match="device='cuda': cpu here"):
            working_device("cuda")
    monkeypatch.setattr(cupy.cuda, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="torch finds a GPU, CuPy, which pip install"):
        assert working_device() == "cpu"
    with pytest.raises(ConfigError, match="CuPy finds no GPU"):
        working_device("cuda")


ADAPTIVE = (
    "rate={_target_: ipads_stream.distributions.Adaptive, edges: [0.3], distribution:"
    " {_target_: ipads_stream.distributions.Uniform, low: 0.15, high: 0.5}}"
)


def adaptive():
    return load_system("dlnmr", ["points=16", ADAPTIVE])


def test_shares_follow_errors_and_resume_on_any_rank(gpu):
    def fed(stream, count):
        batches = iter(stream)
        for _ in range(count):
            batch = next(batches)
            stream.feed_back(batch, batch.targets["spectrum"].abs().mean(1))
        batches.close()
        return stream

    options = {"adapt_every": 6, "depth": 2}
    whole = fed(stream_of(adaptive(), **options), 18)
    host = fed(stream_of(adaptive(), "cpu", **options), 18)
    assert [first for first, _ in whole.table.history] == [first for first, _ in host.table.history]
    part = fed(stream_of(adaptive(), **options), 8)  # some errors are pending
    state = part.state_dict()
    with torch.cuda.device(0):
        again = stream_of(adaptive(), **options)
        again.load_state_dict(state)
    assert again.table._pending is not None and not again.table._pending.is_cuda
    with torch.cuda.device(1):
        fed(again, 10)
    for (_, shares), (_, expected) in zip(again.table.history, whole.table.history, strict=True):
        for name in shares:
            np.testing.assert_allclose(shares[name], expected[name], rtol=1e-5)
    frozen = whole.frozen_system()
    same(stream_of(frozen).batch(0), stream_of(frozen, "cpu").batch(0))


@pytest.mark.parametrize("fmt", ["npy", "hdf5"])
def test_frozen_sets_are_those_of_the_device(gpu, tmp_path, fmt):
    live = stream_of(Toy(nan_at=(2,)), on_nonfinite="substitute")
    frozen = Frozen(freeze(live, tmp_path / "set", 8, fmt=fmt)).stream(batch_size=4, device="cuda")
    for step in range(2):
        same(frozen.batch(step), live.batch(step))


def test_logged_samples_are_built_again(gpu):
    stream = stream_of(Toy(nan_at=(2,)), on_nonfinite="mask")
    batch = stream.batch(0)
    for row in range(4):
        record = batch.provenance.record(row) | {"digest": digest(batch, row)}
        replay(Toy(nan_at=(2,)), record)


def test_mixed_batches_are_those_of_the_cpu(gpu):
    mixed = Mixed(synthetic=Toy(), real=Shuffled(Toy(), num_samples=4), count=1, batch_size=4)
    for step in range(2):
        same(stream_of(mixed).batch(step), stream_of(mixed, "cpu").batch(step))
