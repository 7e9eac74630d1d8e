"""The CUDA text of the isochromats: its registers, and its magnetisation on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel, ptxas_log, resources
from scipy.linalg import expm

import ipads_stream
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics import bloch

BLOCH = Path(ipads_stream.__file__).parent / "physics" / "kernels" / "bloch.cu"

# Measured 78-80 and 88-92, of which the exponential takes most.
REGISTERS = {"float": 80, "double": 96}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("real", REGISTERS)
def test_registers_and_no_spills(real, arch):
    found = resources(ptxas_log(BLOCH, arch, real))
    assert found.keys() == {"bloch"}
    assert found["bloch"]["registers"] <= REGISTERS[real]
    assert found["bloch"]["spills"] == found["bloch"]["stack"] == 0


def _sequence(num, steps, amplitude, strength, dt, seed=0):
    """Smooth RF with pauses, under gradients; per spin x, y, z, df, B1, T1, T2, M0."""
    rng = np.random.default_rng(seed)
    b1 = amplitude * (rng.normal(size=steps) + 1j * rng.normal(size=steps))
    b1[::5] = b1[1::5] = 0
    gradient = strength * rng.uniform(-1, 1, (steps, 3))
    low = [-0.05, -0.05, -0.05, -100, 0.8, 0.5, 0.02, 0.5]
    high = [0.05, 0.05, 0.05, 100, 1.2, 2, 0.2, 1]
    spins = np.stack([rng.uniform(*ends, num) for ends in zip(low, high, strict=True)])
    M = rng.uniform(-0.5, 0.5, (num, 3))
    return b1, gradient, np.broadcast_to(dt, steps), spins, M


def _exact(b1, gradient, dt, spins, M):
    """By the matrix exponential of the affine generator of every step."""
    x, y, z, df, B1, T1, T2, M0 = spins
    out = np.concatenate([M, np.ones((len(M), 1))], 1)
    for k in range(len(b1)):
        field = np.array([x, y, z]).T @ gradient[k]
        omega = (GAMMA_1H * B1 * b1[k].real, GAMMA_1H * B1 * b1[k].imag)
        omega += (2 * np.pi * df + GAMMA_1H * field,)
        A = np.zeros((len(M), 4, 4))
        for i in range(3):
            j, m = (i + 1) % 3, (i + 2) % 3
            A[:, j, m], A[:, m, j] = omega[i], -omega[i]
        A[:, 0, 0] = A[:, 1, 1] = -1 / T2
        A[:, 2, 2], A[:, 2, 3] = -1 / T1, M0 / T1
        out = np.einsum("nij,nj->ni", expm(A * dt[k]), out)
    return out[:, :3]


@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize(
    ("amplitude", "strength", "dt"),
    [(5e-6, 5e-3, 1e-5), (1e-5, 4e-2, 1e-5), (2e-5, 1e-3, 1e-3), (1e-5, 1e-4, 2e-2)],
    ids=["one split", "several", "hard", "exponential"],
)
def test_magnetisation_follows_the_matrix_exponential(tmp_path, real, amplitude, strength, dt):
    kind, bound = {"float": ("f4", 1e-5), "double": ("f8", 2e-7)}[real]
    num, steps = 20, 60
    b1, gradient, dt, spins, M = _sequence(num, steps, amplitude, strength, dt)
    exact = _exact(b1, gradient, dt, spins, M)
    half = -0.5 * GAMMA_1H * dt
    rows = np.stack([half * b1.real, half * b1.imag, *(half * gradient.T), dt], 1)
    x, y, z, df, B1, T1, T2, M0 = spins
    spins = np.stack([x, y, z, -np.pi * df, B1, 1 / T1, 1 / T2, M0])
    out = M.astype(kind)
    host_kernel(BLOCH, "bloch", tmp_path, real)(
        num + 5,
        np.ascontiguousarray(rows),
        np.ascontiguousarray(rows.astype(kind)),
        np.int64(steps),
        spins,
        np.int64(num),
        np.float64({"float": 1e-6, "double": 1e-8}[real]),
        out,
    )
    assert np.abs(out - exact).max() < bound


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "bound"), [("f4", 1e-5), ("f8", 2e-7)])
def test_the_gpu_agrees_with_the_cpu(kind, bound):
    import cupy

    b1, gradient, dt, spins, M = _sequence(1000, 300, 5e-6, 5e-3, 1e-5)
    names = ("df", "B1", "T1", "T2", "M0")
    arrays = [M.astype(kind), b1, gradient, dt.copy()]
    maps = {
        "position": np.ascontiguousarray(spins[:3].T),
        **dict(zip(names, spins[3:], strict=True)),
    }
    host = bloch.evolve(*arrays, **maps)
    device = bloch.evolve(
        *map(cupy.asarray, arrays), **{name: cupy.asarray(x) for name, x in maps.items()}
    )
    assert device.dtype == host.dtype
    assert np.abs(device.get() - host).max() < bound
