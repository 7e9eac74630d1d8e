"""The stand-in refuses, counts and orders as CuPy and torch do on a device."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from emulated.order import RaceError


@pytest.fixture
def cupy(gpu):
    import cupy

    return cupy


def test_arrays_of_the_host_are_no_arrays_of_the_device(cupy):
    x, host = cupy.ones(3), np.ones(3)
    for mixing in (
        lambda: x + host,
        lambda: host + x,
        lambda: cupy.add(x, host),
        lambda: cupy.where(x > 0, host, x),
        lambda: cupy.sqrt(host),
        lambda: x[np.array([0])],
        lambda: cupy.stack([x, host]),
    ):
        with pytest.raises(TypeError):
            mixing()
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
    with pytest.raises(TypeError):
        x[:] = host
    assert isinstance(np.add(x, 1.0), cupy.ndarray)
    assert isinstance(np.float32(2) * x, cupy.ndarray)


def test_signatures_and_names_are_those_of_cupy(cupy):
    x = cupy.ones((2, 4))
    with pytest.raises(TypeError, match="where"):
        cupy.sum(x, where=x > 0)
    with pytest.raises(TypeError, match="where"):
        cupy.add(x, x, where=x > 0)
    with pytest.raises(TypeError, match="axes"):
        cupy.fft.fft(x, axes=1)
    with pytest.raises(AttributeError):
        _ = cupy.trapz_of_nothing
    with pytest.raises(AttributeError):
        _ = x.to_device
    with pytest.raises(TypeError, match="support"):
        cupy.floor(x.astype(complex))


def test_fresh_memory_is_not_zero(cupy):
    assert np.isnan(cupy.empty(3).get()).all()
    assert np.isnan(cupy.empty_like(cupy.ones(2, "complex64")).get()).all()
    assert (cupy.empty(3, np.int32).get() != 0).all()


def test_what_the_device_is_asked_for_is_counted_by_line(cupy, gpu):
    x = cupy.asarray(np.ones(3))
    with gpu.of() as counts:
        y = x * 2 + 1
        view = y.reshape(3, 1).T[:, 1:]
    assert (counts.launches.total(), counts.synchronisations.total()) == (2, 0)
    assert view.shape == (1, 2)
    with gpu.of() as counts:
        if y[0] > 0:
            y[y > 2].sum().item()
    assert counts.synchronisations.total() == 3  # truth, mask and item
    assert all("test_stand_in.py:" in place for place in counts.synchronisations)
    with gpu.of() as counts:
        cupy.asarray([1.0, 2.0]), cupy.asarray(3.0)
    assert counts.uploads.total() == 2
    again = {digest for _, digest in counts.contents}
    with gpu.of() as counts:
        cupy.asarray([1.0, 2.0])
    assert {digest for _, digest in counts.contents} < again


def test_streams_order_what_they_share(cupy):
    one, two = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    with one:
        x = cupy.ones(3)
    with two, pytest.raises(RaceError):
        x + 1
    two.wait_event(one.record())
    with two:
        y = x + 1
    two.synchronize()
    with one:
        assert (y + x).tolist() == [3, 3, 3]


def test_devices_are_not_mixed(cupy):
    x = cupy.ones(3)
    with cupy.cuda.Device(1):
        y = cupy.ones(3)
        assert y.device.id == 1
        with pytest.raises(ValueError, match="device"):
            x + y
    with pytest.raises(ValueError, match="InvalidDevice"):
        cupy.cuda.Device(7)


TEXT = """
typedef unsigned int word;
extern "C" __global__ void add(const REAL* x, long long n, word k, REAL* out) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = x[i] + k;
}
"""


def test_kernels_take_what_they_declare(cupy):
    add = cupy.RawModule(code=TEXT, options=("-DREAL=float",)).get_function("add")
    x = cupy.arange(4, dtype=cupy.float32)
    out = cupy.empty(4, cupy.float32)
    add((1,), (128,), (x, np.int64(4), np.uint32(2), out))
    assert out.tolist() == [2, 3, 4, 5]
    right = [x, np.int64(4), np.uint32(2), out]
    for place, wrong in (
        (0, x.astype(cupy.float64)),
        (0, cupy.arange(8, dtype=cupy.float32)[::2]),
        (0, x.get()),
        (1, np.int32(4)),
        (1, 4),
        (3, x.get()),
    ):
        with pytest.raises(TypeError, match="add"):
            add((1,), (128,), (*right[:place], wrong, *right[place + 1 :]))
    with pytest.raises(TypeError, match="arguments"):
        add((1,), (128,), (x, np.int64(4)))


def test_tensors_of_the_device_are_told_from_those_of_the_host(gpu):
    x = torch.ones(3, device="cuda")
    assert x.is_cuda and x.device == torch.device("cuda", 0)
    assert (x * 2)[1:].is_cuda and not x.cpu().is_cuda
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.ones(3)
    with pytest.raises(TypeError, match="numpy"):
        x.numpy()
    assert (x + torch.tensor(1.0)).is_cuda  # a number
    with pytest.raises(RuntimeError, match="ordinal"):
        torch.ones(1, device="cuda:5")
    net = torch.nn.Linear(3, 2).to("cuda")
    loss = net(x).sum()
    loss.backward()
    assert net.weight.is_cuda and net.weight.grad.is_cuda
    with gpu.of() as counts:
        float(loss.detach())
    assert counts.synchronisations.total() == 1


def test_memory_is_shared_in_stream_order(gpu):
    import cupy

    array = cupy.ones(3)
    tensor = torch.from_dlpack(array)
    tensor += 1
    torch.cuda.synchronize()
    assert array.tolist() == [2, 2, 2]
    assert cupy.from_dlpack(tensor).tolist() == [2, 2, 2]
    with pytest.raises(AssertionError, match="not torch's"):
        tensor.record_stream(torch.cuda.current_stream())
    tensor = torch.ones(3, device="cuda")
    with torch.cuda.stream(torch.cuda.Stream()), pytest.raises(RaceError):
        tensor + 1


def test_threads_have_streams_and_devices_of_their_own(gpu):
    import cupy

    seen = []

    def work():
        with torch.cuda.device(1), cupy.cuda.Device(1):
            seen.append((torch.ones(2, device="cuda").device.index, cupy.ones(2).device.id))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(1, 1)]
    assert cupy.ones(2).device.id == 0


def test_streams_of_torch_follow_the_protocol_by_which_cupy_takes_them():
    assert hasattr(torch.cuda.Stream, "__cuda_stream__")  # from PyTorch 2.11 on


def test_without_it_nothing_is_left():
    import sys

    import torch

    assert "cupy" not in sys.modules
    assert not torch.ones(2).is_cuda


def test_an_element_wise_chain_is_one_launch_and_nothing_else(cupy, gpu):
    x = cupy.asarray(np.linspace(-1, 2, 6, dtype=np.float32))

    def ran(chain, *given):
        return cupy.fuse(kernel_name="chain")(chain)(*given)

    with gpu.of() as counts:
        y, z = ran(lambda x, a: (cupy.where(x > 0, x * a, 0), cupy.exp(1j * x)), x, 3.0)
    assert (counts.launches.total(), y.dtype, z.dtype) == (1, np.float32, np.complex64)
    assert y.get().tolist() == np.where(x.get() > 0, x.get() * 3, 0).tolist()
    for chain in (
        lambda x: x[::2] + 1,
        lambda x: cupy.sum(x),
        lambda x: x.reshape(2, 3) + 1,
        lambda x: x if x[0] > 0 else -x,
        lambda x: x + cupy.asarray([1.0]),
    ):
        with pytest.raises(TypeError, match="no element-wise chain"):
            ran(chain, x)
    with pytest.raises(TypeError, match="of one precision"):
        ran(lambda x, a, b: x * (a + b), x, 1.0, 2.0)
    with pytest.raises(TypeError, match="arrays of CuPy and floats"):
        ran(lambda x, y: x + y, x, np.ones(6))


def test_chains_of_one_thread_leave_another_alone(cupy, gpu):
    x = cupy.asarray(np.ones(3))
    inside, done = threading.Event(), threading.Event()

    def chain(x):
        inside.set()
        assert done.wait(10)
        return x + 1

    with gpu.of() as counts:
        thread = threading.Thread(target=cupy.fuse(kernel_name="chain")(chain), args=(x,))
        thread.start()
        assert inside.wait(10)
        cupy.sum(x).item()
        done.set()
        thread.join()
    assert (counts.launches.total(), counts.synchronisations.total()) == (2, 1)
