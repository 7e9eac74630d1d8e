"""A simulated 2D protein spectrum, for when no measured one is available."""

import numpy as np

from ipads_stream.core import random
from ipads_stream.core.random import Keys
from ipads_stream.data.planes.plane import Axis, Plane
from ipads_stream.physics.spectroscopy.spectrum import spectrum


def simulated_plane(
    seed: int = 0,
    *,
    num_peaks: int = 60,
    num_direct: int = 256,
    num_indirect: int = 128,
    noise: float = 0.01,
) -> Plane:
    """Amide region of a 1H-15N correlation: Lorentzian peaks, phased, with thermal noise.

    Row k holds ``sum_j a_j Re[L_j(f2_k)] exp(2 pi i f1_j t1 - t1 / T2_j)`` plus noise, where L_j is
    the Fourier transform of the damped t2 signal: what States data give once they are phased. Line
    widths are 8 to 20 Hz (1H) and 6 to 14 Hz (15N), amplitudes are log-normal (factor 1.6 per
    standard deviation).

    Args:
        seed: of the keyed random numbers.
        num_peaks: number of peaks.
        num_direct, num_indirect: points of the two dimensions.
        noise: standard deviation of the noise of a t1 point, relative to the tallest such point.
    """
    keys = Keys(seed, "simulated plane", np.zeros(1, dtype=np.uint64))

    def draw(name: str) -> np.ndarray:
        return random.uniform(keys[name], (num_peaks,))[0]

    direct = Axis("1H", 2500.0, 500e6, 8.2)
    indirect = Axis("15N", 2000.0, 50.67e6, 118.0)
    amplitude = 1.6 ** random.normal(keys["amplitude"], (num_peaks,))[0].astype(np.float64)
    # The sum of two uniform numbers: shifts crowd around the middle, as they do in a protein.
    f2 = direct.width * 0.42 * (draw("1H shift") + draw("1H spread") - 1)
    f1 = indirect.width * 0.42 * (draw("15N shift") + draw("15N spread") - 1)
    lines2 = _decays(f2, 8 + 12 * draw("1H width"), direct.width, num_direct)
    lines2[:, 0] *= 0.5  # t2 starts in the middle of its first point: no pedestal
    window = np.cos(0.5 * np.pi * np.arange(num_direct) / num_direct)
    shapes = spectrum(lines2 * window).real
    lines1 = _decays(f1, 6 + 8 * draw("15N width"), indirect.width, num_indirect)
    fid = (amplitude[:, None] * shapes).T @ lines1
    thermal = random.complex_normal(keys["noise"], (num_direct, num_indirect), np)[0]
    fid = fid + noise * np.abs(fid).max() * thermal
    t1_window = np.cos(0.5 * np.pi * np.arange(num_indirect) / num_indirect)
    window[0] *= 0.5  # half of the first point's interval lies before t1 = 0
    name, fid = "simulated protein", fid.astype(np.complex64)
    return Plane(name, fid, direct, indirect, "processed", t1_window, True, is_simulated=True)


def _decays(frequency: np.ndarray, width: np.ndarray, rate: float, points: int) -> np.ndarray:
    """exp(2 pi i f t - pi w t): frequency f and line width w in Hz, (peaks,); (peaks, points)."""
    time = np.arange(points) / rate
    return np.exp((2j * np.pi * frequency - np.pi * width)[:, None] * time)
