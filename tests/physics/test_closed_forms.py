"""Closed forms: literature's other forms of them, limits, and what all of them promise."""

from __future__ import annotations

import inspect
import math

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ipads_stream.physics.closed_forms.multi_echo import gradient_echoes, spin_echoes
from ipads_stream.physics.closed_forms.steady_states import (
    bssfp,
    inversion_recovery,
    mprage,
    spin_echo,
    spoiled_gradient_echo,
)

NUMBERS = {
    "flip": 0.5, "TR": 1.2, "TE": 0.012, "TI": 0.25, "ESP": 0.008, "T1": 0.9, "T2": 0.5,
    "T2s": 0.04, "df": 13.0, "B1": 0.9, "M0": 1.7, "efficiency": 0.85, "increment": 2.5,
}  # fmt: skip
WHOLE = {"num_echoes": 6, "centre": 2}
FORMS = [spin_echo, spoiled_gradient_echo, bssfp, inversion_recovery,
         mprage, spin_echoes, gradient_echoes]  # fmt: skip
EACH = pytest.mark.parametrize("form", FORMS, ids=lambda f: f.__name__)


def _arguments(form):
    names = inspect.signature(form).parameters
    assert {*names} <= {*NUMBERS, *WHOLE}
    return (
        {name: NUMBERS[name] for name in names if name in NUMBERS},
        {name: WHOLE[name] for name in names if name in WHOLE},
    )


def _value(x):
    return complex(np.asarray(x).ravel()[-1])


@EACH
def test_numbers_and_arrays_of_every_library(form):
    numbers, whole = _arguments(form)
    # Of the two with an axis of echoes, TE holds them.
    rng = np.random.default_rng(0)
    arrays = {name: x * rng.uniform(0.9, 1.1, (3, 4)) for name, x in numbers.items()}
    if form in (spin_echoes, gradient_echoes):
        arrays["TE"] = np.array([0.01, 0.02])
    expected = form(**arrays, **whole)
    assert np.all(np.isfinite(expected))
    for convert in (array_api_strict.asarray, torch.from_numpy):
        result = form(**{name: convert(x) for name, x in arrays.items()}, **whole)
        np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-13, atol=1e-16)
        single = form(**{name: convert(x.astype("float32")) for name, x in arrays.items()}, **whole)
        kind = "complex64" if np.iscomplexobj(expected) else "float32"
        assert str(single.dtype).endswith(kind)
        np.testing.assert_allclose(np.asarray(single), expected, rtol=2e-4, atol=2e-5)


@EACH
def test_every_argument_moves_the_signal_and_broadcasts(form):
    numbers, whole = _arguments(form)
    reference = form(**numbers, **whole)
    for name, x in numbers.items():
        if form in (spin_echoes, gradient_echoes) and name == "TE":
            continue
        one = np.array([x, 1.05 * x])
        result = form(**{**numbers, name: one}, **whole)
        assert result.shape[0] == 2
        np.testing.assert_allclose(result[0], reference, rtol=1e-12)
        assert np.abs(result[1] - result[0]).max() > 1e-6, name
        # A number beside a float32 array does not widen it.
        narrow = form(**{**numbers, name: one.astype("float32")}, **whole)
        assert narrow.dtype in (np.float32, np.complex64)


@EACH
def test_derivatives(form):
    numbers, whole = _arguments(form)
    tensors = tuple(torch.tensor([x, 1.1 * x], dtype=torch.float64) for x in numbers.values())
    for x in tensors:
        x.requires_grad_()

    def signal(*values):
        out = form(**dict(zip(numbers, values, strict=True)), **whole)
        return torch.view_as_real(out) if out.is_complex() else out

    assert torch.autograd.gradcheck(signal, tensors)


@EACH
def test_refuses_numbers_that_make_no_sense(form):
    numbers, whole = _arguments(form)
    for name in numbers:
        wrong = [math.nan, -math.inf]
        if name in ("TR", "TE", "TI", "ESP", "T1", "T2", "T2s", "M0"):
            wrong.append(-1.0)
        if name in ("T1", "T2", "T2s", "TR", "ESP"):
            wrong.append(0.0)
        if name == "efficiency":
            wrong.append(1.5)
        if name == "T1":
            wrong.append(math.inf)  # what does not recover has no steady state
        for x in wrong:
            hidden = np.array([numbers[name], x])
            for given_ in (x, hidden, torch.from_numpy(hidden)):
                with pytest.raises(ValueError, match=f"{name}={x}"):
                    form(**{**numbers, name: given_}, **whole)
    if "T2" in numbers and "T1" in numbers:
        with pytest.raises(ValueError, match=r"T2=5\.0: at most 2 T1"):
            form(**{**numbers, "T2": 5.0}, **whole)
        with pytest.raises(ValueError, match=r"T2=5\.0: at most 2 T1"):
            form(**{**numbers, "T2": np.array([0.5, 5.0])}, **whole)
    for early in ("TE", "TI"):
        if early in numbers and "TR" in numbers:
            for x in (9.0, np.array([0.1, 9.0])):
                with pytest.raises(ValueError, match=f"{early}=9"):
                    form(**{**numbers, early: x}, **whole)


@EACH
def test_refuses_what_is_no_number_or_array_and_mixed_libraries(form):
    numbers, whole = _arguments(form)
    for name, x in numbers.items():
        for wrong in ([x, x], str(x), None, np.array([x + 1j]), np.array([True])):
            with pytest.raises(TypeError, match=name):
                form(**{**numbers, name: wrong}, **whole)
    first, second, *_ = numbers
    if "TR" in numbers:
        other = "T1" if "T1" in numbers else "T2"
        with pytest.raises(ValueError, match=rf"TR \(3,\).*{other} \(2,\)"):
            form(**{**numbers, "TR": np.full(3, 1.2), other: np.full(2, 0.9)}, **whole)
    mixed = {first: np.array([numbers[first]]), second: torch.tensor([numbers[second]])}
    with pytest.raises(TypeError, match=f"{first}.*{second}"):
        form(**{**numbers, **mixed}, **whole)


@EACH
def test_whole_numbers_count_as_numbers(form):
    numbers, whole = _arguments(form)
    last = [name for name in numbers if name != "T1"][-1]
    narrow = np.array([numbers["TR" if "TR" in numbers else "TE"]], "float32")
    ones = {name: np.array([1]) for name in ("M0", "B1") if name in numbers}
    both = {"TR" if "TR" in numbers else "TE": narrow}
    assert form(**{**numbers, **both, **ones}, **whole).dtype in (np.float32, np.complex64)
    wide = form(**{**numbers, last: np.array([1])}, **whole)
    assert wide.dtype in (np.float64, np.complex128)


def test_a_negative_B1_is_a_phase_of_pi():
    for form in (spoiled_gradient_echo, bssfp, inversion_recovery, mprage):
        numbers, whole = _arguments(form)
        minus = form(**{**numbers, "B1": -numbers["B1"]}, **whole)
        np.testing.assert_allclose(minus, -form(**numbers, **whole), rtol=1e-13)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_values_that_torch_hides_are_not_looked_at():
    T1 = torch.tensor([0.8, 1.0])
    mapped = torch.func.vmap(lambda x: spin_echo(1.2, 0.01, x, 0.1))(T1)
    assert torch.allclose(mapped, spin_echo(1.2, 0.01, T1, 0.1))


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.asarray])
def test_whole_numbers_of_any_kind(kind):
    numbers, whole = _arguments(mprage)
    given_ = {name: kind(x) for name, x in whole.items()}
    assert np.array_equal(mprage(**numbers, **given_), mprage(**numbers, **whole))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_echoes": 0}, "num_echoes=0"),
        ({"num_echoes": True}, "num_echoes=True"),
        ({"centre": 6}, "centre=6"),
        ({"TI": 0.001}, "a train of 6"),
        ({"TR": 0.28}, "a train of 6"),
        ({"TI": np.array([0.25, 0.001])}, "TI=0.001.*a train of 6"),
        ({"TR": torch.tensor([0.28])}, "a train of 6"),
        ({"num_echoes": 6.0}, "num_echoes=6.0"),
    ],
)
def test_refuses_trains_that_do_not_fit(changes, reason):
    numbers, whole = _arguments(mprage)
    with pytest.raises(ValueError, match=reason):
        mprage(**{**numbers, **whole, **changes})


def test_refuses_a_balanced_train_without_an_end():
    with pytest.raises(ValueError, match="TR=inf"):
        bssfp(0.5, math.inf, 0.0, 1.0, 0.1)
    with pytest.raises(ValueError, match="TR=inf"):
        bssfp(0.5, np.array([0.1, math.inf]), 0.0, 1.0, 0.1)


def test_the_article_s_spin_echo():
    """Eq. (3) term by term."""
    result = spin_echo(TR=2.0, TE=0.03, T1=0.8, T2=0.06, M0=3.0)
    assert result == pytest.approx(3 * (1 - math.exp(-2 / 0.8)) * math.exp(-0.03 / 0.06))


def test_the_ernst_angle_is_the_best():
    angle = math.acos(math.exp(-0.02 / 1.1))
    flips = angle + np.linspace(-0.01, 0.01, 201)
    signal = np.abs(spoiled_gradient_echo(flips, 0.02, 0.0, 1.1, 1.0))
    assert flips[np.argmax(signal)] == pytest.approx(angle, abs=1.01e-4)
    assert np.all(np.diff(np.sign(np.diff(signal))) <= 0)


def test_barral_s_inversion_recovery():
    """In the symbols of that article: pulses theta1, theta2."""
    TI, TR, T1, TE, T2 = 0.3, 1.5, 0.9, 0.01, 0.08
    for f in (1.0, 0.9, 0.0, -0.3):
        first, second, E = math.acos(-f), 1.3, math.exp(-TR / T1)
        steady = 1 - math.cos(first) * E - (1 - math.cos(first)) * math.exp(-TI / T1)
        steady /= 1 - math.cos(first) * math.cos(second) * E
        expected = math.sin(second) * steady * math.exp(-TE / T2)
        result = inversion_recovery(TI, TR, T1, TE, T2, flip=1.3, efficiency=f)
        assert result == pytest.approx(expected)
    null = 0.9 * math.log(2)
    assert inversion_recovery(null, math.inf, 0.9) == pytest.approx(0, abs=1e-15)
    assert inversion_recovery(0.5 * null, math.inf, 0.9) < 0
    # An inversion that fails altogether leaves saturation recovery.
    failed = inversion_recovery(0.3, 1.5, 0.9, efficiency=-1.0)
    assert failed == pytest.approx(1 - math.exp(-1.5 / 0.9))


def test_limits_of_balanced_precession():
    """Middle of the pass band, large TR, and T1 = T2."""
    TR, T1, T2, a = 0.004, 1.0, 0.1, 0.8
    E1, E2 = math.exp(-TR / T1), math.exp(-TR / T2)
    known = math.sin(a) * (1 - E1) / (1 - (E1 - E2) * math.cos(a) - E1 * E2)
    result = _value(bssfp(a, TR, 0.5 * TR, T1, T2))
    assert result == pytest.approx(known * math.exp(-0.5 * TR / T2))
    far = _value(bssfp(a, 60.0, 0.0, T1, T2, df=3.3))
    assert far == pytest.approx(math.sin(a), rel=1e-12)
    # TR much below T1 and T2: M0 / 2 at most, at 90 degrees, for T1 = T2.
    assert _value(bssfp(math.pi / 2, 1e-6, 0.0, 1.0, 1.0)) == pytest.approx(0.5, rel=1e-5)
    # One period in df; its sign changes: the phase grows by pi from band to band.
    one, next_ = (_value(bssfp(a, TR, 0.0, T1, T2, df=f)) for f in (20.0, 20.0 + 1 / TR))
    assert one == pytest.approx(next_)
    echo = [np.angle(_value(bssfp(a, TR, TR / 2, 1.0, 1.0, df=f))) for f in (-60.0, 0.0, 60.0)]
    np.testing.assert_allclose(echo, 0, atol=2e-3)  # a spin echo at TR / 2


def test_a_train_of_one_pulse_is_inversion_recovery():
    for flip in (0.3, math.pi / 2):
        train = mprage(flip, 0.4, 1.2, 0.008, 1, 0.9, TE=0.003, T2s=0.05, efficiency=0.9)
        single = inversion_recovery(0.4, 1.2, 0.9, 0.003, 0.05, flip, 0.9)
        assert train.shape == (1,)
        assert train[0] == pytest.approx(float(single))


def test_a_long_train_reaches_the_spoiled_steady_state():
    train = mprage(0.3, 0.1, 8.1, 0.02, 400, 0.5)
    steady = spoiled_gradient_echo(0.3, 0.02, 0.0, 0.5, 1.0)
    assert train[-1] == pytest.approx(_value(steady).real, rel=1e-9)


def test_short_repetitions_keep_single_precision():
    """1 - E cos(a) loses all digits of float32 if it is written so."""
    flip, TR, T1 = 0.002, 0.0005, 4.0
    exact = _value(spoiled_gradient_echo(flip, TR, 0.0, T1, 1.0))
    single = _value(spoiled_gradient_echo(flip, TR, 0.0, np.float32([T1]), 1.0))
    assert single == pytest.approx(exact, rel=1e-5)
    exact = mprage(flip, 0.1, 1.0, TR, 50, T1)
    single = mprage(flip, 0.1, 1.0, TR, 50, np.float32([T1]))
    np.testing.assert_allclose(single[0], exact, rtol=1e-3)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0, 2 * math.pi), st.floats(1e-3, 20), st.floats(0, 1), st.floats(1e-3, 10),
    st.floats(1e-3, 1), st.floats(-500, 500), st.floats(0, 1.5), st.floats(0, 7),
)  # fmt: skip
def test_nothing_exceeds_equilibrium(flip, TR, share, T1, ratio, df, B1, increment):
    TE, T2 = 0.99 * share * TR, 2 * ratio * T1
    signals = [
        bssfp(flip, TR, TE, T1, T2, df, B1, increment=increment),
        spoiled_gradient_echo(flip, TR, TE, T1, T2, df, B1),
        spin_echo(TR, TE, T1, T2),
        inversion_recovery(TE, TR, T1, 0.0, T2, flip, ratio, B1),
        *mprage(flip, TE, TR, (TR - TE) / 3, 3, T1, B1=B1, efficiency=ratio),
    ]
    for signal in signals:
        assert abs(complex(signal)) <= 1 + 1e-9
    # Without RF there is no signal.
    for form in (bssfp, spoiled_gradient_echo):
        assert abs(complex(form(flip, TR, TE, T1, T2, df, B1=0.0))) < 1e-15
