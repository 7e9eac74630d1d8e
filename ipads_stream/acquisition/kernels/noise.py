"""A signal as it is measured, on the CPU: noise of some signals at a time, which stays in a cache.

Numbers are drawn at all points: to gather those that are sampled, a half of them at 25 to 30 %,
takes longer than to draw the rest.
"""

from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import exact
from ipads_stream.core.philox import draw

_ROOT_HALF = np.float32(0.5**0.5)
_TOGETHER = 16384  # numbers


@exact
@no_type_check
def measure(key0, key1, indices, signal, sigma, mask, out):
    """Write signal + sigma z where the mask is True, and 0 elsewhere, into out.

    key0, key1: halves of the 64-bit key; indices: uint64, (B,), the samples' numbers; z: their
    complex normal numbers (core/random.py); signal, out: float32, (B, 2 N), real and imaginary
    parts in turn; sigma: float32, (B,); mask: (B, N) bool.
    """
    num_samples, points = mask.shape
    width = (points + 1) // 2 * 4  # whole blocks of words
    rows = max(1, min(num_samples, _TOGETHER // width))
    values = np.empty((rows, width), np.float32)
    for first in range(0, num_samples, rows):
        last = min(first + rows, num_samples)
        draw(key0, key1, indices[first:last], True, values[: last - first])
        for s in range(first, last):
            z, noise = values[s - first], sigma[s]
            for n in range(points):
                re = signal[s, 2 * n] + noise * (z[2 * n] * _ROOT_HALF)
                im = signal[s, 2 * n + 1] + noise * (z[2 * n + 1] * _ROOT_HALF)
                out[s, 2 * n] = re if mask[s, n] else np.float32(0)
                out[s, 2 * n + 1] = im if mask[s, n] else np.float32(0)
