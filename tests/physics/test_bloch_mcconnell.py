"""z-spectra against matrix exponentials of another form, closed forms, limits and other kinds."""

from __future__ import annotations

import itertools
import math
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import expm

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.core.handover import torch_threads
from ipads_stream.physics import exchange as bloch_mcconnell
from ipads_stream.physics.exchange import Pulses, Semisolid, Solute, Water, line_shape

B0 = 3.0
WATER = Water(T1=1.3, T2=0.08)
AMIDE = Solute(fraction=1e-3, T1=1.0, T2=0.05, exchange=50.0, shift_ppm=3.5)
AMINE = Solute(fraction=3e-3, T1=0.9, T2=0.02, exchange=800.0, shift_ppm=2.0)
NOE = Solute(fraction=5e-3, T1=1.1, T2=0.005, exchange=16.0, shift_ppm=-3.5)
BOUND = Solute(fraction=0.1, T1=1.0, T2=4e-5, exchange=30.0, shift_ppm=-3.0)
SOLID = Semisolid(fraction=0.12, T1=1.0, T2=9e-6, exchange=40.0, shift_ppm=-2.3)
OFFSETS = np.array([-300.0, -4.0, -1.3, -0.2, 0.0, 0.07, 0.9, 2.0, 3.4, 15.0])
TRAIN = {"amplitude": 2e-6, "duration": 0.05, "gap": 0.02, "number": 20}
SHAPE = 3e-6 * np.hanning(18)[1:-1] * np.exp(1j * np.linspace(0, 4, 16) ** 2)


def _exact(pools, offset, trains, df_ppm=0.0, B1=1.0, Mz0=1.0):
    """One offset by exponentials of a complex generator: all M+, all M-, all Mz, and 1."""
    num = len(pools)
    eye = np.eye(num)
    f = np.array([p.fraction for p in pools])
    R1, R2 = (np.array([1 / getattr(p, T) for p in pools]) for T in ("T1", "T2"))
    solid = np.array([isinstance(p, Semisolid) for p in pools])
    k = np.array([0.0, *(p.exchange for p in pools[1:])])
    K = np.zeros((num, num))
    K[0], K[:, 0] = k, k * f / f[0]
    K -= np.diag(K.sum(axis=0))
    assert np.allclose(K @ f, 0, atol=1e-13)  # detailed balance
    moving = K.copy()
    moving[solid], moving[:, solid] = 0, 0
    moving[0, 0] = -(k * f)[~solid].sum() / f[0]
    per_ppm = 1e-6 * GAMMA_1H * B0

    def generator(w, frame):
        turn = 1j * per_ppm * np.array([p.shift_ppm + df_ppm - frame for p in pools])
        w = B1 * np.where(solid, 0, w)
        rates = np.zeros(num)
        for i in np.flatnonzero(solid):
            df = per_ppm / (2 * np.pi) * (offset - pools[i].shift_ppm - df_ppm)
            rates[i] = np.pi * abs(full[0] * B1) ** 2 * _line(pools[i], df)
        A = np.zeros((3 * num + 1, 3 * num + 1), complex)
        blocks = [
            [moving - np.diag(R2 + turn), 0 * eye, np.diag(1j * w)],
            [0 * eye, moving - np.diag(R2 - turn), np.diag(-1j * np.conj(w))],
            [np.diag(0.5j * np.conj(w)), np.diag(-0.5j * w), K - np.diag(R1 + rates)],
        ]
        A[:-1, :-1] = np.block(blocks)
        A[2 * num : 3 * num, -1] = R1 * f
        return A

    M = np.concatenate([np.zeros(2 * num), Mz0 * f, [1.0]])
    for train in trains:
        train = train if isinstance(train, Pulses) else Pulses(**train)
        samples = np.atleast_1d(train.amplitude)
        pulse = np.eye(3 * num + 1)
        for b1 in samples:
            full = [GAMMA_1H * b1]
            step = train.duration / samples.size
            pulse = expm(generator(full[0], offset) * step) @ pulse
        full = [0.0]
        frame = offset if train.oscillator == "continuous" else 0.0
        gap = expm(generator(0.0, frame) * train.gap)
        if train.spoiled:
            gap[: 2 * num] = 0
        M = np.linalg.matrix_power(gap @ pulse, train.number) @ M
    assert abs(M[2 * num].imag) < 1e-12
    return M[2 * num].real / f[0]


def _line(pool, df):
    x = 2 * np.pi * df * pool.T2
    if pool.line == "Lorentzian":
        return pool.T2 / np.pi / (1 + x**2)
    if pool.line == "Gaussian":
        return pool.T2 / np.sqrt(2 * np.pi) * np.exp(-(x**2) / 2)
    return _super_lorentzian(df, pool.T2)


def _super_lorentzian(df, T2):
    """Adaptive quadrature; within 1 kHz the cubic through values and slopes at both ends."""
    edge = line_shape.CUTOFF
    if abs(df) >= edge:
        return _powder(df, T2)
    h = 1e-3 * edge
    near = [_powder(edge + i * h, T2) for i in (-2, -1, 1, 2)]
    slope = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * h)
    t, span = (df + edge) / (2 * edge), 2 * edge
    value = _powder(edge, T2) * ((2 * t**3 - 3 * t**2 + 1) + (3 * t**2 - 2 * t**3))
    return value + span * slope * (-(t**3 - 2 * t**2 + t) + (t**3 - t**2))


def _powder(df, T2):
    x, middle = 2 * np.pi * df * T2, 1 / math.sqrt(3)

    def integrand(u):
        y = abs(3 * u * u - 1)
        return math.exp(-2 * (x / y) ** 2) / y if y > 1e-100 else 0.0

    steps = np.logspace(-6, 0, 20)
    edges = np.concatenate([[0], middle - middle * steps[::-1][1:], [middle],
                            middle + (1 - middle) * steps])  # fmt: skip
    parts = [quad(integrand, a, b, epsabs=0, epsrel=1e-12, limit=200)[0]
             for a, b in itertools.pairwise(edges)]  # fmt: skip
    return math.sqrt(2 / math.pi) * T2 * sum(parts)


CASES = {
    "water": ([WATER], [TRAIN], {}),
    "CW": ([WATER, AMIDE], [{"amplitude": 1e-6, "duration": 2.0}], {"df_ppm": 0.3, "B1": 0.8}),
    "three": ([WATER, AMIDE, AMINE], [TRAIN], {}),
    "saturated": ([WATER, AMIDE, AMINE], [TRAIN], {"Mz0": 0.4}),
    "inverted": ([WATER, AMINE], [TRAIN | {"number": 1}], {"Mz0": -1.0}),
    "halted": ([WATER, AMIDE, AMINE], [TRAIN | {"oscillator": "halted"}], {"df_ppm": -0.2}),
    "spoiled": ([WATER, AMIDE, AMINE], [TRAIN | {"spoiled": True}], {"B1": 1.2}),
    "spoiled at once": ([WATER, AMINE], [TRAIN | {"spoiled": True, "gap": 0.0}], {}),
    "shaped": ([WATER, AMIDE, NOE], [TRAIN | {"amplitude": SHAPE, "number": 4}], {"B1": 1.1}),
    "two trains": ([WATER, AMINE], [TRAIN, TRAIN | {"amplitude": 1e-6j, "number": 3}], {}),
    "five": ([WATER, AMIDE, AMINE, NOE, BOUND], [TRAIN], {"df_ppm": 0.1}),
    "seven": ([WATER, AMIDE, AMINE, NOE, Solute(2e-3, 1.0, 0.1, 500.0, 3.0),
               Solute(1e-3, 1.2, 0.08, 30.0, -1.6), SOLID], [TRAIN], {"df_ppm": 0.1}),
    "solid": ([WATER, AMIDE, SOLID], [TRAIN], {"df_ppm": 0.25, "B1": 0.9}),
    "solid, shaped": ([WATER, SOLID], [TRAIN | {"amplitude": SHAPE, "number": 3}], {}),
    "Gaussian": ([WATER, Semisolid(0.1, 1.0, 1.5e-5, 30.0, line="Gaussian")], [TRAIN], {}),
    "Lorentzian": ([Water(1.2, 0.06, 0.9, 0.1), Semisolid(0.1, 1.0, 1e-5, 30.0, line="Lorentzian"),
                    AMIDE, NOE], [TRAIN], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_complex_matrix_exponential_gives_the_same(name):
    pools, trains, rest = CASES[name]
    exact = np.array([_exact(pools, offset, trains, **rest) for offset in OFFSETS])
    found = bloch_mcconnell.z_spectrum(pools, OFFSETS, trains, B0, **rest)
    assert np.ptp(exact) > 0.1
    assert found.dtype == np.float64
    assert np.abs(found - exact).max() < 1e-11
    formula = bloch_mcconnell.z_spectrum_formula(pools, OFFSETS, trains, B0, **rest)
    assert np.abs(formula - exact).max() < 1e-11


def test_float32_is_given_back_and_computed_in_float64():
    exchange = np.float32([30.0, 50.0, 70.0])
    pools = [WATER, Solute(1e-3, 1.0, 0.05, exchange, 3.5)]
    train = {"amplitude": 2e-6, "duration": 2.0}  # 7 ppm: 5,600 rad
    found = bloch_mcconnell.z_spectrum(pools, OFFSETS, train, B0)
    assert found.dtype == np.float32
    assert found.shape == (3, OFFSETS.size)
    for k, row in zip(exchange, found, strict=True):
        exact = [
            _exact([WATER, Solute(1e-3, 1.0, 0.05, float(k), 3.5)], x, [train]) for x in OFFSETS
        ]
        assert np.abs(row - exact).max() < 1e-7


def test_long_pulses_and_short_T2_lose_no_digit():
    """15 s of 2e4 rad/s beside a pool of 2.5e4/s: 19 squarings."""
    pools, train = [Water(3.0, 2.0), BOUND], {"amplitude": 2e-6, "duration": 15.0}
    found = bloch_mcconnell.z_spectrum(pools, [-15.0, 0.5, 15.0], train, 7.0)
    for offset, z in zip((-15.0, 0.5, 15.0), found, strict=True):
        # The steady state is a solution of linear equations: no exponential.
        assert z == pytest.approx(_steady(pools, offset, 2e-6, 7.0), abs=3e-3)
    longer = bloch_mcconnell.z_spectrum(pools, [-15.0, 0.5, 15.0], train | {"duration": 1e3}, 7.0)
    for offset, z in zip((-15.0, 0.5, 15.0), longer, strict=True):
        assert z == pytest.approx(_steady(pools, offset, 2e-6, 7.0), abs=1e-11)


def _steady(pools, offset, b1, field):
    num = len(pools)
    A, b = np.zeros((3 * num, 3 * num)), np.zeros(3 * num)
    for i, p in enumerate(pools):
        w, d = GAMMA_1H * b1, 1e-6 * GAMMA_1H * field * (p.shift_ppm - offset)
        A[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = [
            [-1 / p.T2, d, 0], [-d, -1 / p.T2, w], [0, -w, -1 / p.T1]]  # fmt: skip
        b[3 * i + 2] = p.fraction / p.T1
        if i:
            back = p.exchange * p.fraction / pools[0].fraction
            for j in range(3):
                A[3 * i + j, 3 * i + j] -= p.exchange
                A[j, 3 * i + j] += p.exchange
                A[j, j] -= back
                A[3 * i + j, j] += back
    return np.linalg.solve(A, -b)[2] / pools[0].fraction


def test_without_exchange_the_steady_state_is_that_of_bloch():
    b1, offsets = 1.5e-6, np.linspace(-6, 6, 31)
    pools = [WATER, Solute(0.01, 1.0, 0.05, 0.0, 3.5)]
    found = bloch_mcconnell.z_spectrum(pools, offsets, {"amplitude": b1, "duration": 60.0}, B0)
    x = (1e-6 * GAMMA_1H * B0 * offsets * WATER.T2) ** 2
    s = (GAMMA_1H * b1) ** 2 * WATER.T1 * WATER.T2
    assert np.abs(found - (1 + x) / (1 + x + s)).max() < 1e-12


def test_slow_exchange_lowers_z_as_R1rho_theory_says():
    """Zaiss and Bachert, NMR in Biomedicine 26(5), 2013: k and R2 of the solute below the shift."""
    water, b1, field = Water(3.0, 0.5), 0.7e-6, 9.4  # R2 of the water: precession has decayed
    f, k, shift = 2e-4, 40.0, 1.9
    solute = Solute(f, 1.0, 0.1, k, shift)
    offsets = np.linspace(1.2, 2.6, 15)
    time = 4.0
    found = bloch_mcconnell.z_spectrum(
        [water, solute], offsets, {"amplitude": b1, "duration": time}, field
    )
    per_ppm, w1 = 1e-6 * GAMMA_1H * field, GAMMA_1H * b1
    wa, wb = per_ppm * offsets, per_ppm * (offsets - shift)
    sine2 = w1**2 / (w1**2 + wa**2)
    R2b = 1 / solute.T2
    top = f * k * sine2 * ((wb - wa) ** 2 + (w1**2 + wa**2) * R2b / k + R2b * (k + R2b))
    width2 = w1**2 * (R2b + k) / k + (R2b + k) ** 2
    R1rho = (1 - sine2) / water.T1 + sine2 / water.T2 + top / (width2 + wb**2)
    steady = (1 - sine2) / water.T1 / R1rho
    theory = ((1 - sine2) - steady) * np.exp(-R1rho * time) + steady
    none = bloch_mcconnell.z_spectrum([water], offsets, {"amplitude": b1, "duration": time}, field)
    effect = (none - found).max()
    assert effect > 0.01
    assert np.abs(found - theory).max() < 0.01 * effect


def test_equilibrium_stays_and_returns():
    pools = [WATER, AMIDE, AMINE, NOE, SOLID]
    still = TRAIN | {"amplitude": 0.0}
    assert np.abs(bloch_mcconnell.z_spectrum(pools, OFFSETS, still, B0) - 1).max() < 1e-13
    off = bloch_mcconnell.z_spectrum(pools, OFFSETS, TRAIN, B0, B1=0.0)
    assert np.abs(off - 1).max() < 1e-13
    same = [Water(1.3, 0.08), Solute(0.2, 1.3, 0.05, 30.0, 2.0)]
    back = bloch_mcconnell.z_spectrum(same, OFFSETS, still, B0, Mz0=-1.0)
    assert np.abs(back - (1 - 2 * math.exp(-20 * 0.07 / 1.3))).max() < 1e-13


def test_exchange_alone_keeps_the_sum_of_magnetisation():
    """RF turns the water only; with no relaxation the two pools share what is left."""
    pools = [Water(1e9, 1e9), Solute(0.25, 1e9, 1e9, 3.0, 500.0)]
    turn = {"amplitude": math.pi / 2 / GAMMA_1H / 1e-3, "duration": 1e-3, "gap": 0.0}
    (z,) = bloch_mcconnell.z_spectrum(pools, [0.0], turn | {"gap": 50.0, "spoiled": True}, 20.0)
    (now,) = bloch_mcconnell.z_spectrum(pools, [0.0], turn, 20.0)
    assert abs(now) < 0.01
    assert z == pytest.approx((now + 0.25) / 1.25, abs=2e-3)


def test_symmetries():
    mirrored = [WATER] + [Solute(p.fraction, p.T1, p.T2, p.exchange, -p.shift_ppm)
                          for p in (AMIDE, AMINE)]  # fmt: skip
    z = bloch_mcconnell.z_spectrum([WATER, AMIDE, AMINE], OFFSETS, TRAIN, B0)
    other = bloch_mcconnell.z_spectrum(mirrored, -OFFSETS, TRAIN, B0)
    assert np.abs(z - other).max() < 1e-13
    moved = bloch_mcconnell.z_spectrum([WATER, AMIDE, AMINE], OFFSETS + 0.37, TRAIN, B0, 0.37)
    assert np.abs(z - moved).max() < 1e-12
    turned = TRAIN | {"amplitude": 2e-6 * np.exp(0.7j)}
    assert (
        np.abs(z - bloch_mcconnell.z_spectrum([WATER, AMIDE, AMINE], OFFSETS, turned, B0)).max()
        < 1e-13
    )
    swapped = bloch_mcconnell.z_spectrum([WATER, AMINE, AMIDE], OFFSETS, TRAIN, B0)
    assert np.abs(z - swapped).max() < 1e-13


def test_pulses_compose():
    pools = [WATER, AMIDE, SOLID]
    z = bloch_mcconnell.z_spectrum(pools, OFFSETS, TRAIN | {"gap": 0.0}, B0)
    one = bloch_mcconnell.z_spectrum(pools, OFFSETS, {"amplitude": 2e-6, "duration": 1.0}, B0)
    assert np.abs(z - one).max() < 1e-12
    flat = TRAIN | {"amplitude": np.full(7, 2e-6), "gap": 0.0}
    assert np.abs(bloch_mcconnell.z_spectrum(pools, OFFSETS, flat, B0) - one).max() < 1e-12
    silent = [TRAIN, TRAIN | {"amplitude": 0.0, "duration": 0.3, "gap": 0.0, "number": 1}]
    longer = [TRAIN | {"number": 19}, TRAIN | {"number": 1, "gap": 0.32}]
    both = [bloch_mcconnell.z_spectrum(pools, OFFSETS, x, B0) for x in (silent, longer)]
    assert np.abs(both[0] - both[1]).max() < 1e-12


def test_a_broad_solute_tends_to_the_semisolid_of_the_same_line():
    differences = []
    for T2 in (4e-5, 1e-5):
        solute = Solute(0.1, 1.0, T2, 30.0, -3.0)
        solid = Semisolid(0.1, 1.0, T2, 30.0, -3.0, "Lorentzian")
        z = [
            bloch_mcconnell.z_spectrum([WATER, pool], OFFSETS, TRAIN, B0)
            for pool in (solute, solid)
        ]
        differences.append(np.abs(z[0] - z[1]).max())
    # The transverse water that visits the solute is lost: what differs is of the order k f T2w.
    assert differences[0] < 0.06
    slow = Solute(0.1, 1.0, 1e-5, 0.3, -3.0), Semisolid(0.1, 1.0, 1e-5, 0.3, -3.0, "Lorentzian")
    z = [bloch_mcconnell.z_spectrum([WATER, pool], OFFSETS, TRAIN, B0) for pool in slow]
    assert np.abs(z[0] - z[1]).max() < 0.02 * np.abs(z[0] - 1).max()


@pytest.mark.parametrize("T2", [6e-6, 1.2e-5, 1e-4])
def test_the_super_lorentzian_is_the_adaptive_quadrature(T2):
    df = np.array([1000.0, 1234.5, 3e3, 1e4, 4e4, -2e4])
    exact = np.array([_powder(abs(x), T2) for x in df])
    found = line_shape.super_lorentzian(df, np.asarray(T2))
    assert np.abs(found / np.maximum(exact, 1e-300) - 1)[exact > 1e-30].max() < 1e-10
    quick = line_shape.interpolated_super_lorentzian(df, np.asarray(T2))
    assert np.abs(quick - found).max() < 1e-9 * T2
    near = line_shape.super_lorentzian(np.array([0.0, 400.0, -999.9]), np.asarray(T2))
    assert near == pytest.approx([_super_lorentzian(x, T2) for x in (0.0, 400.0, 999.9)], rel=1e-7)


@pytest.mark.parametrize("line", [line_shape.lorentzian, line_shape.gaussian])
def test_lines_integrate_to_one(line):
    T2 = 1e-5
    total = quad(lambda w: float(line(np.asarray(w / (2 * np.pi)), np.asarray(T2))), 0, 40 / T2,
                 limit=500, points=[1 / T2, 5 / T2])[0]  # fmt: skip
    assert 2 * total == pytest.approx(1.0, abs=0.02 if line is line_shape.lorentzian else 1e-10)


def test_batches_are_their_members():
    rng = np.random.default_rng(0)
    f, k = rng.uniform(1e-4, 1e-2, (3, 1)), rng.uniform(20, 900, (3, 4))
    df, B1 = rng.uniform(-0.4, 0.4, 4), rng.uniform(0.7, 1.3, (3, 1))
    pools = [Water(np.array([1.0, 1.2, 1.4, 2.0]), 0.07), Solute(f, 1.0, 0.03, k, 2.0), SOLID]
    z = bloch_mcconnell.z_spectrum(pools, OFFSETS, TRAIN, B0, df, B1)
    assert z.shape == (3, 4, OFFSETS.size)
    for i in range(3):
        for j in range(4):
            one = [Water(float(pools[0].T1[j]), 0.07),
                   Solute(f[i, 0], 1.0, 0.03, k[i, j], 2.0), SOLID]  # fmt: skip
            alone = bloch_mcconnell.z_spectrum(one, OFFSETS, TRAIN, B0, df[j], B1[i, 0])
            # The number of squarings follows the strongest of 8 pairs.
            assert np.abs(z[i, j] - alone).max() < 1e-13
    empty = bloch_mcconnell.z_spectrum([Water(np.empty(0), 0.05)], OFFSETS, TRAIN, B0)
    assert empty.shape == (0, OFFSETS.size)


def _mappings(k):
    return [{"fraction": 1.0, "T1": 1.3, "T2": 0.08, "exchange": 0, "shift_ppm": 0},
            {"fraction": 1e-3, "T1": 1.0, "T2": 0.05, "exchange": k, "shift_ppm": 3.5},
            {"fraction": 0.1, "T1": 1.0, "T2": 1e-5, "exchange": 30.0,
             "line": "super-Lorentzian"}]  # fmt: skip


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_torch_gives_torch(kind):
    k = torch.tensor([30.0, 80.0], dtype=kind)
    z = bloch_mcconnell.z_spectrum(_mappings(k), torch.from_numpy(OFFSETS), TRAIN, B0)
    assert z.dtype == kind
    twin = bloch_mcconnell.z_spectrum(_mappings(k.numpy()), OFFSETS, TRAIN, B0)
    assert isinstance(twin, np.ndarray)
    assert np.array_equal(z.numpy(), twin)
    mixed = bloch_mcconnell.z_spectrum(_mappings(k), OFFSETS, TRAIN, B0)
    assert torch.equal(mixed, z)


def test_gradients_are_those_of_finite_differences():
    offsets = torch.tensor([0.3, 3.4], dtype=torch.float64)

    def z(k, f, T1, df, B1, amplitude, gap):
        pools = [Water(T1, 0.08), Solute(f, 1.0, 0.05, k, 3.5), SOLID]
        train = {"amplitude": 1e-6 * amplitude, "duration": 0.005, "gap": gap, "number": 3}
        return bloch_mcconnell.z_spectrum(pools, offsets, train, B0, df, B1)

    start = [torch.tensor(x, dtype=torch.float64) for x in (90.0, 0.002, 1.3, 0.1, 0.9, 0.0, 0.01)]
    start[5] = torch.tensor([4.0 + 3.0j, 8.0], dtype=torch.complex128)
    for x in start:
        x.requires_grad_()
    with torch_threads(1):
        assert torch.autograd.gradcheck(z, start)
    plain = z(*(x.detach() for x in start))
    assert torch.abs(plain - z(*start).detach()).max() < 1e-12


def test_a_duration_alone_has_a_gradient():
    duration = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    train = TRAIN | {"duration": duration, "number": 2}
    (z,) = bloch_mcconnell.z_spectrum([WATER, AMIDE], [3.5], train, B0)
    z.backward()
    near = [bloch_mcconnell.z_spectrum([WATER, AMIDE], [3.5], train | {"duration": 0.01 + h}, B0)
            for h in (-1e-6, 1e-6)]  # fmt: skip
    assert duration.grad.item() == pytest.approx((near[1] - near[0])[0] / 2e-6, rel=1e-5)


def test_vmap_and_the_kernel_agree():
    k = torch.tensor([30.0, 80.0, 200.0], dtype=torch.float64)
    offsets = torch.tensor([-1.0, 0.3, 3.4], dtype=torch.float64)

    def z(k):
        return bloch_mcconnell.z_spectrum(
            [WATER, Solute(1e-3, 1.0, 0.05, k, 3.5)], offsets, TRAIN, B0
        )

    assert torch.abs(torch.vmap(z)(k) - z(k)).max() < 1e-11


def test_the_formula_runs_on_the_strict_array_api():
    strict = pytest.importorskip("array_api_strict")
    k = strict.asarray([30.0, 80.0], dtype=strict.float64)
    z = bloch_mcconnell.z_spectrum(_mappings(k), strict.asarray(OFFSETS), TRAIN, B0)
    plain = bloch_mcconnell.z_spectrum(_mappings(np.array([30.0, 80.0])), OFFSETS, TRAIN, B0)
    assert np.abs(np.asarray(z) - plain).max() < 1e-12


@pytest.mark.gpu
def test_cupy_gives_cupy():
    cupy = pytest.importorskip("cupy")
    k = cupy.array([30.0, 80.0])
    z = bloch_mcconnell.z_spectrum(_mappings(k), OFFSETS, TRAIN, B0)
    plain = bloch_mcconnell.z_spectrum(_mappings(k.get()), OFFSETS, TRAIN, B0)
    assert np.abs(z.get() - plain).max() < 1e-11


def test_exponential_of_any_matrix():
    rng = np.random.default_rng(1)
    for scale in (0.0, 1e-9, 1.0, 30.0):
        A = scale * rng.normal(size=(4, 6, 6))
        A = A - np.eye(6) * max(0.0, np.linalg.eigvals(A).real.max())
        exact = np.array([expm(a) for a in A])
        assert np.abs(bloch_mcconnell.expm(A) - exact).max() < 1e-12


def test_what_a_mapping_lacks_is_named():
    with pytest.raises(ValueError, match=r"pulses.duration is missing"):
        bloch_mcconnell.z_spectrum([WATER], OFFSETS, {"amplitude": 1e-6}, B0)
    solute = {"fraction": 0.1, "T1": 1.0, "T2": 0.1, "shift_ppm": 1.0}
    with pytest.raises(ValueError, match=r"pools\[1\].exchange is missing"):
        bloch_mcconnell.z_spectrum([WATER, solute], OFFSETS, TRAIN, B0)
    with pytest.raises(ValueError, match=r"pools\[0\].exchange=3"):
        bloch_mcconnell.z_spectrum([{"T1": 1.0, "T2": 0.1, "exchange": 3}], OFFSETS, TRAIN, B0)
    with pytest.raises(TypeError, match=r"pools\[1\]=SimpleNamespace.*fraction"):
        bloch_mcconnell.z_spectrum([WATER, types.SimpleNamespace()], OFFSETS, TRAIN, B0)


def test_mixed_libraries_are_named():
    pools = [Water(np.ones(2), torch.full((2,), 0.1)), AMIDE]
    with pytest.raises(TypeError, match=r"pools\[0\].T1.*pools\[0\].T2"):
        bloch_mcconnell.z_spectrum(pools, OFFSETS, TRAIN, B0)
    with pytest.raises(TypeError, match=r"pools\[0\].T1.*pulses.gap"):
        train = TRAIN | {"gap": torch.tensor(0.02)}
        bloch_mcconnell.z_spectrum([Water(np.ones(2), 0.1)], OFFSETS, train, B0)


@pytest.mark.parametrize("pools", [
    [Water(math.inf, 0.08), AMIDE], [Water(1.3, math.inf), AMIDE, SOLID],
    [Water(math.inf, math.inf), Solute(1e-3, math.inf, math.inf, 50.0, 3.5)],
    [WATER, Semisolid(0.1, math.inf, 1e-5, 30.0)],
])  # fmt: skip
def test_without_relaxation(pools):
    exact = [_exact(pools, offset, [TRAIN]) for offset in OFFSETS]
    for spectrum in (bloch_mcconnell.z_spectrum, bloch_mcconnell.z_spectrum_formula):
        assert np.abs(spectrum(pools, OFFSETS, TRAIN, B0) - exact).max() < 1e-11


def test_a_negative_B1_is_a_phase_of_pi():
    pools, train = [WATER, AMIDE, SOLID], TRAIN | {"amplitude": SHAPE, "number": 3}
    B1 = np.array([0.4, 1.3])
    turned = bloch_mcconnell.z_spectrum(pools, OFFSETS, train | {"amplitude": -SHAPE}, B0, B1=B1)
    for spectrum in (bloch_mcconnell.z_spectrum, bloch_mcconnell.z_spectrum_formula):
        assert np.abs(spectrum(pools, OFFSETS, train, B0, B1=-B1) - turned).max() < 1e-11


@pytest.mark.parametrize("changes", [{}, {"spoiled": True}, {"oscillator": "halted"}])
def test_pulses_of_no_duration_are_none(changes):
    """What is left is the gap: exactly that of a train without RF."""
    pools, train = [WATER, AMIDE, SOLID], TRAIN | {"duration": 0.0, "number": 7} | changes
    for amplitude in (2e-6, SHAPE):
        none = train | {"amplitude": amplitude}
        z = bloch_mcconnell.z_spectrum(pools, OFFSETS, none, B0, Mz0=0.3)
        still = bloch_mcconnell.z_spectrum(pools, OFFSETS, none | {"amplitude": 0.0}, B0, Mz0=0.3)
        assert np.abs(z - still).max() < 1e-14
        assert np.abs(z - _exact(pools, 1.0, [none], Mz0=0.3)).max() < 1e-12
    bare = bloch_mcconnell.z_spectrum(pools, OFFSETS, train | {"gap": 0.0}, B0, Mz0=0.3)
    assert np.array_equal(bare, np.full(OFFSETS.size, 0.3))


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.asarray])
def test_whole_numbers_of_any_kind(kind):
    z = bloch_mcconnell.z_spectrum([WATER, AMIDE], OFFSETS, TRAIN | {"number": kind(20)}, B0)
    assert np.array_equal(z, bloch_mcconnell.z_spectrum([WATER, AMIDE], OFFSETS, TRAIN, B0))


GOOD = {"pools": [WATER, AMIDE], "offsets_ppm": [0.0, 1.0], "pulses": TRAIN, "B0": 3.0}
BAD = [
    ({"pools": []}, "pools: none given"),
    ({"pools": [AMIDE, WATER]}, r"pools\[0\]=Solute: the water"),
    ({"pools": [WATER, WATER]}, r"pools\[1\]=Water"),
    ({"pools": [WATER, SOLID, SOLID]}, "two are semisolid"),
    (
        {"pools": [{"T1": 1.0, "T2": 0.1, "exchange": 5.0}]},
        r"pools\[0\].exchange=5.0: 0 is allowed",
    ),
    ({"pools": [{"T1": 1.0, "t2": 0.1}]}, r"pools\[0\].t2=0.1: T1, T2"),
    ({"pools": [{"T1": 1.0}]}, r"pools\[0\].T2 is missing"),
    ({"pools": [Water(-1.0, 0.1)]}, r"pools\[0\].T1=-1.0: a positive time"),
    ({"pools": [Water(1.0, 2.1)]}, r"pools\[0\].T2=2.1: at most 2 T1 = 2.0 s"),
    ({"pools": [Water(np.array([1.0, np.nan]), 0.1)]}, r"pools\[0\].T1=nan"),
    ({"pools": [WATER, Solute(-1e-3, 1.0, 0.1, 50.0, 2.0)]}, r"pools\[1\].fraction=-0.001"),
    ({"pools": [WATER, Solute(1e-3, 1.0, 0.1, -50.0, 2.0)]}, r"pools\[1\].exchange=-50.0"),
    ({"pools": [WATER, Semisolid(0.1, 1.0, 1e-5, 30.0, line="box")]}, r"line='box'"),
    ({"pools": [Water(np.ones(2), 0.1), Solute(np.ones(3), 1, 0.1, 5, 2)]}, "do not fit together"),
    ({"pulses": TRAIN | {"amplitude": 2.0}}, r"pulses.amplitude=2.0: a finite number of T"),
    ({"pulses": TRAIN | {"amplitude": np.ones((2, 2))}}, r"amplitude: shape \(2, 2\)"),
    ({"pulses": TRAIN | {"duration": -0.1}}, "pulses.duration=-0.1"),
    ({"pulses": [TRAIN, TRAIN | {"gap": math.inf}]}, r"pulses\[1\].gap=inf"),
    ({"pulses": TRAIN | {"number": 0}}, "pulses.number=0: a whole number"),
    ({"pulses": TRAIN | {"number": 2.5}}, "pulses.number=2.5"),
    ({"pulses": TRAIN | {"oscillator": "on"}}, "oscillator='on': continuous or halted"),
    ({"pulses": {"amplitude": 1e-6}}, "pulses.duration is missing"),
    ({"pulses": []}, "none given"),
    ({"offsets_ppm": [[0.0]]}, r"offsets_ppm: shape \(1, 1\)"),
    ({"offsets_ppm": [math.nan]}, "offsets_ppm=nan"),
    ({"B0": 0.0}, "B0=0.0: a finite positive field"),
    ({"B1": math.inf}, "B1=inf: a finite factor"),
    ({"pools": [WATER, Semisolid(0.1, math.inf, math.inf, 30.0)]}, r"pools\[1\].T2=inf: a finite"),
    ({"df_ppm": math.inf}, "df_ppm=inf: a finite number of ppm"),
    ({"Mz0": 1.5}, "Mz0=1.5: a finite number from -1 to 1"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD, ids=[message for _, message in BAD])
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        bloch_mcconnell.z_spectrum(**GOOD | wrong)


@pytest.mark.parametrize(
    "wrong", [{"pools": WATER}, {"pools": [3]}, {"pulses": 5}, {"pulses": [5]}]
)
def test_what_is_no_pool_or_pulse_is_refused(wrong):
    with pytest.raises(TypeError, match="allowed"):
        bloch_mcconnell.z_spectrum(**GOOD | wrong)


@settings(max_examples=60, deadline=None)
@given(
    f=st.floats(0, 0.3), k=st.floats(0, 5e3), T1=st.floats(0.05, 5), ratio=st.floats(1e-4, 1),
    shift=st.floats(-8, 8), b1=st.floats(0, 2e-5), gap=st.floats(0, 1), number=st.integers(1, 40),
    Mz0=st.floats(-1, 1), df=st.floats(-1, 1),
)  # fmt: skip
def test_magnetisation_never_exceeds_equilibrium(f, k, T1, ratio, shift, b1, gap, number, Mz0, df):
    pools = [Water(T1, ratio * T1), Solute(f, 1.0, 0.01, k, shift), SOLID]
    train = {"amplitude": b1, "duration": 0.03, "gap": gap, "number": number}
    z = bloch_mcconnell.z_spectrum(pools, OFFSETS, train, B0, df, Mz0=Mz0)
    assert np.all(np.isfinite(z))
    assert np.abs(z).max() <= 1 + 1e-12


def test_gamma_is_the_one_of_the_package():
    """A 180 degree pulse inverts."""
    pools, half = [Water(1e6, 1e6)], 0.5 / GAMMA_BAR_1H / 1e-3
    (z,) = bloch_mcconnell.z_spectrum(pools, [0.0], {"amplitude": half, "duration": 1e-3}, B0)
    assert z == pytest.approx(-1, abs=1e-8)
