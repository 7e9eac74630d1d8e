"""The CUDA text compiles within its register budget and computes what independent formulas say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel, ptxas_log, resources

import ipads_stream
from ipads_stream.core import random
from ipads_stream.physics.exponentials import damped_exponentials

PACKAGE = Path(ipads_stream.__file__).parent
PHILOX = PACKAGE / "core" / "philox.cu"
EXPONENTIALS = PACKAGE / "physics" / "kernels" / "exponentials.cu"

# Registers allowed per kernel and precision: measured 19-21, 18-20, 63 and 80-108.
LIMITS = {
    (PHILOX, "float"): {"words": 24, "normals": 28},
    (EXPONENTIALS, "float"): {"damped_exponentials": 64},
    (EXPONENTIALS, "double"): {"damped_exponentials": 128},
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(("text", "real"), LIMITS, ids=lambda part: getattr(part, "stem", part))
def test_registers_and_no_spills(text, real, arch):
    found = resources(ptxas_log(text, arch, real))
    assert found.keys() == LIMITS[text, real].keys()
    for name, limit in LIMITS[text, real].items():
        assert found[name]["registers"] <= limit, name
        assert found[name]["spills"] == found[name]["stack"] == 0, name


def test_the_registers_of_every_text_are_checked():
    tests = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    for text in PACKAGE.rglob("*.cu"):
        checks = ("ptxas_log(", "check_resources(")
        assert any(
            f'"{text.name}"' in test and any(check in test for check in checks) for test in tests
        ), text


def _samples(num, seed=0):
    return np.random.default_rng(seed).integers(0, 2**63, num).astype(np.uint64)


@pytest.mark.parametrize("count", [1, 6, 64])
def test_words_are_bitwise_those_of_numba_and_of_the_formula(tmp_path, count):
    key = random.Key((0x01234567, 0xFFFFFFFE), _samples(50))
    out = np.zeros((50, count), np.uint32)
    blocks = -(-count // 4)
    host_kernel(PHILOX, "words", tmp_path)(
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
    formula = random.philox4x32(counter, key.words).reshape(50, -1)[:, :count]
    assert np.array_equal(out, formula)


def test_normals_follow_the_float64_formula(tmp_path):
    key = random.Key((5, 6), _samples(2000))
    out = np.zeros((2000, 18), np.float32)
    host_kernel(PHILOX, "normals", tmp_path)(
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


@pytest.mark.parametrize(
    ("real", "dtype", "bound"), [("float", "c8", 2e-6), ("double", "c16", 1e-11)]
)
@pytest.mark.parametrize("points", [1, 256, 1000, 8192])
def test_exponentials_follow_the_direct_sum(tmp_path, real, dtype, bound, points):
    columns, dwell = _peaks(4, 5), 1 / 4000
    out = np.zeros((4, points), dtype)
    num_items = 4 * -(-points // 256) * 32 + 7
    host_kernel(EXPONENTIALS, "damped_exponentials", tmp_path, real)(
        num_items, *columns, np.float64(dwell), *map(np.int64, (4, 5, points)), out
    )
    a, f, phi, tau = (x[..., None] for x in columns)
    t = np.arange(points) * dwell
    direct = (a * np.exp(1j * (phi + 2 * np.pi * f * t)) * np.exp(-t / tau)).sum(-2)
    assert np.abs(out - direct).max() < bound * np.abs(direct).max()


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
