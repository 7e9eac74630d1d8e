"""Random walks against exp(-bD), the propagator between walls and the laws of Brownian motion."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import torch
from scipy import stats

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.core.random import Keys
from ipads_stream.physics import bloch, diffusion, motion
from ipads_stream.physics.waveforms import Pulse, Waveforms

KEYS = Keys(5, "train", np.array([11]))
D = 2e-9
HARD = 1e-7


def _pgse(delta, Delta, G, axis=0):
    """Excitation along x, refocusing along y, two equal lobes, a sample where tau is 0."""
    lobe = np.zeros(3)
    lobe[axis] = G
    gap = 0.5 * (Delta - delta)
    dt = np.array([HARD, delta, gap, HARD, gap, delta])
    gradient = np.stack([0 * lobe, lobe, 0 * lobe, 0 * lobe, 0 * lobe, lobe])
    b1 = np.array([0.5, 0, 0, 1j, 0, 0]) * math.pi / (GAMMA_1H * HARD)
    centre = HARD * 1.5 + delta + gap
    pulses = (Pulse(0, 1, 0.5 * HARD, "excitation"), Pulse(3, 4, centre, "refocusing"))
    return Waveforms(b1, gradient, dt, np.arange(6) == 5, np.zeros(1), pulses)


def _attenuation(waveforms, walk, rest):
    """Mean transverse magnetisation at the end, by isochromats that walk."""
    parts = motion.segments(waveforms, walk.interval)
    cut = parts.waveforms
    M = np.tile([0.0, 0.0, 1.0], (rest.shape[0], 1))
    for j, place in enumerate(walk.path(rest, parts.edges)):
        steps = slice(parts.first[j], parts.first[j + 1])
        M = bloch.evolve(M, cut.b1[steps], cut.gradient[steps], cut.dt[steps], position=place)
    return abs(np.mean(M[:, 0] + 1j * M[:, 1]))


@pytest.mark.parametrize("b", [2e8, 5e8, 1.2e9])
@pytest.mark.parametrize("interval", [5e-4, 1.0])
def test_pgse_of_a_free_walk(b, interval):
    delta, Delta = 6e-3, 25e-3
    G = math.sqrt(b / (GAMMA_1H**2 * delta**2 * (Delta + HARD - delta / 3)))
    spins = 4000 if interval < 1 else 40000
    # Segments of a whole lobe would hold one position for several gradients.
    waveforms = _pgse(delta, Delta, G)
    walk = diffusion.RandomWalk(KEYS, D, interval=min(interval, float(waveforms.dt[1])))
    result = _attenuation(waveforms, walk, np.zeros((spins, 3)))
    expected = math.exp(-b * D)
    # Of a normal phase: the variance of its cosine.
    deviation = math.sqrt((1 - expected**2) ** 2 / 2 / spins)
    assert abs(result - expected) < 4 * deviation
    np.testing.assert_allclose(diffusion.b_value(waveforms), [b], rtol=1e-12)
    np.testing.assert_allclose(
        diffusion.gaussian_phase(diffusion.b_value(waveforms), D), [expected], rtol=1e-10
    )


def test_the_mean_position_over_a_segment_has_the_law_of_a_brownian_bridge():
    h, spins = 0.02, 50000
    walk = diffusion.RandomWalk(KEYS, D)
    first, second = walk.path(np.zeros((spins, 3)), np.array([0, h, 2 * h]))
    covariance = np.cov(np.stack([first.ravel(), second.ravel()])) / (2 * D * h)
    # Integrals of min(s, t): 1/3, 1/2 and 1 + 1/3.
    np.testing.assert_allclose(covariance, [[1 / 3, 1 / 2], [1 / 2, 4 / 3]], rtol=0.03)
    assert stats.kstest(first.ravel() / math.sqrt(2 * D * h / 3), "norm").pvalue > 1e-3


def test_steps_are_keyed():
    rest, edges = np.zeros((2, 5, 3)), np.linspace(0, 0.1, 4)
    pair = Keys(5, "train", np.array([3, 11]))
    together = list(diffusion.RandomWalk(pair, D).path(rest, edges))
    alone = list(diffusion.RandomWalk(KEYS, D).path(rest[:1, :5], edges))
    again = list(diffusion.RandomWalk(KEYS, D).path(rest[0], edges))
    for a, b, c in zip(together, alone, again, strict=True):
        np.testing.assert_array_equal(a[1], b[0])
        np.testing.assert_array_equal(c, b[0])
    assert np.all(together[0][0] != together[0][1])
    other = next(diffusion.RandomWalk(KEYS, D, name="other").path(rest[0], edges))
    assert np.all(other != again[0])
    # More spins leave those of before as they are.
    more = next(diffusion.RandomWalk(KEYS, D).path(np.zeros((9, 3)), edges))
    np.testing.assert_array_equal(more[:5], again[0])


def test_every_spin_has_its_own_coefficient():
    coefficient = np.array([0, 1e-9, 4e-9])
    rest, edges = np.zeros((3, 3)), np.array([0, 0.1])
    place = next(diffusion.RandomWalk(KEYS, coefficient).path(rest, edges))
    unit = next(diffusion.RandomWalk(KEYS, 1e-9).path(rest, edges))
    np.testing.assert_allclose(place, unit * np.array([0, 1, 2])[:, None])


@pytest.mark.parametrize("convert", [array_api_strict.asarray, torch.from_numpy])
@pytest.mark.parametrize("walls", [None, diffusion.Walls(5e-6)])
def test_every_library_walks_alike(convert, walls):
    rest, edges = np.zeros((20, 3)), np.linspace(0, 4e-3, 9)
    walk = diffusion.RandomWalk(KEYS, 1e-9, interval=5e-4, walls=walls)
    for a, b in zip(walk.path(rest, edges), walk.path(convert(rest), edges), strict=True):
        np.testing.assert_allclose(np.asarray(b), a, atol=1e-20)
    assert next(walk.path(torch.zeros(20, 3), edges)).dtype == torch.float32


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_walls_hold_spins_and_keep_them_spread_evenly(axes):
    radius, spins = 5e-6, 20000
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(spins, 3))
    direction[:, [i for i in range(3) if i not in axes]] = 0
    n = len(axes)
    distance = radius * rng.uniform(size=(spins, 1)) ** (1 / n)
    centre = np.array([1e-3, -2e-3, 3e-3])
    rest = centre + direction / np.linalg.norm(direction, axis=1, keepdims=True) * distance
    walls = diffusion.Walls(radius, centre, axes)
    place = rest
    for _ in range(30):
        place = walls.reflected(place, 0.2 * radius * rng.normal(size=(spins, 3)))
    inside = np.linalg.norm((place - centre)[:, list(axes)], axis=1)
    assert inside.max() <= radius * (1 + 1e-9)
    assert stats.kstest((inside / radius) ** n, "uniform").pvalue > 1e-3
    for free in {0, 1, 2} - {*axes}:
        spread = np.std(place[:, free] - centre[free]) / (0.2 * radius * math.sqrt(30))
        assert spread == pytest.approx(1, abs=0.03)


def test_a_mirror_between_planes_folds_the_line():
    radius = 1.0
    start = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    step = np.random.default_rng(1).uniform(-1, 1, (500, 3))
    result = diffusion.Walls(radius, axes=(2,)).reflected(start, step)
    folded = (start + step)[:, 2]
    folded = np.where(folded > 1, 2 - folded, np.where(folded < -1, -2 - folded, folded))
    np.testing.assert_allclose(result[:, 2], folded, atol=1e-14)
    np.testing.assert_array_equal(result[:, :2], (start + step)[:, :2])


def test_a_mirror_on_a_sphere():
    """A step along a chord goes on along the chord of equal length."""
    walls = diffusion.Walls(1.0, axes=(0, 1))
    start, hit = np.array([[0.0, -0.8, 0]]), np.array([[0.6, 0.8, 0.0]])
    after = 0.3 * (hit - start) / np.linalg.norm(hit - start)
    end = walls.reflected(start, hit - start + after)
    outward = hit[0]
    mirrored = after[0] - 2 * (after[0] @ outward) * outward
    np.testing.assert_allclose(end[0], hit[0] + mirrored, atol=1e-14)


def _between_planes(q, length, D, Delta):
    """Narrow gradient pulses, planes across them (Tanner and Stejskal, J Chem Phys 49, 1968)."""
    x = 2 * math.pi * q * length
    total = 2 * (1 - math.cos(x)) / x**2
    for n in range(1, 200):
        decay = math.exp(-((n * math.pi / length) ** 2) * D * Delta)
        total += 4 * x**2 * decay * (1 - (-1) ** n * math.cos(x)) / (x**2 - (n * math.pi) ** 2) ** 2
    return total


@pytest.mark.parametrize("Delta", [0.05, 0.4])
def test_pgse_between_planes(Delta):
    length, delta, spins, slow = 20e-6, 1e-3, 8000, 2e-10
    q = 0.57 / length
    waveforms = _pgse(delta, Delta, q / (GAMMA_BAR_1H * delta), axis=1)
    rest = np.zeros((spins, 3))
    rest[:, 1] = (np.arange(spins) + 0.5) / spins * length - length / 2
    walls = diffusion.Walls(length / 2, axes=(1,))
    walk = diffusion.RandomWalk(KEYS, slow, interval=2e-3, walls=walls)
    result = _attenuation(waveforms, walk, rest)
    expected = _between_planes(q, length, slow, Delta)
    free = math.exp(-((2 * math.pi * q) ** 2) * slow * (Delta - delta / 3))
    assert abs(expected - free) > 0.05  # the walls matter
    # Statistics, and what is walked within lobes of 1 ms: 0.63 um of 20.
    assert abs(result - expected) < 3 / math.sqrt(2 * spins) + 5e-3


def test_attenuation_is_differentiable_and_of_any_library():
    b = torch.tensor([1e8, 9e8], dtype=torch.float64)
    coefficient = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: diffusion.gaussian_phase(b, 1e-9 * x), coefficient)
    strict = diffusion.gaussian_phase(array_api_strict.asarray([1e9]), 1e-9)
    np.testing.assert_allclose(np.asarray(strict), math.exp(-1))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: diffusion.RandomWalk(KEYS, -1e-9), "D=-1e-09"),
        (lambda: diffusion.RandomWalk(KEYS, 1e-9, interval=0.0), "interval=0"),
        (
            lambda: diffusion.RandomWalk(KEYS, 1e-9, walls=diffusion.Walls(1e-6)),
            r"interval=0\.001: at most radius\^2",
        ),
        (lambda: diffusion.Walls(0.0), "radius=0"),
        (lambda: diffusion.Walls(1.0, axes=(0, 3)), r"axes=\(0, 3\)"),
        (lambda: diffusion.Walls(1.0, axes=(0, 0)), r"axes=\(0, 0\)"),
        (
            lambda: next(
                diffusion.RandomWalk(KEYS, D).path(np.zeros((2, 4, 3)), np.array([0, 1.0]))
            ),
            "keys: 1 samples; 2 are allowed",
        ),
    ],
)
def test_refuses_what_makes_no_sense(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()
