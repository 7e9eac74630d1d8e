"""Absorption lines of protons that do not move: how fast RF saturates a semisolid pool.

A pool whose transverse magnetisation decays at once is saturated at the rate pi w1^2 g(df), with g
in seconds and its integral over the angular frequency 1.

Source: Henkelman et al., Quantitative interpretation of magnetization transfer, Magnetic Resonance
in Medicine 29(6), 1993; Morrison and Henkelman, A model for magnetization transfer in tissues,
Magnetic Resonance in Medicine 33(4), 1995.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import device_of, namespace

CUTOFF = 1e3  # Hz: nearer to resonance the super-Lorentzian is extrapolated
_NODES = 40
_VANISHED = 19.5  # exp(-2 x^2) is below the least float64
_SPAN, _SPACING = (-10.0, 4.0), 1 / 256  # of log x


def lorentzian(df: Float[Any, "..."], T2: Float[Any, "..."]) -> Float[Any, "..."]:
    """g = (T2 / pi) / (1 + (2 pi df T2)^2), df in Hz from the centre of the line, T2 in s."""
    return T2 / math.pi / (1.0 + (2 * math.pi * df * T2) ** 2)


def gaussian(df: Float[Any, "..."], T2: Float[Any, "..."]) -> Float[Any, "..."]:
    """g = T2 / sqrt(2 pi) exp(-(2 pi df T2)^2 / 2), df in Hz from the centre, T2 in s."""
    xp = namespace(df, T2)
    return T2 / math.sqrt(2 * math.pi) * xp.exp(-0.5 * (2 * math.pi * df * T2) ** 2)


def super_lorentzian(df: Float[Any, "..."], T2: Float[Any, "..."]) -> Float[Any, "..."]:
    """Gaussians of all orientations, g = sqrt(2/pi) T2 int_0^1 exp(-2 (x / y)^2) / |y| du.

    x = 2 pi df T2, y = 3 u^2 - 1, df in Hz from the centre of the line, T2 in s. At df = 0 the
    integral diverges, because neighbours of neighbours are left out. As is customary, g is
    extrapolated where |df| is below CUTOFF = 1 kHz: by the cubic that continues value and slope
    from -1 kHz to 1 kHz, which symmetry makes a parabola.

    Source: Morrison and Henkelman 1995; extrapolation: Bieri and Scheffler, On the origin of
    apparent low tissue signals in balanced SSFP, Magnetic Resonance in Medicine 56(5), 2006.
    """
    return _joined(namespace(df, T2), df, T2, _powder)


def interpolated_super_lorentzian(
    df: Float[Any, "..."], T2: Float[Any, "..."]
) -> Float[Any, "..."]:
    """The same from a table in log(df T2), to 1e-9 of its height, for values without a gradient."""
    return _joined(namespace(df, T2), df, T2, _looked_up)


def _joined(xp: Any, df: Any, T2: Any, powder: Any) -> Any:
    distance = xp.abs(df)
    inside = distance < CUTOFF
    far = xp.where(inside, xp.full_like(distance, CUTOFF), distance)
    outer, _ = powder(xp, 2 * math.pi * far * T2, slope=False)
    value, slope = _powder(xp, 2 * math.pi * CUTOFF * T2, slope=True)
    # From x dg/dx at the cutoff c, dg/d(df) = that / c; the parabola has half of it at c^2.
    inner = value + 0.5 * slope * ((distance / CUTOFF) ** 2 - 1.0)
    return T2 * xp.where(inside, inner, outer)


def _looked_up(xp: Any, x: Any, slope: bool) -> tuple[Any, None]:
    """g / T2 by cubics through values and slopes; beyond the table as at its end."""
    table = xp.asarray(_table(), dtype=x.dtype, device=device_of(x))
    first, last = _SPAN
    place = (xp.clip(xp.log(x), first, last - 1e-9) - first) / _SPACING
    at = xp.floor(place)
    t = place - at
    rows = xp.take(table, xp.reshape(xp.astype(at, xp.int64), (-1,)), axis=0)
    a, b, c, d = (xp.reshape(rows[:, i], x.shape) for i in range(4))
    return a + t * (b + t * (c + t * d)), None


@functools.cache
def _table() -> np.ndarray:
    """Coefficients of the cubics, (intervals, 4)."""
    first, last = _SPAN
    logs = np.linspace(first, last, round((last - first) / _SPACING) + 1)
    value, slope = _powder(namespace(logs), np.exp(logs), slope=True)
    rise, start, end = np.diff(value), _SPACING * slope[:-1], _SPACING * slope[1:]
    cubics = [value[:-1], start, 3 * rise - 2 * start - end, start + end - 2 * rise]
    return np.stack(cubics, axis=-1)


def _powder(xp: Any, x: Any, slope: bool) -> tuple[Any, Any]:
    """g / T2 at x > 0, and if asked x times its slope.

    With u = (1 -+ exp(-t)) / sqrt 3 on either side of y = 0 the integrand is smooth and falls like
    exp(-exp 2t): Gauss-Legendre in t as far as it is above 0; error below 1e-10.
    """
    total = slopes = 0.0 * x[..., None]
    for sign, start in ((-1.0, 0.0), (1.0, -math.log(math.sqrt(3) - 1))):
        end = xp.log((_VANISHED + 2 * x) / x)[..., None]
        length = xp.where(end > start + 0.1, end - start, 0.1 + 0.0 * end)
        nodes, weights = (xp.asarray(v, dtype=x.dtype, device=device_of(x)) for v in _gauss())
        shrunk = xp.exp(-(start + length * nodes))
        factor = 2.0 + sign * shrunk
        exponent = 2.0 * (x[..., None] / (shrunk * factor)) ** 2
        part = length * weights * xp.exp(-exponent) / factor
        total = total + part
        if slope:
            slopes = slopes - 2.0 * exponent * part
    scale = math.sqrt(2 / math.pi) / math.sqrt(3)
    return scale * xp.sum(total, axis=-1), scale * xp.sum(slopes, axis=-1)


@functools.cache
def _gauss() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return 0.5 * (nodes + 1), 0.5 * weights
