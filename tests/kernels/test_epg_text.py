"""The CUDA text of the extended phase graphs: its signals on the CPU."""

from __future__ import annotations

from pathlib import Path

import epg_isochromats as isochromats
import numpy as np
import pytest
from epg_isochromats import TISSUE, random_train, text_for
from harness import host_kernel

import ipads_stream
from ipads_stream.physics import epg
from ipads_stream.physics.epg.launch import REGISTERS, lanes_of

EPG = Path(ipads_stream.__file__).parent / "physics/epg/kernels/regular.cu"
SPINS = 1024


@pytest.mark.parametrize(("real", "bound"), [("float", 2e-6), ("double", 1e-12)])
@pytest.mark.parametrize(
    ("orders", "lanes", "num"), [(20, 1, 39), (20, 1, 40), (48, 2, 90), (45, 4, 88), (7, 8, 13)]
)
@pytest.mark.parametrize("name", ["fisp_real", "fisp_complex"])
def test_fisp_is_the_sum_of_isochromats(tmp_path, name, orders, lanes, num, real, bound):
    kind = {"float": np.float32, "double": np.float64}[real]
    train = random_train(num, name == "fisp_real")
    exact = np.stack([isochromats.fisp(*train, *atom, SPINS) for atom in TISSUE.T])
    out = np.zeros((3, num), np.result_type(kind, np.complex64))
    arguments = [np.ascontiguousarray(x, kind) for x in (*train, *TISSUE)]
    host_kernel(text_for(EPG, orders, tmp_path, lanes), name, real)(
        3 * lanes + 2, *arguments, np.int64(3), np.int64(num), out
    )
    assert np.abs(out - exact).max() < bound


@pytest.mark.parametrize(("real", "bound"), [("float", 1e-6), ("double", 1e-13)])
@pytest.mark.parametrize(("num", "lanes"), [(1, 1), (39, 1), (40, 1), (37, 4), (40, 16)])
def test_cpmg_is_the_sum_of_isochromats(tmp_path, num, lanes, real, bound):
    kind = {"float": np.float32, "double": np.float64}[real]
    spacing = 0.012
    exact = np.stack([isochromats.cpmg(spacing, *atom[:3], num, SPINS) for atom in TISSUE.T])
    out = np.zeros((3, num), kind)
    arguments = [np.ascontiguousarray(x, kind) for x in TISSUE[:3]]
    host_kernel(text_for(EPG, 20, tmp_path, lanes), "cpmg", real)(
        3 * lanes + 1, kind(spacing), *arguments, np.int64(3), np.int64(num), out
    )
    assert np.abs(out - exact).max() < bound


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("orders", [3, 5, 8])
@pytest.mark.parametrize("name", ["fisp_real", "fisp_complex"])
def test_orders_beyond_the_last_never_come_back(tmp_path, name, orders, lanes):
    train = random_train(30, name == "fisp_real")
    initial = [*TISSUE[:3], -np.log((1 - TISSUE[3]) / 2 + 1e-300) * TISSUE[0]]
    wanted = epg.fisp_formula(*train, *initial, orders)
    out = np.zeros((3, 30), complex)
    arguments = [np.ascontiguousarray(x, float) for x in (*train, *TISSUE)]
    host_kernel(text_for(EPG, orders, tmp_path, lanes), name, "double")(
        3 * lanes, *arguments, np.int64(3), np.int64(30), out
    )
    assert np.abs(out - wanted).max() < 1e-12


def test_lanes_hold_their_orders_in_registers():
    most = REGISTERS["regular"]
    orders = [lanes_of(orders, 4, most) for orders in (1, 48, 49, 96, 97, 9999)]
    assert orders == [1, 1, 2, 2, 4, 32]
    assert [lanes_of(20, size, most) for size in (8, 16)] == [1, 2]
