"""The CUDA text of the extended phase graphs: its registers, and its signals on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel, ptxas_log, resources

import ipads_stream

EPG = Path(ipads_stream.__file__).parent / "physics" / "kernels" / "epg.cu"
SPINS = 1024

# Registers allowed and bytes of local memory by precision and number of orders; measured 109-115,
# 191, 79 (float, 20), 194, 54, 178 (double, 20), 28, 32, 29 (float, 80). Where registers cannot
# hold all orders the state lies in local memory as a whole, by design and without spills.
KERNELS = ("fisp_real", "fisp_complex", "cpmg")
LIMITS = {
    ("float", 20): ((120, 200, 88), (0, 0, 0)),
    ("double", 20): ((208, 64, 192), (0, 960, 0)),
    ("float", 80): ((40, 48, 40), (960, 1920, 960)),
}


def _text(folder, orders):
    path = folder / f"epg_{orders}.cu"
    path.write_text(f"#define ORDERS {orders}\n{EPG.read_text()}")
    return path


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(("real", "orders"), LIMITS)
def test_registers_and_no_spills(tmp_path, real, orders, arch):
    found = resources(ptxas_log(_text(tmp_path, orders), arch, real))
    assert found.keys() == set(KERNELS)
    for name, registers, stack in zip(KERNELS, *LIMITS[real, orders], strict=True):
        assert found[name]["registers"] <= registers, name
        assert found[name]["spills"] == 0, name
        assert found[name]["stack"] <= stack, name


def _turned(M, angle, phase):
    """Spins (n, 3) after a rotation of dM/dt = M x B about the axis (cos, sin, 0) of phase."""
    x, y = np.cos(phase), np.sin(phase)
    cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])
    return M @ (np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).T


def _dephased(M, T1, T2, time):
    """Spins across one turn of the gradient after a time."""
    theta = 2 * np.pi * (np.arange(SPINS) + 0.5) / SPINS
    M_xy = (M[:, 0] + 1j * M[:, 1]) * np.exp(-1j * theta - time / T2)
    return np.stack([M_xy.real, M_xy.imag, 1 - (1 - M[:, 2]) * np.exp(-time / T1)], 1)


def _train(num, one_axis):
    rng = np.random.default_rng(0)
    phase = np.full(num, 0.7) if one_axis else rng.uniform(-3, 3, num)
    TR = rng.uniform(0.008, 0.02, num)
    return rng.uniform(-0.2, 1.6, num), phase, TR, 0.4 * TR


TISSUE = np.array([[1.0, 0.1, 1.0, 1.0], [0.5, 0.03, 0.8, -0.9], [2.0, 0.9, 1.2, -1.0]]).T


@pytest.mark.parametrize(("real", "bound"), [("float", 2e-6), ("double", 1e-12)])
@pytest.mark.parametrize(("orders", "num"), [(20, 39), (48, 90)])
@pytest.mark.parametrize("name", ["fisp_real", "fisp_complex"])
def test_fisp_is_the_sum_of_isochromats(tmp_path, name, orders, num, real, bound):
    kind = {"float": np.float32, "double": np.float64}[real]
    train = _train(num, name == "fisp_real")
    exact = np.empty((3, num), complex)
    for i, (T1, T2, B1, initial) in enumerate(TISSUE.T):
        M = np.zeros((SPINS, 3))
        M[:, 2] = initial
        for n, (a, phase, TR, TE) in enumerate(zip(*train, strict=True)):
            M = _turned(M, a * B1, phase)
            exact[i, n] = (M[:, 0] + 1j * M[:, 1]).mean() * np.exp(-TE / T2)
            M = _dephased(M, T1, T2, TR)
    out = np.zeros((3, num), np.result_type(kind, np.complex64))
    arguments = [np.ascontiguousarray(x, kind) for x in (*train, *TISSUE)]
    host_kernel(_text(tmp_path, orders), name, tmp_path, real)(
        5, *arguments, np.int64(3), np.int64(num), out
    )
    assert np.abs(out - exact).max() < bound


@pytest.mark.parametrize(("real", "bound"), [("float", 1e-6), ("double", 1e-13)])
@pytest.mark.parametrize("num", [1, 40])
def test_cpmg_is_the_sum_of_isochromats(tmp_path, num, real, bound):
    kind = {"float": np.float32, "double": np.float64}[real]
    spacing, exact = 0.012, np.empty((3, num))
    for i, (T1, T2, B1, _) in enumerate(TISSUE.T):
        M = _turned(np.tile([0.0, 0.0, 1.0], (SPINS, 1)), np.pi / 2 * B1, -np.pi / 2)
        for n in range(num):
            M = _turned(_dephased(M, T1, T2, spacing / 2), np.pi * B1, 0.0)
            M = _dephased(M, T1, T2, spacing / 2)
            exact[i, n] = M[:, 0].mean()
            assert abs(M[:, 1].mean()) < 1e-12
    out = np.zeros((3, num), kind)
    arguments = [np.ascontiguousarray(x, kind) for x in TISSUE[:3]]
    host_kernel(_text(tmp_path, 20), "cpmg", tmp_path, real)(
        4, kind(spacing), *arguments, np.int64(3), np.int64(num), out
    )
    assert np.abs(out - exact).max() < bound
