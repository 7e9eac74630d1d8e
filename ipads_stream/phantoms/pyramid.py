"""Pictures and volumes of 8 bits with their reductions, sampled where a map's voxels fall.

A step of several voxels of the source would alias; it reads a reduction by 2^level, each voxel of
which is the mean of 2 along every axis of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from ipads_stream.core.backend import cuda_module, launch
from ipads_stream.phantoms.kernels import interpolate as lanes

_CUDA_TEXT = Path(__file__).parent / "kernels" / "interpolate.cu"
_on_device: dict[tuple[int, str], Any] = {}


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Sources one behind the other, every level of each.

    Attributes:
        voxels: of all sources and levels, flat.
        channels: C, of every source.
        shapes: of the sources, (N, 3).
        offsets: where a level begins, (N, levels).
        sizes: shape of each level, (N, levels, 3).
    """

    voxels: UInt8[np.ndarray, " n"]
    channels: int
    shapes: Int64[np.ndarray, "N 3"]
    offsets: Int64[np.ndarray, "N L"]
    sizes: Int64[np.ndarray, "N L 3"]

    def __len__(self) -> int:
        return len(self.shapes)

    def sampled(
        self,
        which: Any,
        step: Any,
        places: Float32[Any, "n 3 V"],
        *,
        mirrored: bool = False,
        xp: Any = np,
    ) -> Float32[Any, "n C V"]:
        """Linearly interpolated values, from 0 to 1.

        Args:
            which: source of each item, (n,), on the host.
            step: distance of neighbouring places, voxels of the source, (n,), on the host.
            places: coordinates in voxels of the source; voxel i is centred at i.
            mirrored: continue a source beyond its edges as in a mirror; else by 0.
            xp: array library that computes: numpy or cupy.
        """
        levels = self.offsets.shape[1]
        wanted = np.floor(np.log2(np.maximum(np.asarray(step), 1.0)) + 1e-6)
        level = np.clip(wanted, 0, levels - 1).astype(np.int64)
        offset, size = self.offsets[which, level], self.sizes[which, level]
        n, _, V = places.shape
        out = xp.empty((n, self.channels, V), dtype=xp.float32)
        scale = (0.5**level).astype(np.float32)
        given = (offset, np.ascontiguousarray(size), scale)
        if xp is np:
            lanes.interpolate(self.voxels, *given, np.ascontiguousarray(places), mirrored, out)
            return out
        launch(
            cuda_module(_CUDA_TEXT),
            "interpolate",
            n * V,
            self._there(xp),
            *(xp.asarray(x) for x in given),
            xp.ascontiguousarray(places),
            *(np.int64(x) for x in (mirrored, n, self.channels, V)),
            out,
        )
        return out

    def _there(self, xp: Any) -> Any:
        """The voxels on the GPU, moved once."""
        key = (id(self), str(xp.cuda.Device().id))
        if key not in _on_device:
            _on_device[key] = xp.asarray(self.voxels)
        return _on_device[key]


def pyramid(sources: list[UInt8[np.ndarray, "C X Y Z"]], levels: int = 5) -> Pyramid:
    """Sources of one number of channels with their reductions.

    Args:
        sources: (C, X, Y, Z) each; X is 1 for pictures.
        levels: at most so many; a source too small repeats its last.
    """
    voxels: list[Any] = []
    offsets, sizes, begin = [], [], 0
    for source in sources:
        starts, shapes, current = [], [], source
        for level in range(levels):
            if level and min(current.shape[1 + (current.shape[1] == 1) :]) >= 4:
                current = _halved(current)
                begin += voxels[-1].size
                voxels.append(current.reshape(-1))
            elif level == 0:
                begin += voxels[-1].size if voxels else 0
                voxels.append(current.reshape(-1))
            starts.append(begin)
            shapes.append(current.shape[1:])
        offsets.append(starts)
        sizes.append(shapes)
    return Pyramid(
        voxels=np.concatenate(voxels),
        channels=int(sources[0].shape[0]),
        shapes=np.array([source.shape[1:] for source in sources], np.int64),
        offsets=np.array(offsets, np.int64),
        sizes=np.array(sizes, np.int64),
    )


def _halved(source: Any) -> Any:
    """Means of pairs along every axis longer than 1; an odd last one is left out."""
    out = source.astype(np.uint16)
    count = 1
    for axis in range(1, 4):
        if out.shape[axis] > 1:
            pairs = out.shape[axis] // 2
            first, second = (
                np.take(out, np.arange(start, 2 * pairs, 2), axis=axis) for start in (0, 1)
            )
            out, count = first + second, 2 * count
    return ((out + count // 2) // count).astype(np.uint8)
