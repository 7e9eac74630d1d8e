"""Isochromats against the matrix exponential and closed forms, on every array library."""

from __future__ import annotations

import inspect
import math

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics import bloch

BACKENDS = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "torch gradient": lambda x: torch.from_numpy(np.array(x)).requires_grad_(),
}
Z = np.array([[0.0, 0.0, 1.0]])


def _sequence(num=7, steps=40, amplitude=5e-6, strength=5e-3, dt=1e-5, seed=0, longest=0.1):
    rng = np.random.default_rng(seed)
    b1 = amplitude * (rng.normal(size=steps) + 1j * rng.normal(size=steps))
    b1[::5] = b1[1::5] = 0
    T1 = rng.uniform(0.1, 2, num)
    spins = {
        "position": rng.uniform(-0.05, 0.05, (num, 3)),
        "df": rng.uniform(-100, 100, num),
        "T1": T1,
        "T2": np.minimum(rng.uniform(0.02, longest, num), 2 * T1),
        "B1": rng.uniform(0.8, 1.2, num),
        "M0": rng.uniform(0.5, 1, num),
    }
    M = rng.normal(size=(num, 3))
    M *= spins["M0"][:, None] / np.linalg.norm(M, axis=1, keepdims=True)
    gradient = strength * rng.uniform(-1, 1, (steps, 3))
    return [M, b1, gradient, np.full(steps, dt)], spins


def _exact(M, b1, gradient, dt, position, df, T1, T2, B1, M0):
    """By the matrix exponential of the affine generator of every step."""
    out = np.concatenate([M, np.ones((len(M), 1))], 1)
    for k in range(len(b1)):
        x, y = GAMMA_1H * B1 * b1[k].real, GAMMA_1H * B1 * b1[k].imag
        z = 2 * np.pi * df + GAMMA_1H * position @ gradient[k]
        zero = 0 * z
        rows = [
            [-1 / T2, z, -y, zero],
            [-z, -1 / T2, x, zero],
            [y, -x, -1 / T1, M0 / T1],
            [zero, zero, zero, zero],
        ]
        out = np.einsum("nij,nj->ni", expm(np.moveaxis(np.array(rows), -1, 0) * dt[k]), out)
    return out[:, :3]


def _numpy(x):
    return x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


CASES = {
    "one split": {},
    "several splits": {"amplitude": 1e-5, "strength": 4e-2},
    "hard pulses": {"amplitude": 2e-5, "strength": 1e-3, "dt": 1e-3},
    "long pulses": {"amplitude": 1e-5, "strength": 1e-4, "dt": 2e-2},
}


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-7)])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_matrix_exponential(convert, dtype, bound, case):
    arrays, spins = _sequence(**case)
    kinds = [dtype, {"float32": "complex64", "float64": "complex128"}[dtype], dtype, dtype]
    arrays = [x.astype(kind) for x, kind in zip(arrays, kinds, strict=True)]
    spins = {name: x.astype(dtype) for name, x in spins.items()}
    exact = _exact(*(x.astype("c16" if x.dtype.kind == "c" else "f8") for x in arrays),
                   **{name: x.astype("f8") for name, x in spins.items()})  # fmt: skip
    M = bloch.evolve(*map(convert, arrays), **{name: convert(x) for name, x in spins.items()})
    assert type(M) is type(convert(arrays[0]))
    assert str(M.dtype).endswith(dtype)
    assert np.abs(_numpy(M) - exact).max() < bound


@pytest.mark.parametrize("function", [bloch.evolve, bloch.evolve_formula])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_tight_tolerance_gives_the_exponential_itself(function, case):
    arrays, spins = _sequence(**case)
    M = function(*arrays, **spins, tolerance=1e-14)
    assert np.abs(M - _exact(*arrays, **spins)).max() < 1e-11


def _rf(amplitude, steps=100):
    return np.full(steps, amplitude, complex), np.zeros((steps, 3))


def test_a_positive_offset_turns_backward():
    M = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    out = bloch.evolve(M, *_rf(0, 3), 1e-3, df=np.array([40.0, -7.0]))
    turned = (M[:, 0] + 1j * M[:, 1]) * np.exp(-2j * np.pi * np.array([40, -7]) * 3e-3)
    assert np.abs(out[:, 0] + 1j * out[:, 1] - turned).max() < 1e-14


def test_free_precession_is_exact_over_seconds():
    (M, *_), spins = _sequence(50)
    M, spins = M.astype("f4"), {name: x for name, x in spins.items() if name in ("df", "T1", "T2")}
    T1, T2, df, t = spins["T1"], spins["T2"], spins["df"], 3.0
    out = bloch.evolve(M, *_rf(0, 1), t, **spins)
    parts = bloch.evolve(M, *_rf(0, 1000), t / 1000, **spins)
    xy = (M[:, 0] + 1j * M[:, 1]) * np.exp(-2j * np.pi * df * t - t / T2)
    exact = np.stack([xy.real, xy.imag, 1 + (M[:, 2] - 1) * np.exp(-t / T1)], 1)
    for result in (out, parts, bloch.free_precession(M, t, df, T1, T2)):
        assert result.dtype == np.float32
        assert np.abs(result - exact).max() < 1e-7


@pytest.mark.parametrize("phase", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("steps", [1, 64])
def test_a_pulse_flips_by_gamma_B1_t_in_the_sense_of_M_cross_B(phase, steps):
    # About x, dMy/dt = gamma Mz Bx: M goes from z to y.
    flip, B1 = 1.1, np.array([0.5, 1.0, 1.5])
    b1 = np.full(steps, flip / (GAMMA_1H * 1e-3) * np.exp(1j * phase))
    out = bloch.evolve(np.repeat(Z, 3, 0), b1, np.zeros((steps, 3)), 1e-3 / steps, B1=B1)
    assert np.abs(out[:, 2] - np.cos(flip * B1)).max() < 1e-12
    xy = 1j * np.exp(1j * phase) * np.sin(flip * B1)
    assert np.abs(out[:, 0] + 1j * out[:, 1] - xy).max() < 1e-12


def test_inversion_recovery():
    T1 = np.array([0.3, 1.0, 3.0])
    b1, gradient = _rf(math.pi / (GAMMA_1H * 1e-6), 2)
    b1[1] = 0
    inverted = bloch.evolve(np.repeat(Z, 3, 0), b1, gradient, np.array([1e-6, 0.7]), T1=T1, T2=0.05)
    assert np.abs(inverted[:, 2] - (1 - 2 * np.exp(-0.7 / T1))).max() < 1e-5


def test_a_spin_echo_refocuses_offsets():
    df, echo, short = np.linspace(-200, 200, 41), 20e-3, 1e-9
    b1 = np.array([math.pi / 2, 0, 1j * math.pi, 0]) / (GAMMA_1H * short)
    out = bloch.evolve(
        np.repeat(Z, 41, 0), b1, np.zeros((4, 3)), np.array([short, echo / 2, short, echo / 2]),
        df=df, T1=1.0, T2=0.08,
    )  # fmt: skip
    assert np.abs(out[:, 1] - math.exp(-echo / 0.08)).max() < 1e-6
    assert np.abs(out[:, 0]).max() < 1e-5


def test_a_gradient_winds_up_k():
    position = np.random.default_rng(0).uniform(-0.1, 0.1, (30, 3))
    gradient = np.array([[0.01, 0, 0], [0, -0.02, 0.005]])
    M = np.tile([1.0, 0, 0], (30, 1))
    out = bloch.evolve(M, np.zeros(2, complex), gradient, 1e-3, position=position)
    k = GAMMA_BAR_1H * gradient.sum(0) * 1e-3
    assert np.abs(out[:, 0] + 1j * out[:, 1] - np.exp(-2j * np.pi * position @ k)).max() < 1e-12


def test_adiabatic_inversion_is_insensitive_to_B1():
    # Hyperbolic secant: b1 sech(beta t)^(1 + i mu), 10.2 ms, mu = 5, beta = 800 rad/s.
    steps, length, mu, beta = 1020, 10.24e-3, 5, 800.0
    t = (np.arange(steps) + 0.5) / steps * length - length / 2
    b1 = 25e-6 * np.cosh(beta * t) ** -(1 + 1j * mu)
    B1 = np.array([0.7, 1.0, 1.3])
    for dtype in ("f4", "f8"):
        M = np.repeat(Z, 3, 0).astype(dtype)
        out = bloch.evolve(M, b1, np.zeros((steps, 3)), length / steps, B1=B1)
        assert np.all(out[:, 2] < -0.99)


def test_without_RF_equilibrium_stays():
    arrays, spins = _sequence(20, 300)
    M = np.zeros((20, 3))
    M[:, 2] = spins["M0"]
    for b1, B1 in ((0 * arrays[1], spins["B1"]), (arrays[1], np.zeros(20))):
        out = bloch.evolve(M, b1, *arrays[2:], **(spins | {"B1": B1}))
        assert np.abs(out - M).max() < 1e-12


def test_no_steps_and_no_spins():
    arrays, spins = _sequence()
    none = [arrays[0], arrays[1][:0], arrays[2][:0], arrays[3][:0]]
    out = bloch.evolve(*none, **spins)
    assert np.array_equal(out, arrays[0]) and out is not arrays[0]
    assert bloch.evolve(arrays[0][:0], *arrays[1:]).shape == (0, 3)


def test_the_input_is_left_alone_and_torch_shares_the_kernel():
    arrays, spins = _sequence(100)
    before = arrays[0].copy()
    out = bloch.evolve(*arrays, **spins)
    tensors = {name: torch.from_numpy(x) for name, x in spins.items()}
    tensor = bloch.evolve(*map(torch.from_numpy, arrays), **tensors)
    assert np.array_equal(tensor.numpy(), out)
    assert np.array_equal(arrays[0], before)


def test_gradients():
    arrays, spins = _sequence(3, 6, amplitude=2e-5, dt=2e-5)
    arrays[3][2] = 2e-2  # one step by the exponential, and one without RF
    arrays[1][2], arrays[1][3] = 3e-6, 0
    M, b1, gradient, dt = map(torch.from_numpy, arrays)
    spins = {name: torch.from_numpy(x) for name, x in spins.items()}
    scaled = [M, b1.real * 1e5, b1.imag * 1e5, gradient * 1e2, dt * 1e4, *spins.values()]
    scaled = [x.clone().requires_grad_() for x in scaled]

    def final(M, real, imaginary, gradient, dt, *values):
        b1 = torch.complex(real, imaginary) * 1e-5
        named = dict(zip(spins, values, strict=True))
        return bloch.evolve(M, b1, gradient * 1e-2, dt * 1e-4, **named)

    assert torch.autograd.gradcheck(final, scaled, atol=1e-4, rtol=1e-3)
    single = M.float().requires_grad_()
    bloch.evolve(single, b1, gradient, dt).sum().backward()
    assert single.grad.dtype == torch.float32


SEQUENCES = st.fixed_dictionaries(
    {
        "num": st.integers(1, 80),
        "steps": st.integers(1, 30),
        "amplitude": st.floats(0, 1e-3),
        "strength": st.floats(0, 0.1),
        "dt": st.floats(1e-7, 1e-1),
        "seed": st.integers(0, 999),
    }
)


@settings(max_examples=60, deadline=None)
@given(SEQUENCES, st.sampled_from(["f4", "f8"]))
def test_magnetisation_stays_below_equilibrium(sequence, dtype):
    arrays, spins = _sequence(**sequence)
    M = bloch.evolve(arrays[0].astype(dtype), *arrays[1:], **spins)
    assert np.all(np.isfinite(M))
    assert np.all(np.linalg.norm(M, axis=1) <= spins["M0"] * (1 + 2e-5))


@settings(max_examples=40, deadline=None)
@given(SEQUENCES)
def test_rotation_alone_keeps_the_length(sequence):
    arrays, spins = _sequence(**sequence)
    M = bloch.evolve(*arrays, **{name: spins[name] for name in ("position", "df", "B1")})
    assert np.abs(np.linalg.norm(M, axis=1) - spins["M0"]).max() < 1e-9


@settings(max_examples=40, deadline=None)
@given(SEQUENCES, st.floats(0, 1), st.floats(-2, 2))
def test_a_sequence_is_its_parts_and_affine(sequence, part, weight):
    arrays, spins = _sequence(**sequence)
    M, *rest = arrays
    cut = int(part * len(rest[0]))
    whole = bloch.evolve(M, *rest, **spins)
    middle = bloch.evolve(M, *(x[:cut] for x in rest), **spins)
    assert np.abs(bloch.evolve(middle, *(x[cut:] for x in rest), **spins) - whole).max() < 1e-9
    mixed = bloch.evolve(weight * M + (1 - weight) * M[::-1], *rest, **spins)
    other = bloch.evolve(M[::-1].copy(), *rest, **spins)
    assert np.abs(mixed - weight * whole - (1 - weight) * other).max() < 1e-9


NAMED = {
    "dt=-1e-06": {"dt": -1e-6},
    "dt=nan": {"dt": np.full(40, np.nan)},
    "T1=0": {"T1": 0, "T2": 0.1},
    "T2=-0.1": {"T2": np.full(7, -0.1)},
    "T2=1.0: at most 2 T1 = 0.8": {"T1": 0.4, "T2": 1.0},
    "gradient=1.5: a finite number of T/m from -1 to 1": {"gradient": np.full((40, 3), 1.5)},
    "gradient=nan": {"gradient": np.full((40, 3), np.nan)},
    "b1=.*nan": {"b1": np.full(40, complex("nan"))},
    "df=inf: a finite number of Hz is allowed": {"df": math.inf},
    "M=nan": {"M": np.full((7, 3), np.nan)},
    "M0=-1": {"M0": -1.0},
    "position=inf": {"position": np.full((7, 3), np.inf)},
    "tolerance=0": {"tolerance": 0.0},
    r"M: shape \(7, 2\)": {"M": np.zeros((7, 2))},
    r"b1: shape \(40,\) of float64": {"b1": np.zeros(40)},
    r"gradient: shape \(39, 3\); \(40, 3\)": {"gradient": np.zeros((39, 3))},
    r"position: shape \(6, 3\)": {"position": np.zeros((6, 3))},
    r"df: shape \(6,\); \(\) or \(7,\)": {"df": np.zeros(6)},
    r"dt: shape \(3,\)": {"dt": np.ones(3)},
}


@pytest.mark.parametrize("message", NAMED)
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_bad_input_is_named(message, convert):
    arrays, spins = _sequence()
    arguments = dict(zip(("M", "b1", "gradient", "dt"), arrays, strict=True)) | spins
    arguments |= NAMED[message]
    arguments = {n: convert(x) if isinstance(x, np.ndarray) else x for n, x in arguments.items()}
    message = message.replace(" of float64", ".*float64")
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(bloch.evolve)(**arguments)


LISTS = {
    r"M=\[\[0.*\.\.\.\] \(list\): an array of NumPy, CuPy or torch is allowed": {
        "M": [[0.0, 0.0, 1.0]] * 7
    },
    r"b1=\(0, .*\(tuple\): an array": {"b1": (0,) * 40},
    r"gradient=\[.*\(list\): an array": {"gradient": [[0.0, 0.0, 0.0]] * 40},
    r"gradient=0.01 \(float\): an array": {"gradient": 0.01},
    r"position=\[.*\(list\): an array": {"position": [[0.0, 0.0, 0.0]] * 7},
    r"dt=\[1e-05, .*\(list\): a number or an array": {"dt": [1e-5] * 40},
    r"T1=\[1.0, .*\(list\): a number or an array": {"T1": [1.0] * 7},
    r"df=5j \(complex\): a number or an array": {"df": 5j},
}


@pytest.mark.parametrize("message", LISTS)
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_a_list_is_refused_by_name(message, convert):
    arrays, spins = _sequence()
    arguments = dict(zip(("M", "b1", "gradient", "dt"), arrays, strict=True)) | spins
    arguments = {n: convert(x) for n, x in arguments.items()} | LISTS[message]
    with pytest.raises(TypeError, match=message):
        inspect.unwrap(bloch.evolve)(**arguments)


def test_arrays_of_several_libraries_are_named():
    arrays, spins = _sequence()
    tensors = [torch.from_numpy(x) for x in arrays]
    message = "M, b1, gradient, dt: torch; .*T1, T2.*: NumPy; arrays of one library are allowed"
    with pytest.raises(TypeError, match=message):
        bloch.evolve(*tensors, **spins)
    # A scalar of NumPy is a number.
    whole = bloch.evolve(*tensors, df=np.float64(40), T1=np.float32(1), T2=0.1)
    assert torch.equal(whole, bloch.evolve(*tensors, df=40.0, T1=1.0, T2=0.1))


@pytest.mark.parametrize("function", [bloch.evolve, bloch.evolve_formula])
def test_fields_in_single_precision_are_exact_numbers(function):
    M, df = np.array([[1.0, 0, 0]]), np.array([1000.0], "f4")
    out = function(M, *_rf(0, 1), 1.0, df=df)
    assert np.abs(out - M).max() < 1e-11
    T1, T2, t = np.array([0.7], "f4"), np.array([0.3], "f4"), 2.0
    out = function(M, *_rf(0, 1), t, T1=T1, T2=T2)
    exact = [np.exp(-t / np.float64(T2[0])), 0, 1 - np.exp(-t / np.float64(T1[0]))]
    assert np.abs(out[0] - exact).max() < 1e-14


@pytest.mark.parametrize("function", [bloch.evolve, bloch.evolve_formula])
@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
def test_a_step_of_no_length_changes_nothing(function, convert):
    arrays, spins = _sequence()
    spins = {name: convert(x) for name, x in spins.items()}
    M, b1, gradient, dt = arrays
    none = np.flatnonzero(np.arange(40) % 7 < 2)  # with RF and without
    dt = dt.copy()
    dt[none] = 0
    found = function(*map(convert, (M, b1, gradient, dt)), **spins)
    kept = [M, *(np.delete(x, none, 0) for x in (b1, gradient, dt))]
    expected = _numpy(function(*map(convert, kept), **spins))
    assert np.abs(_numpy(found) - expected).max() < 1e-14
    still = function(*map(convert, (M, b1, gradient)), 0, **spins)
    assert np.abs(_numpy(still) - M).max() < 1e-15


def test_slopes_of_steps_of_no_length():
    """One-sided differences: a delay that starts at nothing, with RF and gradient and without."""
    arrays, spins = _sequence(num=3, steps=6, amplitude=2e-5, dt=2e-5)
    arrays[1][2], arrays[1][3] = 3e-6 - 1e-5j, 0
    dt = torch.from_numpy(arrays[3].copy())
    dt[2] = dt[3] = 0
    tensors = {name: torch.from_numpy(x) for name, x in spins.items()}
    first = [torch.from_numpy(x) for x in arrays[:3]]
    for function in (bloch.evolve, bloch.evolve_formula):
        follow = dt.clone().requires_grad_()
        function(*first, follow, **tensors, tolerance=1e-14).sum().backward()
        for k in (2, 3):
            step = 1e-8 * torch.eye(6, dtype=torch.float64)[k]
            ends = [function(*first, dt + n * step, **tensors, tolerance=1e-14).sum().item()
                    for n in range(4)]  # fmt: skip
            slope = (-11 * ends[0] + 18 * ends[1] - 9 * ends[2] + 2 * ends[3]) / 6e-8
            assert follow.grad[k].item() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("df", [1e2, 1e3, 1e4, 1e5])
def test_the_stated_error_of_single_precision_at_large_angles(df):
    rng = np.random.default_rng(0)
    M = rng.normal(size=(500, 3))
    M = (M / np.linalg.norm(M, axis=1, keepdims=True)).astype("f4")
    offsets = df * rng.uniform(0.9, 1.1, 500)
    found = bloch.evolve(M, *_rf(1e-6, 1000), 1e-5, df=offsets)
    exact = bloch.evolve(M.astype("f8"), *_rf(1e-6, 1000), 1e-5, df=offsets)
    assert np.abs(found - exact).max() < 3e-6 + 1.5e-7 * 2 * np.pi * 1.1 * df * 1e-2
