"""The CUDA text of the readout: its signal on the CPU."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from harness import host_kernel

from ipads_stream.physics import bloch
from ipads_stream.physics.bloch import on_gpu
from ipads_stream.physics.bloch.kernels import readout as lanes
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.physics.bloch.readout_lines import cut
from ipads_stream.physics.waveforms import Waveforms


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


@pytest.fixture
def launched(monkeypatch):
    """NumPy in the place of CuPy: the text gets what a GPU gets. Names of the kernels that ran."""
    names = []

    @functools.cache
    def built(text, real, name):
        return host_kernel(text, name, real)

    def launch(module, name, num, *arguments):
        names.append(name)
        built(*module, name)(num + 5, *arguments)

    def module(text, options):
        return text, options[0].removeprefix("-DREAL=")

    monkeypatch.setattr(on_gpu, "launch", launch)
    monkeypatch.setattr(on_gpu, "cuda_module", module)
    return names


@pytest.mark.parametrize("name", ["readout_lines", "readout"])
@pytest.mark.parametrize(("real", "bound"), [("float", 3e-6), ("double", 1e-12)])
@pytest.mark.parametrize(
    ("items", "coils", "num", "lines", "points"),
    [
        (1, 1, 700, 6, 40),
        (3, 2, 37, 1, 1),
        (2, 9, 130, 5, 33),
        (1, 1, 1, 3, 300),
        (2, 3, 90, 30, 70),
    ],
)
def test_text_and_twin_against_sums_of_exponentials(
    launched, monkeypatch, name, real, bound, items, coils, num, lines, points
):
    rows, spins, extra, M, sensitivity, exact = _free(items, coils, num, lines, points)
    kind, complex_kind = {"float": ("f4", "c8"), "double": ("f8", "c16")}[real]
    M, sensitivity = M.astype(kind), sensitivity.astype(complex_kind)
    grain = np.full(7, {"float": 1e-8, "double": 1e-13}[real])
    found = cut(rows - rows[0], grain, float(extra[0].max()))
    scale = np.abs(exact).max()
    slots = dict.fromkeys(("float32", "float64"), (0, 1) if name == "readout_lines" else (1, 0))
    monkeypatch.setattr(on_gpu, "_SLOTS", slots)
    text = on_gpu.by_lines(rows, found, spins, extra, M, sensitivity)
    assert set(launched) == {name}
    assert np.abs(text - exact).max() / scale < bound
    columns = found.columns + np.where(found.absolute[:, None, None], rows[0][:, None], 0)
    places = (found.before, found.moving.ravel(), found.groups, found.firsts)
    twin = np.full((items, coils, lines * points), np.nan, complex_kind)
    lanes.readout(columns.ravel(), *places, spins, extra, M, sensitivity, twin)
    assert np.abs(twin - exact).max() / scale < bound


def test_samples_without_a_pattern_are_summed_one_by_one(launched):
    rows, spins, extra, M, sensitivity, _ = _free(2, 5, 60, 4, 20)
    rows = np.cumsum(np.random.default_rng(0).uniform(0, 0.1, rows.shape), 0)
    found = cut(rows - rows[0], np.full(7, 1e-13), 40.0)
    text = on_gpu.by_lines(rows, found, spins, extra, M, sensitivity)
    turns, nepers = rows[:, :4] @ spins[:4], np.outer(rows[:, 4], spins[6]) + rows[:, 5:] @ extra
    m = (M[:, 0] + 1j * M[:, 1]) * np.exp(2j * np.pi * turns - nepers)
    exact = np.einsum("bcn,sbn->bcs", sensitivity, m.reshape(len(rows), 2, 60))
    assert np.abs(text - exact).max() < 1e-12 * np.abs(exact).max()
    assert launched == ["readout"]


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
