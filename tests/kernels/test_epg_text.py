"""The CUDA text of the extended phase graphs: its registers, and its signals on the CPU."""

from __future__ import annotations

from pathlib import Path

import epg_isochromats as isochromats
import numpy as np
import pytest
from epg_isochromats import TISSUE, check_resources, random_train, text_for
from harness import host_kernel

import ipads_stream

EPG = Path(ipads_stream.__file__).parent / "physics" / "kernels" / "epg.cu"
SPINS = 1024

# Registers allowed and bytes of local memory by precision and number of orders; measured 109-115,
# 191, 79 (float, 20), 194, 54, 178 (double, 20), 28, 32, 29 (float, 80). Where registers cannot
# hold all orders the state lies in local memory as a whole, by design and without spills.
LIMITS = {
    ("float", 20): ((120, 200, 88), (0, 0, 0)),
    ("double", 20): ((208, 64, 192), (0, 960, 0)),
    ("float", 80): ((40, 48, 40), (960, 1920, 960)),
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(("real", "orders"), LIMITS)
def test_registers_and_no_spills(tmp_path, real, orders, arch):
    check_resources(text_for(EPG, orders, tmp_path), arch, real, LIMITS[real, orders])


@pytest.mark.parametrize(("real", "bound"), [("float", 2e-6), ("double", 1e-12)])
@pytest.mark.parametrize(("orders", "num"), [(20, 39), (48, 90)])
@pytest.mark.parametrize("name", ["fisp_real", "fisp_complex"])
def test_fisp_is_the_sum_of_isochromats(tmp_path, name, orders, num, real, bound):
    kind = {"float": np.float32, "double": np.float64}[real]
    train = random_train(num, name == "fisp_real")
    exact = np.stack([isochromats.fisp(*train, *atom, SPINS) for atom in TISSUE.T])
    out = np.zeros((3, num), np.result_type(kind, np.complex64))
    arguments = [np.ascontiguousarray(x, kind) for x in (*train, *TISSUE)]
    host_kernel(text_for(EPG, orders, tmp_path), name, tmp_path, real)(
        5, *arguments, np.int64(3), np.int64(num), out
    )
    assert np.abs(out - exact).max() < bound


@pytest.mark.parametrize(("real", "bound"), [("float", 1e-6), ("double", 1e-13)])
@pytest.mark.parametrize("num", [1, 40])
def test_cpmg_is_the_sum_of_isochromats(tmp_path, num, real, bound):
    kind = {"float": np.float32, "double": np.float64}[real]
    spacing = 0.012
    exact = np.stack([isochromats.cpmg(spacing, *atom[:3], num, SPINS) for atom in TISSUE.T])
    out = np.zeros((3, num), kind)
    arguments = [np.ascontiguousarray(x, kind) for x in TISSUE[:3]]
    host_kernel(text_for(EPG, 20, tmp_path), "cpmg", tmp_path, real)(
        4, kind(spacing), *arguments, np.int64(3), np.int64(num), out
    )
    assert np.abs(out - exact).max() < bound
