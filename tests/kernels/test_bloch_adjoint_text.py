"""The CUDA text of the isochromats' adjoint: its slopes on the CPU."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import run_on_host

import ipads_stream
from ipads_stream.physics.bloch import adjoint as bloch_adjoint
from ipads_stream.physics.bloch import on_gpu
from ipads_stream.physics.bloch.arguments import played
from ipads_stream.physics.bloch.kernels import adjoint as backward
from ipads_stream.physics.bloch.kernels import evolve as bloch

KERNELS = Path(ipads_stream.__file__).parent / "physics/bloch/kernels"
CASES = {
    "one split": (5e-6, 5e-3, 1e-5),
    "several": (1e-5, 4e-2, 1e-5),
    "hard": (2e-5, 1e-3, 1e-3),
    "exponential": (1e-5, 1e-4, 2e-2),
}


def _arguments(amplitude, strength, dt, num=23, steps=30):
    rng = np.random.default_rng(0)
    b1 = amplitude * (rng.normal(size=steps) + 1j * rng.normal(size=steps))
    b1[::5] = b1[1::5] = 0
    return {
        "M": rng.uniform(-0.5, 0.5, (num, 3)),
        "b1": b1,
        "gradient": strength * rng.uniform(-1, 1, (steps, 3)),
        "dt": dt * rng.uniform(0.5, 1, steps),
        "position": rng.uniform(-0.05, 0.05, (num, 3)),
        "df": rng.uniform(-100, 100, num),
        "T1": rng.uniform(0.5, 2, num),
        "T2": rng.uniform(0.02, 0.2, num),
        "B1": rng.uniform(0.8, 1.2, num),
        "M0": rng.uniform(0.5, 1, num),
    }


@pytest.fixture
def text_on_cpu(monkeypatch):
    """NumPy in the place of CuPy: the texts get what a GPU gets, chunks and segments included."""

    run_on_host(monkeypatch, bloch_adjoint, on_gpu)
    monkeypatch.setattr(bloch_adjoint, "_CHUNK", 10)


def _by_text(steps, spins, tolerance, follow_rf, M, slope):
    slope, of_steps, of_spins = slope.copy(), np.zeros(steps.shape), np.zeros(spins.shape)
    bloch_adjoint._by_segments(
        steps, spins, tolerance, follow_rf, M, slope, of_steps, of_spins
    )  # fmt: skip
    return slope, of_steps, of_spins


def _by_lanes(steps, spins, tolerance, follow_rf, M, slope):
    table = np.empty((len(steps), bloch.COLUMNS), M.dtype)
    bloch.shaped(steps, table)
    slope, of_steps, of_spins = slope.copy(), np.zeros(steps.shape), np.zeros(spins.shape)
    backward.bloch_adjoint(steps, table, spins, tolerance, follow_rf, M, slope, of_steps, of_spins)
    return slope, of_steps, of_spins


@cache
def _exact(case, kind):
    """Slopes of a case by autograd; one for all tolerances."""
    arguments = _arguments(*case)
    M = arguments["M"].astype(kind)
    slope = np.random.default_rng(1).normal(size=M.shape)
    return _by_torch(*played(np, arguments), M.astype("f8"), slope)


def _by_torch(steps, spins, M, slope):
    """By autograd through the matrix exponential of the affine generator of every step."""
    steps, spins, start = (torch.from_numpy(x.copy()).requires_grad_() for x in (steps, spins, M))
    x, y, z, f, B1, r1, r2, M0 = spins
    state = torch.cat((start, torch.ones(len(M), 1, dtype=torch.float64)), 1)
    for hx, hy, gx, gy, gz, dt in steps:
        a, b = 2 * hx * B1, 2 * hy * B1
        c = 2 * (gx * x + gy * y + gz * z + dt * f)
        zero = 0 * a
        rows = [
            [-dt * r2, -c, b, zero],
            [c, -dt * r2, -a, zero],
            [-b, a, -dt * r1, dt * r1 * M0],
            [zero, zero, zero, zero],
        ]
        generator = torch.stack([torch.stack(row, -1) for row in rows], -2)
        state = (torch.matrix_exp(generator) @ state[..., None])[..., 0]
    (state[:, :3] * torch.from_numpy(slope)).sum().backward()
    return [x.grad.numpy() for x in (start, steps, spins)]


# Tolerance, and bounds of slopes of the rotation and of relaxation: an error of M allowed by the
# tolerance is a larger part of the little that relaxation does to it in the time.
PRECISIONS = {
    "float": ("float", 1e-6, 3e-4, 5e-3),
    "double": ("double", 1e-8, 3e-6, 1e-4),
    "double, tight": ("double", 1e-13, 1e-9, 1e-9),
}


@pytest.mark.slow
@pytest.mark.usefixtures("text_on_cpu")
@pytest.mark.parametrize("follow_rf", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_slopes_follow_the_lanes_and_the_matrix_exponential(precision, case, follow_rf):
    real, tolerance, bound, of_relaxation = precision
    arguments = _arguments(*case)
    steps, spins = played(np, arguments)
    M = arguments["M"].astype({"float": "f4", "double": "f8"}[real])
    slope = np.random.default_rng(1).normal(size=M.shape)
    found = _by_text(steps, spins, tolerance, follow_rf, M, slope)
    lanes = _by_lanes(steps, spins, tolerance, follow_rf, M, slope)
    exact = [x.copy() for x in _exact(case, M.dtype.str)]
    exact[1][:, 5] *= steps[:, 5]
    heard = steps[:, 0] != 0
    for number, (mine, theirs, truth) in enumerate(zip(found, lanes, exact, strict=True)):
        if number == 2:
            mine, theirs, truth = mine.T, theirs.T, truth.T
        for i in range(mine.shape[1]):
            which = heard if number == 1 and i < 2 else slice(None)
            allowed = of_relaxation if number and i >= 5 else bound
            allowed *= np.linalg.norm(truth[which, i])
            assert np.linalg.norm((mine - theirs)[which, i]) <= allowed, (number, i)
            assert np.linalg.norm((mine - truth)[which, i]) <= allowed, (number, i)
    if follow_rf:
        size = np.linalg.norm(exact[1][~heard, :2])
        assert np.linalg.norm((found[1] - exact[1])[~heard, :2]) <= 10 * bound * size


@pytest.mark.gpu(emulated=False)  # half a minute there
@pytest.mark.parametrize(("kind", "bound"), [("f4", 1e-4), ("f8", 2e-6)])
def test_the_gpu_agrees_with_the_cpu(kind, bound):
    import cupy

    arguments = _arguments(*CASES["several"], num=1000, steps=300)
    arguments["M"] = arguments["M"].astype(kind)
    slope = np.random.default_rng(1).normal(size=arguments["M"].shape)
    wanted = frozenset(arguments)
    host = bloch_adjoint.slopes(slope, arguments, wanted=wanted)
    given = {name: cupy.asarray(x) for name, x in arguments.items()}
    device = bloch_adjoint.slopes(cupy.asarray(slope), given, wanted=wanted)
    for name in wanted:
        off = np.linalg.norm(device[name].get() - host[name])
        assert off < bound * np.linalg.norm(host[name]), name
