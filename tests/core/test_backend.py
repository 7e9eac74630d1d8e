"""The backend names what is missing and hands arrays over without a copy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from ipads_stream.core import backend, handover
from ipads_stream.core.errors import ConfigError


def test_kinds_of_array():
    array, tensor = np.zeros(2), torch.zeros(2)
    assert backend.is_numpy(array) and not backend.is_torch(array) and not backend.is_cupy(array)
    assert backend.is_torch(tensor) and not backend.is_numpy(tensor)
    assert backend.is_torch(torch.nn.Parameter(tensor))
    with pytest.raises(TypeError):
        backend.namespace(array, tensor)


def test_devices():
    assert backend.resolve_device("cpu") == "cpu"
    assert backend.device_namespace("cpu") is np
    assert backend.resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(ValueError, match="device='gpu': auto, cpu, cuda or the number"):
        backend.resolve_device("gpu")


def test_a_missing_cupy_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert backend.resolve_device("auto") == "cpu"
    with pytest.raises(ConfigError, match=r"pip install 'ipads_stream\[cuda13\]'"):
        backend.device_namespace("cuda")


def test_an_element_wise_chain_is_what_it_says_in_any_library():
    @backend.fused
    def damped(xp, x, rate):
        """As it decays."""
        return x * xp.exp(-rate * x), xp.abs(x)

    x = np.linspace(-1, 1, 5, dtype=np.float32)
    for found, expected in zip(damped(x, 2.0), (x * np.exp(-2.0 * x), abs(x)), strict=True):
        assert found.dtype == np.float32
        assert np.array_equal(found, expected)
    tensor = torch.from_numpy(x).requires_grad_()
    y, _ = damped(tensor, 2.0)
    y.sum().backward()
    assert tensor.grad is not None
    assert (damped.__name__, damped.__doc__) == ("damped", "As it decays.")


def test_memory_is_shared():
    array = np.zeros((2, 3), np.complex64)
    tensor = handover.to_torch(array)
    with handover.views(tensor, tensor.real) as (same, real):
        same[0, 0] = 7
        real[1, 1] = 5
    assert array[0, 0] == 7 and array[1, 1] == 5
    assert handover.to_torch(tensor) is tensor
    with pytest.raises(TypeError, match="got list"):
        handover.to_torch([1.0])


@pytest.mark.gpu
def test_cuda_memory_is_shared():
    tensor = torch.zeros(5, device="cuda")
    with handover.views(tensor) as (same,):
        same += 1
        back = handover.to_torch(same)
    assert tensor.sum().item() == 5
    assert back.data_ptr() == tensor.data_ptr()


def test_physics_and_random_numbers_load_neither_torch_nor_cupy():
    text = (
        "import sys, ipads_stream.core.random, ipads_stream.physics.spectroscopy.exponentials; "
        "sys.exit(bool({'torch', 'cupy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
