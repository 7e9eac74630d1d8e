"""The coherence pathway against isochromats, fine sums in time and closed forms."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import torch

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch import pathway
from ipads_stream.physics.waveforms import Pulse, Waveforms

HARD = 1e-7  # s, of a pulse that turns at once
ALONG = {"excitation": 1.0, "refocusing": 1j, "inversion": 1.0}
FLIP = {"excitation": math.pi / 2, "refocusing": math.pi, "inversion": math.pi}


def _waveforms(parts):
    """Parts: (seconds, gradient, sampled) or the use of a hard pulse."""
    b1, gradient, dt, sampled, pulses = [], [], [], [], []
    for part in parts:
        if isinstance(part, str):
            start = sum(dt)
            pulses.append(Pulse(len(dt), len(dt) + 1, start + 0.5 * HARD, part))
            b1.append(ALONG.get(part, 1) * FLIP.get(part, 1) / (GAMMA_1H * HARD))
            part = (HARD, (0, 0, 0), False)
        else:
            b1.append(0)
        dt.append(part[0])
        gradient.append(part[1])
        sampled.append(part[2])
    receiver = np.zeros(sum(sampled))
    return Waveforms(
        np.array(b1, complex), np.array(gradient, float), np.array(dt), np.array(sampled),
        receiver, tuple(pulses),
    )  # fmt: skip


def _spin_echoes(seed=0):
    """An inversion, an excitation and two refocusing pulses among random gradients."""
    rng = np.random.default_rng(seed)

    def lobes(count):
        return [
            (rng.uniform(2e-4, 2e-3), 2e-3 * rng.uniform(-1, 1, 3), bool(rng.integers(2)))
            for _ in range(count)
        ]

    silent = [(t, g, False) for t, g, _ in lobes(2)]
    parts = ["inversion", *silent, "excitation"]
    return _waveforms([*parts, *lobes(5), "refocusing", *lobes(7), "refocusing", *lobes(4)])


def _sampled_signal(w, position, df):
    """M+ of single spins at every sample, step by step."""
    M, out = np.tile([0.0, 0.0, 1.0], (len(position), 1)), []
    for k in range(len(w.dt)):
        M = bloch.evolve(
            M, w.b1[k : k + 1], w.gradient[k : k + 1], w.dt[k : k + 1], position=position, df=df
        )
        if w.sampled[k]:
            out.append(M[:, 0] + 1j * M[:, 1])
    return np.array(out)


def test_phases_of_isochromats():
    w = _spin_echoes()
    rng = np.random.default_rng(1)
    position, df = rng.uniform(-0.05, 0.05, (20, 3)), rng.uniform(-80, 80, 20)
    signal = _sampled_signal(w, position, df)
    state = pathway.along(w)
    angle = -2 * np.pi * (state.k @ position.T + state.tau[:, None] * df)
    # One factor, that of spins without dephasing; refocusing about y conjugates it.
    expected = np.exp(1j * angle) * _sampled_signal(w, np.zeros((1, 3)), np.zeros(1))
    # Within a hard pulse df turns by 5e-5.
    assert np.abs(signal - expected).max() < 2e-4


def test_b_against_a_fine_sum():
    w = _spin_echoes(3)
    fine, k, b, expected = 2000, np.zeros(3), 0.0, []
    centre = {p.first: p.use for p in w.pulses}
    for n in range(len(w.dt)):
        if centre.get(n) == "excitation":
            k, b = 0 * k, 0.0
        if centre.get(n) == "refocusing":
            k = -k
        for _ in range(fine):
            middle = k + 0.5 * GAMMA_BAR_1H * w.gradient[n] * w.dt[n] / fine
            b += (2 * np.pi) ** 2 * middle @ middle * w.dt[n] / fine
            k = k + GAMMA_BAR_1H * w.gradient[n] * w.dt[n] / fine
        if w.sampled[n]:
            expected.append(b)
    np.testing.assert_allclose(pathway.along(w).b, expected, rtol=1e-6)


@pytest.mark.parametrize("delta, Delta, G", [(2e-3, 20e-3, 0.04), (10e-3, 10e-3, 0.03)])
def test_stejskal_and_tanner(delta, Delta, G):
    lobe = (delta, (0, G, 0), False)
    gap = Delta - delta
    between = [(gap / 2, (0, 0, 0), False)] if gap else []
    w = _waveforms(
        ["excitation", lobe, *between, "refocusing", *between, lobe, (3e-3, (0, 0, 0), True)]
    )
    state = pathway.along(w)
    # The refocusing pulse of 0.1 us lengthens Delta.
    b = GAMMA_1H**2 * G**2 * delta**2 * (Delta + HARD - delta / 3)
    np.testing.assert_allclose(state.b, [b], rtol=1e-12)
    assert np.abs(state.k).max() < 1e-9 * GAMMA_BAR_1H * G * delta


def test_time_of_dephasing_vanishes_at_the_spin_echo():
    half = (5e-3, (0, 0, 0), True)
    w = _waveforms(["excitation", half, "refocusing", half, half])
    tau = pathway.along(w).tau
    np.testing.assert_allclose(tau, [5e-3, 0, 5e-3], atol=1.1 * HARD)


@pytest.mark.parametrize(
    "convert",
    [
        array_api_strict.asarray,
        torch.from_numpy,
        lambda x: torch.from_numpy(x).requires_grad_(not np.iscomplexobj(x)),
    ],
    ids=["strict", "torch", "torch gradient"],
)
def test_every_library_gives_the_same_numbers(convert):
    w = _spin_echoes()
    other = Waveforms(
        convert(w.b1), convert(w.gradient), convert(w.dt), w.sampled, w.receiver, w.pulses
    )
    a, b = pathway.along(w), pathway.along(other)
    np.testing.assert_array_equal(a.k, b.k)
    np.testing.assert_array_equal(a.b, b.b)
    there = pathway.along(other, like=other.dt)
    for name in ("k", "tau", "b"):
        found, expected = getattr(there, name), getattr(a, name)
        assert type(found) is type(other.dt)
        if isinstance(found, torch.Tensor):
            assert found.requires_grad == other.dt.requires_grad
            found = found.detach()
        # Sums of times in another order of rounding
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9, atol=1e-12)


def test_excitations_restart_it_where_nothing_is_left():
    rest, read = (10e-3, (1e-3, 0, 0), False), (1e-3, (5e-3, 0, 0), True)
    w = _waveforms(["excitation", read, rest, "excitation", read, rest, "excitation", read])
    with pytest.raises(ValueError, match="further pathways"):
        pathway.along(w)
    with pytest.raises(ValueError, match=r"memory=0\.02"):
        pathway.along(w, memory=20e-3)
    state = pathway.along(w, memory=10e-3)
    np.testing.assert_allclose(state.k, np.tile(state.k[0], (3, 1)), rtol=1e-9)
    np.testing.assert_allclose(state.b, state.b[0], rtol=1e-9)
    np.testing.assert_allclose(state.tau, 1e-3 + HARD / 2, rtol=1e-9)


READ = (1e-3, (0, 0, 0), True)
SILENT = (1e-3, (0, 0, 0), False)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([READ], "samples after an excitation"),
        ([READ, "excitation", READ], "samples after an excitation"),
        (["refocusing", SILENT, "excitation", READ], "refocusing after an excitation"),
        (["excitation", "other", READ], "its action on a pathway is not known"),
        (["excitation", "inversion", READ], "between an excitation and its samples"),
        (["excitation", "saturation", READ], "between an excitation and its samples"),
        (["excitation", SILENT, "excitation", SILENT, "excitation", READ], "further pathways"),
    ],
)
def test_refuses_what_has_no_single_pathway(parts, reason):
    with pytest.raises(ValueError, match=reason):
        pathway.along(_waveforms(parts))


def test_preparation_after_the_samples_of_a_repetition_is_fine():
    w = _waveforms(
        ["inversion", SILENT, "excitation", READ, SILENT, "inversion", SILENT, "excitation", READ]
    )
    assert pathway.along(w, memory=0.0).tau[1] == pytest.approx(1e-3 + HARD / 2)


def test_refuses_pulses_out_of_order_and_a_negative_memory():
    w = _waveforms(["excitation", READ, "refocusing", READ])
    wrong = Waveforms(w.b1, w.gradient, w.dt, w.sampled, w.receiver, w.pulses[::-1])
    with pytest.raises(ValueError, match="in order of time"):
        pathway.along(wrong)
    with pytest.raises(ValueError, match="memory=-1"):
        pathway.along(w, memory=-1.0)
