"""Lanes that the CPU runs in turn: what they exchange, and what fails without a barrier."""

from __future__ import annotations

import os

import numpy as np
import pytest
from harness import host_kernel

TEXT = """
#define ALL 0xFFFFFFFFu
extern "C" __global__ void shuffled(const float* x, float* out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    out[4 * i] = __shfl_sync(ALL, x[i], 3, 8);
    out[4 * i + 1] = __shfl_up_sync(ALL, x[i], 1, 8);
    out[4 * i + 2] = __shfl_down_sync(ALL, x[i], 2, 32);
    out[4 * i + 3] = __shfl_xor_sync(ALL, x[i], 5);
}
extern "C" __global__ void turned(const float* x, float* out) {
    __shared__ float shared[64];
    unsigned i = threadIdx.x, base = blockIdx.x * blockDim.x;
    for (int n = 0; n < 3; ++n) {
        shared[i] = x[base + i] + n;
        if (BARRIER) __syncwarp();
        out[base + i] = shared[31 - i];
        if (BARRIER) __syncwarp();
    }
}
extern "C" __global__ void voted(const float* x, unsigned* out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = __ballot_sync(ALL, x[i] > 0);
}
extern "C" __global__ void parted(float* out) {
    if (threadIdx.x < 7) return;
    __syncwarp();
    out[threadIdx.x] = 1;
}
"""


def _kernel(tmp_path, name, barrier=1):
    text = tmp_path / f"{name}_{barrier}.cu"
    text.write_text(f"#define BARRIER {barrier}\n{TEXT}")
    return host_kernel(text, name)


@pytest.fixture
def numbers():
    return np.random.default_rng(0).normal(size=64).astype(np.float32)


def test_lanes_get_what_others_have(tmp_path, numbers):
    out = np.zeros((64, 4), np.float32)
    _kernel(tmp_path, "shuffled")(64, numbers, out)
    lane = np.arange(64)
    assert np.array_equal(out[:, 0], numbers[lane // 8 * 8 + 3])
    assert np.array_equal(out[:, 1], numbers[np.where(lane % 8, lane - 1, lane)])
    assert np.array_equal(out[:, 2], numbers[np.where(lane % 32 < 30, lane + 2, lane)])
    assert np.array_equal(out[:, 3], numbers[lane ^ 5])


def test_votes_are_bits_of_the_lanes(tmp_path, numbers):
    out = np.zeros(64, np.uint32)
    _kernel(tmp_path, "voted")(64, numbers, out)
    bits = np.packbits((numbers > 0).reshape(2, 4, 8), axis=-1, bitorder="little")
    assert np.array_equal(out, np.repeat(bits.reshape(2, 4).view(np.uint32)[:, 0], 32))


def test_a_missing_barrier_shows(tmp_path, numbers):
    wanted = numbers.reshape(2, 32)[:, ::-1].ravel() + 2
    for barrier in (1, 0):
        out = np.zeros(64, np.float32)
        _kernel(tmp_path, "turned", barrier)(64, numbers, out)
        assert np.array_equal(out, wanted) == bool(barrier)


def test_lanes_that_part_stop_the_run(tmp_path):
    kernel = _kernel(tmp_path, "parted")
    child = os.fork()
    if child == 0:
        kernel(32, np.zeros(32, np.float32))
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
