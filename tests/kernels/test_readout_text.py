"""The CUDA text of the readout: its registers, and its signal on the CPU."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel, ptxas_log, resources

import ipads_stream
from ipads_stream.physics import bloch
from ipads_stream.physics.kernels import readout as lanes
from ipads_stream.physics.phantom import Phantom
from ipads_stream.physics.readout_lines import cut
from ipads_stream.physics.waveforms import Waveforms

KERNELS = Path(ipads_stream.__file__).parent / "physics" / "kernels"
READOUT = KERNELS / "readout.cu"

# Measured 72 and 80-90.
REGISTERS = {"float": 72, "double": 96}
CHUNK = 512


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("real", REGISTERS)
def test_registers_and_no_spills(real, arch):
    found = resources(ptxas_log(READOUT, arch, real))
    assert found.keys() == {"readout"}
    assert found["readout"]["registers"] <= REGISTERS[real]
    assert found["readout"]["spills"] == found["readout"]["stack"] == 0


def _free(items, coils, num, lines, points, seed=0):
    """Echoes of both polarities, spins, and their signal by exponentials."""
    rng = np.random.default_rng(seed)
    k = np.concatenate([(-1) ** n * (np.arange(points) - points / 2) for n in range(lines)])
    t = (np.arange(lines)[:, None] * 1.3 + np.arange(points) / points).ravel() * 5e-4
    tau = np.abs(t - t.mean())
    S = lines * points
    rows = np.zeros((S, 7))
    rows[:, 0], rows[:, 1] = 30 * k, np.repeat(np.arange(lines), points) * 40.0
    rows[:, 3], rows[:, 4], rows[:, 5], rows[:, 6] = t / math.pi, t, tau, 50 * t
    low = [-0.1, -0.1, -0.1, -900, 0.8, 0.5, 5, 0.5]
    high = [0.1, 0.1, 0.1, 900, 1.2, 2, 50, 1]
    spins = np.stack([rng.uniform(*e, items * num) for e in zip(low, high, strict=True)])
    extra = np.stack([rng.uniform(0, 40, items * num), rng.uniform(0, 2e-2, items * num)])
    M = rng.uniform(-1, 1, (items * num, 3))
    shape = (items, coils, num)
    sensitivity = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    turns = rows[:, :4] @ spins[:4]
    nepers = np.outer(t, spins[6]) + rows[:, 5:] @ extra
    m = (M[:, 0] + 1j * M[:, 1]) * np.exp(2j * np.pi * turns - nepers)
    exact = np.einsum("bcn,sbn->bcs", sensitivity, m.reshape(S, items, num))
    return rows, spins, extra, M, sensitivity, exact


@pytest.mark.parametrize(("real", "bound"), [("float", 3e-6), ("double", 1e-12)])
@pytest.mark.parametrize(
    ("items", "coils", "num", "lines", "points"),
    [(1, 1, 700, 6, 40), (3, 2, 37, 1, 1), (2, 9, 130, 5, 33), (1, 1, 1, 3, 300)],
)
def test_text_and_twin_against_sums_of_exponentials(
    tmp_path, real, bound, items, coils, num, lines, points
):
    rows, spins, extra, M, sensitivity, exact = _free(items, coils, num, lines, points)
    kind, complex_kind = {"float": ("f4", "c8"), "double": ("f8", "c16")}[real]
    M, sensitivity = M.astype(kind), sensitivity.astype(complex_kind)
    S, chunks = lines * points, -(-num // CHUNK)
    out = np.full((items, coils, chunks, S), np.nan, complex_kind)
    threads = items * chunks * -(-coils // 4) * S
    sizes = (np.int64(n) for n in (items, coils, num))
    host_kernel(READOUT, "readout", tmp_path, real)(
        threads + 7, rows, np.int64(S), spins, extra, M, sensitivity, *sizes, out
    )
    scale = np.abs(exact).max()
    assert np.abs(out.sum(axis=2) - exact).max() / scale < bound
    twin = np.full((items, coils, S), np.nan, complex_kind)
    grain = np.full(7, {"float": 1e-8, "double": 1e-13}[real])
    found = cut(rows - rows[0], grain, float(extra[0].max()))
    columns = found.columns + np.where(found.absolute[:, None, None], rows[0][:, None], 0)
    places = (found.before, found.moving.ravel(), found.groups, found.firsts)
    lanes.readout(columns.ravel(), *places, spins, extra, M, sensitivity, twin)
    assert np.abs(twin - exact).max() / scale < bound


def test_echoes_of_one_polarity_share_a_pattern():
    """So that factors are formed per line and per sample of a line, not per sample."""
    rows = _free(1, 1, 1, 64, 64)[0]
    rows[:, 5] = 0
    found = cut(rows - rows[0], np.full(7, 1e-9), 0.0)
    assert sorted(map(tuple, found.groups[:, [1, 3]])) == [(32, 64), (32, 64)]
    assert np.count_nonzero(found.before < 0) == 4
    decay = np.zeros((2048, 7))
    decay[:, 3] = decay[:, 4] = np.arange(2048) * 1e-4
    found = cut(decay, np.full(7, 1e-9), 0.0)
    assert len(found.groups) == 1
    # No pattern twice: one line, of which every sample is formed.
    once = cut(np.cumsum(np.random.default_rng(0).uniform(size=(500, 7)), 0), np.full(7, 1e-9), 0.0)
    assert np.count_nonzero(once.before < 0) <= 500 // 16 + 4


@pytest.mark.gpu
@pytest.mark.parametrize(("kind", "bound"), [("f4", 1e-5), ("f8", 1e-8)])
def test_the_gpu_agrees_with_the_cpu(kind, bound):
    import cupy

    rng = np.random.default_rng(0)
    steps = 400
    b1 = np.zeros(steps, complex)
    b1[:20] = 1e-5
    gradient = 5e-3 * rng.uniform(-1, 1, (steps, 3))
    sampled = np.arange(steps) >= 50
    dt = np.full(steps, 1e-5)
    waveforms = Waveforms(b1, gradient, dt, sampled, np.zeros(int(sampled.sum())))
    s = (rng.normal(size=(2, 5, 1000)) + 1j).astype({"f4": "c8", "f8": "c16"}[kind])
    fields = {
        "position": rng.uniform(-0.1, 0.1, (2, 1000, 3)).astype(kind),
        "df": rng.uniform(-100, 100, (2, 1000)).astype(kind),
        "T2": rng.uniform(0.02, 0.1, (2, 1000)).astype(kind),
        "sensitivity": s,
    }
    host = bloch.signal(waveforms, Phantom(**fields))
    there = {name: cupy.asarray(x) for name, x in fields.items()}
    device = bloch.signal(waveforms, Phantom(**there))
    assert device.dtype == host.dtype
    assert np.abs(device.get() - host).max() < bound * np.abs(host).max()
