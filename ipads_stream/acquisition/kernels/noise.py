"""A signal as it is measured, on the CPU: noise is drawn only where points are sampled."""

from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import exact
from ipads_stream.core.philox import HALF_WORD, LANES, LOW, fill_blocks, fill_normals

_ROOT_HALF = np.float32(0.5**0.5)


@exact
@no_type_check
def measure(key0, key1, indices, signal, sigma, mask, out):
    """Write signal + sigma z where the mask is True into out, which is 0 elsewhere.

    key0, key1: halves of the 64-bit key; indices: uint64, (B,), the samples' numbers; z: their
    complex normal numbers (core/random.py); signal, out: float32, (B, 2 N), real and imaginary
    parts in turn; sigma: float32, (B,); mask: (B, N) bool.
    """
    num_samples, points = mask.shape
    low, high = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    block, sample = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    words, values = np.empty(4 * LANES, np.uint32), np.empty(4 * LANES, np.float32)
    num = 0
    for s in range(num_samples):
        index = indices[s]
        for k in range((points + 1) // 2):
            low[num], high[num] = index & LOW, index >> HALF_WORD
            block[num], sample[num] = k, s
            num += mask[s, 2 * k] | mask[s, min(2 * k + 1, points - 1)]
            if num == LANES or (s == num_samples - 1 and k == (points - 1) // 2):
                fill_blocks(key0, key1, low, high, block, words)
                fill_normals(words[: 2 * LANES], values[: 2 * LANES])
                fill_normals(words[2 * LANES :], values[2 * LANES :])
                for i in range(num):
                    b, first = sample[i], 2 * block[i]
                    for n in range(first, min(first + 2, points)):
                        if mask[b, n]:
                            re = values[i + 2 * LANES * (n - first)] * _ROOT_HALF
                            im = values[i + LANES + 2 * LANES * (n - first)] * _ROOT_HALF
                            out[b, 2 * n] = signal[b, 2 * n] + sigma[b] * re
                            out[b, 2 * n + 1] = signal[b, 2 * n + 1] + sigma[b] * im
                num = 0
