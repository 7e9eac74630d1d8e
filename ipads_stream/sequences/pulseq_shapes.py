"""Shapes of Pulseq files: cells of pulses, ends of gradients, trapezoids."""

import math

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.sequences.events import Gradient
from ipads_stream.sequences.pulseq_text import MOST_SAMPLES
from ipads_stream.sequences.scanner import TINY

DIGITS = 10  # of times in s: a file keeps them in us or ns
STEEP = 1e-6  # s; the ramps of trapezoids that a file gives none


def seconds(value: float) -> float:
    """A time as a file of us or ns keeps it."""
    return round(value, DIGITS)


def cells(
    signal: Complex[np.ndarray, " n"], t: Float[np.ndarray, " n"], raster: float
) -> tuple[Complex[np.ndarray, " cells"], Float[np.ndarray, " edges"]]:
    """Cells of a pulse: around its samples, or between points joined by straight lines.

    A pulse that is constant is one cell, however long.
    """
    dwell = 2 * t[0]
    is_regular = t[0] > 0 and np.allclose(t, (np.arange(t.size) + 0.5) * dwell, rtol=0, atol=TINY)
    if is_regular and not np.all(signal == signal[0]):
        return signal, np.round(np.arange(t.size + 1) * dwell, DIGITS)
    if is_regular:
        return signal[:1], np.round(np.array([0.0, t.size * dwell]), DIGITS)
    if t.size < 2 or np.any(np.diff(t) <= 0):
        raise ValueError("times of its samples that do not rise")
    if np.all(signal == signal[0]):
        samples, edges = signal[:1], np.array([t[0], t[-1]])
    else:
        count = max(math.ceil((t[-1] - t[0]) / raster - 1e-6), 1)
        if count > MOST_SAMPLES:
            raise ValueError(f"{count} cells of a pulse; at most {MOST_SAMPLES} are allowed")
        edges = np.linspace(t[0], t[-1], count + 1)
        samples = np.interp(0.5 * (edges[1:] + edges[:-1]), t, signal)
    if t[0] > 0:
        samples, edges = np.append(0j, samples), np.append(0.0, edges)
    return samples, np.round(edges, DIGITS)


def last_height(heights: Float[np.ndarray, " n"], first: float) -> float:
    """Height at the end of the last cell, if samples are means of the edges of their cells.

    edge_0 = first, edge_n = 2 height_n - edge_n-1, as the reader of the inventors restores it.
    """
    signs = np.where(np.arange(heights.size) % 2 == (heights.size - 1) % 2, 1.0, -1.0)
    return float(2 * np.sum(signs * heights) + (-1) ** heights.size * first)


def trapezoid(size: float, rise: float, flat: float, fall: float, delay: float) -> Gradient | None:
    """A trapezoid; one without ramps, as of spoilers by JEMRIS, gets steep ones, its area kept."""
    if size == 0:  # also the empty trapezoids of old files
        return None
    times = [seconds(time * 1e-6) for time in (rise, flat, fall, delay)]
    rise, flat, fall, delay = times
    area = flat + 0.5 * (rise + fall)
    if area == 0:
        raise ValueError("a trapezoid of 0 s")
    steep = min(STEEP, 0.25 * flat)
    if rise == 0 and steep > 0:
        rise, flat = steep, flat - steep
    if fall == 0 and steep > 0:
        fall, flat = steep, flat - steep
    height = size / GAMMA_BAR_1H * (area / (flat + 0.5 * (rise + fall)) if steep else 1.0)
    flat = seconds(flat)
    return Gradient.trapezoid(height, rise=rise, flat=flat, fall=fall, delay=delay)
