"""The CUDA text computes what independent formulas say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel
from philox_formula import philox4x32

import ipads_stream
from ipads_stream.core import random
from ipads_stream.physics.spectroscopy import exponentials
from ipads_stream.physics.spectroscopy.exponentials import damped_exponentials

PACKAGE = Path(ipads_stream.__file__).parent
PHILOX = PACKAGE / "core/philox.cu"
EXPONENTIALS = PACKAGE / "physics/spectroscopy/kernels/exponentials.cu"


def _samples(num, seed=0):
    return np.random.default_rng(seed).integers(0, 2**63, num).astype(np.uint64)


@pytest.mark.parametrize("count", [1, 6, 64])
def test_words_are_bitwise_those_of_numba_and_of_the_formula(count):
    key = random.Key((0x01234567, 0xFFFFFFFE), _samples(50))
    out = np.zeros((50, count), np.uint32)
    blocks = -(-count // 4)
    host_kernel(PHILOX, "words")(
        50 * blocks + 3,
        key.indices,
        np.uint64(50),
        np.uint64(count),
        *map(np.uint32, key.words),
        out,
    )
    assert np.array_equal(out, random.words(key, count))
    counter = np.zeros((50, blocks, 4), np.uint64)
    counter[..., 0] = (key.indices % 2**32)[:, None]
    counter[..., 1] = (key.indices // 2**32)[:, None]
    counter[..., 2] = np.arange(blocks)
    formula = philox4x32(counter, key.words).reshape(50, -1)[:, :count]
    assert np.array_equal(out, formula)


def test_normals_follow_the_float64_formula():
    key = random.Key((5, 6), _samples(2000))
    out = np.zeros((2000, 18), np.float32)
    host_kernel(PHILOX, "normals")(
        2000 * 5, key.indices, np.uint64(2000), np.uint64(18), *map(np.uint32, key.words), out
    )
    u = (random.words(key, 18) + 0.5) * 2.0**-32
    z = np.sqrt(-2 * np.log(u[:, ::2])) * np.exp(2j * np.pi * u[:, 1::2])
    assert np.abs(out.view(np.complex64) - z).max() < 1e-6
    assert np.abs(out - random.normal(key, (18,))).max() < 2e-6


def _peaks(num, peaks):
    rng = np.random.default_rng(1)
    low, high = [0.05, -1500.0, -3.0, 0.01], [1.0, 1500.0, 3.0, 0.2]
    columns = [rng.uniform(a, b, (num, peaks)) for a, b in zip(low, high, strict=True)]
    columns[0][:, -1] = 0
    return columns


@pytest.mark.parametrize(("points", "lanes"), [(1, 1), (128, 4), (256, 8), (1000, 32), (8192, 32)])
def test_exponentials_follow_the_direct_sum(tmp_path, points, lanes):
    columns, dwell = _peaks(5, 37), 1 / 4000
    out = np.zeros((5, points), np.complex64)
    assert exponentials.lanes_of(points) == lanes
    text = tmp_path / "exponentials.cu"
    text.write_text(f"#define LANES {lanes}\n{EXPONENTIALS.read_text()}")
    num_items = 5 * -(-points // (32 * lanes)) * lanes
    host_kernel(text, "damped_exponentials")(
        num_items, *columns, np.float64(dwell), *map(np.int64, (5, 37, points)), out
    )
    a, f, phi, tau = (x[..., None] for x in columns)
    t = np.arange(points) * dwell
    direct = (a * np.exp(1j * (phi + 2 * np.pi * f * t)) * np.exp(-t / tau)).sum(-2)
    assert np.abs(out - direct).max() < 2e-6 * np.abs(direct).max()


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu():
    import cupy

    key = random.Key((1, 2), _samples(300))
    for count in (1, 7, 64):
        assert np.array_equal(random.words(key, count, cupy).get(), random.words(key, count))
    assert np.array_equal(random.uniform(key, (5,), cupy).get(), random.uniform(key, (5,)))
    assert np.array_equal(
        random.integers(key, -3, 9, (5,), cupy).get(), random.integers(key, -3, 9, (5,))
    )
    assert np.array_equal(random.permutation(key, 20, cupy).get(), random.permutation(key, 20))
    assert np.abs(random.normal(key, (64,), cupy).get() - random.normal(key, (64,))).max() < 2e-6
    columns = [x.astype(np.float32) for x in _peaks(30, 6)]
    host = damped_exponentials(*columns, points=1000, dwell=2e-4)
    device = damped_exponentials(*map(cupy.asarray, columns), points=1000, dwell=2e-4)
    assert np.abs(device.get() - host).max() < 4e-6 * np.abs(host).max()


@pytest.mark.gpu
def test_a_cuda_tensor_reaches_the_kernel_in_place():
    import torch

    columns = [x.astype(np.float32) for x in _peaks(30, 6)]
    host = damped_exponentials(*columns, points=1000, dwell=2e-4)
    tensors = [torch.from_numpy(x).cuda() for x in columns]
    with torch.cuda.stream(torch.cuda.Stream()):
        signal = damped_exponentials(*tensors, points=1000, dwell=2e-4)
        back = signal.cpu().numpy()
    assert signal.is_cuda
    assert np.abs(back - host).max() < 4e-6 * np.abs(host).max()
