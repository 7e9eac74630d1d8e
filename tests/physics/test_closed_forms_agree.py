"""Closed forms against trains of pulses on isochromats and against extended phase graphs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics import bloch, epg
from ipads_stream.physics.closed_forms.multi_echo import gradient_echoes, spin_echoes
from ipads_stream.physics.closed_forms.steady_states import (
    bssfp,
    inversion_recovery,
    mprage,
    spoiled_gradient_echo,
)

HARD = 1e-9  # s, of a pulse that turns at once
RNG = np.random.default_rng(0)
N = 12
TISSUE = {
    "T1": RNG.uniform(0.3, 1.5, N),
    "T2": RNG.uniform(0.03, 0.2, N),
    "df": RNG.uniform(-60, 60, N),
    "M0": RNG.uniform(0.5, 2, N),
}
B1 = RNG.uniform(0.7, 1.2, N)


def _equilibrium():
    return TISSUE["M0"][:, None] * np.array([0.0, 0, 1])


def _pulsed(M, flip, phase=0.0, B1=B1):
    b1 = np.array([flip * np.exp(1j * phase) / (GAMMA_1H * HARD)])
    return bloch.evolve(M, b1, np.zeros((1, 3)), HARD, B1=B1)


def _waited(M, t):
    return bloch.free_precession(M, t, **TISSUE)


def _spoiled(M):
    return M * np.array([0.0, 0, 1])


def _inverted(M, efficiency):
    return _spoiled(M) * -efficiency


def _signal(M):
    """M+ with the receiver a quarter of a turn ahead of x."""
    return -1j * (M[:, 0] + 1j * M[:, 1])


@pytest.mark.slow
def test_spoiled_gradient_echo():
    flip, TR, TE = 0.4, 0.03, 0.007
    M = _equilibrium()
    for _ in range(900):
        M = _pulsed(M, flip)
        echo = _signal(_waited(M, TE))
        M = _spoiled(_waited(M, TR))
    tissue = {"T1": TISSUE["T1"], "T2s": TISSUE["T2"], "df": TISSUE["df"], "M0": TISSUE["M0"]}
    expected = spoiled_gradient_echo(flip, TR, TE, **tissue, B1=B1)
    np.testing.assert_allclose(echo, expected, rtol=1e-5)


@pytest.mark.parametrize("increment", [math.pi, 0.0, 1.1])
def test_balanced_steady_state(increment):
    flip, TR, TE, num = 0.7, 0.008, 0.003, 2000
    pulses = flip * np.exp(1j * increment * np.arange(num)) / (GAMMA_1H * HARD)
    b1, dt = np.zeros(2 * num - 1, complex), np.full(2 * num - 1, TR)
    b1[::2], dt[::2] = pulses, HARD
    M = bloch.evolve(_equilibrium(), b1, np.zeros((len(dt), 3)), dt, B1=B1, **TISSUE)
    echo = _signal(_waited(M, TE)) * np.exp(-1j * (num - 1) * increment)
    expected = bssfp(flip, TR, TE, **TISSUE, B1=B1, increment=increment)
    np.testing.assert_allclose(echo, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("efficiency", [1.0, 0.85, -1.0])
@pytest.mark.parametrize("flip", [math.pi / 2, 0.6])
def test_inversion_recovery(efficiency, flip):
    TI, TR, TE = 0.35, 1.1, 0.01
    M = _equilibrium()
    for _ in range(60):
        M = _pulsed(_waited(_inverted(M, efficiency), TI), flip)
        echo = np.abs(_signal(_waited(M, TE))) * np.sign(_signal(M).real)
        M = _waited(_spoiled(M), TR - TI)
    of = {name: TISSUE[name] for name in ("T1", "T2", "M0")}
    expected = inversion_recovery(TI, TR, TE=TE, flip=flip, efficiency=efficiency, B1=B1, **of)
    np.testing.assert_allclose(echo, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("centre", [0, 7, 31])
def test_mprage(centre):
    flip, TI, TR, ESP, num, TE = 0.16, 0.7, 1.6, 0.009, 32, 0.004
    M = _equilibrium()
    for _ in range(20):
        M, echoes = _waited(_inverted(M, 0.96), TI - centre * ESP), []
        for _ in range(num):
            M = _pulsed(M, flip)
            echoes.append(_signal(M).real)
            M = _spoiled(_waited(M, ESP))
        M = _waited(M, TR - TI - (num - centre) * ESP)
    expected = mprage(
        flip, TI, TR, ESP, num, TISSUE["T1"], TE, TISSUE["T2"], centre, 0.96, B1, TISSUE["M0"]
    )
    assert expected.shape == (N, num)
    decay = np.exp(-TE / TISSUE["T2"])[:, None]
    np.testing.assert_allclose(np.stack(echoes, -1) * decay, expected, rtol=1e-6, atol=1e-8)


def test_decays():
    TE = np.array([0.0, 0.01, 0.05])
    M = np.stack([0 * TISSUE["M0"], TISSUE["M0"], 0 * TISSUE["M0"]], -1)
    expected = np.stack([_signal(_waited(M, t)) for t in TE], -1)
    result = gradient_echoes(TE, TISSUE["T2"], TISSUE["df"], TISSUE["M0"])
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_echoes_of_ideal_refocusing_in_extended_phase_graphs():
    ESP, num = 0.01, 20
    graph = epg.cpmg(ESP, num, TISSUE["T1"], TISSUE["T2"])
    expected = spin_echoes(ESP * np.arange(1, num + 1), TISSUE["T2"])
    np.testing.assert_allclose(np.abs(graph), expected, rtol=1e-9)


def test_rf_spoiling_in_extended_phase_graphs_tends_to_the_ideal():
    """With TR of some T2 nothing is left to spoil: no pathway but the free decay."""
    TR, TE, flip, num = 0.6, 0.005, 0.5, 40
    T1, T2 = TISSUE["T1"], np.full(N, 0.04)
    flips, phases = np.full(num, flip), np.zeros(num)
    graph = epg.fisp(flips, phases, TR, TE, T1, T2, B1)[:, -1]
    expected = spoiled_gradient_echo(flip, TR, TE, T1, T2, B1=B1)
    np.testing.assert_allclose(-1j * graph, expected, rtol=1e-5)
