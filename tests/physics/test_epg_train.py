"""Extended phase graphs of any train against isochromats, Bloch-Torrey and closed forms."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ipads_stream.physics import epg
from ipads_stream.physics.epg import general as epg_train

BACKENDS = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
}
ONE = np.ones(1)


def _turned(M, angle, phase):
    """Spins (n, 3) after a rotation of dM/dt = M x B about the axis (cos, sin, 0) of phase."""
    x, y = np.cos(phase), np.sin(phase)
    cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])
    return M @ (np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).T


def _isochromats(steps, T1, T2, B1=1.0, df=0.0, initial=1.0, spins=1024):
    """Mean over spins across the gradient, one atom: precession as a rotation about z."""
    theta = 2 * np.pi * (np.arange(spins) + 0.5) / spins
    M = np.zeros((spins, 3))
    M[:, 2], echoes = initial, []
    for flip, phase, t, shift, echo in zip(*steps, strict=True):
        M = _turned(M, flip * B1, phase)
        # A positive df, like a positive gradient step here, turns M+ by exp(-i ...) and exp(i ...).
        angle = 2 * np.pi * df * t - (0 if shift == epg.CRUSHED else shift) * theta
        c, s, e2 = np.cos(angle), np.sin(angle), np.exp(-t / T2)
        x, y = e2 * (c * M[:, 0] + s * M[:, 1]), e2 * (c * M[:, 1] - s * M[:, 0])
        M = np.stack([x, y, 1 - (1 - M[:, 2]) * np.exp(-t / T1)], 1)
        if shift == epg.CRUSHED:
            M[:, :2] = 0
        if echo:
            echoes.append((M[:, 0] + 1j * M[:, 1]).mean())
    return np.array(echoes)


def _random_steps(rng, num, most=3):
    shift = rng.choice([-1, 0, 1], num) * rng.choice([1, 1, 1, most], num)
    shift[rng.random(num) < 0.05] = epg.CRUSHED
    flip = np.where(rng.random(num) < 0.3, 0.0, rng.uniform(-1, 3.5, num))
    echo = rng.random(num) < 0.5
    echo[-1] = True
    return epg.Train(flip, rng.uniform(-9, 9, num), rng.uniform(0, 0.01, num), shift, echo)


TISSUE = {
    "T1": np.array([1.0, 0.5, 2.0, 0.05]),
    "T2": np.array([0.1, 0.05, 0.9, 0.1]),
    "B1": np.array([1.0, 0.8, 1.2, 0.0]),
    "df": np.array([0.0, 30.0, -12.0, 5.0]),
    "initial": np.array([1.0, -1.0, 0.3, -0.2]),
}


def _oracle(steps, tissue=TISSUE):
    atoms = zip(*tissue.values(), strict=True)
    return np.stack([_isochromats(steps, **dict(zip(tissue, atom, strict=True))) for atom in atoms])


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 3e-6), ("float64", 1e-12)])
def test_any_train_is_the_sum_of_isochromats(convert, dtype, bound):
    steps = _random_steps(np.random.default_rng(0), 60)
    exact = _oracle(steps)
    tissue = {name: convert(x.astype(dtype)) for name, x in TISSUE.items()}
    signal = epg.train(*steps, **tissue)
    assert np.abs(exact).max() > 0.1
    assert str(signal.dtype).endswith({"float32": "complex64", "float64": "complex128"}[dtype])
    assert np.abs(np.asarray(signal) - exact).max() < bound


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 5))
def test_random_trains_are_sums_of_isochromats(seed, num, most):
    steps = _random_steps(np.random.default_rng(seed), num, most)
    signal = epg.train(*steps, **TISSUE)
    assert np.abs(signal - _oracle(steps)).max() < 1e-12
    assert np.abs(signal).max() <= 1 + 1e-12
    # Nothing kept that is not needed, nothing needed that is not kept.
    assert np.abs(epg.train(*steps, **TISSUE, orders=1000) - signal).max() < 1e-14


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 5), st.integers(1, 9))
def test_kernel_and_formula_leave_out_the_same(seed, num, most, orders):
    rng = np.random.default_rng(seed)
    steps = _random_steps(rng, num, most)
    more = {"D": np.array([0.0, 1e-9, 3e-9, 9e-9]), "twist": 3e4, "orders": orders}
    kernel = epg.train(*steps, **TISSUE, **more)
    assert np.abs(kernel - epg.train_formula(*steps, **TISSUE, **more)).max() < 1e-12


def test_a_tensor_and_an_array_run_in_the_same_kernel(monkeypatch):
    monkeypatch.setattr(epg_train, "train_formula", None)
    steps = _random_steps(np.random.default_rng(0), 60)
    for dtype in (np.float32, np.float64):
        arrays = {name: x.astype(dtype) for name, x in TISSUE.items()}
        tensors = {name: torch.from_numpy(x) for name, x in arrays.items()}
        ours = epg.train(*steps, **arrays)
        assert np.array_equal(epg.train(*steps, **tensors).numpy(), ours)
        tensors["df"] = arrays["df"]
        assert np.array_equal(epg.train(*steps, **tensors).numpy(), ours)


def test_atoms_do_not_depend_on_their_batch():
    rng = np.random.default_rng(2)
    steps = _random_steps(rng, 40)
    T1, df = rng.uniform(0.3, 2, 50), rng.uniform(-50, 50, 50)
    whole = epg.train(*steps, T1=T1, T2=0.2, df=df)
    parts = [epg.train(*steps, T1=T1[i], T2=0.2, df=df[i]) for i in (slice(21), slice(21, 50))]
    assert np.array_equal(whole, np.concatenate(parts))
    assert epg.train(*steps, T1=T1[:0], T2=0.2).shape == (0, int(steps.echo.sum()))


def test_gradient_echoes_are_fisp():
    rng = np.random.default_rng(1)
    flip, phase, TR = rng.uniform(0, 1.5, 50), rng.uniform(-3, 3, 50), rng.uniform(0.01, 0.02, 50)
    T1, T2 = rng.uniform(0.3, 2, 9), rng.uniform(0.02, 0.2, 9)
    ours = epg.train(*epg.gradient_echoes(flip, phase, TR, 0.3 * TR), T1=T1, T2=T2)
    assert np.abs(ours - epg.fisp(flip, phase, TR, 0.3 * TR, T1, T2, orders=25)).max() < 1e-13


def test_spin_echoes_are_cpmg_whatever_the_crushers():
    T1, T2, B1 = np.array([1.0, 0.3]), np.array([0.1, 0.02]), np.array([0.7, 1.2])
    exact = epg.cpmg(0.01, 20, T1, T2, B1)
    for crusher in (1, 2, -3):
        steps = epg.spin_echoes(np.full(20, np.pi), np.zeros(20), 0.01, crusher=crusher)
        assert np.abs(epg.train(*steps, T1=T1, T2=T2, B1=B1) - exact).max() < 1e-13


def test_without_the_cpmg_condition_echoes_alternate_and_die():
    """Isochromats for any phase; excited along the refocusing axis, echoes alternate."""
    flip, phase = np.full(24, 2.2), np.zeros(24)
    tissue = {"T1": ONE, "T2": ONE * 0.3, "B1": ONE}
    meets = epg.train(*epg.spin_echoes(flip, phase, 0.01), **tissue)[0]
    steps = epg.spin_echoes(flip, phase, 0.01, excitation_phase=0.0)
    misses = epg.train(*steps, **tissue)[0]
    assert np.abs(misses - _isochromats(steps, 1.0, 0.3)).max() < 1e-13
    assert np.abs(meets).min() > 0.42
    assert np.abs(misses[-8:]).max() < 0.15


@pytest.mark.parametrize("increment", [0.0, 50.0, 117.0])
def test_rf_spoiled_trains_are_sums_of_isochromats(increment):
    flip, T1, T2 = np.full(120, 0.35), np.array([0.6]), np.array([0.08])
    signal = epg.spgr(flip, 0.008, 0.003, T1, T2, increment=np.deg2rad(increment), orders=60)
    n = np.arange(120)
    phase = np.deg2rad(increment) * n * (n + 1) / 2
    steps = epg.Train(
        np.stack([flip, 0 * flip], 1).ravel(), np.stack([phase, phase], 1).ravel(),
        np.tile([0.003, 0.005], 120), np.tile([0, 1], 120), np.tile([True, False], 120),
    )  # fmt: skip
    exact = _isochromats(steps, 0.6, 0.08) * np.exp(-1j * phase)
    assert np.abs(signal[0] - exact).max() < 1e-11


def test_rf_spoiling_comes_near_the_ernst_formula_and_gradient_spoiling_does_not():
    T1, T2, TR = 0.8, 0.1, 0.01
    flip = np.deg2rad(20)
    e1 = np.exp(-TR / T1)
    ernst = np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))
    train = np.full(1200, flip), TR, 0.0, ONE * T1, ONE * T2
    spoiled = abs(epg.spgr(*train)[0, -1])
    assert abs(spoiled / ernst - 1) < 0.05
    assert abs(abs(epg.spgr(*train, increment=0.0)[0, -1]) / ernst - 1) > 0.3
    ideal = epg.gradient_echoes(train[0], 0 * train[0], TR, 0.0, shift=epg.CRUSHED)
    assert abs(epg.train(*ideal, T1=ONE * T1, T2=ONE * T2)[0, -1] - 1j * ernst) < 1e-6


def test_a_balanced_train_reaches_the_closed_steady_state_of_each_isochromat():
    """Freeman and Hill's steady state with alternating pulses, per off-resonance."""
    T1, T2, TR, flip, num = 0.2, 0.06, 0.005, 0.7, 800
    df = np.linspace(-150, 150, 31)
    steps = epg.gradient_echoes(np.full(num, flip), np.zeros(num), TR, 0.0, shift=0)
    signal = epg.train(*steps, T1=T1, T2=T2 * np.ones(31), df=df)[:, -1]
    e1, e2, c, theta = np.exp(-TR / T1), np.exp(-TR / T2), np.cos(flip), -2 * np.pi * df * TR
    d = (1 - e1 * c) * (1 - e2 * np.cos(theta)) - e2 * (e1 - c) * (e2 - np.cos(theta))
    exact = 1j * (1 - e1) * np.sin(flip) * (1 - e2 * np.exp(-1j * theta)) / d
    assert np.abs(np.abs(signal) - np.abs(exact)).max() < 1e-6
    assert min(np.abs(signal - exact).max(), np.abs(signal - exact.conj()).max()) < 1e-6


def test_psif_needs_an_earlier_pulse():
    flip = np.full(300, 0.6)
    pulses = np.stack([flip, 0 * flip], -1).ravel()
    duration, shift = np.tile([0.006, 0.004], 300), np.tile([1, 0], 300)
    steps = epg.Train(pulses, 0 * pulses, duration, shift, shift == 1)
    signal = epg.train(*steps, T1=ONE, T2=ONE * 0.2)[0]
    assert abs(signal[0]) == 0
    assert abs(signal[-1]) > 0.03
    assert np.abs(signal - _isochromats(steps, 1.0, 0.2)).max() < 1e-12


def test_a_failed_inversion_lets_the_rest_recover():
    TI, T1, B1 = 0.3, 0.7, np.linspace(0, 1.2, 13)
    crushed = np.array([epg.CRUSHED, 0])
    flip, duration = np.array([np.pi, 1.0]), np.array([TI, 0.0])
    steps = epg.Train(flip, np.zeros(2), duration, crushed, crushed == 0)
    signal = epg.train(*steps, T1=T1, T2=0.05, B1=B1)[:, 0]
    left = 1 - (1 - np.cos(np.pi * B1)) * np.exp(-TI / T1)
    assert np.abs(signal - 1j * np.sin(B1) * left).max() < 1e-14


def test_far_apart_pulses_see_equilibrium_and_without_B1_nothing_is_seen():
    flip = np.array([0.2, 1.5, 0.9])
    steps = epg.gradient_echoes(flip, 0 * flip, 1e3, 0.01)
    signal = epg.train(*steps, T1=ONE, T2=ONE * 0.1)
    assert np.abs(signal - 1j * np.sin(flip) * np.exp(-0.1)).max() < 1e-15
    assert not epg.train(*steps, T1=ONE, T2=ONE * 0.1, B1=0.0 * ONE).any()


# Diffusion ----------------------------------------------------------------------------------------
TWIST, D = 4e4, np.array([0.0, 1e-9, 3e-9])


def test_hahn_echo_under_a_constant_gradient():
    """exp(-(2/3) gamma^2 G^2 D tau^3), gamma G tau = twist."""
    tau = 0.02
    steps = epg.Train(*np.array([[np.pi / 2, np.pi], [0, 0], [tau, tau]]), np.array([1, 1]),
                      np.array([False, True]))  # fmt: skip
    signal = epg.train(*steps, T1=ONE, T2=ONE * 0.08, D=D, twist=TWIST)[:, 0]
    exact = np.exp(-2 * tau / 0.08) * np.exp(-2 / 3 * (TWIST / tau) ** 2 * D * tau**3)
    assert np.abs(np.abs(signal) - exact).max() < 1e-15
    assert np.abs(signal[2]) < 0.95 * np.abs(signal[0])


def test_pulsed_gradients_attenuate_by_exp_minus_b_D():
    """Stejskal and Tanner: b = q^2 (Delta - delta / 3)."""
    delta, gap, lobes = 0.004, 0.015, 3
    half = [(0, delta, lobes), (0, gap, 0)]
    rows = [(np.pi / 2, 0.003, 0), *half, (np.pi, gap, 0), (0, delta, lobes), (0, 0.003, 0)]
    flip, duration, shift = (np.array(x) for x in zip(*rows, strict=True))
    echo = np.arange(6) == 5
    signal = epg.train(flip, 0 * flip, duration, shift, echo, T1=ONE, T2=ONE * 0.08, D=D,
                       twist=TWIST)[:, 0]  # fmt: skip
    b = (lobes * TWIST) ** 2 * (delta + 2 * gap - delta / 3)
    assert np.abs(np.abs(signal / signal[0]) - np.exp(-b * D)).max() < 1e-14


def test_a_stimulated_echo_stores_the_diffusion_weighting_along_z():
    """Three pulses of 90 degrees, crushed in between: half, with b over the mixing time."""
    delta, mixing, T1, T2 = 0.003, 0.25, 0.9, 0.06
    rows = [(np.pi / 2, delta, 1), (np.pi / 2, mixing, epg.CRUSHED), (np.pi / 2, delta, 1)]
    flip, duration, shift = (np.array(x) for x in zip(*rows, strict=True))
    signal = epg.train(flip, 0 * flip, duration, shift.astype(int), np.arange(3) == 2, T1=T1,
                       T2=T2 * np.ones(3), D=D, twist=TWIST)[:, 0]  # fmt: skip
    b = TWIST**2 * (delta + mixing - delta / 3)
    exact = 0.5 * np.exp(-mixing / T1 - 2 * delta / T2 - b * D)
    assert np.abs(np.abs(signal) - exact).max() < 1e-15


def test_cpmg_with_diffusion_decays_by_the_b_of_each_echo():
    """Ideal refocusing between constant gradients: every echo adds q^2 ESP / 3 (Carr, Purcell)."""
    n = np.arange(1, 17)
    steps = epg.spin_echoes(np.full(16, np.pi), np.zeros(16), 0.01)
    signal = epg.train(*steps, T1=ONE, T2=ONE * 0.1, D=D, twist=TWIST)
    exact = np.exp(-n * 0.01 / 0.1 - n * 0.01 * TWIST**2 / 3 * D[:, None])
    assert np.abs(signal - exact).max() < 1e-14


def _bloch_torrey(steps, T1, T2, D, points=64, parts=100):
    """The differential equation in space, split into dephasing and diffusion (Strang).

    Between whole turns M+ is a periodic function times a phase ramp of so many turns: diffusion
    acts on both, so that a wave of k is damped as one of k + turns.
    """
    theta = 2 * np.pi * np.arange(points) / points
    k = np.fft.fftfreq(points, 1 / points)
    M = np.zeros((points, 3))
    M[:, 2], echoes = 1, []
    for flip, phase, t, shift, echo in zip(*steps, strict=True):
        M, dt = _turned(M, flip, phase), t / parts
        wave, z = M[:, 0] + 1j * M[:, 1], M[:, 2]
        for part in range(parts):
            turns = shift * (part + 0.5) / parts
            damped = np.exp(-D * dt * TWIST**2 * (k + turns) ** 2 - dt / T2)
            wave = np.fft.ifft(damped * np.fft.fft(wave))
            z = np.fft.ifft(np.exp(-D * dt * TWIST**2 * k**2) * np.fft.fft(z)).real
            z = 1 - (1 - z) * np.exp(-dt / T1)
        wave = wave * np.exp(1j * shift * theta)
        M = np.stack([wave.real, wave.imag, z], 1)
        if echo:
            echoes.append(wave.mean())
    return np.array(echoes)


def test_diffusion_is_that_of_the_bloch_torrey_equation():
    rng = np.random.default_rng(3)
    num = 10
    steps = epg.Train(
        rng.uniform(0.3, 2.5, num),
        rng.uniform(-3, 3, num),
        rng.uniform(0.005, 0.02, num),
        rng.integers(-2, 3, num),
        np.ones(num, bool),
    )
    ours = epg.train(*steps, T1=ONE * 0.5, T2=ONE * 0.1, D=5e-9, twist=TWIST)[0]
    exact = _bloch_torrey(steps, 0.5, 0.1, 5e-9)
    without = epg.train(*steps, T1=ONE * 0.5, T2=ONE * 0.1)[0]
    assert np.abs(ours - exact).max() < 1e-5
    assert np.abs(without - exact).max() > 3e-2


# Derivatives and arguments ------------------------------------------------------------------------
def test_gradients_of_every_argument():
    rng, shift = np.random.default_rng(5), np.array([1, -1, 2, -1, 1, 1])
    random = rng.uniform(0.3, 2.5, 6), rng.uniform(-3, 3, 6), rng.uniform(0.005, 0.02, 6)
    steps = epg.Train(*random, shift, np.arange(6) % 2 == 1)
    inputs = [torch.from_numpy(x).requires_grad_() for x in steps[:3]]
    names = ["T1", "T2", "B1", "df", "initial"]
    inputs += [torch.from_numpy(0.9 * TISSUE[name][:3]).requires_grad_() for name in names]
    inputs.append(torch.full((3,), 2e-9, dtype=torch.float64, requires_grad=True))

    def signal(flip, phase, duration, *tissue):
        given_ = dict(zip([*names, "D"], (*tissue[:-1], tissue[-1]), strict=True))
        return torch.view_as_real(
            epg.train(flip, phase, duration, *steps[3:], **given_, twist=TWIST)
        )

    assert torch.autograd.gradcheck(signal, [*inputs[:-1], inputs[-1].detach()])
    assert (signal(*inputs).abs().amax(dim=(0, 2)) > 1e-2).all()
    change = torch.autograd.grad(signal(*inputs).pow(2).sum(), inputs[-1])[0]
    h = 1e-13
    plain = [x.detach() for x in inputs]
    up, down = (signal(*plain[:-1], plain[-1] + s).pow(2).sum() for s in (h, -h))
    assert abs(float(change.sum() - (up - down) / (2 * h))) < 1e-4 * abs(float(change.sum()))


def test_schedules_carry_gradients():
    flip = torch.full((8,), 2.5, dtype=torch.float64, requires_grad=True)
    tissue = {"T1": torch.ones(2).double(), "T2": torch.full((2,), 0.1).double()}

    def echoes(flip):
        steps = epg.spin_echoes(flip, 0 * flip, 0.01)
        return torch.view_as_real(epg.train(*steps, **tissue))

    assert torch.autograd.gradcheck(echoes, flip)


def test_shapes_broadcast():
    steps = epg.gradient_echoes(np.ones(4), np.zeros(4), 0.01, 0.0, shift=0)
    df = np.linspace(-50, 50, 7)
    signal = epg.train(*steps, T1=np.ones((5, 1)), T2=0.1, df=df)
    assert signal.shape == (5, 7, 4)
    alone = epg.train(*steps, T1=np.ones(1), T2=0.1, df=df[3:4])
    assert np.array_equal(signal[2, 3], alone[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip": np.array([0.1, np.nan])}, "flip=nan: a finite angle"),
        ({"duration": np.array([0.1, -0.1])}, "duration=-0.1: a finite time"),
        ({"shift": np.array([0.5, 1])}, "shift=.*whole numbers"),
        ({"shift": np.array([1])}, "shift \\(1,\\)"),
        ({"echo": np.array([False, False])}, "echo=.*at least one"),
        ({"echo": np.array([1, 0])}, "echo=.*booleans"),
        ({"orders": 0}, "orders=0"),
        ({"df": np.array([np.inf])}, "df=inf"),
        ({"D": -1e-9}, "D=-1e-09"),
        ({"D": 1e-9}, "twist=0.0: with D"),
        ({"initial": 1.5}, "initial=1.5"),
        ({"T2": 3.0}, "T2=3.0: at most 2 T1"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"flip": np.ones(2), "phase": np.zeros(2), "duration": np.full(2, 0.01),
                 "shift": np.array([1, 1]), "echo": np.array([True, True]), "T1": ONE,
                 "T2": ONE * 0.1}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        epg.train(**(arguments | change))
