"""Decays of several pools against closed forms, matrix exponentials and sums of isochromats."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch
from scipy.linalg import expm

from ipads_stream.physics.closed_forms.multi_pool import decay

LIBRARIES = {
    "numpy": np.asarray,
    "strict": array_api_strict.asarray,
    "torch": lambda x: torch.from_numpy(np.array(x)),
    "torch gradient": lambda x: torch.from_numpy(np.array(x)).requires_grad_(),
}
TE = 0.0016 + 0.001 * np.arange(24)
TRAIN = 0.01 * np.arange(1, 17)


def _pools(shape=(5, 3), dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    fractions, T2 = (
        rng.uniform(0, 1, shape),
        np.exp(rng.uniform(np.log(0.008), np.log(0.15), shape)),
    )
    return (
        fractions.astype(dtype),
        T2.astype(dtype),
        rng.uniform(0.6, 1.2, shape[:-1]).astype(dtype),
    )


def _numpy(x):
    return x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


@pytest.mark.parametrize("convert", LIBRARIES.values(), ids=LIBRARIES)
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-14), ("float32", 1e-6)])
def test_every_pool_is_the_solution_of_its_rate_equation(convert, dtype, bound):
    fractions, T2, _ = _pools((4, 3), dtype)
    df = np.random.default_rng(1).uniform(-30, 30, (4, 3)).astype(dtype)
    real = decay(TE, convert(fractions), convert(T2))
    turned = decay(TE, convert(fractions), convert(T2), df=convert(df))
    assert str(turned.dtype).endswith({"float32": "complex64", "float64": "complex128"}[dtype])
    assert str(real.dtype).endswith(dtype)
    rates = -1 / T2.astype(float), -1 / T2.astype(float) - 2j * np.pi * df.astype(float)
    for signal, rate in zip((real, turned), rates, strict=True):
        expected = np.array(
            [[f @ expm(np.diag(r) * t) @ np.ones(3) for t in TE]
             for f, r in zip(fractions.astype(float), rate, strict=True)]
        )  # fmt: skip
        assert np.abs(_numpy(signal) - expected).max() < 20 * bound


def _isochromats(ESP, num, T1, T2, B1, spins=256):
    """Spins spread over one turn in half an echo spacing, by matrix exponentials."""
    theta = 2 * np.pi * (np.arange(spins) + 0.5) / spins

    def pulse(angle, axis):
        x, y = axis
        return expm(-angle * np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]]))

    steps = []
    for angle in theta:
        A = np.diag([-1 / T2, -1 / T2, -1 / T1, 0.0])
        A[2, 3] = 1 / T1
        A[0, 1], A[1, 0] = angle / (ESP / 2), -angle / (ESP / 2)
        steps.append(expm(A * ESP / 2))

    def rest(M):
        return np.stack([(A @ np.append(m, 1))[:3] for A, m in zip(steps, M, strict=True)])

    M = np.tile([0.0, 0.0, 1.0], (spins, 1)) @ pulse(np.pi / 2 * B1, (0, -1)).T
    echoes = []
    for _ in range(num):
        M = rest(rest(M) @ pulse(np.pi * B1, (1, 0)).T)
        echoes.append(M[:, 0].mean())
    return np.array(echoes)


@pytest.mark.parametrize("convert", LIBRARIES.values(), ids=LIBRARIES)
def test_a_train_is_the_sum_of_isochromats_of_all_pools(convert):
    fractions, T2, _ = _pools((1, 2))
    signal = decay(TRAIN[:6], convert(fractions), convert(T2), 0.8, T1=0.7)
    expected = sum(
        f * _isochromats(0.01, 6, 0.7, t, 0.8, 32) for f, t in zip(fractions[0], T2[0], strict=True)
    )
    assert np.abs(_numpy(signal)[0] - expected).max() < 1e-10


@pytest.mark.parametrize("convert", LIBRARIES.values(), ids=LIBRARIES)
def test_a_perfect_train_is_a_sum_of_exponentials(convert):
    fractions, T2, _ = _pools()
    signal = decay(convert(TRAIN), convert(fractions), convert(T2), 1.0)
    assert np.abs(_numpy(signal) - decay(TRAIN, fractions, T2)).max() < 1e-12


def test_the_first_echo_in_closed_form():
    """90 b - tau - 180 b - tau: sin(90 b) sin^2(90 b) exp(-ESP / T2), T1 of no effect."""
    fractions, T2, B1 = _pools((50, 3))
    expected = np.sin(np.pi / 2 * B1) ** 3 * decay(TRAIN[:1], fractions, T2)[:, 0]
    for T1 in (0.5, 3.0):
        assert np.allclose(decay(TRAIN, fractions, T2, B1, T1=T1)[:, 0], expected, atol=1e-13)


def test_pools_add_up():
    fractions, T2, B1 = _pools((7, 3))
    for factor in (None, B1):
        whole = decay(TRAIN, fractions, T2, factor)
        parts = [decay(TRAIN, fractions[:, i : i + 1], T2[:, i : i + 1], factor) for i in range(3)]
        assert np.allclose(whole, sum(parts), atol=1e-14)
        assert np.allclose(decay(TRAIN, 2 * fractions, T2, factor), 2 * whole, atol=1e-14)


def test_every_pool_may_have_its_own_T1():
    fractions, T2, B1 = _pools((7, 3))
    T1 = np.array([0.4, 1.0, 1.3])
    parts = [
        decay(TRAIN, fractions[:, i : i + 1], T2[:, i : i + 1], B1, T1=T1[i]) for i in range(3)
    ]
    assert np.allclose(decay(TRAIN, fractions, T2, B1, T1=T1), sum(parts), atol=1e-14)


def test_shapes_broadcast_and_a_batch_is_its_parts():
    fractions, T2, B1 = _pools((2, 4, 3))
    whole = decay(TRAIN, fractions, T2, B1)
    assert whole.shape == (2, 4, 16)
    assert np.array_equal(whole[1, 2], decay(TRAIN, fractions[1, 2], T2[1, 2], B1[1, 2]))
    assert np.array_equal(decay(TE, fractions, T2[0, 0]), decay(TE, fractions, T2[:1, :1]))
    one = decay(TRAIN, fractions[0, 0], T2[0, 0], B1)
    assert np.array_equal(one[1, 3], decay(TRAIN, fractions[0, 0], T2[0, 0], B1[1, 3]))


@pytest.mark.parametrize("train", [False, True])
def test_derivatives(train):
    fractions, T2, B1 = (torch.from_numpy(x).requires_grad_() for x in _pools((2, 3)))
    if train:
        assert torch.autograd.gradcheck(
            lambda f, t, b, T1: decay(TRAIN[:5], f, t, b, T1=T1),
            (fractions, T2, B1, torch.tensor(0.9, dtype=torch.float64, requires_grad=True)),
        )
        return
    df = torch.tensor([[3.0, -5.0, 0.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda f, t, d: torch.view_as_real(decay(TE[:5], f, t, df=d)), (fractions, T2, df)
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"T2": np.array([0.01, 0.0])}, "T2=0"),
        ({"fractions": np.array([-0.1, 1.0])}, r"fractions=-0\.1"),
        ({"fractions": np.ones(3)}, "number of pools"),
        ({"fractions": 1.0}, "number of pools"),
        ({"TE": TE, "B1": 0.9}, "ESP, 2 ESP"),
        ({"TE": TRAIN[::-1], "B1": 0.9}, "ESP, 2 ESP"),
        ({"B1": 0.9, "df": np.zeros(2)}, "df: None"),
        ({"B1": 0.9, "T1": 0.01}, "at most 2 T1"),
        ({"B1": np.inf}, "B1=inf"),
        ({"TE": -TE}, "TE=-0"),
    ],
)
def test_refuses_what_makes_no_sense(changes, reason):
    given = {"TE": TRAIN, "fractions": np.array([0.2, 0.8]), "T2": np.array([0.01, 0.08])}
    with pytest.raises(ValueError, match=reason):
        decay(**{**given, **changes})


def test_refuses_mixed_libraries():
    with pytest.raises(TypeError, match=r"fractions.*T2"):
        decay(TE, np.ones(2), torch.ones(2))
