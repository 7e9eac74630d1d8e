"""The CUDA text of the derivatives of the phase graphs: gradients on the CPU."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import epg_isochromats as isochromats
import numpy as np
import pytest
from epg_isochromats import TISSUE, random_train, text_for
from harness import host_kernel

import ipads_stream
from ipads_stream.physics.epg.kernels import adjoint as twin

ADJOINT = Path(ipads_stream.__file__).parent / "physics/epg/kernels/adjoint.cu"
SPINS = 256  # more than all orders of the trains here


def _fisp(*arguments):
    return isochromats.fisp(*arguments, SPINS)


def _cpmg(*arguments):
    return isochromats.cpmg(*arguments, SPINS)


STEP = 1e-6


def _slopes(num, kind):
    rng = np.random.default_rng(1)
    return (rng.standard_normal((3, num)) + 1j * rng.standard_normal((3, num))).astype(kind)


def _differences(model, slopes, shared, tissue, which):
    """d/d(argument which) of sum Re(slopes* signal): of every pulse's value or of every atom's."""

    def loss(step, place):
        arguments = [x.copy() for x in (*shared, *tissue)]
        arguments[which][place] += step
        pulses, atoms = arguments[: len(shared)], np.array(arguments[len(shared) :])
        signals = np.stack([model(*pulses, *atom) for atom in atoms.T])
        return (np.conj(slopes) * signals).real.sum()

    places = range((*shared, *tissue)[which].shape[0])
    return np.array([(loss(STEP, i) - loss(-STEP, i)) / (2 * STEP) for i in places])


@cache
def _exact(name, num, which):
    """Of the slopes in single precision, which are numbers of double precision, too."""
    train, slopes = random_train(num, name == "fisp_real"), _slopes(num, np.complex64)
    return _differences(_fisp, slopes, train, TISSUE, which)


def _work(num, length, orders, parts, lanes, kind):
    """Pages of the states of 3 atoms, in fours."""
    fours = -(-3 * parts * -(-orders // lanes) // 4)
    pages = length + -(-num // length) + 1
    return np.full((pages, fours, 3 * lanes, 4), np.nan, kind)


@pytest.mark.parametrize(("real", "bound"), [("float", 2e-5), ("double", 1e-8)])
@pytest.mark.parametrize(("num", "lanes"), [(1, 1), (2, 2), (23, 1), (23, 8)])
@pytest.mark.parametrize("name", ["fisp_real", "fisp_complex"])
def test_the_derivatives_of_fisp_are_those_of_the_sum_of_isochromats(
    tmp_path, name, num, lanes, real, bound
):
    kind = {"float": np.float32, "double": np.float64}[real]
    one_axis, parts = name == "fisp_real", 1 if name == "fisp_real" else 2
    train = random_train(num, one_axis)
    slopes = _slopes(num, np.complex64).astype(np.result_type(kind, np.complex64))
    by_pulse, by_atom = np.empty((4, num)), np.empty((4, 3))
    plane = slopes.view(kind)
    if one_axis:
        flip, _, TR, TE = train
        axis = -np.sin(0.7), np.cos(0.7)
        twin.fisp_real(flip, TR, TE, *TISSUE, *axis, 12, plane, by_atom, by_pulse)
    else:
        twin.fisp_complex(*train, *TISSUE, 12, plane, by_atom, by_pulse)
    parted, length = np.full((4, num, 3), np.nan, kind), 5
    atom = np.full((4, 3), np.nan, kind)
    work = _work(num, length, 12, parts, lanes, kind)
    arguments = [np.ascontiguousarray(x, kind) for x in (*train, *TISSUE)]
    numbers = [np.int64(n) for n in (3, num, length)]
    host_kernel(text_for(ADJOINT, 12, tmp_path, lanes), name, real)(
        3 * lanes, *arguments, slopes, *numbers, work, atom, parted
    )
    for which in range(8):
        if which == 1 and one_axis:
            continue
        exact = _exact(name, num, which)
        scale = max(1.0, np.abs(exact).max())
        ours = (*by_pulse, *by_atom)[which]
        text = (*parted.sum(axis=2, dtype=np.float64), *atom)[which]
        assert np.abs(ours - exact).max() < bound * scale, which
        assert np.abs(text - exact).max() < bound * scale, which


@pytest.mark.parametrize(("real", "bound"), [("float", 2e-5), ("double", 1e-8)])
@pytest.mark.parametrize(("num", "lanes"), [(1, 4), (2, 1), (27, 1), (27, 4)])
def test_the_derivatives_of_cpmg_are_those_of_the_sum_of_isochromats(
    tmp_path, num, lanes, real, bound
):
    kind = {"float": np.float32, "double": np.float64}[real]
    slopes, spacing = np.ascontiguousarray(_slopes(num, np.complex128).real, kind), 0.012
    tissue = [np.full(3, spacing), *TISSUE[:3]]
    ours = np.empty((4, 3))
    twin.cpmg(spacing, *TISSUE[:3], slopes, ours)
    length, atom = 4, np.full((4, 3), np.nan, kind)
    work = _work(num, length, 14, 1, lanes, kind)
    arguments = [np.ascontiguousarray(x, kind) for x in TISSUE[:3]]
    numbers = [np.int64(n) for n in (3, num, length)]
    host_kernel(text_for(ADJOINT, 14, tmp_path, lanes), "cpmg", real)(
        3 * lanes, kind(spacing), *arguments, slopes, *numbers, work, atom
    )
    for which in range(4):
        exact = _differences(lambda *atom: _cpmg(*atom, num), slopes, [], tissue, which)
        scale = max(1.0, np.abs(exact).max())
        assert np.abs(ours[which] - exact).max() < bound * scale, which
        assert np.abs(atom[which] - exact).max() < bound * scale, which


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("name", ["fisp_real", "fisp_complex"])
def test_leaving_out_orders_leaves_them_out_of_the_derivative(tmp_path, name, lanes):
    """3 of 12 orders: the gradient is that of the signal without them, not of the exact one."""
    from ipads_stream.physics import epg

    train, slopes = random_train(23, name == "fisp_real"), _slopes(23, np.complex128)
    initial = [*TISSUE[:3], -np.log((1 - TISSUE[3]) / 2 + 1e-300) * TISSUE[0]]

    def loss(flip):
        return (np.conj(slopes) * epg.fisp_formula(flip, *train[1:], *initial, 3)).real.sum()

    by_atom, parted = np.empty((4, 3)), np.empty((4, 23, 3))
    work = _work(23, 5, 3, 1 if name == "fisp_real" else 2, lanes, float)
    host_kernel(text_for(ADJOINT, 3, tmp_path, lanes), name, "double")(
        3 * lanes, *map(np.ascontiguousarray, (*train, *TISSUE)), slopes,
        *(np.int64(n) for n in (3, 23, 5)), work, by_atom, parted
    )  # fmt: skip
    step = np.eye(23) * STEP
    exact = [(loss(train[0] + h) - loss(train[0] - h)) / (2 * STEP) for h in step]
    assert np.abs(parted[0].sum(1) - exact).max() < 1e-8
    whole = _differences(_fisp, slopes, train, TISSUE, 0)
    assert np.abs(whole - exact).max() > 1e-4
