"""The CUDA text of the phase graphs of any train: echoes on the CPU."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from harness import host_kernel

from ipads_stream.core.backend import cuda_text
from ipads_stream.physics import epg
from ipads_stream.physics.epg import launch as epg_kernels

SPINS = 1024

TISSUE = {
    "T1": np.array([1.0, 0.5, 2.0, 0.05]),
    "T2": np.array([0.1, 0.05, 0.9, 0.1]),
    "B1": np.array([1.0, 0.8, 1.2, 0.0]),
    "df": np.array([0.0, 30.0, -12.0, 5.0]),
    "initial": np.array([1.0, -1.0, 0.3, -0.2]),
}


@pytest.fixture
def text_on_cpu(tmp_path, monkeypatch):
    """NumPy in the place of CuPy: the text gets what a GPU gets. The options of what ran."""
    launched = []

    @functools.cache
    def built(text, options):
        real, *rest = (option.removeprefix("-D").partition("=")[::2] for option in options)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.cu"
        path.write_text("".join(f"#define {n} {x}\n" for n, x in rest) + cuda_text(text))
        return host_kernel(path, "train", real[1])

    def launch(module, name, num, *arguments):
        launched.append(module[1])
        built(*module)(num, *arguments)

    def module(text, options):
        return text, options

    monkeypatch.setattr(epg_kernels, "launch", launch)
    monkeypatch.setattr(epg_kernels, "cuda_module", module)
    monkeypatch.setattr(epg_kernels, "is_cupy", lambda x: True)
    return launched


def _steps(num=40, seed=0):
    rng = np.random.default_rng(seed)
    shift = rng.choice([-3, -1, -1, 0, 0, 1, 1, 2], num)
    shift[rng.random(num) < 0.05] = epg.CRUSHED
    flip = np.where(rng.random(num) < 0.3, 0.0, rng.uniform(-1, 3.5, num))
    echo = rng.random(num) < 0.5
    return epg.Train(flip, rng.uniform(-9, 9, num), rng.uniform(0, 0.01, num), shift, echo)


def _isochromats(steps, T1, T2, B1, df, initial):
    """Mean over spins across the gradient, one atom; pulses by Rodrigues' formula."""
    theta = 2 * np.pi * (np.arange(SPINS) + 0.5) / SPINS
    M, echoes = np.zeros((SPINS, 3)), []
    M[:, 2] = initial
    for flip, phase, t, shift, echo in zip(*steps, strict=True):
        x, y = np.cos(phase), np.sin(phase)
        cross, a = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]]), flip * B1
        M = M @ (np.eye(3) - np.sin(a) * cross + (1 - np.cos(a)) * cross @ cross).T
        crushed = shift == epg.CRUSHED
        turned = np.exp(1j * (0 if crushed else shift) * theta - 2j * np.pi * df * t - t / T2)
        M_xy = (0 if crushed else 1) * (M[:, 0] + 1j * M[:, 1]) * turned
        M = np.stack([M_xy.real, M_xy.imag, 1 - (1 - M[:, 2]) * np.exp(-t / T1)], 1)
        if echo:
            echoes.append(M_xy.mean())
    return np.array(echoes)


@pytest.mark.parametrize("on_chip", [True, False])
@pytest.mark.parametrize(("kind", "bound"), [(np.float32, 3e-6), (np.float64, 1e-12)])
def test_any_train_is_the_sum_of_isochromats(text_on_cpu, monkeypatch, kind, bound, on_chip):
    if not on_chip:
        monkeypatch.setattr(epg_kernels, "_ON_CHIP", 0)
        monkeypatch.setattr(epg_kernels, "_WORK", 1)  # an atom at a time
    steps = _steps()
    exact = np.stack([_isochromats(steps, *atom) for atom in zip(*TISSUE.values(), strict=True)])
    signal = epg.train(*steps, **{name: x.astype(kind) for name, x in TISSUE.items()})
    assert np.abs(exact).max() > 0.1
    assert np.abs(signal - exact).max() < bound
    assert len(text_on_cpu) == (1 if on_chip else 4)
    assert f"-DON_CHIP={int(on_chip)}" in text_on_cpu[0]


@pytest.mark.parametrize("orders", [None, 1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_text_and_twin_diffuse_and_leave_out_the_same(seed, orders, request):
    steps = _steps(30, seed)
    more = {"D": np.array([0.0, 1e-9, 3e-9, 9e-9]), "twist": 3e4, "orders": orders}
    twin = epg.train(*steps, **TISSUE, **more)
    formula = epg.train_formula(*steps, **TISSUE, **more)
    request.getfixturevalue("text_on_cpu")
    text = epg.train(*steps, **TISSUE, **more)
    assert np.abs(text - twin).max() < 1e-13
    assert np.abs(text - formula).max() < 1e-13


@pytest.mark.usefixtures("text_on_cpu")
def test_spin_echoes_under_a_constant_gradient_decay_by_the_closed_form():
    """Every ideal echo adds b = q^2 ESP / 3 (Carr, Purcell)."""
    D, n = np.array([0.0, 1e-9, 3e-9]), np.arange(1, 17)
    steps = epg.spin_echoes(np.full(16, np.pi), np.zeros(16), 0.01)
    signal = epg.train(*steps, T1=np.ones(3), T2=np.full(3, 0.1), D=D, twist=4e4)
    exact = np.exp(-n * 0.01 / 0.1 - n * 0.01 * 4e4**2 / 3 * D[:, None])
    assert np.abs(signal - exact).max() < 1e-14


@pytest.mark.gpu
def test_cupy_agrees():
    import cupy

    steps, more = _steps(), {"D": 2e-9, "twist": 3e4}
    for kind, bound in ((np.float32, 6e-6), (np.float64, 1e-12)):
        tissue = {name: x.astype(kind) for name, x in TISSUE.items()}
        exact = epg.train(*steps, **TISSUE, **more)
        there = epg.train(*steps, **{k: cupy.asarray(x) for k, x in tissue.items()}, **more)
        assert np.abs(there.get() - exact).max() < bound
