"""T2 of overlapping echoes without a network: each echo's part of k-space, then a logarithmic fit.

An echo's image is that of a window about its place in k-space; neighbours leak in, and detail
outside the window is lost. Off-resonance shifts the echoes and B1 changes their amplitudes, neither
of which is known here.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from jaxtyping import Float

from ipads_stream.baselines import Method
from ipads_stream.systems.oled import OLED

RADIUS = 0.24  # of a window, as a share of the sampled extent
T2_OF_DISC = 0.1  # s, of the object that calibrates the echoes' amplitudes
DISC = 0.35  # radius of that object over the field of view


def windowed_log_fit(system: OLED) -> Method:
    """The fit of the images of a system such as systems/oled.py."""
    places = system.shot.echoes * system.fov / system.matrix
    amplitudes = cache(lambda: amplitudes_of(system))

    def fit(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        parts = np.asarray(inputs["image"], np.float32)
        echoes = separated(parts[:, 0] + 1j * parts[:, 1], places) / amplitudes()
        return {"T2": log_fit(echoes, system.shot.TE, (system.T2_low, system.T2_high))}

    return fit


def separated(images: np.ndarray, places: Float[np.ndarray, "E 2"]) -> Float[np.ndarray, "B X Y E"]:
    """Magnitude images of the echoes, by Hann windows about their places in k-space.

    w(k) = cos^2(pi |k - k_e| / (2 RADIUS)) within the radius, 0 beyond it; images: complex, (B, X,
    Y); places: k_e, shares of the sampled extent along x and y.
    """
    k = np.fft.fftn(images, axes=(1, 2))
    x, y = (np.fft.fftfreq(n) for n in images.shape[1:])
    echoes = []
    for place in places:
        # The sampled extent repeats: windows go round its edges as the transform does.
        dx, dy = (np.abs(np.mod(a - b + 0.5, 1.0) - 0.5) for a, b in ((x, place[0]), (y, place[1])))
        far = np.minimum(np.hypot(dx[:, None], dy) / RADIUS, 1.0)
        window = np.cos(0.5 * np.pi * far) ** 2
        echoes.append(np.abs(np.fft.ifftn(k * window.astype(np.float32), axes=(1, 2))))
    return np.stack(echoes, axis=-1).astype(np.float32)


def log_fit(
    echoes: Float[np.ndarray, "... E"], TE: Float[np.ndarray, " E"], limits: tuple[float, float]
) -> Float[np.ndarray, "..."]:
    """T2 of log S = log S0 - TE / T2 by least squares, each echo weighted by its S^2, s.

    Args:
        echoes: S, magnitudes.
        TE: s.
        limits: of T2, s, to which it is held; the upper one where nothing decays.

    Source: for the weights, Gudbjartsson and Patz, MRM 34:910 (1995).
    """
    safe = np.maximum(echoes, 1e-12)
    weights, log = safe.astype(np.float64) ** 2, np.log(safe)
    total = weights.sum(axis=-1)
    mean_TE, mean = (weights * TE).sum(-1) / total, (weights * log).sum(-1) / total
    apart = TE - mean_TE[..., None]
    slope = (weights * apart * (log - mean[..., None])).sum(-1) / (weights * apart**2).sum(-1)
    return np.clip(1 / np.maximum(-slope, 1e-6), *limits).astype(np.float32)


def amplitudes_of(system: OLED) -> Float[np.ndarray, " E"]:
    """What each echo has at TE = 0: mean within a disc of one T2, simulated by the system."""
    PD = _disc(system.grid.shape[0], DISC)[None].astype(np.float32)
    maps = {"PD": PD, "T2": np.full_like(PD, T2_OF_DISC), "T1": np.full_like(PD, 2.0),
            "df": np.zeros_like(PD), "B1": np.ones_like(PD)}  # fmt: skip
    echoes = separated(system.forward(maps), system.shot.echoes * system.fov / system.matrix)
    middle = echoes[0][_disc(system.matrix, 0.7 * DISC)].mean(axis=0)
    amplitudes: np.ndarray = middle * np.exp(system.shot.TE / T2_OF_DISC)
    return amplitudes / amplitudes.max()


def _disc(n: int, radius: float) -> np.ndarray:
    """Pixels of a square within a radius of its middle, over its width, (n, n)."""
    r = (np.arange(n) - n // 2) / n
    return np.asarray(np.hypot(r[:, None], r) < radius)
