"""Random walks against exp(-bD) and the laws of Brownian motion."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import torch
from scipy import stats

from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.core.random import Keys
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch.pathway import along
from ipads_stream.physics.motion import paths as motion
from ipads_stream.physics.motion.paths import RandomWalk
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
    walk = RandomWalk(KEYS, D, interval=min(interval, float(waveforms.dt[1])))
    result = _attenuation(waveforms, walk, np.zeros((spins, 3)))
    expected = math.exp(-b * D)
    # Of a normal phase: the variance of its cosine.
    deviation = math.sqrt((1 - expected**2) ** 2 / 2 / spins)
    assert abs(result - expected) < 4 * deviation
    np.testing.assert_allclose(along(waveforms).b, [b], rtol=1e-12)


def test_the_mean_position_over_a_segment_has_the_law_of_a_brownian_bridge():
    h, spins = 0.02, 50000
    walk = RandomWalk(KEYS, D)
    first, second = walk.path(np.zeros((spins, 3)), np.array([0, h, 2 * h]))
    covariance = np.cov(np.stack([first.ravel(), second.ravel()])) / (2 * D * h)
    # Integrals of min(s, t): 1/3, 1/2 and 1 + 1/3.
    np.testing.assert_allclose(covariance, [[1 / 3, 1 / 2], [1 / 2, 4 / 3]], rtol=0.03)
    assert stats.kstest(first.ravel() / math.sqrt(2 * D * h / 3), "norm").pvalue > 1e-3


def test_steps_are_keyed():
    rest, edges = np.zeros((2, 5, 3)), np.linspace(0, 0.1, 4)
    pair = Keys(5, "train", np.array([3, 11]))
    together = list(RandomWalk(pair, D).path(rest, edges))
    alone = list(RandomWalk(KEYS, D).path(rest[:1, :5], edges))
    again = list(RandomWalk(KEYS, D).path(rest[0], edges))
    for a, b, c in zip(together, alone, again, strict=True):
        np.testing.assert_array_equal(a[1], b[0])
        np.testing.assert_array_equal(c, b[0])
    assert np.all(together[0][0] != together[0][1])
    other = next(RandomWalk(KEYS, D, name="other").path(rest[0], edges))
    assert np.all(other != again[0])
    # More spins leave those of before as they are.
    more = next(RandomWalk(KEYS, D).path(np.zeros((9, 3)), edges))
    np.testing.assert_array_equal(more[:5], again[0])


def test_every_spin_has_its_own_coefficient():
    coefficient = np.array([0, 1e-9, 4e-9])
    rest, edges = np.zeros((3, 3)), np.array([0, 0.1])
    place = next(RandomWalk(KEYS, coefficient).path(rest, edges))
    unit = next(RandomWalk(KEYS, 1e-9).path(rest, edges))
    np.testing.assert_allclose(place, unit * np.array([0, 1, 2])[:, None])


@pytest.mark.parametrize("convert", [array_api_strict.asarray, torch.from_numpy])
def test_every_library_walks_alike(convert):
    rest, edges = np.zeros((20, 3)), np.linspace(0, 4e-3, 9)
    walk = RandomWalk(KEYS, 1e-9, interval=5e-4)
    for a, b in zip(walk.path(rest, edges), walk.path(convert(rest), edges), strict=True):
        np.testing.assert_allclose(np.asarray(b), a, atol=1e-20)
    assert next(walk.path(torch.zeros(20, 3), edges)).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: RandomWalk(KEYS, -1e-9), "D=-1e-09"),
        (lambda: RandomWalk(KEYS, 1e-9, interval=0.0), "interval=0"),
        (
            lambda: next(RandomWalk(KEYS, D).path(np.zeros((2, 4, 3)), np.array([0, 1.0]))),
            "keys: 1 samples; 2 are allowed",
        ),
    ],
)
def test_refuses_what_makes_no_sense(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()
