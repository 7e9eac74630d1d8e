"""Slices in an inhomogeneous field: against Bloch simulations of all spins, and in closed form."""

from __future__ import annotations

import math

import array_api_strict
import numpy as np
import pytest
import torch

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch.slice_modulation import _formula, slice_images, slice_profile
from ipads_stream.sequences import pulses
from ipads_stream.sequences.scanner import Scanner

DURATION, BANDWIDTH, TE, THICKNESS = 4e-3, 1000.0, 5e-3, 2e-3
EDGE = 1.25 * BANDWIDTH
DF = np.linspace(-EDGE, EDGE, 801)
PULSE = pulses.sinc(math.pi / 3, Scanner(), duration=DURATION, time_bandwidth=4.0)
DT = float(PULSE.edges[1])
PROFILE = slice_profile(PULSE.samples, DT, DF)
SETTINGS = {"edge": EDGE, "bandwidth": BANDWIDTH, "TE": TE}
NUM_SLICES, SPINS = 9, 100


def simulated(df: np.ndarray, M0: np.ndarray, T2s: float, slopes=(0.0, 0.0)) -> np.ndarray:
    """Slices of a column of voxels: pulse, gradient, rephasing and delay of every spin."""
    place = (np.arange(NUM_SLICES * SPINS) + 0.5) / SPINS - 0.5  # slices
    z = place * THICKNESS
    across = np.interp(place, np.arange(NUM_SLICES), df)
    before, after = place < 0, place > NUM_SLICES - 1
    across[before] = df[0] + (df[1] - df[0]) * place[before]
    across[after] = df[-1] + (df[-1] - df[-2]) * (place[after] - NUM_SLICES + 1)
    # Across the plane by Gauss's rule, exact for polynomials of order 11.
    u, weight = (
        np.polynomial.legendre.leggauss(6) if any(slopes) else (np.zeros(1), np.full(1, 2.0))
    )
    aside = 0.5 * (slopes[0] * u[:, None] + slopes[1] * u).ravel()
    weight = 0.25 * (weight[:, None] * weight).ravel()
    spins = (across[:, None] + aside).ravel()
    G = BANDWIDTH / GAMMA_BAR_1H / THICKNESS
    K, rest = len(PULSE.samples), 1e-3
    gradient = np.zeros((K + 2, 3))
    gradient[:K, 2], gradient[K, 2] = G, -G * DURATION / 2 / rest
    dt = np.concatenate([np.full(K, DT), [rest, TE - DURATION / 2 - rest]])
    b1 = np.concatenate([PULSE.samples, [0, 0]])
    M0 = (np.repeat(M0, SPINS)[:, None] * weight).ravel()
    out = np.empty(NUM_SLICES, np.complex128)
    for s in range(NUM_SLICES):
        position = np.zeros((len(spins), 3))
        position[:, 2] = np.repeat(z - s * THICKNESS, len(aside))
        M = np.zeros((len(spins), 3))
        M[:, 2] = 1
        M = bloch.evolve(M, b1, gradient, dt, position=position, df=spins)
        out[s] = -1j * np.sum(M0 * (M[:, 0] + 1j * M[:, 1])) / SPINS
    return out * math.exp(-TE / T2s)


FIELDS = {
    "none": np.zeros(NUM_SLICES),
    "weak": 30.0 * np.array([0, 1, 2, 3, 4, 3, 2, 1, 0]),
    "source": np.array([0, 40.0, 130, 420, -380, -390, 410, 120, 30]),
    "two slices away": np.array([0, 100.0, 500, 1500, 2000, 1200, 300, -500, -100]),
}


BARS = {"none": 0.005, "weak": 0.005, "source": 0.02, "two slices away": 0.1}


@pytest.mark.parametrize("name", FIELDS)
def test_slices_are_those_of_all_spins(name):
    df = FIELDS[name]
    M0 = np.array([1, 1, 0.8, 1, 0.2, 1, 1.1, 0, 1.0])
    T2s = 0.03
    expected = simulated(df, M0, T2s)
    given = [x[None, None] for x in (df, M0 * math.exp(-TE / T2s))]
    for parts, bar in ((6, BARS[name]), (32, 0.002)):
        found = slice_images(*given, PROFILE, **SETTINGS, parts=parts)[0, 0]
        assert np.linalg.norm(found - expected) < bar * np.linalg.norm(expected)


@pytest.mark.parametrize(("name", "bar"), [("none", 0.001), ("weak", 0.05)])
def test_a_slope_within_the_plane_dephases_as_all_spins_do(name, bar):
    # Besides, it tilts the slice: what that changes in a slope along Z, and where the volume ends,
    # is left out.
    inner = slice(1, -1)
    slopes = (90.0, -60.0)  # Hz a voxel
    x, y = np.arange(3) - 1, np.arange(3) - 1
    df = (slopes[0] * x[:, None] + slopes[1] * y)[:, :, None] + FIELDS[name]
    found = slice_images(df, np.ones_like(df), PROFILE, **SETTINGS, parts=16)[1, 1, inner]
    expected = simulated(FIELDS[name], np.ones(NUM_SLICES), math.inf, slopes)[inner]
    plain = simulated(FIELDS[name], np.ones(NUM_SLICES), math.inf)[inner]
    assert np.linalg.norm(expected - plain) > 0.2 * np.linalg.norm(plain)
    assert np.linalg.norm(found - expected) < bar * np.linalg.norm(expected)


def test_a_field_of_whole_bandwidths_moves_the_slices():
    M0 = np.random.default_rng(0).uniform(0.5, 1, (2, 3, NUM_SLICES))
    still = slice_images(np.zeros_like(M0), M0, PROFILE, **SETTINGS)
    for slices in (1, -2):
        df = np.full_like(M0, slices * BANDWIDTH)
        moved = slice_images(df, M0, PROFILE, **SETTINGS) * np.exp(2j * np.pi * df * TE)
        # A field of +1 bandwidth is that of the next slice: what it excites lies one before.
        inside = slice(3, -3)
        expected = np.roll(still, slices, axis=-1)[..., inside]
        assert np.allclose(moved[..., inside], expected, atol=1e-6)


def test_the_profile_is_that_of_small_flips_in_the_limit():
    pulse = pulses.sinc(1e-3, Scanner(), duration=DURATION, time_bandwidth=4.0)
    t = (np.arange(len(pulse.samples)) + 0.5) * DT - DURATION / 2
    shape = pulse.samples.real / pulse.samples.real.sum()
    expected = 1e-3 * (np.exp(2j * np.pi * DF[:, None] * t) @ shape) * np.sinc(DF * DT)
    assert np.allclose(slice_profile(pulse.samples, DT, DF), expected, atol=2e-8)


def test_little_is_left_beyond_the_edge():
    wide = np.linspace(-5 * BANDWIDTH, 5 * BANDWIDTH, 2001)
    far = np.abs(wide) > 1.25 * BANDWIDTH
    assert np.abs(slice_profile(PULSE.samples, DT, wide))[far].max() < 0.002 * abs(PROFILE).max()


def test_samples_do_not_depend_on_what_else_is_in_the_batch():
    df = np.stack([FIELDS["weak"], FIELDS["two slices away"]])[:, None, None]
    both = slice_images(df, np.ones_like(df), PROFILE, **SETTINGS)
    alone = slice_images(df[:1], np.ones_like(df[:1]), PROFILE, **SETTINGS)
    assert np.array_equal(both[:1], alone)


def test_libraries_agree_and_torch_differentiates():
    df, M0 = FIELDS["source"][None, None], np.ones((1, 1, NUM_SLICES))
    expected = slice_images(df, M0, PROFILE, **SETTINGS)
    strict = [array_api_strict.asarray(x) for x in (df, M0)]
    found = slice_images(*strict, PROFILE, **SETTINGS)
    assert np.allclose(np.asarray(found), expected, atol=1e-12)
    leaf = torch.tensor(df, requires_grad=True)
    image = slice_images(leaf, torch.tensor(M0), PROFILE, **SETTINGS)
    assert np.allclose(image.detach().numpy(), expected, atol=1e-12)
    image.abs().sum().backward()
    step = np.zeros_like(df)
    step[..., 3] = 1e-3
    ends = [abs(slice_images(df + x, M0, PROFILE, **SETTINGS)).sum() for x in (step, -step)]
    assert leaf.grad[0, 0, 3].item() == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=1e-3)


def test_single_precision_stays_single():
    df = FIELDS["source"].astype(np.float32)[None, None]
    found = slice_images(df, np.ones_like(df), PROFILE, **SETTINGS)
    assert found.dtype == np.complex64
    exact = slice_images(df.astype(float), np.ones(df.shape), PROFILE, **SETTINGS)
    assert np.allclose(found, exact, atol=2e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"parts": 3}, "parts=3"), ({"bandwidth": 0.0}, "bandwidth=0.0"), ({"TE": -1.0}, "TE=-1.0")],
)
def test_senseless_numbers_are_refused(change, message):
    df = np.zeros((1, 1, 4))
    with pytest.raises(ValueError, match=message):
        slice_images(df, df, PROFILE, **(SETTINGS | change))


@pytest.mark.parametrize("shape", [(3, 6, 5, 8), (2, 3, 1, 2), (4, 1, 1)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rows_on_the_cpu_are_the_formula_bit_for_bit(shape, kind):
    random = np.random.default_rng(2)
    df = (800 * random.normal(size=shape)).astype(kind)
    M0 = random.uniform(0.5, 1, shape).astype(kind)
    rows = slice_images(df, M0, PROFILE, **SETTINGS)
    assert np.array_equal(rows, _formula(df, M0, PROFILE, parts=6, **SETTINGS))
