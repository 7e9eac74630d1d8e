"""The CUDA text of the isochromats: its magnetisation on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel, run_on_host
from scipy.linalg import expm

import ipads_stream
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch import evolution, on_gpu
from ipads_stream.physics.bloch.arguments import played
from ipads_stream.physics.bloch.kernels import parts
from ipads_stream.physics.bloch.kernels.adjoint import _way_without_rf as way_without_rf

KERNELS = Path(ipads_stream.__file__).parent / "physics/bloch/kernels"
CASES = {
    "one split": (5e-6, 5e-3, 1e-5),
    "several": (1e-5, 4e-2, 1e-5),
    "hard": (2e-5, 1e-3, 1e-3),
    "exponential": (1e-5, 1e-4, 2e-2),
}


@pytest.fixture
def text_on_cpu(monkeypatch):
    """NumPy in the place of CuPy: the texts get what a GPU gets."""

    run_on_host(monkeypatch, on_gpu)
    monkeypatch.setattr(evolution, "is_numpy", lambda x: x.shape[-1] == 6)  # the steps


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


@pytest.mark.parametrize(("kind", "bound"), [("f4", 1e-5), ("f8", 2e-7)])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_text_follows_the_matrix_exponential_and_its_twin(request, kind, bound, case):
    b1, gradient, dt, spins, M = _sequence(50, 60, *case)
    exact = _exact(b1, gradient, dt, spins, M)
    names = ("df", "B1", "T1", "T2", "M0")
    maps = {"position": np.ascontiguousarray(spins[:3].T),
            **dict(zip(names, spins[3:], strict=True))}  # fmt: skip
    arguments = M.astype(kind), b1, gradient, np.array(dt)
    twin = bloch.evolve(*arguments, **maps)
    request.getfixturevalue("text_on_cpu")
    text = bloch.evolve(*arguments, **maps)
    assert np.abs(text - exact).max() < bound
    # Planned alike, they differ by roundings only.
    assert np.abs(text - twin).max() < (1e-5 if kind == "f4" else 1e-11)


@pytest.mark.parametrize("follow_rf", [False, True])
def test_ways_are_those_of_the_twin(follow_rf):
    b1, gradient, dt, spins, _ = _sequence(3000, 200, 2e-5, 3e-2, 1e-5)
    dt = dt * np.random.default_rng(2).choice([0.3, 1, 8, 300], dt.shape)
    arguments = {"M": np.zeros((3000, 3)), "b1": b1, "gradient": gradient, "dt": dt}
    maps = dict(zip(("df", "B1", "T1", "T2", "M0"), spins[3:], strict=True))
    steps, rows = played(np, {**arguments, "position": spins[:3].T, **maps})
    group, tolerance = 1024, 1e-8
    ways, ends = np.full((3, 200), 99, np.int8), np.full((3, 200), -1, np.int32)
    host_kernel(KERNELS / "plan.cu", "plan")(
        3 * 32 + 5, steps, np.int64(200), rows, np.int64(3000), np.float64(tolerance),
        np.int32(follow_rf), np.int64(group), ways, ends,
    )  # fmt: skip
    reach, runs = np.empty(6), np.empty((201, 3), np.int64)
    for number, first in enumerate(range(0, 3000, group)):
        parts.reach_of(rows[:, first : first + group], reach)
        planned = runs[: parts.plan(steps, reach, tolerance, runs)]
        wanted = np.concatenate([np.full(stop - start, way) for start, stop, way in planned])
        if follow_rf:
            silent = np.flatnonzero(wanted == parts.FREE)
            wanted[silent] = [way_without_rf(steps[k], reach, tolerance) for k in silent]
        assert np.array_equal(ways[number], wanted)
        for k, way in enumerate(wanted):
            same = (wanted[k:] == way) & (steps[k:, 5] == steps[k, 5]) & (way >= 0)
            assert ends[number, k] == k + max(1, np.argmin(np.append(same, False)))
    assert len(np.unique(ways)) > 4


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
