"""The CUDA text of Bloch-McConnell: its spectra on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel
from scipy.linalg import expm

import ipads_stream
from ipads_stream.physics.exchange.kernels import bloch_mcconnell as lanes

TEXT = Path(ipads_stream.__file__).parent / "physics/exchange/kernels/bloch_mcconnell.cu"

OFFSETS = 2 * np.pi * np.array([-700.0, -250.0, 0.0, 40.0, 256.0])
# The last is symmetric: its middle and what follows.
TRAINS = np.array([[0, 1, 0.02, 6, 0, 0, 0], [1, 4, 0.005, 2, 1, 0, 0], [0, 1, 0.01, 1, 0, 1, 0],
                   [1, 4, 0.0, 2, 0, 0, 1], [0, 1, 0.0, 1, 0, 1, 0]], float)  # fmt: skip
SAMPLES = np.array([[500.0, 0.0, 0.03], [200.0, -300.0, 0.004], [0.0, 0.0, 0.001],
                    [-900.0, 100.0, 0.004]])  # fmt: skip


def _text(folder, pools):
    path = folder / f"bloch_mcconnell_{pools}.cu"
    path.write_text(f"#define POOLS {pools}\n{TEXT.read_text()}")
    return path


def _tables(pools, spectra, solid):
    rng = np.random.default_rng(pools)
    tissue = np.empty((5 * pools + 2, spectra))
    low = [0.5, 5.0, 0.001, 20.0, -3000.0]
    high = [2.0, 60.0, 0.1, 900.0, 3000.0]
    for p in range(pools):
        tissue[5 * p : 5 * p + 5] = rng.uniform(low, high, (spectra, 5)).T
    tissue[2], tissue[3], tissue[4] = 0.9, 0.0, rng.uniform(-200, 200, spectra)
    tissue[-2], tissue[-1] = rng.uniform(0.7, 1.3, spectra), rng.uniform(-1, 1, spectra)
    absorption = rng.uniform(1e-6, 3e-5, (spectra, OFFSETS.size))
    return tissue, absorption if solid >= 0 else np.empty((0, 0))


def _generator(rates, b1, offset, x, y, solid, absorption):
    """Of (Mx, My, Mz, 1 of every pool): the 1 of the water carries all recovery."""
    A = np.zeros((4 * len(rates), 4 * len(rates)))
    for p, (R1, R2, f, k, shift) in enumerate(rates):
        s = 4 * p
        w = np.array([b1 * x, b1 * y, shift - offset])
        cross = -np.cross(w, np.eye(3)).T  # M x w
        A[s : s + 3, s : s + 3] = cross - np.diag([R2, R2, R1])
        if p == solid:
            A[s : s + 3, s : s + 3] = np.diag([0, 0, -R1 - absorption * b1**2 * (x**2 + y**2)])
        A[s + 2, 3] = R1 * f
        if p:
            for i in range(2 if p == solid else 0, 3):
                back = k * f / rates[0][2]
                A[s + i, s + i] -= k
                A[i, s + i] += k
                A[i, i] -= back
                A[s + i, i] += back
    return A


def _reference(tissue, solid, absorption, spectrum, at):
    pools = (len(tissue) - 2) // 5
    rates = tissue[:-2, spectrum].reshape(pools, 5)
    b1, start = tissue[-2:, spectrum]
    line = absorption[spectrum, at] if solid >= 0 else 0.0
    M = np.array([x for r in rates for x in (0, 0, start * r[2], 1.0)])
    for first, stop, gap, number, halted, spoiled, mirrored in TRAINS:
        samples = SAMPLES[int(first) : int(stop)]
        if mirrored:
            samples = np.concatenate([samples[:0:-1], samples])
        for _ in range(int(number)):
            for x, y, time in samples:
                M = expm(_generator(rates, b1, OFFSETS[at], x, y, solid, line) * time) @ M
            frame = 0.0 if halted else OFFSETS[at]
            M = expm(_generator(rates, b1, frame, 0, 0, solid, line) * gap) @ M
            if spoiled:
                M[0::4] = M[1::4] = 0
    return M[2] / rates[0, 2]


POOLS = [(1, -1), (2, -1), (3, -1), (3, 2), (4, 2), (5, 1), (6, -1), (7, 6)]


@pytest.mark.parametrize(("pools", "solid"), POOLS)
def test_the_text_agrees_with_its_twin_and_with_matrix_exponentials(tmp_path, pools, solid):
    spectra = 3
    tissue, absorption = _tables(pools, spectra, solid)
    exact = np.array([[_reference(tissue, solid, absorption, s, at) for at in range(OFFSETS.size)]
                      for s in range(spectra)])  # fmt: skip
    text, twin = np.zeros((2, spectra, OFFSETS.size))
    lanes.z_spectra(tissue, solid, absorption, OFFSETS, SAMPLES, TRAINS, twin)
    # From 6 pools on a thread block has one spectrum at one offset.
    lanes_of_group, pairs = (32, 32 // pools**2) if pools < 6 else (128, 1)
    text_file = _text(tmp_path, pools)
    kernel = host_kernel(text_file, "z_spectra", "double", lanes_of_group)
    some = absorption if solid >= 0 else np.zeros((1, 1))
    groups = -(-spectra * OFFSETS.size // pairs)
    kernel(
        lanes_of_group * groups + 3, tissue, np.int64(spectra), np.int32(solid), some, OFFSETS,
        np.int64(OFFSETS.size), SAMPLES, TRAINS, np.int32(len(TRAINS)), text,
    )  # fmt: skip
    assert np.abs(exact).max() > 0.05
    assert np.abs(text - exact).max() < 1e-12
    assert np.abs(twin - exact).max() < 1e-12
    assert np.abs(twin - text).max() < 2e-13
