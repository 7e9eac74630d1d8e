"""Motion against closed forms, SciPy and finite differences; signals of moving spins."""

from __future__ import annotations

import itertools
import math

import array_api_strict
import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.transform import Rotation

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.motion import paths as motion
from ipads_stream.physics.motion.courses import (
    Contraction,
    Deformation,
    GridDeformation,
    RigidMotion,
)
from ipads_stream.physics.waveforms import Pulse, Waveforms

TIMES = np.array([0.0, 0.3, 0.5])


def _rest(num=6, seed=0):
    return np.random.default_rng(seed).uniform(-0.05, 0.05, (num, 3))


def _rigid(convert=np.asarray, interval=1e-3):
    rng = np.random.default_rng(1)
    u, theta = rng.uniform(-0.01, 0.01, (3, 3)), rng.uniform(-2, 2, (3, 3))
    theta[0] = 0
    return RigidMotion(TIMES, convert(u), convert(theta), (0.01, -0.02, 0.0), interval)


def _deformations(convert):
    rng = np.random.default_rng(2)
    field = convert(rng.uniform(-0.01, 0.01, (3, 4, 5, 6, 3)))
    return {
        "rigid": _rigid(convert),
        "displacement": Deformation(TIMES, convert(rng.normal(size=(3, 6, 3)))),
        "grid": GridDeformation(TIMES, field, (-0.04, -0.04, -0.04), (0.02, 0.02, 0.012)),
        "contraction": Contraction(0.02, 0.3, 0.2, 0.15, centre=(0.001, 0.002)),
    }


@pytest.mark.parametrize("time", [-1.0, 0.0, 0.1, 0.3, 0.42, 9.0])
def test_rotations_of_scipy(time):
    m = _rigid()
    at = np.clip(time, 0, 0.5)
    u, theta = (
        np.array([np.interp(at, TIMES, x[:, i]) for i in range(3)])
        for x in (m.translation, m.rotation)
    )
    c = np.array(m.centre)
    expected = c + Rotation.from_rotvec(theta).apply(_rest() - c) + u
    np.testing.assert_allclose(m.position(_rest(), time), expected, atol=1e-15)


@pytest.mark.parametrize("name", ["rigid", "displacement", "grid", "contraction"])
@pytest.mark.parametrize("convert", [array_api_strict.asarray, torch.from_numpy])
def test_every_library_moves_alike(name, convert):
    rest, edges = _rest(), np.linspace(0, 0.5, 4)
    expected = list(_deformations(np.asarray)[name].path(rest, edges))
    result = list(_deformations(convert)[name].path(convert(rest), edges))
    assert len(expected) == 3
    for a, b in zip(expected, result, strict=True):
        np.testing.assert_allclose(np.asarray(b), a, atol=1e-15)


def test_single_precision_is_kept():
    rest = torch.from_numpy(_rest().astype(np.float32))
    for m in _deformations(lambda x: torch.from_numpy(x.astype(np.float32))).values():
        assert m.position(rest, 0.2).dtype == torch.float32


def test_knots_are_differentiable_where_nothing_rotates_as_well():
    rest = torch.from_numpy(_rest(2))
    u, theta = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    theta[2] = 1.0
    knots = (u.requires_grad_(), theta.requires_grad_(), rest.requires_grad_())
    for time in (0.0, 0.4):
        assert torch.autograd.gradcheck(
            lambda u, theta, r, t=time: RigidMotion(TIMES, u, theta).position(r, t), knots
        )


def test_batches_of_motion():
    rng = np.random.default_rng(5)
    u, theta = rng.normal(size=(4, 3, 3)), rng.normal(size=(4, 3, 3))
    together = RigidMotion(TIMES, u, theta).position(_rest(), 0.2)
    assert together.shape == (4, 6, 3)
    for i in range(4):
        alone = RigidMotion(TIMES, u[i], theta[i]).position(_rest(), 0.2)
        np.testing.assert_array_equal(together[i], alone)


def test_displacements_between_knots_and_points_of_the_grid():
    m = _deformations(np.asarray)
    rest = _rest()
    u = m["displacement"].displacement
    expected = rest + u[0] / 3 + u[1] * 2 / 3
    np.testing.assert_allclose(m["displacement"].position(rest, 0.2), expected)
    grid = m["grid"]
    field = grid.displacement[0] / 3 + grid.displacement[1] * 2 / 3
    points = [
        o + d * np.arange(n) for o, d, n in zip(grid.origin, grid.spacing, (4, 5, 6), strict=True)
    ]
    inside = np.clip(rest, [p[0] for p in points], [p[-1] for p in points])
    assert np.any(inside != rest)
    expected = rest + RegularGridInterpolator(points, field)(inside)
    np.testing.assert_allclose(grid.position(rest, 0.2), expected, atol=1e-15)


def test_a_field_in_a_plane():
    field = np.random.default_rng(0).normal(size=(1, 4, 4, 1, 3))
    m = GridDeformation(np.zeros(1), field, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    rest = np.array([[1.0, 2.0, 5.0]])
    np.testing.assert_allclose(m.position(rest, 3.0) - rest, field[0, 1, 2])


def test_the_strain_of_a_contraction():
    m = Contraction(0.02, 0.3, 0.25, 0.15, period=0.8)
    time, h = 0.3, 1e-7
    s = math.sin(math.pi * time / 0.8) ** 2
    rho = 0.027
    rest = np.array([[rho * math.cos(0.7), rho * math.sin(0.7), 0.01]])
    F = np.stack(
        [
            (m.position(rest + d, time) - m.position(rest - d, time))[0] / (2 * h)
            for d in h * np.eye(3)
        ],
        axis=1,
    )
    assert np.linalg.det(F) == pytest.approx(1, abs=1e-7)  # no volume is lost
    axial, inner = 1 - 0.15 * s, 0.02 * (1 - 0.3 * s)
    now = math.sqrt(inner**2 + (rho**2 - 0.02**2) / axial)
    radial = np.array([math.cos(0.7), math.sin(0.7), 0])
    around = np.array([-radial[1], radial[0], 0])
    E = (F.T @ F - np.eye(3)) / 2
    assert around @ E @ around == pytest.approx(((now / rho) ** 2 - 1) / 2, abs=1e-7)
    assert radial @ E @ radial == pytest.approx(((rho / (axial * now)) ** 2 - 1) / 2, abs=1e-7)
    assert E[2, 2] == pytest.approx((axial**2 - 1) / 2, abs=1e-7)
    moved = m.position(rest, time)[0]
    assert math.atan2(moved[1], moved[0]) == pytest.approx(0.7 + 0.25 * s)
    assert math.hypot(*moved[:2]) == pytest.approx(now)
    np.testing.assert_allclose(m.position(_rest(), 0.8), _rest(), atol=1e-15)


def _moving_waveforms():
    """Bipolar gradients of long and short steps after a pulse, with samples."""
    dt = np.array([1e-4, 3e-3, 3e-3, 5e-5, 5e-5, 2e-3])
    gradient = np.array([[0, 0, 0], [5, 2, 0], [-5, 1, 3], [9, 0, 0], [-9, 0, 9], [0, 3, 0]]) * 1e-3
    sampled = np.array([False, True, True, False, True, True])
    b1 = np.array([5e-5, 0, 0, 0, 0, 0], complex)
    return Waveforms(b1, gradient, dt, sampled, np.zeros(4), (Pulse(0, 1, 5e-5, "excitation"),))


@pytest.mark.parametrize("interval", [1e-5, 1e-4, 7e-4, 1e-3, 5.0])
def test_segments_cut_time_and_lose_nothing(interval):
    w = _moving_waveforms()
    parts = motion.segments(w, interval)
    cut = parts.waveforms
    ends = np.cumsum(cut.dt)
    np.testing.assert_allclose(ends[cut.sampled], np.cumsum(w.dt)[w.sampled])
    assert ends[-1] == pytest.approx(w.dt.sum())
    for whole, piece in ((w.gradient, cut.gradient), (w.b1[:, None], cut.b1[:, None])):
        moments = (np.sum(x * w.dt[:, None], 0) for x, w in ((piece, cut), (whole, w)))
        np.testing.assert_allclose(*moments, atol=1e-18)
    assert np.diff(parts.edges).max() <= interval * (1 + 1e-8)
    np.testing.assert_allclose(parts.edges, np.concatenate(([0], ends))[parts.first])
    assert parts.first[-1] == len(cut.dt)
    pulse = cut.pulses[0]
    assert cut.dt[pulse.first : pulse.stop].sum() == pytest.approx(1e-4)
    # As few as possible: two neighbours together are longer, or one is of a step that was cut.
    together = parts.edges[2:] - parts.edges[:-2] > interval * (1 - 1e-8)
    long = np.repeat(w.dt > interval, np.ceil(w.dt / interval - 1e-9).astype(int))[parts.first[:-1]]
    assert np.all(together | long[1:] | long[:-1])
    # And these hold one gradient.
    assert np.all(np.diff(parts.first)[long] == 1)


def test_segments_keep_the_gradient_of_times():
    w = _moving_waveforms()
    dt = torch.from_numpy(w.dt).requires_grad_()
    torch_w = Waveforms(
        torch.from_numpy(w.b1), torch.from_numpy(w.gradient), dt, w.sampled, w.receiver
    )
    parts = motion.segments(torch_w, 1e-3)
    (slope,) = torch.autograd.grad(parts.waveforms.dt.sum(), dt)
    np.testing.assert_allclose(slope.numpy(), 1)


def _phases(w, m, rest):
    """Phase of single spins at the end, by gradients alone, in turns."""
    parts = motion.segments(w, m.interval)
    M = np.tile([1.0, 0.0, 0.0], (len(rest), 1))
    for j, place in enumerate(m.path(rest, parts.edges)):
        steps = slice(parts.first[j], parts.first[j + 1])
        cut = parts.waveforms
        M = bloch.evolve(M, 0 * cut.b1[steps], cut.gradient[steps], cut.dt[steps], position=place)
    return M[:, 0] + 1j * M[:, 1]


@pytest.mark.slow
def test_the_phase_of_velocity_and_acceleration():
    """Against the moments of the gradient, integrated in closed form."""
    w = _moving_waveforms()
    v, a = np.array([0.3, -0.2, 0.5]), np.array([20.0, 5.0, -8.0])
    times = np.linspace(0, 0.01, 4001)
    course = times[:, None] * v + times[:, None] ** 2 * a / 2
    ends = np.concatenate(([0], np.cumsum(w.dt)))
    turns = np.zeros(3)
    rest = _rest(3)
    for (t0, t1), G in zip(itertools.pairwise(ends), w.gradient, strict=True):
        moved = v * (t1**2 - t0**2) / 2 + a * (t1**3 - t0**3) / 6
        turns += GAMMA_BAR_1H * (rest * (t1 - t0) + moved) @ G
    expected = np.exp(-2j * np.pi * turns)
    errors = []
    for interval in (1e-3, 1e-5):
        m = RigidMotion(times, course, 0 * course, interval=interval)
        errors.append(np.abs(_phases(w, m, rest) - expected).max())
    still = RigidMotion(times, 0 * course, 0 * course)
    assert np.abs(_phases(w, still, rest) - expected).max() > 0.5
    assert errors[0] < 2e-3
    assert errors[1] < 1e-7  # no longer than any step: one position for two lobes errs


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: RigidMotion(TIMES[::-1], np.zeros((3, 3)), np.zeros((3, 3))), "that ascend"),
        (lambda: RigidMotion(TIMES, np.zeros((2, 3)), np.zeros((3, 3))), "translation: shape"),
        (lambda: Deformation(TIMES, np.zeros((3, 6, 3)), 0.0), "interval=0"),
        (
            lambda: GridDeformation(TIMES, np.zeros((3, 2, 2, 2, 3)), (0.0,) * 3, (1.0, 1.0, 0.0)),
            "spacing",
        ),
        (lambda: Contraction(0.02, 1.0), "shortening=1"),
        (lambda: Contraction(-0.02, 0.1), "inner=-0.02"),
        (lambda: motion.segments(_moving_waveforms(), 0.0), "interval=0"),
    ],
)
def test_refuses_what_makes_no_sense(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()
