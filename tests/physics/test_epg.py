"""Extended phase graphs against sums of isochromats and closed forms, on every array library."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ipads_stream.physics import epg

BACKENDS = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "torch gradient": lambda x: torch.from_numpy(np.array(x)).requires_grad_(),
}
AXES = ("one axis", "two signs", "any axis")


def _isochromats(flip, phase, TR, TE, T1, T2, B1=1.0, TI=None, spins=1024):
    """Mean over spins across the spoiling gradient; rotations of dM/dt = M x B, one atom."""
    theta = 2 * np.pi * (np.arange(spins) + 0.5) / spins
    M = np.zeros((spins, 3))
    M[:, 2] = 1 if TI is None else 1 - 2 * np.exp(-TI / T1)
    signal = []
    for a, phi, t, echo in np.broadcast(flip, phase, TR, TE):
        x, y = np.cos(phi), np.sin(phi)
        cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])  # cross @ M = B1 x M
        M = M @ (np.eye(3) - np.sin(a * B1) * cross + (1 - np.cos(a * B1)) * cross @ cross).T
        signal.append((M[:, 0] + 1j * M[:, 1]).mean() * np.exp(-echo / T2))
        c, s, e1, e2 = np.cos(theta), np.sin(theta), np.exp(-t / T1), np.exp(-t / T2)
        M = np.stack([e2 * (c * M[:, 0] + s * M[:, 1]), e2 * (c * M[:, 1] - s * M[:, 0]),
                      e1 * M[:, 2] + 1 - e1], axis=1)  # fmt: skip
    return np.array(signal)


def _spin_echoes(ESP, num, T1, T2, B1, spins=1024):
    """The same for a CPMG train: 90 about -y, then 180 about x between two equal half turns."""
    theta = 2 * np.pi * (np.arange(spins) + 0.5) / spins
    e1, e2 = np.exp(-0.5 * ESP / T1), np.exp(-0.5 * ESP / T2)
    a, b = np.pi * B1, np.pi / 2 * B1
    M = np.stack([np.full(spins, np.sin(b)), np.zeros(spins), np.full(spins, np.cos(b))], 1)
    c, s, echoes = np.cos(theta), np.sin(theta), []

    def free(M):
        x, y = c * M[:, 0] + s * M[:, 1], c * M[:, 1] - s * M[:, 0]
        return np.stack([e2 * x, e2 * y, e1 * M[:, 2] + 1 - e1], 1)

    about_x = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    for _ in range(num):
        M = free(free(M) @ about_x.T)
        echoes.append((M[:, 0] + 1j * M[:, 1]).mean())
    return np.array(echoes)


def _phases(axes, num, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "one axis": np.full(num, 0.4),
        "two signs": 0.4 + np.pi * rng.integers(0, 9, num),
        "any axis": np.deg2rad(117) * np.arange(num) ** 2 / 2 + rng.uniform(-3, 3, num),
    }[axes]


def _case(axes, num=90, seed=0):
    rng = np.random.default_rng(seed)
    TR = rng.uniform(0.008, 0.02, num)
    train = [rng.uniform(-0.2, 1.6, num), _phases(axes, num), TR, 0.4 * TR]
    T1 = np.array([1.0, 0.5, 2.0, 0.3, 0.05])
    return train, [T1, np.array([0.1, 0.05, 0.9, 0.02, 0.1]), np.array([1, 0.8, 1.2, 0.9, 0.0])]


def _oracle(train, tissue, **more):
    return np.stack([_isochromats(*train, *atom, **more) for atom in zip(*tissue, strict=True)])


def _numpy(signal):
    return signal.detach().numpy() if isinstance(signal, torch.Tensor) else np.asarray(signal)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2e-6), ("float64", 1e-12)])
def test_fisp_is_the_sum_of_isochromats(convert, dtype, bound, axes):
    train, tissue = _case(axes)
    given_ = [convert(x.astype(dtype)) for x in tissue]
    for TI in (None, 0.02):
        signal = epg.fisp(*train, *given_, TI=TI, orders=45)
        assert str(signal.dtype).endswith({"float32": "complex64", "float64": "complex128"}[dtype])
        assert np.abs(_numpy(signal) - _oracle(train, tissue, TI=TI)).max() < bound


@pytest.mark.parametrize("axes", AXES)
def test_every_argument_may_be_of_the_library_of_the_tissue(axes):
    train, tissue = _case(axes, 30)
    exact = _oracle(train, tissue, TI=0.3)
    for convert in BACKENDS.values():
        arrays = [convert(x) for x in (*train, *tissue, np.full(5, 0.3))]
        assert np.abs(_numpy(epg.fisp(*arrays)) - exact).max() < 2e-5


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
def test_cpmg_is_the_sum_of_isochromats(convert):
    T1, T2, B1 = np.array([1.0, 0.3, 0.05]), np.array([0.1, 0.02, 0.1]), np.array([0.7, 1.2, 1.0])
    exact = np.stack([_spin_echoes(0.01, 33, *atom) for atom in zip(T1, T2, B1, strict=True)])
    for dtype, bound in (("float32", 1e-6), ("float64", 1e-13)):
        signal = epg.cpmg(0.01, 33, *(convert(x.astype(dtype)) for x in (T1, T2, B1)))
        assert np.abs(_numpy(signal) - exact).max() < bound


def test_the_sign_of_a_pulse():
    one = np.ones(1)
    for phi, expected in ((0.0, 1j), (np.pi / 2, -1), (-np.pi / 2, 1)):
        signal = epg.fisp(one * 0.3, one * phi, 1.0, 0.0, one, one)
        assert abs(signal[0, 0] - expected * np.sin(0.3)) < 1e-15


def test_ideal_refocusing_decays_with_T2():
    T2 = np.array([0.01, 0.08, 1.9])
    n = np.arange(1, 65)
    signal = epg.cpmg(0.012, 64, np.ones(3), T2)
    assert np.abs(signal - np.exp(-n * 0.012 / T2[:, None])).max() < 1e-14


def test_a_single_spin_echo_with_an_error_of_B1():
    B1, T1, T2 = np.linspace(0, 1.5, 16), 0.8, np.full(16, 0.06)
    echo = epg.cpmg(0.03, 1, T1, T2, B1)[:, 0]
    expected = np.sin(np.pi / 2 * B1) * np.sin(np.pi / 2 * B1) ** 2 * np.exp(-0.03 / 0.06)
    assert np.abs(echo - expected).max() < 1e-15


def test_three_pulses_make_a_stimulated_echo():
    """Every interval dephases alike: the stimulated echo of pulses 1, 2, 3 lies one interval after
    the third, on top of the spin echo of pulses 2, 3."""
    flip, TR, mixing = np.array([1.1, 0.7, 0.9, 0.0]), 0.05, 0.2
    T1, T2 = np.array([0.4]), np.array([0.07])
    signal = epg.fisp(flip, np.zeros(4), np.array([TR, mixing, TR, TR]), 0.0, T1, T2)
    stimulated = 0.5 * np.prod(np.sin(flip[:3])) * np.exp(-2 * TR / T2 - mixing / T1)
    left = 1 - np.exp(-TR / T1) * (1 - np.cos(flip[0]))
    spin = np.sin(flip[1]) * np.sin(flip[2] / 2) ** 2 * left * np.exp(-(mixing + TR) / T2)
    assert abs(signal[0, 3] + 1j * (stimulated + spin)) < 1e-14


def test_far_apart_pulses_see_equilibrium():
    flip = np.array([0.2, 1.5, 0.9])
    signal = epg.fisp(flip, np.zeros(3), 1e3, 0.01, np.array([1.0]), np.array([0.1]))
    assert np.abs(signal - 1j * np.sin(flip) * np.exp(-0.1)).max() < 1e-15


@pytest.mark.parametrize("flip", [0.1, 0.6, 1.4])
def test_the_steady_state_of_a_spoiled_train(flip):
    """The mean of the balanced steady state over all angles of precession (closed form)."""
    T1, T2, TR, one = 0.3, 0.08, 0.01, np.ones(1500)
    theta = 2 * np.pi * np.arange(4096) / 4096
    e1, e2, c = np.exp(-TR / T1), np.exp(-TR / T2), np.cos(flip)
    d = (1 - e1 * c) * (1 - e2 * np.cos(theta)) - e2 * (e1 - c) * (e2 - np.cos(theta))
    exact = (1j * (1 - e1) * np.sin(flip) * (1 - e2 * np.exp(-1j * theta)) / d).mean()
    signal = epg.fisp(flip * one, 0 * one, TR, 0.0, one[:1] * T1, one[:1] * T2)
    assert abs(signal[0, -1] - exact) < 1e-5
    spoiled = 1j * np.sin(flip) * (1 - e1) / (1 - e1 * c)
    short = epg.fisp(flip * one, 0 * one, TR, 0.0, one[:1] * T1, one[:1] * 1e-4)
    assert abs(short[0, -1] - spoiled) < 1e-6


def test_without_B1_nothing_is_seen():
    train, (T1, T2, _) = _case("any axis", 20)
    assert not epg.fisp(*train, T1, T2, 0.0 * T1).any()
    assert not epg.cpmg(0.01, 8, T1, T2, 0.0 * T1).any()


def test_shapes_broadcast_and_a_batch_is_its_parts():
    train, _ = _case("any axis", 40)
    rng = np.random.default_rng(0)
    T1, T2 = rng.uniform(0.3, 2, (50, 1)), rng.uniform(0.02, 0.3, 3)
    whole = epg.fisp(*train, T1, T2, orders=10)
    assert whole.shape == (50, 3, 40)
    parts = [epg.fisp(*train, T1[i], T2, orders=10) for i in range(50)]
    assert np.array_equal(whole, np.stack(parts))
    assert epg.fisp(*train, T1[:0], T2).shape == (0, 3, 40)
    assert epg.cpmg(0.01, 7, np.float64(1.0) * np.ones(()), 0.1).shape == (7,)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("orders", [1, 2, 7])
def test_kernel_and_formula_leave_out_the_same(axes, orders):
    train, tissue = _case(axes, 50)
    formula = epg.fisp_formula(*train, *tissue, orders=orders)
    assert np.abs(epg.fisp(*train, *tissue, orders=orders) - formula).max() < 1e-13


def _any_train(rng, num):
    n = np.arange(num)
    flip = [
        np.full(num, rng.uniform(0.05, 1.5)),
        rng.uniform(0, rng.uniform(0.1, 3), num),
        np.abs(np.sin(n / rng.uniform(20, 120))) * rng.uniform(0.2, 1.3),
        np.where(rng.random(num) < 0.1, rng.uniform(0, 3, num), 0.02),
    ][rng.integers(4)]
    phase = _phases(AXES[rng.integers(3)], num, rng.integers(99))
    TR = rng.uniform(0.004, 0.02) * (1 + 0.5 * rng.integers(2) * rng.random(num))
    return flip, phase, TR, 0.002


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 799), st.sampled_from([0.0, 0.6, -1.0]))
def test_automatic_orders_keep_the_bound(seed, num, lowest):
    rng = np.random.default_rng(seed)
    train = _any_train(rng, num)
    T1 = np.exp(rng.uniform(np.log(0.1), np.log(3.5), 32))
    longest = rng.uniform(0.02, 1.5)  # s: short ones leave orders out
    T2 = np.minimum(2 * T1, longest * np.exp(-rng.exponential(0.5, 32)))
    B1 = rng.uniform(lowest, 1.3, 32)
    auto = epg.fisp(*train, T1, T2, B1, 0.02)
    exact = epg.fisp(*train, T1, T2, B1, 0.02, orders=400)  # all that a train of 800 can use
    assert np.abs(auto - exact).max() < epg.BOUND
    assert np.abs(exact).max() <= 1 + 1e-12


def test_the_known_error_of_20_orders():
    """20 orders are off by several 1e-3 at T2 = 340 ms; the rule keeps the bound, and says so."""
    n = np.arange(1000)
    train = (np.abs(np.sin(n / 80)) * 1.0 + 0.09, np.zeros(1000), 0.012, 0.005)
    tissue = np.array([1.5]), np.array([0.34])
    assert 1e-3 < epg.truncation_error(*train, *tissue, orders=20)[0] < 2e-2
    assert epg.truncation_error(*train, *tissue)[0] < epg.BOUND
    TR = np.full(1000, 0.012)
    few = epg.num_orders(TR, (1.5, 1.5), (0.05, 0.05))
    many = epg.num_orders(TR, (1.5, 1.5), (0.34, 0.34))
    assert few < 40 and many < 240
    assert epg.num_orders(TR, (1.5, 1.5), (0.34, 0.34), bound=1e-2) < 140
    assert epg.num_orders(np.zeros(1000), (1.5, 1.5), (0.34, 0.34)) == 500  # nothing decays


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_the_signal_never_exceeds_equilibrium(seed, num):
    rng = np.random.default_rng(seed)
    train = (rng.uniform(-7, 7, num), rng.uniform(-1e3, 1e3, num), rng.exponential(0.1, num), 0.0)
    T1 = np.exp(rng.uniform(-9, 3, 20))
    signal = epg.fisp(*train, T1, T1 * rng.uniform(0.01, 1, 20), rng.uniform(0, 2, 20))
    assert np.abs(signal).max() <= 1 + 1e-12


def test_gradients():
    train, tissue = _case("any axis", 6)
    tissue = [x[:4] for x in tissue]  # the last stands at T2 = 2 T1
    inputs = [torch.from_numpy(x).requires_grad_() for x in (*train, *tissue)]
    real = lambda *x: torch.view_as_real(epg.fisp(*x, TI=0.1))  # noqa: E731
    assert torch.autograd.gradcheck(real, inputs)
    spacing = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    echoes = lambda s, *x: torch.view_as_real(epg.cpmg(s, 5, *x))  # noqa: E731
    assert torch.autograd.gradcheck(echoes, [spacing, *inputs[4:]])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_derivatives_and_maps_of_torch_take_the_formula():
    train, tissue = _case("any axis", 20)
    tissue = [x[:4] for x in tissue]
    T1, T2, B1 = map(torch.from_numpy, tissue)

    def one(T2, T1, B1):
        return torch.view_as_real(epg.fisp(*train, T1, T2, B1))

    jacobian = torch.func.vmap(torch.func.jacfwd(one))(T2, T1, B1)
    back = torch.func.vmap(torch.func.jacrev(one))(T2, T1, B1)
    up, down = (epg.fisp(*train, tissue[0], tissue[1] + h, tissue[2], orders=10)
                for h in (1e-6, -1e-6))  # fmt: skip
    assert np.abs(torch.view_as_complex(jacobian).numpy() - (up - down) / 2e-6).max() < 1e-6
    assert torch.allclose(jacobian, back)


def test_a_tensor_and_an_array_run_in_the_same_kernel():
    train, tissue = _case("any axis", 30)
    for dtype in ("float32", "float64"):
        arrays = [x.astype(dtype) for x in tissue]
        tensors = [torch.from_numpy(x) for x in arrays]
        assert np.array_equal(epg.fisp(*train, *tensors).numpy(), epg.fisp(*train, *arrays))
        assert np.array_equal(epg.cpmg(0.01, 9, *tensors).numpy(), epg.cpmg(0.01, 9, *arrays))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flip": np.array([0.1, np.nan])}, "flip=nan: a finite angle"),
        ({"flip": np.zeros(0), "phase": np.zeros(0)}, "flip: shape \\(0,\\)"),
        ({"phase": np.zeros(3)}, "phase: shape \\(3,\\)"),
        ({"phase": np.array([0.0, np.inf])}, "phase=inf"),
        ({"TR": np.full(3, 0.01)}, "TR: shape \\(3,\\)"),
        ({"TR": -0.01}, "TR=-0.01: a finite time"),
        ({"TE": -0.001}, "TE=-0.001"),
        ({"TE": 0.02}, "TE=0.02: at most TR=0.01"),
        ({"T1": np.array([1.0, 0.0])}, "T1=0.0: a positive time"),
        ({"T2": np.array([0.1, np.nan])}, "T2=nan"),
        ({"T2": np.array([0.1, 2.1])}, "T2=2.1: at most 2 T1 = 2.0 s is allowed"),
        ({"T2": np.full(3, 0.1)}, "T1 \\(2,\\), T2 \\(3,\\)"),
        ({"T2": torch.tensor([0.1, -0.1], dtype=torch.float64), "T1": 1.0}, "T2=-0.1"),
        ({"B1": -np.inf}, "B1=-inf: a finite factor"),
        ({"TI": -1.0}, "TI=-1.0"),
        ({"orders": 0}, "orders=0"),
        ({"TI": np.ones(3)}, "T1 \\(2,\\), T2 \\(2,\\), B1 \\(\\), TI \\(3,\\)"),
        ({"orders": 2.0}, "orders=2.0"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"flip": np.ones(2), "phase": np.zeros(2), "TR": 0.01, "TE": 0.005,
                 "T1": np.ones(2), "T2": np.full(2, 0.1)}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        epg.fisp(**(arguments | change))


@pytest.mark.parametrize(("ESP", "num"), [(0.0, 4), (np.nan, 4), (0.01, 0), (0.01, True)])
def test_bad_trains_of_echoes_are_named(ESP, num):
    with pytest.raises(ValueError, match="num_echoes=" if ESP == 0.01 else "ESP="):
        epg.cpmg(ESP, num, np.ones(2), np.ones(2))


def test_libraries_do_not_mix():
    rest = np.zeros(2), 0.01, 0.005
    with pytest.raises(TypeError, match=r"flip.*torch"):
        epg.fisp(torch.ones(2), *rest, np.ones(2), np.ones(2))
    with pytest.raises(TypeError, match=r"T1.*T2"):
        epg.fisp(np.ones(2), *rest, np.ones(2), torch.ones(2))


@pytest.mark.parametrize(
    "wrong", [[1.0, 2.0], None, "1", 1 + 0j, np.ones(2, bool), np.ones(2) + 0j]
)
def test_what_is_no_array_or_number_is_named(wrong):
    steps = epg.gradient_echoes(np.ones(2), np.zeros(2), 0.01, 0.0)
    tissue = {"T1": np.ones(2), "T2": np.full(2, 0.1), "B1": np.ones(2)}
    for name in tissue:
        changed = tissue | {name: wrong}
        with pytest.raises(TypeError, match=name):
            epg.fisp(np.ones(2), np.zeros(2), 0.01, 0.0, **changed)
        with pytest.raises(TypeError, match=name):
            epg.cpmg(0.01, 3, **changed)
        with pytest.raises(TypeError, match=name):
            epg.train(*steps, **changed)


def test_lists_hold_a_train():
    arrays, tissue = (
        ([1.0, 0.5, 0.2], [0.0, 1.0, 2.0], [0.01, 0.02, 0.01], 0.004),
        [np.ones(2), 0.1],
    )
    exact = epg.fisp(*map(np.asarray, arrays), *tissue)
    assert np.array_equal(epg.fisp(*arrays, *tissue), exact)
    gradient = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert np.abs(_numpy(epg.fisp(*arrays, gradient, 0.1)) - exact).max() < 1e-14
    assert epg.spgr(arrays[0], 0.01, 0.0, *tissue).shape == (2, 3)
    assert epg.truncation_error(*arrays, *tissue).max() < 1e-14


def test_whole_numbers_and_lists_make_schedules():
    exact = epg.train(*epg.gradient_echoes(np.ones(3), np.zeros(3), 0.01, 0.004), T1=1.0, T2=0.1)
    for flip, phase in ((np.ones(3, int), np.zeros(3, int)), ([1, 1, 1], [0, 0, 0])):
        steps = epg.gradient_echoes(flip, phase, 0.01, 0.004)
        assert np.array_equal(epg.train(*steps, T1=1.0, T2=0.1), exact)


def test_numbers_alone_give_one_train():
    train, _ = _case("any axis", 12)
    exact = epg.fisp(*train, np.ones(1), 0.1)[0]
    for T1 in (1, 1.0, np.float32(1.0)):
        signal = epg.fisp(*train, T1, 0.1)
        assert signal.shape == (12,)
        assert signal.dtype == np.complex128
        assert np.array_equal(signal, exact)
    assert np.array_equal(epg.cpmg(0.01, 5, 1.0, 0.1), epg.cpmg(0.01, 5, np.ones(1), 0.1)[0])
    assert epg.fisp(*train, 1.0, 0.1, TI=np.full(3, 0.2)).shape == (3, 12)
    steps = epg.gradient_echoes(*train)
    one = epg.train(*steps, T1=1.0, T2=0.1)
    assert one.shape == (12,)
    assert np.abs(one - exact).max() < 1e-12
    assert epg.train(*steps, T1=1.0, T2=0.1, df=np.zeros(4)).shape == (4, 12)


def test_numbers_take_the_library_of_the_train():
    train, _ = _case("one axis", 12)
    flip, phase, TR, TE = map(torch.from_numpy, train)
    flip.requires_grad_()
    signal = epg.fisp(flip, phase, TR, TE, 1.0, 0.1)
    assert np.abs(_numpy(signal) - epg.fisp(*train, 1.0, 0.1)).max() < 1e-14
    slope = torch.autograd.grad(torch.view_as_real(signal).sum(), flip)[0]
    formula = epg.fisp_formula(flip, phase, TR, TE, 1.0, 0.1)
    exact = torch.autograd.grad(torch.view_as_real(formula).sum(), flip)[0]
    assert torch.abs(slope - exact).max() < 1e-12
    assert (
        epg.fisp(flip.detach().float(), phase, TR.float(), TE, 1.0, 0.1).dtype == torch.complex128
    )
    narrow = (x.detach().float() for x in (flip, phase, TR, TE))
    assert epg.fisp(*narrow, 1.0, 0.1).dtype == torch.complex64
    spacing = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    epg.cpmg(spacing, 4, 1.0, 0.1).real.sum().backward()
    down, up = (epg.cpmg(0.01 + h, 4, 1.0, 0.1).real.sum() for h in (-1e-6, 1e-6))
    assert spacing.grad.item() == pytest.approx((up - down) / 2e-6, rel=1e-7)


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
def test_whole_numbers_are_double_precision(convert):
    if convert is BACKENDS["torch gradient"]:
        convert = BACKENDS["torch"]
    train, _ = _case("any axis", 12)
    T1, T2 = np.array([2, 3]), np.array([1, 2])
    for signal, exact in (
        (epg.fisp(*train, convert(T1), convert(T2)), epg.fisp(*train, 1.0 * T1, 1.0 * T2)),
        (epg.cpmg(0.5, 4, convert(T1), convert(T2)), epg.cpmg(0.5, 4, 1.0 * T1, 1.0 * T2)),
    ):
        assert str(signal.dtype).endswith("complex128")
        assert np.abs(_numpy(signal) - exact).max() < 1e-13
    mixed = epg.fisp(*train, convert(T1), convert(T2.astype("float32")))
    assert str(mixed.dtype).endswith("complex64")


@pytest.mark.parametrize(("T1", "T2"), [(np.inf, 0.1), (1.0, np.inf), (np.inf, np.inf)])
@pytest.mark.parametrize("axes", AXES)
def test_without_relaxation(axes, T1, T2):
    train, _ = _case(axes, 60)
    exact = _isochromats(*train, T1, T2, TI=0.02)
    signal = epg.fisp(*train, np.array([T1]), T2, TI=0.02)[0]
    assert np.abs(signal - exact).max() < epg.BOUND
    assert epg.num_orders(train[2], (0.3, T1), (0.02, T2)) <= 30  # all that reach an echo
    assert epg.truncation_error(*train, np.array([T1, T1]), T2).max() < epg.BOUND
    echoes = epg.cpmg(0.01, 20, np.array([T1]), T2, 0.8)[0]
    assert np.abs(echoes - _spin_echoes(0.01, 20, T1, T2, 0.8)).max() < 1e-13
    initial = 1 - 2 * np.exp(-0.02 / T1)
    any_train = epg.train(*epg.gradient_echoes(*train), T1=T1, T2=T2, initial=initial)
    assert np.abs(any_train - exact).max() < 1e-12


def test_probes_of_the_orders_hold_where_some_do_not_relax():
    train, _ = _case("any axis", 400)
    T1, T2 = np.array([0.3, 1.0, np.inf]), np.array([0.02, np.inf, np.inf])
    assert epg.truncation_error(*train, T1, T2).max() < epg.BOUND


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
def test_a_negative_B1_is_a_phase_of_pi(convert):
    train, (T1, T2, B1) = _case("any axis", 30)
    exact = _oracle([train[0], train[1] + np.pi, *train[2:]], [T1, T2, B1])
    signal = epg.fisp(*train, *map(convert, (T1, T2, -B1)))
    assert np.abs(_numpy(signal) - exact).max() < epg.BOUND
    echoes = _numpy(epg.cpmg(0.01, 9, *map(convert, (T1, T2, -B1))))
    assert np.abs(echoes + epg.cpmg(0.01, 9, T1, T2, B1)).max() < 1e-13


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.asarray, torch.tensor])
def test_whole_numbers_of_any_kind(kind):
    train, tissue = _case("any axis", 12)
    assert np.array_equal(epg.cpmg(0.01, kind(5), *tissue), epg.cpmg(0.01, 5, *tissue))
    few = epg.fisp(*train, *tissue, orders=kind(3))
    assert np.array_equal(few, epg.fisp(*train, *tissue, orders=3))
    steps = epg.gradient_echoes(*train)
    kept = (epg.train(*steps, T1=1.0, T2=0.1, orders=x) for x in (kind(3), 3))
    assert np.array_equal(*kept)


@pytest.mark.gpu
@pytest.mark.parametrize("axes", AXES)
def test_cupy_agrees(axes):
    import cupy

    train, tissue = _case(axes)
    exact = _oracle(train, tissue, TI=0.02)
    for dtype, bound in (("float32", 4e-6), ("float64", 1e-12)):
        arrays = [cupy.asarray(x.astype(dtype)) for x in tissue]
        for orders in (45, 64):
            signal = epg.fisp(*train, *arrays, TI=0.02, orders=orders)
            assert np.abs(signal.get() - exact).max() < bound
        echoes = epg.cpmg(0.01, 33, *arrays).get()
        assert np.abs(echoes - epg.cpmg(0.01, 33, *tissue)).max() < bound
