"""The signal of isochromats against step-by-step evolution and closed forms, on every library."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from functools import cache

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch.phantom import Phantom, from_maps
from ipads_stream.physics.waveforms import Pulse, Waveforms

BACKENDS = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "torch gradient": lambda x: torch.from_numpy(np.array(x)).requires_grad_(
        not np.iscomplexobj(x)
    ),
}


def _numpy(x):
    return x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def _random(steps=90, seed=0, strength=1e-2):
    """Pulses among free steps, of which some are sampled, one of them at the end of a pulse."""
    rng = np.random.default_rng(seed)
    b1 = 5e-6 * (rng.normal(size=steps) + 1j * rng.normal(size=steps))
    free = (np.arange(steps) % 30) >= 8
    b1[free] = 0
    gradient = strength * rng.uniform(-1, 1, (steps, 3))
    dt = rng.uniform(0.5e-5, 5e-5, steps)
    dt[rng.random(steps) < 0.1] = 2e-3
    dt[~free] = 1e-5
    sampled = free & (rng.random(steps) < 0.7)
    sampled[[7, 8, steps - 1]] = True
    receiver = rng.uniform(-3, 3, int(sampled.sum()))
    return Waveforms(b1, gradient, dt, sampled, receiver)


def _spins(num=37, batch=(), coils=0, seed=1, kind="f8"):
    rng = np.random.default_rng(seed)
    T1 = rng.uniform(0.1, 2, (*batch, num))
    fields = {
        "position": rng.uniform(-0.05, 0.05, (*batch, num, 3)),
        "M0": rng.uniform(0.2, 1, (*batch, num)),
        "T1": T1,
        "T2": np.minimum(rng.uniform(0.01, 0.1, (*batch, num)), 2 * T1),
        "df": rng.uniform(-200, 200, (*batch, num)),
        "B1": rng.uniform(0.8, 1.2, (*batch, num)),
    }
    fields = {name: x.astype(kind) for name, x in fields.items()}
    if coils:
        shape = (*batch, coils, num)
        s = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        fields["sensitivity"] = s.astype({"f4": "c8", "f8": "c16"}[kind])
    return Phantom(**fields)


def _exact(waveforms, phantom):
    """By the matrix exponential of the affine generator of every step, spin by spin."""
    N = phantom.num_spins
    tissue = (phantom.M0, phantom.T1, phantom.T2, phantom.df, phantom.B1)
    M0, T1, T2, df, B1 = (np.broadcast_to(np.asarray(x, float), (N,)) for x in tissue)
    position = phantom.position.astype(float)
    M = np.zeros((N, 4))
    M[:, 2], M[:, 3] = M0, 1
    weights = np.ones((1, N)) if phantom.sensitivity is None else phantom.sensitivity
    found = []
    for k, b1 in enumerate(waveforms.b1):
        x, y = GAMMA_1H * B1 * b1.real, GAMMA_1H * B1 * b1.imag
        z = 2 * np.pi * df + GAMMA_1H * position @ waveforms.gradient[k]
        zero = 0 * z
        rows = [
            [-1 / T2, z, -y, zero],
            [-z, -1 / T2, x, zero],
            [y, -x, -1 / T1, M0 / T1],
            [zero, zero, zero, zero],
        ]
        A = np.moveaxis(np.array(rows), -1, 0)
        M = np.einsum("nij,nj->ni", expm(A * waveforms.dt[k]), M)
        if waveforms.sampled[k]:
            found.append(weights @ (M[:, 0] + 1j * M[:, 1]))
    out = np.stack(found, -1) * np.exp(-1j * waveforms.receiver)
    return out[0] if phantom.sensitivity is None else out


@cache
def _exact_of(coils, kind):
    return _exact(_random(), _spins(coils=coils, kind=kind))


def _gap(signal, exact):
    return np.abs(_numpy(signal) - exact).max() / np.abs(exact).max()


@pytest.mark.slow
@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize(("kind", "bound"), [("f4", 1e-5), ("f8", 1e-7)])
@pytest.mark.parametrize("coils", [0, 1, 3, 21])
def test_the_matrix_exponential_step_by_step(convert, kind, bound, coils):
    waveforms, phantom = _random(), _spins(coils=coils, kind=kind)
    exact = _exact_of(coils, kind)
    fields = {f.name: getattr(phantom, f.name) for f in dataclasses.fields(phantom)}
    there = {name: convert(x) if isinstance(x, np.ndarray) else x for name, x in fields.items()}
    signal = bloch.signal(waveforms, Phantom(**there))
    assert type(signal) is type(there["position"])
    assert str(signal.dtype).endswith({"f4": "complex64", "f8": "complex128"}[kind])
    assert tuple(signal.shape) == exact.shape
    assert _gap(signal, exact) < bound


def test_a_tight_tolerance_gives_the_exponential_itself():
    waveforms, phantom = _random(), _spins(coils=2)
    exact = _exact(waveforms, phantom)
    for function in (bloch.signal, bloch.signal_formula):
        assert _gap(function(waveforms, phantom, tolerance=1e-14), exact) < 1e-10


def test_a_free_induction_decay_of_many_offsets():
    df, T2 = np.linspace(-500, 500, 301), np.linspace(0.02, 0.2, 301)
    dwell, points = 1e-4, 5000
    phantom = Phantom(np.zeros((301, 3)), T2=T2, df=df)
    M = np.tile([1.0, 0.5, 0], (301, 1))
    blank = np.zeros(points)
    waveforms = Waveforms(blank + 0j, np.zeros((points, 3)), blank + dwell, blank == 0, blank)
    t = dwell * np.arange(1, points + 1)
    exact = ((1 + 0.5j) * np.exp((-2j * np.pi * df - 1 / T2)[:, None] * t)).sum(0)
    assert _gap(bloch.signal(waveforms, phantom, M=M), exact) < 1e-10
    single = Phantom(np.zeros((301, 3), "f4"), T2=T2.astype("f4"), df=df)
    T2 = T2.astype("f4").astype("f8")
    exact = ((1 + 0.5j) * np.exp((-2j * np.pi * df - 1 / T2)[:, None] * t)).sum(0)
    assert _gap(bloch.signal(waveforms, single, M=M), exact) < 1e-6


def _pulse(flip, phase=0.0, duration=1e-9):
    return flip / (GAMMA_1H * duration) * np.exp(1j * phase), duration


def _line(rf, parts):
    """A pulse and free parts (gradient, length, number of samples)."""
    b1, gradient, dt, sampled = [rf[0]], [(0.0, 0.0, 0.0)], [rf[1]], [False]
    for g, length, samples in parts:
        steps = max(samples, 1)
        b1 += [0] * steps
        gradient += [g] * steps
        dt += [length / steps] * steps
        sampled += [samples > 0] * steps
    arrays = (np.array(b1, complex), np.array(gradient), np.array(dt))
    sampled = np.array(sampled)
    use = Pulse(0, 1, rf[1] / 2, "excitation")
    return Waveforms(*arrays, sampled, np.zeros(int(sampled.sum())), (use,))


@pytest.mark.parametrize("as_field", [False, True])
def test_a_gradient_echo_of_a_box_is_a_sinc(as_field):
    """By 4,000 spins, and by one spin that stands for the whole box."""
    width, n, fov = 0.05, 64, 0.2
    G = n / fov / (GAMMA_BAR_1H * 2e-3)
    waveforms = _line(_pulse(np.pi / 2), [((-G, 0, 0), 1e-3, 0), ((G, 0, 0), 2e-3, n)])
    k = n / fov * (np.arange(1, n + 1) / n - 0.5)
    if as_field:
        phantom = Phantom(np.zeros((1, 3)), voxel=(width, 0.01, 0.02))
    else:
        x = ((np.arange(4000) + 0.5) / 4000 - 0.5) * width
        phantom = Phantom(np.stack([x, 0 * x, 0 * x], 1), M0=1 / 4000)
    assert _gap(bloch.signal(waveforms, phantom), 1j * np.sinc(k * width)) < 1e-6


def _echo_planar(n=32, fov=0.2, dwell=4e-6, phase=0.0):
    dk = 1 / fov
    G, blip = dk / (GAMMA_BAR_1H * dwell), dk / (GAMMA_BAR_1H * 1e-4)
    back = -n / 2 * dk / (GAMMA_BAR_1H * 1e-3)
    parts = [((back, back, 0), 1e-3, 0)]
    for line in range(n):
        parts += [(((-1) ** line * G, 0, 0), n * dwell, n), ((0, blip, 0), 1e-4, 0)]
    kx = dk * np.concatenate([np.arange(1, n + 1) - n / 2 if line % 2 == 0 else
                              n / 2 - np.arange(1, n + 1) for line in range(n)])  # fmt: skip
    ky = dk * np.repeat(np.arange(n) - n / 2, n)
    return _line(_pulse(np.pi / 2, phase), parts), kx, ky


def test_echo_planar_signal_of_a_gaussian_is_its_transform():
    """Position and sign: a centre off the middle, a map in float32, 90 degrees about y."""
    waveforms, kx, ky = _echo_planar(phase=np.pi / 2)
    n, spacing, width, x0, y0 = 100, 1.5e-3, 0.012, 0.011, -0.02
    r = (np.arange(n) - n // 2) * spacing
    blob = np.exp(-((r[:, None] - x0) ** 2 + (r - y0) ** 2) / (2 * width**2))
    phantom = from_maps(blob.astype("f4") * np.float32(spacing**2), (spacing, spacing))
    exact = 2 * np.pi * width**2 * np.exp(-2 * np.pi**2 * width**2 * (kx**2 + ky**2))
    exact = -exact * np.exp(-2j * np.pi * (kx * x0 + ky * y0))
    signal = bloch.signal(waveforms, phantom)
    assert signal.dtype == np.complex64
    assert _gap(signal, exact) < 2e-5


def test_a_spin_echo_refocuses_offsets_where_relaxation_does_not():
    df = np.random.default_rng(0).normal(0, 100, 2000)
    TE, T2 = 40e-3, 0.05
    first, second = _pulse(np.pi / 2), _pulse(np.pi, np.pi / 2)
    b1 = np.array([first[0], 0, second[0], *[0] * 40])
    dt = np.array([1e-9, TE / 2 - 1.5e-9, 1e-9, *[TE / 40] * 40])
    sampled = np.arange(43) >= 3
    uses = (Pulse(0, 1, 0.5e-9, "excitation"), Pulse(2, 3, TE / 2, "refocusing"))
    waveforms = Waveforms(b1, np.zeros((43, 3)), dt, sampled, np.zeros(40), uses)
    t = np.arange(1, 41) * TE / 40 + TE / 2
    spread = np.exp(2j * np.pi * df[:, None] * (TE - t)).mean(0)
    many = Phantom(np.zeros((2000, 3)), M0=1 / 2000, T2=T2, df=df)
    signal = bloch.signal(waveforms, many)
    assert _gap(signal, signal[19] * spread * np.exp((TE - t) / T2)) < 1e-6
    assert abs(abs(signal[19]) - math.exp(-TE / T2)) < 1e-6
    # T2' by its closed form on the two sides of the echo
    one = dataclasses.replace(many, position=np.zeros((1, 3)), M0=1.0, df=0.0, T2p=0.01)
    exact = np.exp(-np.abs(t - TE) / 0.01 - t / T2)
    assert _gap(np.abs(bloch.signal(waveforms, one)), exact) < 1e-6


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_T2_prime_and_diffusion_join_the_sum_over_spins(kind):
    """Against the same spins without them, one by one, weighted by their factors."""
    waveforms, *_ = _echo_planar(16)
    rng = np.random.default_rng(0)
    plain = dataclasses.replace(_spins(20, kind=kind), B1=1.0)
    T2p, D = rng.uniform(1e-3, 0.1, 20).astype(kind), rng.uniform(0, 5e-3, 20).astype(kind)
    fast = dataclasses.replace(plain, T2p=T2p, D=D)
    t = np.cumsum(waveforms.dt)[waveforms.sampled] - 0.5e-9
    # k is linear within a step: the mean of its square is exact in the ends.
    moved = GAMMA_BAR_1H * waveforms.gradient * waveforms.dt[:, None]
    k = np.concatenate([np.zeros((1, 3)), np.cumsum(moved, 0)])
    square = (k[1:] ** 2 + k[1:] * k[:-1] + k[:-1] ** 2).sum(1) / 3
    b = (2 * np.pi) ** 2 * np.cumsum(square * waveforms.dt)[waveforms.sampled]
    exact = 0
    for n in range(20):
        one = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
        one = {name: x[n : n + 1] if np.ndim(x) else x for name, x in one.items()}
        weight = np.exp(-t / float(T2p[n]) - b * float(D[n]))
        exact = exact + bloch.signal(waveforms, Phantom(**one)) * weight
    assert b.max() * 5e-3 > 0.5
    assert _gap(bloch.signal(waveforms, fast), exact) < {"f4": 1e-5, "f8": 1e-6}[kind]
    assert _gap(bloch.signal_formula(waveforms, fast), bloch.signal(waveforms, fast)) < 1e-6


def test_a_violent_T2_prime_does_not_overflow():
    TE = 2e-3
    second = _pulse(np.pi, np.pi / 2)
    b1 = np.array([_pulse(np.pi / 2)[0], 0, second[0], *[0] * 400])
    dt = np.array([1e-9, TE / 2, 1e-9, *[TE / 400] * 400])
    uses = (Pulse(0, 1, 0.5e-9, "excitation"), Pulse(2, 3, TE / 2 + 1.5e-9, "refocusing"))
    sampled = np.arange(403) >= 3
    waveforms = Waveforms(b1, np.zeros((403, 3)), dt, sampled, np.zeros(400), uses)
    phantom = Phantom(np.zeros((2, 3), "f4"), T2p=np.array([1e-6, 1e-4], "f4"))
    signal = bloch.signal(waveforms, phantom)
    t = np.abs(np.arange(1, 401) * TE / 400 - TE / 2)
    assert _gap(np.abs(signal), np.exp(-t / 1e-6) + np.exp(-t / 1e-4)) < 3e-3


def test_no_single_pathway_is_refused_with_the_reason():
    waveforms = dataclasses.replace(_random(), pulses=())
    for field in ({"T2p": 0.01}, {"D": 1e-9}, {"voxel": (1e-3, 1e-3, 1e-3)}):
        with pytest.raises(ValueError, match=rf"{next(iter(field))}: .*single coherence pathway"):
            bloch.signal(waveforms, Phantom(np.zeros((2, 3)), **field))


def test_it_is_linear_in_density_and_coils():
    waveforms, phantom = _random(), _spins(coils=4)
    whole = bloch.signal(waveforms, phantom)
    half = bloch.signal(waveforms, dataclasses.replace(phantom, M0=0.5 * phantom.M0))
    assert _gap(2 * half, whole) < 1e-14
    mixing = np.array([[1, 2j, 0, -1], [0.5, 0, 1j, 3]])
    mixed = dataclasses.replace(phantom, sensitivity=mixing @ phantom.sensitivity)
    assert _gap(bloch.signal(waveforms, mixed), mixing @ whole) < 1e-13


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_an_item_of_a_batch_is_the_same_alone_and_in_company(kind):
    waveforms = _random()
    phantom = _spins(300, (2, 3), coils=2, kind=kind)
    whole = bloch.signal(waveforms, phantom)
    assert whole.shape == (2, 3, 2, waveforms.sampled.sum())
    fields = {f.name: getattr(phantom, f.name) for f in dataclasses.fields(phantom)}
    for i in range(2):
        for j in range(3):
            one = {name: x[i, j] if np.ndim(x) else x for name, x in fields.items()}
            assert _gap(bloch.signal(waveforms, Phantom(**one)), whole[i, j]) < 1e-7


def test_the_order_of_spins_matters_by_rounding_only():
    waveforms, phantom = _random(), _spins(1000, kind="f4")
    order = np.random.default_rng(0).permutation(1000)
    fields = {f.name: getattr(phantom, f.name) for f in dataclasses.fields(phantom)}
    mixed = {name: x[order] if np.ndim(x) else x for name, x in fields.items()}
    whole = bloch.signal(waveforms, phantom)
    assert _gap(bloch.signal(waveforms, Phantom(**mixed)), whole) < 1e-6


def test_fields_broadcast_over_the_batch():
    waveforms, phantom = _random(), _spins(20)
    T2 = np.stack([phantom.T2, 0.5 * phantom.T2])
    both = bloch.signal(waveforms, dataclasses.replace(phantom, T2=T2))
    assert _gap(both[0], bloch.signal(waveforms, phantom)) < 1e-7
    halved = dataclasses.replace(phantom, T2=0.5 * phantom.T2)
    assert _gap(both[1], bloch.signal(waveforms, halved)) < 1e-7


def test_gradients_through_the_formula():
    waveforms = _random(20)
    phantom = _spins(3)
    names = ("M0", "T1", "T2", "df", "B1", "position")
    tensors = [torch.from_numpy(getattr(phantom, n)).requires_grad_() for n in names]
    played = [torch.from_numpy(x) for x in (waveforms.gradient, waveforms.dt)]
    scale = torch.ones(2, dtype=torch.float64, requires_grad=True)
    b1 = torch.from_numpy(waveforms.b1)

    def of(*values):
        fields = dict(zip(names, values[:-1], strict=True))
        gradient, dt = (x * s for x, s in zip(played, values[-1], strict=True))
        w = dataclasses.replace(waveforms, b1=b1 * values[-1][0], gradient=gradient, dt=dt)
        signal = bloch.signal(w, Phantom(**fields))
        return torch.view_as_real(signal)

    assert torch.autograd.gradcheck(of, (*tensors, scale), atol=1e-5, rtol=1e-3, fast_mode=True)


class _Drift:
    """Constant velocity; the mean position of a segment is that at its middle."""

    interval = 1e-4

    def __init__(self, velocity):
        self.velocity = np.asarray(velocity)

    def path(self, rest, edges):
        for start, stop in itertools.pairwise(edges):
            yield rest + 0.5 * (start + stop) * self.velocity


@pytest.mark.parametrize("function", [bloch.signal, bloch.signal_formula])
def test_constant_velocity_adds_the_first_moment(function):
    """A bipolar pair leaves 2 pi gammabar v (moment of first order), positions or not."""
    G, length, v = 0.01, 4e-3, 0.5
    pair = _line(_pulse(np.pi / 2), [((G, 0, 0), length, 8), ((-G, 0, 0), length, 8)])
    phantom = Phantom(np.random.default_rng(0).uniform(-0.05, 0.05, (5, 3)))
    still = function(pair, phantom)
    moving = function(pair, phantom, motion=_Drift([v, 0, 0]))
    assert abs(abs(still[-1]) - 5) < 1e-6
    turned = np.exp(2j * np.pi * GAMMA_BAR_1H * G * length**2 * v)
    assert abs(moving[-1] - still[-1] * turned) < 1e-4


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_a_signal_is_never_more_than_all_spins_together(seed):
    waveforms, phantom = _random(60, seed, strength=0.04), _spins(11, seed=seed, kind="f4")
    signal = bloch.signal(waveforms, phantom)
    assert np.all(np.isfinite(signal))
    assert np.abs(signal).max() <= phantom.M0.sum() * (1 + 1e-5)


def test_empty_phantoms_and_silent_sequences():
    waveforms = _random()
    assert not np.any(bloch.signal(waveforms, Phantom(np.zeros((0, 3)))))
    silent = dataclasses.replace(waveforms, sampled=waveforms.sampled & False, receiver=np.zeros(0))
    for function in (bloch.signal, bloch.signal_formula):
        assert function(silent, _spins(5, (2,))).shape == (2, 0)


def test_wrong_waveforms_are_refused():
    waveforms, phantom = _random(), _spins(3)
    with pytest.raises(TypeError, match="sequence: dict"):
        bloch.signal({}, phantom)
    with pytest.raises(ValueError, match=r"receiver: shape \(1,\)"):
        bloch.signal(dataclasses.replace(waveforms, receiver=np.zeros(1)), phantom)
    with pytest.raises(ValueError, match="dt=-1"):
        bloch.signal(dataclasses.replace(waveforms, dt=-np.ones(90)), phantom)
    with pytest.raises(ValueError, match="gradient=2"):
        bloch.signal(dataclasses.replace(waveforms, gradient=np.full((90, 3), 2.0)), phantom)
    with pytest.raises(ValueError, match="position: float16"):
        bloch.signal(waveforms, Phantom(np.zeros((2, 3), np.float16)))
    with pytest.raises(ValueError, match="M: shape"):
        bloch.signal(waveforms, phantom, M=np.zeros((4, 3)))
    with pytest.raises(ValueError, match="M=nan"):
        bloch.signal(waveforms, phantom, M=np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="tolerance=0"):
        bloch.signal(waveforms, phantom, tolerance=0.0)
    silent = dataclasses.replace(waveforms, receiver=np.full(waveforms.sampled.sum(), np.nan))
    for function in (bloch.signal, bloch.signal_formula):
        with pytest.raises(ValueError, match="receiver=nan: a finite angle in rad is allowed"):
            function(silent, phantom)
        for memory in (math.nan, -1.0):
            with pytest.raises(ValueError, match=f"memory={memory}: a time in s"):
                function(waveforms, phantom, memory=memory)


def test_arrays_of_several_libraries_are_refused():
    waveforms, phantom = _random(), _spins(3)
    played = dataclasses.replace(waveforms, b1=torch.from_numpy(waveforms.b1))
    for function in (bloch.signal, bloch.signal_formula):
        with pytest.raises(TypeError, match="position: NumPy; M: torch; arrays of one library"):
            function(waveforms, phantom, M=torch.zeros(3, 3))
        with pytest.raises(TypeError, match="position: NumPy; b1: torch"):
            function(played, phantom)
        with pytest.raises(TypeError, match=r"M=\[\[0, 0, 1\].*\(list\): an array"):
            inspect.unwrap(function)(waveforms, phantom, M=[[0, 0, 1]] * 3)


def test_a_phantom_in_single_precision_gives_exact_phases():
    """One second at 1000 Hz and decay over 2 s, of numbers that float32 holds exactly or not."""
    pulse = _line(_pulse(np.pi / 2), [((0, 0, 0), 1.0, 1), ((0, 0, 0), 1.0, 1)])
    fields = {"df": np.array([1000.1], "f4"), "T2": np.array([0.7], "f4"), "T1": 1.0}
    signal = bloch.signal(pulse, Phantom(np.zeros((1, 3)), **fields))
    df, T2 = (fields[name].astype("f8")[0] for name in ("df", "T2"))
    t = np.array([1.0, 2.0])
    assert _gap(signal, 1j * np.exp(-2j * np.pi * df * t - t / T2)) < 1e-5


def _echoes(scale=None):
    """Two spin echoes among gradients and delays, two of which are nothing; centres apart."""
    rng = np.random.default_rng(0)
    dt = np.array([1e-3, 2e-3, 0, 4e-3, 1e-3, 5e-3, 3e-3, 1e-3, 0, 6e-3, 2e-3])
    rf = [0, 4, 7]
    b1 = np.zeros(11, complex)
    b1[rf] = np.array([0.5, 0.9j, 0.8j]) * np.pi / (GAMMA_1H * 1e-3)
    gradient = 4e-3 * rng.uniform(-1, 1, (11, 3))
    gradient[rf] = 0
    sampled = np.isin(np.arange(11), [1, 3, 5, 6, 8, 9, 10])
    starts = np.concatenate(([0], np.cumsum(dt)))
    uses = ("excitation", "refocusing", "refocusing")
    pulses = tuple(
        Pulse(k, k + 1, starts[k] + 0.4e-3, use) for k, use in zip(rf, uses, strict=True)
    )
    return Waveforms(b1, gradient, dt, sampled, np.zeros(7), pulses)


@pytest.mark.parametrize("function", [bloch.signal, bloch.signal_formula])
def test_slopes_of_waveforms_through_T2_prime_diffusion_and_voxels(function):
    """Against differences of the signal by the kernel, one-sided where a delay is nothing."""
    w, weights = _echoes(), np.random.default_rng(1).normal(size=(7, 2))
    fields = {
        "position": np.random.default_rng(2).uniform(-0.01, 0.01, (5, 3)),
        "T2p": np.array([0.02, 0.03, 0.01, 0.05, 0.02]), "D": np.linspace(1e-9, 4e-7, 5),
        "voxel": np.array([1e-3, 2e-3, 1.5e-3]), "T1": np.full(5, 1.0), "T2": np.full(5, 0.1),
        "df": np.linspace(-20, 20, 5),
    }  # fmt: skip
    given = {"b1": w.b1, "gradient": w.gradient, "dt": w.dt, **fields}
    given["centre"] = np.array([p.centre for p in w.pulses])

    def loss(values, simulate, weights=weights):
        of = dict(values)
        centres = of.pop("centre")
        pulses = tuple(dataclasses.replace(p, centre=c)
                       for p, c in zip(w.pulses, centres, strict=True))  # fmt: skip
        played = {name: of.pop(name) for name in ("b1", "gradient", "dt")}
        signal = simulate(dataclasses.replace(w, pulses=pulses, **played), Phantom(**of))
        return (signal.real * weights[:, 0] + signal.imag * weights[:, 1]).sum()

    tensors = {name: torch.from_numpy(x).requires_grad_() for name, x in given.items()}
    loss(tensors, function, torch.from_numpy(weights)).backward()
    sizes = {"b1": 1e-10, "gradient": 1e-7, "dt": 1e-8, "centre": 1e-8, "D": 1e-12, "df": 1e-4,
             "voxel": 1e-8, "position": 1e-8}  # fmt: skip
    for name, x in given.items():
        rng = np.random.default_rng(3)
        move = np.abs(rng.normal(size=x.shape)) if name == "dt" else rng.normal(size=x.shape)
        if name == "b1":
            move = np.where(x == 0, 0, move)
        move = sizes.get(name, 1e-6) * move
        ends = [loss(given | {name: x + n * move}, bloch.signal)
                for n in range(4)]  # fmt: skip
        slope = (-11 * ends[0] + 18 * ends[1] - 9 * ends[2] + 2 * ends[3]) / 6
        found = np.sum(np.real(np.conj(tensors[name].grad.numpy()) * move))
        assert found == pytest.approx(slope, rel=2e-5), name


def test_a_delay_follows_the_decay_of_T2_prime():
    """Of the free induction decay after a pulse that acts at once: -1/T2 - 1/T2'."""
    dt = torch.tensor([1e-7, 10e-3, 20e-3], dtype=torch.float64, requires_grad=True)
    b1 = torch.tensor([math.pi / 2 / (GAMMA_1H * 1e-7), 0, 0], dtype=torch.complex128)
    w = Waveforms(b1, torch.zeros(3, 3, dtype=torch.float64), dt, np.arange(3) == 2, np.zeros(1),
                  (Pulse(0, 1, 0.5e-7, "excitation"),))  # fmt: skip
    phantom = Phantom(torch.zeros(1, 3, dtype=torch.float64), T1=1.0, T2=0.1, T2p=0.02)
    signal = bloch.signal(w, phantom)[0].imag
    signal.backward()
    expected = -(1 / 0.1 + 1 / 0.02) * signal.item()
    assert dt.grad[1:].numpy() == pytest.approx(np.full(2, expected), rel=1e-5)
