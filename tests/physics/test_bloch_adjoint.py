"""Slopes of isochromats against finite differences, torch's own and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics import bloch

STEPS = ("b1", "gradient", "dt")
# Size of a typical change of each argument.
SIZES = {
    "M": 1, "b1": 1e-6, "gradient": 1e-3, "dt": 1e-6, "position": 1e-2, "df": 10,
    "T1": 0.1, "T2": 1e-2, "B1": 0.1, "M0": 0.1,
}  # fmt: skip
CASES = {
    "one split": {},
    "several splits": {"amplitude": 1e-5, "strength": 4e-2},
    "hard pulses": {"amplitude": 2e-5, "strength": 1e-3, "dt": 1e-3},
    "exponentials": {"amplitude": 1e-5, "strength": 1e-4, "dt": 2e-2},
    "many blocks and segments": {"num": 131, "steps": 150},
    "every length another": {"mixed": True},
}


def _arguments(
    num=7, steps=40, amplitude=5e-6, strength=5e-3, dt=1e-5, seed=0, mixed=False, silent=True
):
    rng = np.random.default_rng(seed)
    b1 = amplitude * (rng.normal(size=steps) + 1j * rng.normal(size=steps))
    if silent:
        b1[::5] = b1[1::5] = 0
    T1 = rng.uniform(0.1, 2, num)
    M = rng.normal(size=(num, 3))
    return {
        "M": M / np.linalg.norm(M, axis=1, keepdims=True),
        "b1": b1,
        "gradient": strength * rng.uniform(-1, 1, (steps, 3)),
        "dt": dt * (10 ** rng.uniform(-1, 2, steps) if mixed else np.ones(steps)),
        "position": rng.uniform(-0.05, 0.05, (num, 3)),
        "df": rng.uniform(-100, 100, num),
        "T1": T1,
        "T2": np.minimum(rng.uniform(0.02, 0.1, num), 2 * T1),
        "B1": rng.uniform(0.8, 1.2, num),
        "M0": rng.uniform(0.5, 1, num),
    }


def _evolved(function, arguments, tolerance=None):
    rest = dict(arguments)
    first = [rest.pop(name) for name in ("M", *STEPS)]
    return function(*first, **rest, tolerance=tolerance)


def _slopes(arguments, slope, function=bloch.evolve, tolerance=None, followed=None):
    """Slopes of sum(slope * M) by torch, with respect to all arguments or to those named."""
    tensors = {name: torch.tensor(x) for name, x in arguments.items()}
    for name in followed or tensors:
        tensors[name].requires_grad_()
    M = _evolved(function, tensors, tolerance)
    (M * torch.tensor(slope).to(M.dtype)).sum().backward()
    return {n: x.grad.numpy() for n, x in tensors.items() if x.grad is not None}


def _along(a, b):
    return float(np.sum(np.real(np.conj(a) * b)))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_finite_differences(case):
    arguments, rng = _arguments(**case), np.random.default_rng(1)
    slope = rng.normal(size=arguments["M"].shape)
    found = _slopes(arguments, slope)
    part = 1e-5 if max(arguments["dt"]) > 2e-3 else 2e-4  # of the sizes: long steps turn far
    for name, size in SIZES.items():
        x, errors = arguments[name], []
        for _ in range(4):
            step = size * rng.normal(size=x.shape)
            if name == "b1":
                # Without RF a step takes another way: see below.
                step = np.where(x == 0, 0, step + 1j * size * rng.normal(size=x.shape))
            ends = []
            for far in (-2, -1, 1, 2):
                changed = arguments | {name: x + part * far * step}
                ends.append(np.sum(slope * _evolved(bloch.evolve, changed)))
            expected = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * part)
            scale = math.sqrt(np.sum(np.abs(found[name] * step) ** 2)) + 1e-9
            errors.append(abs(_along(found[name], step) - expected) / scale)
        assert np.median(errors) < 1e-6, (name, errors)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_autograd_of_the_formula(case):
    # So tight a tolerance makes both the exponential itself, or split until they agree.
    arguments = _arguments(**(case | {"steps": 20}))
    slope = np.random.default_rng(1).normal(size=arguments["M"].shape)
    found = _slopes(arguments, slope, tolerance=1e-13)
    expected = _slopes(arguments, slope, bloch.evolve_formula, tolerance=1e-13)
    heard = arguments["b1"] != 0
    for name in SIZES:
        mine, theirs = found[name], expected[name]
        if name == "b1":
            mine, theirs = mine[heard], theirs[heard]
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        assert np.linalg.norm(mine - theirs) < 1e-8 * np.linalg.norm(theirs), name


@pytest.mark.parametrize("dt", [1e-6, 1e-4, 5e-3, 0.3])
def test_slopes_with_respect_to_rf_where_there_is_none(dt):
    # The derivative of the exponential itself, by differences of nearly nothing.
    arguments = _arguments(steps=3, dt=dt, strength=1e-4)
    arguments["b1"] = np.array([0, 0, 1e-7], complex)
    slope = np.random.default_rng(1).normal(size=arguments["M"].shape)
    found = _slopes(arguments, slope)["b1"]
    tiny = 1e-5 / (GAMMA_1H * dt)
    for k in (0, 1):
        for unit in (1, 1j):
            step = tiny * unit * (np.arange(3) == k)
            ends = [
                np.sum(slope * _evolved(bloch.evolve, arguments | {"b1": b1}, 1e-16))
                for b1 in (arguments["b1"] - step, arguments["b1"] + step)
            ]
            expected = (ends[1] - ends[0]) / (2 * tiny)
            assert abs(_along(found, step / tiny) - expected) < 3e-6 * np.linalg.norm(found)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_single_precision_is_near_double(case):
    arguments = _arguments(**case)
    slope = np.random.default_rng(1).normal(size=arguments["M"].shape)
    single = {n: x.astype("c8" if n == "b1" else "f4") for n, x in arguments.items()}
    exact = {n: x.astype("c16" if n == "b1" else "f8") for n, x in single.items()}
    found, same = _slopes(single, slope), _slopes(exact, slope, tolerance=1e-6)
    expected = _slopes(exact, slope, tolerance=1e-12)
    for name in SIZES:
        assert found[name].dtype == single[name].dtype
        size = np.linalg.norm(expected[name])
        assert np.linalg.norm(found[name] - same[name]) < 5e-5 * size, name
        # A tolerance of 1e-6 for M is one of parts in a thousand for what relaxation does to it.
        bound = 5e-3 if name in ("T1", "T2", "M0") else 3e-4
        assert np.linalg.norm(found[name] - expected[name]) < bound * size, name


def test_who_is_not_asked_after_changes_nothing():
    arguments = _arguments(num=70)
    slope = np.random.default_rng(1).normal(size=(70, 3))
    whole = _slopes(arguments, slope)
    # Without slopes of RF, steps without RF are merged and exact.
    for followed in (("b1",), ("gradient", "dt"), ("T1", "T2", "df"), ("M",)):
        found = _slopes(arguments, slope, followed=followed)
        assert found.keys() == set(followed)
        for name in followed:
            scale = np.linalg.norm(whole[name])
            assert np.linalg.norm(found[name] - whole[name]) < 1e-10 * scale


def test_numbers_and_defaults():
    arguments = _arguments()
    slope = np.random.default_rng(1).normal(size=(7, 3))
    whole = {**arguments, "dt": np.full(40, 1e-5), "T1": np.full(7, 0.8), "T2": np.full(7, 0.1)}
    whole["df"] = np.full(7, 20.0)
    short = whole | {"dt": np.array(1e-5), "T1": np.array(0.8), "T2": np.array(0.1)}
    short["df"] = np.array(20.0)
    mine, theirs = _slopes(short, slope), _slopes(whole, slope)
    for name in ("dt", "T1", "T2", "df"):
        assert mine[name].shape == ()
        assert mine[name] == pytest.approx(theirs[name].sum(), rel=1e-12)
    b1 = torch.tensor(arguments["b1"], requires_grad=True)
    M = bloch.evolve(torch.tensor(arguments["M"]), b1, torch.tensor(arguments["gradient"]), 1e-5)
    (M * torch.tensor(slope)).sum().backward()
    plain = {n: arguments[n] for n in ("M", "b1", "gradient")} | {"dt": np.array(1e-5)}
    plain |= {"T1": np.array(math.inf), "T2": np.array(math.inf)}
    assert np.array_equal(b1.grad.numpy(), _slopes(plain, slope)["b1"])
    assert np.all(_slopes(plain, slope)["T1"] == 0)


def test_no_steps_and_no_spins():
    arguments = _arguments()
    none = arguments | {n: arguments[n][:0] for n in STEPS}
    found = _slopes(none, np.ones((7, 3)))
    assert np.array_equal(found["M"], np.ones((7, 3)))
    assert all(not np.any(x) for n, x in found.items() if n != "M")
    nobody = {n: x if n in STEPS else x[:0] for n, x in arguments.items()}
    assert not np.any(_slopes(nobody, np.ones((0, 3)))["b1"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own import
def test_a_second_derivative_is_refused_and_forward_mode_takes_the_formula():
    arguments = {n: torch.tensor(x) for n, x in _arguments(num=2, steps=4).items()}
    df = arguments["df"].clone().requires_grad_()
    out = _evolved(bloch.evolve, arguments | {"df": df}).sum()
    (first,) = torch.autograd.grad(out, df, create_graph=True)
    with pytest.raises(RuntimeError, match="written by hand"):
        first.sum().backward()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(arguments["df"], torch.ones(2).double())
        moved = _evolved(bloch.evolve, arguments | {"df": dual})
        tangent = torch.autograd.forward_ad.unpack_dual(moved).tangent
    assert tangent.sum().item() == pytest.approx(first.detach().sum().item(), rel=1e-6)


def test_repeats_are_bitwise_and_nothing_is_written_to():
    arguments = _arguments(num=150)
    before = {n: x.copy() for n, x in arguments.items()}
    slope = np.random.default_rng(1).normal(size=(150, 3))
    first, second = _slopes(arguments, slope), _slopes(arguments, slope)
    assert all(np.array_equal(first[n], second[n]) for n in SIZES)
    assert all(np.array_equal(before[n], arguments[n]) for n in SIZES)


def test_an_optimiser_finds_a_pulse():
    # From nothing, RF that excites the slice in the middle and leaves the rest alone.
    z = torch.linspace(-0.02, 0.02, 41)
    position = torch.stack((0 * z, 0 * z, z), 1)
    wanted = (z.abs() < 4e-3).float()
    far = (z.abs() - 4e-3).abs() > 2.5e-3
    M = torch.tensor([[0.0, 0, 1]]).repeat(41, 1)
    steps, dt = 100, 3e-5
    gradient = torch.zeros(steps + 50, 3)
    gradient[:steps, 2], gradient[steps:, 2] = 8e-3, -8e-3
    scaled = torch.zeros(steps, 2, requires_grad=True)
    optimiser = torch.optim.Adam([scaled], lr=0.05)
    losses = []
    for _ in range(120):
        rf = torch.cat((torch.view_as_complex(scaled) * 1e-5, torch.zeros(50)))
        out = bloch.evolve(M, rf, gradient, dt, position=position)
        loss = ((out[far, 1] - wanted[far]) ** 2 + out[far, 0] ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
