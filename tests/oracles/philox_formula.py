"""Philox4x32-10 by its definition, which the kernels are checked against.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer, UInt32


def philox4x32(
    counter: Integer[np.ndarray, "*batch 4"], key: tuple[int, int]
) -> UInt32[np.ndarray, "*batch 4"]:
    """Philox4x32-10, ten rounds of

    (a, b, c, d) -> (hi(M1 c) ^ b ^ k0, lo(M1 c), hi(M0 a) ^ d ^ k1, lo(M0 a)), and after each
    k0 += W0, k1 += W1 (mod 2^32); hi and lo are the halves of a 64-bit product.

    Args:
        counter: four 32-bit words, (*batch, 4).
        key: two 32-bit words.
    """
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b, c, d = np.moveaxis(np.asarray(counter).astype(np.uint64), -1, 0)
    for n in range(10):
        k0, k1 = ((k + n * w) % 2**32 for k, w in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True))
        p, q = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (
            (q >> half) ^ b ^ np.uint64(k0),
            q & low,
            (p >> half) ^ d ^ np.uint64(k1),
            p & low,
        )
    return np.stack([a, b, c, d], axis=-1).astype(np.uint32)
