"""Damped exponentials against closed forms, on every array library."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ipads_stream.physics.spectroscopy.exponentials import (
    damped_exponentials,
    damped_exponentials_formula,
)

BACKENDS = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "torch gradient": lambda x: torch.from_numpy(np.array(x)).requires_grad_(),
}


def _peaks(shape, dtype=np.float64, seed=0, dwell=1.0):
    rng = np.random.default_rng(seed)
    ranges = (0.05, 1), (-0.5 / dwell, 0.5 / dwell), (-3, 3), (10 * dwell, 180 * dwell)
    return [rng.uniform(low, high, shape).astype(dtype) for low, high in ranges]


def _spectrum(a, f, phi, tau, points, dwell):
    """Discrete Fourier transform in closed form: sum_n z^n w^-kn = (1 - z^N) / (1 - z w^-k)."""
    a, f, phi, tau = (np.asarray(x, np.float64)[..., None] for x in (a, f, phi, tau))
    rate = -dwell / tau + 2j * np.pi * f * dwell
    turn = np.exp(-2j * np.pi * np.arange(points) / points)
    return (a * np.exp(1j * phi) * (1 - np.exp(points * rate)) / (1 - np.exp(rate) * turn)).sum(-2)


def _error(signal, *peaks, dwell=1.0):
    signal = signal.detach().numpy() if isinstance(signal, torch.Tensor) else np.asarray(signal)
    exact = _spectrum(*peaks, signal.shape[-1], dwell)
    return np.linalg.norm(np.fft.fft(signal.astype(complex)) - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("convert", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("points", [1, 15, 256, 1000])
def test_closed_form_of_the_spectrum(convert, dtype, bound, points):
    peaks = _peaks((2, 7, 5), dtype)
    signal = damped_exponentials(*map(convert, peaks), points=points)
    assert tuple(signal.shape) == (2, 7, points)
    assert str(signal.dtype).endswith({"float32": "complex64", "float64": "complex128"}[dtype])
    assert _error(signal, *peaks) < bound


@pytest.mark.parametrize("points", [4096, 50_001])
@pytest.mark.parametrize("function", [damped_exponentials, damped_exponentials_formula])
def test_the_error_does_not_grow_with_the_length(function, points):
    peaks = _peaks((2, 4), np.float32)
    peaks[3] *= 200
    assert _error(function(*peaks, points=points), *peaks) < 1e-6


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 120),
    st.integers(1, 600),
    st.integers(0, 40),
    st.floats(1e-6, 10),
    st.integers(0, 99),
)
def test_any_shape_and_any_dwell(num_peaks, points, num_signals, dwell, seed):
    peaks = _peaks((num_signals, num_peaks), seed=seed, dwell=dwell)
    peaks[0][:, ::3] = 0
    signal = damped_exponentials(*peaks, points=points, dwell=dwell, dtype="complex64")
    assert signal.shape == (num_signals, points)
    formula = damped_exponentials_formula(*peaks, points=points, dwell=dwell)
    scale = np.abs(peaks[0]).sum(-1, keepdims=True) + 1e-30
    assert np.all(np.abs(signal - formula) <= 1e-6 * scale)


def test_a_line_at_positive_frequency_turns_forward():
    one = np.ones((1, 1))
    signal = damped_exponentials(2 * one, 50 * one, 0.3 * one, 0.1 * one, points=64, dwell=1e-3)
    t = np.arange(64) * 1e-3
    expected = 2 * np.exp(0.3j + 2j * np.pi * 50 * t - t / 0.1)
    assert np.abs(signal[0] - expected).max() < 1e-13
    assert np.argmax(np.abs(np.fft.fft(signal[0], 1000))) == 50


def test_absent_peaks_leave_no_trace():
    peaks = _peaks((6, 8), np.float32)
    peaks[0][:, 5:] = 0
    peaks[0][2] = 0
    signal = damped_exponentials(*peaks, points=300)
    few = damped_exponentials(*(x[:, :5] for x in peaks), points=300)
    assert np.array_equal(signal, few)
    assert not signal[2].any()


def test_a_batch_is_its_parts():
    peaks = _peaks((50, 7), np.float32)
    whole = damped_exponentials(*peaks, points=123)
    parts = [damped_exponentials(*(x[i : i + 1] for x in peaks), points=123) for i in range(50)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_threads_may_share_a_batch():
    peaks = _peaks((4000, 5), np.float32)
    parts = [[x[i::4] for x in peaks] for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        signals = list(pool.map(lambda part: damped_exponentials(*part, points=200), parts))
    whole = damped_exponentials(*peaks, points=200)
    assert all(np.array_equal(whole[i::4], signals[i]) for i in range(4))


def test_shapes_broadcast():
    a, f, phi, tau = _peaks((3, 4, 5), np.float32)
    signal = damped_exponentials(a, f[0], phi[:1, :1, :1], tau[:, :1], points=20)
    expected = damped_exponentials(
        a, *(np.broadcast_to(x, a.shape) for x in (f[0], phi[:1, :1, :1], tau[:, :1])), points=20
    )
    assert np.array_equal(signal, expected)
    assert damped_exponentials(a[0, 0], f[0, 0], phi[0, 0], tau[0, 0], points=20).shape == (20,)


def test_extreme_decays():
    tau = np.array([[1e-4, 1e-2, 1e12]])
    peaks = np.ones((1, 3)), np.array([[0.1, 0.2, 0.3]]), np.zeros((1, 3)), tau
    signal = damped_exponentials(*peaks, points=2000, dtype="complex64")
    n = np.arange(2000)
    direct = (n == 0) * 2 + np.exp(2j * np.pi * 0.3 * n)
    assert np.abs(signal[0] - direct).max() < 2e-6


def test_gradients():
    peaks = [torch.from_numpy(x).requires_grad_() for x in _peaks((2, 3))]
    assert torch.autograd.gradcheck(lambda *p: damped_exponentials(*p, points=11, dwell=0.7), peaks)
    single = [torch.from_numpy(x).float().requires_grad_() for x in _peaks((2, 3))]
    damped_exponentials(*single, points=11).abs().sum().backward()
    assert all(x.grad.dtype == torch.float32 for x in single)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_every_kind_of_derivative_takes_the_formula():
    peaks = tuple(torch.from_numpy(x) for x in _peaks((2, 3), np.float32))

    def signal(f):
        return torch.view_as_real(damped_exponentials(peaks[0], f, *peaks[2:], points=11))

    forward, backward = torch.func.jacfwd(signal)(peaks[1]), torch.func.jacrev(signal)(peaks[1])
    assert torch.allclose(forward, backward, atol=1e-4) and forward.abs().max() > 1
    mapped = torch.func.vmap(lambda *p: damped_exponentials(*p, points=11))(*peaks)
    assert torch.allclose(mapped, damped_exponentials(*peaks, points=11), atol=1e-5)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(peaks[1], torch.ones(2, 3))
        tangent = torch.autograd.forward_ad.unpack_dual(signal(dual)).tangent
    assert torch.allclose(tangent, forward.sum((-1, -2)), atol=1e-3)


def test_a_tensor_and_an_array_run_in_the_same_kernel():
    peaks = _peaks((9, 4), np.float32)
    tensor = damped_exponentials(*map(torch.from_numpy, peaks), points=99)
    assert tensor.dtype == torch.complex64
    assert np.array_equal(tensor.numpy(), damped_exponentials(*peaks, points=99))


@pytest.mark.gpu
def test_cupy_agrees():
    import cupy

    for dtype, bound in (("float32", 2e-6), ("float64", 1e-12)):
        peaks = _peaks((7, 5), dtype)
        signal = damped_exponentials(*map(cupy.asarray, peaks), points=700)
        assert _error(signal.get(), *peaks) < bound


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decay": np.zeros((2, 3))}, "decay=0.0: a finite positive time"),
        ({"decay": np.full((2, 3), np.nan)}, "decay=nan"),
        ({"decay": np.full((2, 3), np.inf)}, "decay=inf"),
        ({"points": 0}, "points=0"),
        ({"dwell": -1.0}, "dwell=-1.0"),
        ({"dwell": float("nan")}, "dwell=nan"),
    ],
)
def test_bad_input_is_named(change, message):
    names = ("amplitude", "frequency", "phase", "decay")
    arguments = dict(zip(names, _peaks((2, 3)), strict=True)) | {"points": 8}
    with pytest.raises(ValueError, match=message):
        damped_exponentials(**(arguments | change))


def test_a_tensor_of_negative_decay_is_refused():
    peaks = [torch.ones(2, 3)] * 3
    with pytest.raises(ValueError, match="decay"):
        damped_exponentials(*peaks, -torch.ones(2, 3), points=8)
