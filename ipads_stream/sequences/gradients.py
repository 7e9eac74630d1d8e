"""Gradients of a wanted area, on the raster and within the limits of a scanner.

Areas are integrals over time in T s/m; to k of 1/m belongs the area k / gammabar. Times are in s, a
delay is that of the start from the start of the block, amplitudes are in T/m, bandwidths in Hz and
lengths in m. All keep the limits of the scanner; what it cannot play is a ConfigError by name.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.core.errors import ConfigError
from ipads_stream.sequences.events import RF, Gradient
from ipads_stream.sequences.scanner import Scanner, ceil_to


def shortest(area: float, scanner: Scanner) -> float:
    """Duration of the shortest trapezoid of an area; 0 for no area."""
    rise, flat = _shortest_parts(area, scanner)
    return round(2 * rise + flat, 9)


def trapezoid(
    area: float, scanner: Scanner, *, duration: float | None = None, delay: float = 0.0
) -> Gradient:
    """A trapezoid of an area: the shortest, or the weakest of a duration."""
    if duration is None:
        rise, flat = _shortest_parts(area, scanner)
        rise = max(rise, scanner.gradient_raster)
    else:
        rise, flat = _parts_within(area, duration, scanner)
    height = area / (rise + flat)
    return Gradient.trapezoid(height, rise=rise, flat=flat, fall=rise, delay=delay)


def together(areas: Iterable[float], scanner: Scanner) -> list[Gradient]:
    """Trapezoids of areas, each as long as the one that needs longest."""
    areas = list(areas)
    longest = max(shortest(area, scanner) for area in areas)
    duration = max(longest, 2 * scanner.gradient_raster)
    return [trapezoid(area, scanner, duration=duration) for area in areas]


def table(areas: Iterable[float], scanner: Scanner, *, duration: float) -> list[Gradient]:
    """Trapezoids that differ in amplitude only, as for phase encoding."""
    areas = list(areas)
    largest = max(areas, key=abs)
    rise, flat = _parts_within(largest, duration, scanner)
    return [
        Gradient.trapezoid(area / (rise + flat), rise=rise, flat=flat, fall=rise) for area in areas
    ]


def flat_top(amplitude: float, flat: float, scanner: Scanner) -> Gradient:
    """A trapezoid of given amplitude and length of its flat top, with the shortest ramps."""
    if abs(amplitude) > scanner.max_gradient:
        raise ConfigError("amplitude", amplitude, f"at most {scanner.max_gradient} T/m")
    raster = scanner.gradient_raster
    ramp = max(_up_to(abs(amplitude) / scanner.max_slew, raster), raster)
    flat = ceil_to(flat, raster)
    return Gradient.trapezoid(amplitude, rise=ramp, flat=flat, fall=ramp)


def crusher_area(cycles: float, length: float) -> float:
    """Area, T s/m, that turns the phase by a number of cycles over a length (m)."""
    return cycles / (GAMMA_BAR_1H * length)


def slice_selection(
    rf: RF, bandwidth: float, thickness: float, scanner: Scanner, *, offset: float = 0.0
) -> tuple[RF, Gradient, float]:
    """A pulse with the gradient that makes it select a slice.

    Given are the pulse with its delay and frequency, the gradient, and the area (T s/m) that
    rephases from the pulse's centre on: half of the gradient, backwards.
    """
    amplitude = bandwidth / (GAMMA_BAR_1H * thickness)
    if amplitude > scanner.max_gradient:
        least = bandwidth / (GAMMA_BAR_1H * scanner.max_gradient)
        raise ConfigError("thickness", thickness, f"at least {least} m for {bandwidth} Hz")
    gradient = flat_top(amplitude, rf.duration, scanner)
    ramp = float(gradient.times[1])
    lead = max(0.0, ceil_to(scanner.rf_dead_time - ramp, scanner.gradient_raster))
    gradient = gradient.delayed(lead)
    delay = round(lead + ramp, 9)
    height = float(gradient.amplitudes[1])
    frequency = GAMMA_BAR_1H * height * offset
    phase = rf.phase + 2 * math.pi * frequency * rf.centre
    after = height * (gradient.times[2] - delay - rf.centre) + 0.5 * height * ramp
    return replace(rf, delay=delay, frequency=frequency, phase=phase), gradient, -float(after)


def _up_to(time: float, raster: float) -> float:
    """The first point of a raster from a time on: stricter than ceil_to, for a ramp is short."""
    return round(math.ceil(time / raster - 1e-6) * raster, 9)


def _shortest_parts(area: float, scanner: Scanner) -> tuple[float, float]:
    """Lengths of ramp and flat top, s."""
    raster, size = scanner.gradient_raster, abs(area)
    if size == 0:
        return 0.0, 0.0
    rise = max(_up_to(math.sqrt(size / scanner.max_slew), raster), raster)
    if size / rise <= scanner.max_gradient:
        return rise, 0.0
    rise = _up_to(scanner.max_gradient / scanner.max_slew, raster)
    return rise, _up_to(size / scanner.max_gradient - rise, raster)


def _parts_within(area: float, duration: float, scanner: Scanner) -> tuple[float, float]:
    raster, size = scanner.gradient_raster, abs(area)
    room = duration**2 - 4 * size / scanner.max_slew
    half = math.floor(duration / (2 * raster) + 1e-6) * raster
    rise = _up_to(0.5 * (duration - math.sqrt(max(room, 0.0))), raster)
    rise = round(min(max(rise, raster), half), 9)
    height = size / (duration - rise) if rise > 0 else math.inf
    if height > scanner.max_gradient * (1 + 1e-5) or height > scanner.max_slew * rise * (1 + 1e-5):
        allowed = f"at least {shortest(area, scanner)} s for an area of {area} T s/m"
        raise ConfigError("duration", duration, allowed)
    return rise, round(duration - 2 * rise, 9)
