"""Linear interpolation in volumes of 8 bits on the CPU."""

from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import kernel, part

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_SCALE = np.float32(1 / 255)


@part
@no_type_check
def _place(x, scale, length, is_mirrored):
    """Coordinate in a reduction, whose voxel j is centred at (j + 1/2) / scale - 1/2."""
    x = (x + _HALF) * scale - _HALF
    if is_mirrored:
        period = np.float32(2 * length)
        x = (x + _HALF) - period * np.floor((x + _HALF) / period)
        x = min(x, period - x) - _HALF
        x = min(np.float32(length - 1), max(_ZERO, x))
    return min(np.float32(length + 1), max(np.float32(-2), x))  # beyond it all is 0


@kernel
@no_type_check
def interpolate(voxels, offset, size, scale, places, is_mirrored, out):
    """Values from 0 to 1 at places; 0 beyond a volume, or mirrored.

    voxels: uint8, flat; of each item offset: (n,) int64, size: (n, 3) int64, scale: (n,) float32;
    places: (n, 3, V) float32, voxels of the volume before its reduction; out: (n, C, V) float32.
    """
    num_items, num_channels, num_places = out.shape
    for n in range(num_items):
        X, Y, Z = size[n, 0], size[n, 1], size[n, 2]
        factor = scale[n]
        for v in range(num_places):
            x = _ZERO
            if X > 1:
                x = _place(places[n, 0, v], factor, X, is_mirrored)
            y = _place(places[n, 1, v], factor, Y, is_mirrored)
            z = _place(places[n, 2, v], factor, Z, is_mirrored)
            fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
            i, j, k = np.int64(fx), np.int64(fy), np.int64(fz)
            x, y, z = x - fx, y - fy, z - fz
            for c in range(num_channels):
                first = offset[n] + c * X * Y * Z
                total = _ZERO
                for di in range(1 if X == 1 else 2):
                    wx = x if di else _ONE - x
                    if i + di < 0 or i + di >= X:
                        continue
                    for dj in range(2):
                        if j + dj < 0 or j + dj >= Y:
                            continue
                        w = wx * (y if dj else _ONE - y)
                        at = first + ((i + di) * Y + j + dj) * Z + k
                        if k >= 0 and k < Z:
                            total += w * (_ONE - z) * np.float32(voxels[at])
                        if k + 1 >= 0 and k + 1 < Z:
                            total += w * z * np.float32(voxels[at + 1])
                out[n, c, v] = total * _SCALE
