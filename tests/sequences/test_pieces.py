"""Pulses and gradients: what they do to spins, and that they are what was asked for."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.physics import bloch
from ipads_stream.sequences import Block, Scanner, Sequence, gradients, pulses

SCANNER = Scanner()


def after(rf, df, *, gz=None, z=0.0, M=(0.0, 0, 1)):
    """Magnetisation of spins at df (Hz) and z (m) after a pulse, without relaxation."""
    df, z = np.broadcast_arrays(np.atleast_1d(df), z)
    block = SCANNER.block(rf=rf, gz=gz)
    w = Sequence((block,), scanner=SCANNER).waveforms()
    stop = w.pulses[0].stop
    position = z[:, None] * np.array([0.0, 0, 1])
    return bloch.evolve(np.tile(np.asarray(M, float), (df.size, 1)), w.b1[:stop], w.gradient[:stop],
                        w.dt[:stop], position=position, df=df.astype(float), T1=np.inf,
                        T2=np.inf)  # fmt: skip


@pytest.mark.parametrize("flip", [0.1, math.pi / 2, math.pi])
@pytest.mark.parametrize("shape", [pulses.block, pulses.sinc, pulses.gaussian])
def test_flip_on_resonance(shape, flip):
    """About x: (0, 0, 1) -> (0, sin, cos) with dM/dt = gamma M x B."""
    rf = shape(flip, SCANNER)
    np.testing.assert_allclose(after(rf, 0.0), [[0, math.sin(flip), math.cos(flip)]], atol=2e-5)
    assert rf.flip == pytest.approx(flip, rel=1e-5)


def slice_of(flip):
    """Transverse magnetisation over z after a pulse at 12 mm, its gradient and its rephasing."""
    rf, gz, back = gradients.slice_selection(
        pulses.sinc(flip, SCANNER), 4 / 3e-3, 5e-3, SCANNER, offset=12e-3
    )
    z = np.linspace(0, 24e-3, 481)
    M = after(rf, 0.0, gz=gz, z=z)
    return z, M[:, 0] + 1j * M[:, 1], gz, back


def test_a_sinc_selects_its_slice():
    """At half of the height; at 90 degrees the sine of the flip would widen it."""
    z, excited, _, _ = slice_of(0.1)
    excited = np.abs(excited)
    assert np.sum(excited > 0.5 * excited.max()) * 5e-5 == pytest.approx(5e-3, rel=0.03)
    assert np.sum(z * excited) / np.sum(excited) == pytest.approx(12e-3, abs=1e-5)


def test_the_rephasing_lines_up_the_slice():
    """After what is left of the gradient and the rephasing, M lies along y, as by a hard pulse."""
    z, excited, gz, back = slice_of(math.pi / 2)
    assert 0.5 * gz.area + back == pytest.approx(0, abs=1e-6 * gz.area)
    ramp = 0.5 * gz.amplitudes[2] * (gz.times[3] - gz.times[2])
    inside = np.abs(z - 12e-3) < 2e-3
    turned = excited * np.exp(-2j * math.pi * GAMMA_BAR_1H * (back + ramp) * z)
    total = np.sum(turned[inside])
    assert abs(total) == pytest.approx(np.sum(np.abs(excited[inside])), rel=0.02)
    assert np.angle(total) == pytest.approx(math.pi / 2, abs=0.05)


def test_a_gaussian_has_the_bandwidth_asked_for():
    """A small flip follows the Fourier transform: half of it at half the full width."""
    rf = pulses.gaussian(0.02, SCANNER, duration=20e-3, bandwidth=300.0)
    M = after(rf, np.array([0.0, 150.0, -150.0]))
    excited = np.hypot(M[:, 0], M[:, 1])
    np.testing.assert_allclose(excited[1:] / excited[0], 0.5, rtol=0.01)


@pytest.mark.parametrize("amplitude", [5e-6, 15e-6, 28e-6])
def test_a_hyperbolic_secant_does_what_its_closed_form_says(amplitude):
    """Silver, Joseph, Hoult, Phys Rev A 1985; 31: 2753, for a pulse without ends."""
    rf = pulses.hyperbolic_secant(SCANNER, amplitude=amplitude, duration=20e-3, cut=1e-4)
    beta = 2 * math.acosh(1e4) / 20e-3
    mu = math.pi * 1200 / beta
    df = np.linspace(-1200, 1200, 49)
    a, b = (0.5 * math.pi * (2 * math.pi * df / beta + sign * mu) for sign in (1, -1))
    turn = np.cos(math.pi * np.emath.sqrt((GAMMA_1H * amplitude / beta) ** 2 - mu**2)).real
    expected = np.tanh(a) * np.tanh(b) + turn / (np.cosh(a) * np.cosh(b))
    np.testing.assert_allclose(after(rf, df)[:, 2], expected, atol=2e-3)


def test_a_hyperbolic_secant_inverts_its_band_at_any_amplitude():
    df = np.linspace(-350, 350, 71)
    for amplitude in (15e-6, 20e-6, 28e-6):
        assert (
            np.max(after(pulses.hyperbolic_secant(SCANNER, amplitude=amplitude), df)[:, 2]) < -0.97
        )


@pytest.mark.parametrize("flip", [math.pi / 6, math.pi / 2, 0.8 * math.pi])
def test_a_chirp_turns_all_of_its_band_by_the_flip(flip):
    rf = pulses.chirp(flip, SCANNER, duration=6e-3)
    Mz = after(rf, np.linspace(-11e3, 11e3, 45))[:, 2]
    assert np.mean(Mz) == pytest.approx(math.cos(flip), abs=0.03)
    np.testing.assert_allclose(Mz, math.cos(flip), atol=0.12)


def test_a_chirp_passes_high_frequencies_first():
    """The quadratic phase: spins at +f are excited (1/2 - f/bandwidth) of the way through."""
    rf = pulses.chirp(0.05, SCANNER)
    df = np.linspace(-10e3, 10e3, 401)
    M = after(rf, df)
    phase = np.unwrap(np.angle(M[:, 0] + 1j * M[:, 1]))
    slope = np.polyval(np.polyder(np.polyfit(df, phase, 2)), df)
    passed = (0.5 - df / 32e3) * 4e-3
    # Spins excited at t then turn by -2 pi df (T - t): the phase's slope is -2 pi (T - t), as the
    # pulse's own phase at t is stationary there.
    np.testing.assert_allclose(slope, -2 * math.pi * (4e-3 - passed), atol=2 * math.pi * 5e-5)


def test_phases_of_spoiling():
    got = pulses.spoiling_phases(5, math.radians(117))
    np.testing.assert_allclose(np.degrees(got), [0, 117, 351, 342, 90], atol=1e-9)


BAD = {
    "duration": lambda: pulses.block(1.0, SCANNER, duration=5e-6),
    "flip": lambda: pulses.chirp(math.pi, SCANNER),
    "thickness": lambda: gradients.slice_selection(
        pulses.sinc(1.0, SCANNER), 4 / 3e-3, 1e-4, SCANNER
    ),
    "amplitude": lambda: gradients.flat_top(0.05, 1e-3, SCANNER),
}


@pytest.mark.parametrize("key", BAD)
def test_what_cannot_be_made(key):
    with pytest.raises(ConfigError) as refused:
        BAD[key]()
    assert refused.value.key == key


areas = st.floats(-2e-4, 2e-4)


@example(area=0.00012495026976865482, extra=101)  # a ramp that ends just beyond the raster
@given(area=areas, extra=st.integers(0, 300))
def test_trapezoids_have_their_area_within_the_limits(area, extra):
    """To roundings; the block refuses what breaks a limit."""
    least = gradients.shortest(area, SCANNER)
    for gradient in (
        gradients.trapezoid(area, SCANNER),
        gradients.trapezoid(area, SCANNER, duration=round(max(least, 4e-5) + extra * 2e-5, 9)),
    ):
        assert gradient.area == pytest.approx(area, rel=1e-9, abs=1e-18)
        assert np.allclose(gradient.times * 1e5, np.rint(gradient.times * 1e5), atol=1e-6)
        Sequence((Block(gradient.stop, gx=gradient),), scanner=SCANNER)


@given(area=st.floats(1e-7, 2e-4))
def test_the_shortest_trapezoid_is_close_to_the_ideal(area):
    """Within three rasters of the shortest that limits without a raster allow."""
    slew, top = SCANNER.max_slew, SCANNER.max_gradient
    ideal = 2 * math.sqrt(area / slew) if area < top**2 / slew else area / top + top / slew
    assert ideal - 1e-9 <= gradients.shortest(area, SCANNER) <= ideal + 31e-6


@given(area=st.floats(1e-6, 2e-4))
def test_too_short_a_trapezoid_is_refused_with_what_would_do(area):
    least = gradients.shortest(area, SCANNER)
    with pytest.raises(ConfigError, match=r"duration=.*at least"):
        gradients.trapezoid(area, SCANNER, duration=round(0.5 * least, 5))
    gradients.trapezoid(area, SCANNER, duration=least)


def test_a_table_differs_in_amplitude_only():
    table = gradients.table([-1e-5, 0.0, 2e-5], SCANNER, duration=1e-3)
    assert all(np.array_equal(g.times, table[0].times) for g in table)
    np.testing.assert_allclose([g.area for g in table], [-1e-5, 0, 2e-5], rtol=1e-5)
