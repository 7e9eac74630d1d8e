"""RF pulses by shape.

Cells lie on the RF raster; the delay of a pulse is the scanner's dead time. Flip angles are in rad,
durations in s, bandwidths in Hz, amplitudes in T; ``use`` is what a pulse is played for.
"""

import math

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.physics.waveforms import Use
from ipads_stream.sequences.events import RF
from ipads_stream.sequences.scanner import Scanner, is_multiple, round_to

LONGEST = 10.0  # s, of a pulse
DWELL = 10e-6  # s; of pulses whose spectrum lies well below its inverse


def block(
    flip: float, scanner: Scanner, *, duration: float = 500e-6, use: Use = "excitation"
) -> RF:
    """A rectangular pulse, exact in one step."""
    check_duration(duration, scanner)
    samples = np.array([flip / (GAMMA_1H * duration)], dtype=np.complex128)
    return RF.sampled(samples, duration, use=use, delay=scanner.rf_dead_time)


def sinc(
    flip: float,
    scanner: Scanner,
    *,
    duration: float = 3e-3,
    time_bandwidth: float = 4.0,
    apodization: float = 0.5,
    use: Use = "excitation",
) -> RF:
    """A windowed sinc, sinc(x) (1 - a + a cos(2 pi x / time_bandwidth)), x = t bandwidth.

    The bandwidth is time_bandwidth / duration; the apodization a is 0.5 for Hann's window, 0.46 for
    Hamming's, 0 for none.
    """
    check_duration(duration, scanner)
    x = _middles(duration, DWELL) / duration
    window = 1 - apodization + apodization * np.cos(2 * math.pi * x)
    return _of_flip(np.sinc(time_bandwidth * x) * window, flip, scanner, use)


def gaussian(
    flip: float,
    scanner: Scanner,
    *,
    duration: float = 8e-3,
    bandwidth: float = 250.0,
    use: Use = "saturation",
) -> RF:
    """A Gaussian pulse, exp(-t^2 / (2 sigma^2)), sigma = sqrt(2 ln 2) / (pi bandwidth).

    The bandwidth is the full width of its spectrum at half height; it is cut to the duration.
    """
    check_duration(duration, scanner)
    sigma = math.sqrt(2 * math.log(2)) / (math.pi * bandwidth)
    shape = np.exp(-0.5 * (_middles(duration, DWELL) / sigma) ** 2)
    return _of_flip(shape, flip, scanner, use)


def hyperbolic_secant(
    scanner: Scanner,
    *,
    duration: float = 10e-3,
    bandwidth: float = 1200.0,
    amplitude: float = 15e-6,
    cut: float = 0.01,
    use: Use = "inversion",
) -> RF:
    """An adiabatic full passage, amplitude sech(beta t) exp(i mu ln sech(beta t)).

    It inverts across bandwidth = mu beta / pi wherever amplitude >> sqrt(mu) beta / gamma. At the
    ends it is cut to a share of its largest amplitude.

    Source: Silver, Joseph, Hoult, J Magn Reson 1984; 59: 347.
    """
    check_duration(duration, scanner)
    beta = 2 * math.acosh(1 / cut) / duration
    mu = math.pi * bandwidth / beta
    sech = 1 / np.cosh(beta * _middles(duration, scanner.rf_raster))
    return _of_peak(sech * np.exp(1j * mu * np.log(sech)), amplitude, scanner, use)


def chirp(
    flip: float,
    scanner: Scanner,
    *,
    duration: float = 4e-3,
    bandwidth: float = 32e3,
    order: int = 40,
    use: Use = "excitation",
) -> RF:
    """A linear sweep of frequency from +bandwidth/2 to -bandwidth/2 at constant amplitude.

    Ends are rounded by 1 - |cos(pi t / duration)|^order. Each spin is passed once, which turns it
    by the flip angle of a Landau-Zener passage, cos(flip) = 2 exp(-pi^2 b1^2 / rate) - 1 with b1
    in Hz and rate = bandwidth / duration.
    """
    check_duration(duration, scanner)
    if not 0 < flip < math.pi:
        raise ConfigError("flip", flip, "above 0 and below pi rad: a sweep only nears inversion")
    rate = bandwidth / duration
    amplitude = math.sqrt(rate * math.log(2 / (1 + math.cos(flip)))) / math.pi / GAMMA_BAR_1H
    t = _middles(duration, scanner.rf_raster)
    envelope = 1 - np.abs(np.sin(math.pi * t / duration)) ** order
    # Spins of df turn as exp(-2 pi i df t): the phase of a pulse at -rate t is + pi rate t^2.
    return _of_peak(envelope * np.exp(1j * math.pi * rate * t**2), amplitude, scanner, use)


def spoiling_phases(count: int, increment: float) -> Float[np.ndarray, " count"]:
    """Phases of RF spoiling, increment n (n + 1) / 2, in [0, 2 pi)."""
    n = np.arange(count, dtype=np.float64)
    return np.mod(increment * n * (n + 1) / 2, 2 * math.pi)


def check_duration(duration: float, scanner: Scanner, name: str = "duration") -> None:
    """Refuse, by its name, a duration (s) off the gradient raster or longer than LONGEST."""
    if not (duration <= LONGEST and is_multiple(duration, scanner.gradient_raster)):
        allowed = f"a multiple of {scanner.gradient_raster} s above 0, up to {LONGEST:g} s"
        raise ConfigError(name, duration, allowed)


def _middles(duration: float, dwell: float) -> Float[np.ndarray, " n"]:
    """Middles of the cells, s from the middle of the pulse."""
    count = round(duration / dwell)
    return (np.arange(count) + 0.5 - 0.5 * count) * dwell


def _of_flip(shape: Float[np.ndarray, " n"], flip: float, scanner: Scanner, use: Use) -> RF:
    peak = flip / (GAMMA_1H * float(shape.sum()) * DWELL) * float(np.max(np.abs(shape)))
    return _of_peak(shape + 0j, peak, scanner, use, DWELL)


def _of_peak(
    shape: Complex[np.ndarray, " n"], peak: float, scanner: Scanner, use: Use, dwell: float = 0.0
) -> RF:
    samples = shape * (peak / float(np.max(np.abs(shape))))
    dwell = round_to(dwell, scanner.rf_raster) if dwell else scanner.rf_raster
    return RF.sampled(samples, dwell, use=use, delay=scanner.rf_dead_time)
