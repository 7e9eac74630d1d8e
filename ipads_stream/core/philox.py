"""Philox4x32-10 on the CPU: words and normals of many samples, 64 counter blocks in lanes.

Item q of a draw is block q % blocks of sample q // blocks, so that the lanes are full whether one
sample needs one word or a million.
Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

import math
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel, part

LANES = 64
LOW = np.uint64(0xFFFFFFFF)
HALF_WORD = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_UNIT = np.float32(2.0**-32)
_TWO_PI = np.float32(2 * math.pi)
_LN2 = np.float32(math.log(2))
_ROOT_HALF = np.uint32(0xB504F333)  # 2^32 / sqrt(2)
_ROOT_BITS = np.int32(0x3F3504F3)  # float32 1 / sqrt(2)


@part
@no_type_check
def fill_blocks(key0, key1, low, high, block, words):
    """The four words of each block, word-major: words[64 w + i]."""
    for i in range(LANES):
        a, b, c, d = np.uint64(low[i]), np.uint64(high[i]), np.uint64(block[i]), np.uint64(0)
        k, m = np.uint64(key0), np.uint64(key1)
        for _ in range(10):
            p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
            a, b = (q >> HALF_WORD) ^ b ^ k, q & LOW
            c, d = (p >> HALF_WORD) ^ d ^ m, p & LOW
            k, m = (k + _WEYL[0]) & LOW, (m + _WEYL[1]) & LOW
        words[i] = a
        words[LANES + i] = b
        words[2 * LANES + i] = c
        words[3 * LANES + i] = d


@part
@no_type_check
def fill_normals(words, values):
    """Box-Muller: radius sqrt(-2 ln u) from one word, angle from the other, 64 pairs.

    Source: polynomials of Cephes logf, sinf and cosf (Moshier, netlib.org/cephes).
    """
    for i in range(LANES):
        w, v = words[i], words[LANES + i]
        # Near 1 the distance from 1 is exact and the logarithm keeps its relative accuracy.
        bits = np.int32(np.float32(np.float32(w) + np.float32(0.5)).view(np.int32) - _ROOT_BITS)
        exponent = np.int32(bits >> np.int32(23))
        mantissa = np.int32((bits & np.int32(0x7FFFFF)) + _ROOT_BITS).view(np.float32)
        near = w > _ROOT_HALF
        s = (
            -(np.float32(np.uint32(~w)) + np.float32(0.5)) * _UNIT
            if near
            else mantissa - np.float32(1)
        )
        e = np.float32(0) if near else np.float32(exponent - np.int32(32))
        p = np.float32(7.0376836292e-2)
        p = p * s - np.float32(1.1514610310e-1)
        p = p * s + np.float32(1.1676998740e-1)
        p = p * s - np.float32(1.2420140846e-1)
        p = p * s + np.float32(1.4249322787e-1)
        p = p * s - np.float32(1.6668057665e-1)
        p = p * s + np.float32(2.0000714765e-1)
        p = p * s - np.float32(2.4999993993e-1)
        p = p * s + np.float32(3.3333331174e-1)
        logarithm = e * _LN2 + (s + s * s * (p * s - np.float32(0.5)))
        radius = math.sqrt(np.float32(-2) * logarithm)
        # The nearest quarter turn is a shift; what is left lies within an eighth.
        quarter = np.uint32(np.uint32(v + np.uint32(1 << 29)) >> np.uint32(30))
        rest = np.uint32(v - np.uint32(quarter << np.uint32(30))).view(np.int32)
        x = (np.float32(rest) + np.float32(0.5)) * (_UNIT * _TWO_PI)
        y = x * x
        p = np.float32(-1.9515295891e-4) * y + np.float32(8.3321608736e-3)
        p = p * y - np.float32(1.6666654611e-1)
        sine = x + x * (y * p)
        p = np.float32(2.443315711809948e-5) * y - np.float32(1.388731625493765e-3)
        p = p * y + np.float32(4.166664568298827e-2)
        cosine = np.float32(1) + y * (y * p - np.float32(0.5))
        odd = (quarter & np.uint32(1)) != 0
        first, second = (sine if odd else cosine), (cosine if odd else sine)
        back = ((quarter + np.uint32(1)) & np.uint32(2)) != 0
        down = (quarter & np.uint32(2)) != 0
        values[i] = radius * (-first if back else first)
        values[LANES + i] = radius * (-second if down else second)


@part
@no_type_check
def _place(lanes, out, sample, block, item):
    """Copy the lanes to the values of each block; a draw that ends within a block is cut."""
    num_samples, count = out.shape
    flat = out.reshape(-1)
    if count % 4 == 0 and 4 * (item + LANES) <= flat.size:
        part = flat[4 * item : 4 * (item + LANES)]
        for i in range(LANES):
            part[4 * i] = lanes[i]
            part[4 * i + 1] = lanes[LANES + i]
            part[4 * i + 2] = lanes[2 * LANES + i]
            part[4 * i + 3] = lanes[3 * LANES + i]
        return
    for i in range(LANES):
        if sample[i] < num_samples:
            for w in range(min(4, count - 4 * block[i])):
                out[sample[i], 4 * block[i] + w] = lanes[LANES * w + i]


@kernel
@no_type_check
def draw(key0, key1, indices, is_normal, out):
    """Fill out, (B, count), with words (uint32) or with standard normals (float32).

    key0, key1: halves of the 64-bit key; indices: uint64, (B,), the samples' numbers.
    """
    num_samples, count = out.shape
    blocks = (count + 3) // 4
    low, high = np.empty(LANES, np.uint32), np.empty(LANES, np.uint32)
    block, sample = np.zeros(LANES, np.int64), np.empty(LANES, np.int64)
    words = np.empty(4 * LANES, np.uint32)
    values = np.empty(4 * LANES, out.dtype)
    b, k = 0, 0
    for item in range(0, num_samples * blocks, LANES):
        if k + LANES <= blocks:  # all of one sample, as most lanes of long draws are
            index = indices[b]
            for i in range(LANES):
                low[i], high[i] = index & LOW, index >> HALF_WORD
                block[i], sample[i] = k + i, b
            k += LANES
            if k == blocks:
                b, k = b + 1, 0
        else:
            for i in range(LANES):
                index = indices[min(b, num_samples - 1)]
                low[i], high[i] = index & LOW, index >> HALF_WORD
                block[i], sample[i] = k, b
                k += 1
                if k == blocks:
                    b, k = b + 1, 0
        fill_blocks(key0, key1, low, high, block, words)
        if is_normal:
            fill_normals(words[: 2 * LANES], values[: 2 * LANES])
            fill_normals(words[2 * LANES :], values[2 * LANES :])
            _place(values, out, sample, block, item)
        else:
            _place(words, out, sample, block, item)
