"""Pictures and volumes of 8 bits with their reductions, sampled where a map's voxels fall.

A step of several voxels of the source would alias; it reads a reduction by 2^level, each voxel of
which is the mean of 2 along every axis of the one before.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from ipads_stream.core.backend import cuda_module, kept, launch
from ipads_stream.core.errors import ConfigError
from ipads_stream.phantoms.kernels import interpolate as lanes

Places = Float32[Any, "n 3 V"]
_CUDA_TEXT = Path(__file__).parent / "kernels" / "interpolate.cu"


@dataclass(frozen=True, eq=False)
class Pyramid:
    """Sources one behind the other, every level of each.

    voxels: of all sources and levels, flat; shapes: of the sources; offsets: where a level begins;
    sizes: shape of each level.
    """

    voxels: UInt8[np.ndarray, " n"]
    channels: int
    shapes: Int64[np.ndarray, "N 3"]
    offsets: Int64[np.ndarray, "N L"]
    sizes: Int64[np.ndarray, "N L 3"]

    def __len__(self) -> int:
        return len(self.shapes)

    def sampled(
        self, which: Any, step: Any, places: Places, *, mirrored: bool = False, xp: Any = np
    ) -> Float32[Any, "n C V"]:
        """Linearly interpolated values, from 0 to 1.

        which, step: source of each item, and distance of neighbouring places in voxels of it, (n,),
        on the host; places: voxels of the source, voxel i centred at i; mirrored: beyond the edges
        a source goes on as in a mirror, else by 0.
        """
        levels = self.offsets.shape[1]
        wanted = np.floor(np.log2(np.maximum(step, 1.0)) + 1e-6)
        level = np.clip(wanted, 0, levels - 1).astype(np.int64)
        offset, size = self.offsets[which, level], self.sizes[which, level]
        n, _, V = places.shape
        out = xp.empty((n, self.channels, V), dtype=xp.float32)
        scale = (0.5**level).astype(np.float32)
        given = (offset, np.ascontiguousarray(size), scale)
        if xp is np:
            lanes.interpolate(self.voxels, *given, np.ascontiguousarray(places), mirrored, out)
            return out
        arrays = (*(xp.asarray(x) for x in given), xp.ascontiguousarray(places))
        numbers = (np.int64(x) for x in (mirrored, n, self.channels, V))
        module = cuda_module(_CUDA_TEXT)
        launch(module, "interpolate", n * V, kept(self.voxels, xp), *arrays, *numbers, out)
        return out


def pyramid(sources: list[UInt8[np.ndarray, "C X Y Z"]], levels: int = 5) -> Pyramid:
    """Sources of one number of channels with their reductions, at most ``levels`` of each."""
    voxels: list[Any] = []
    offsets, sizes, begin, end = [], [], 0, 0
    for source in sources:
        starts, shapes, current = [], [], source
        for level in range(levels):
            if level == 0 or min(current.shape[1 + (current.shape[1] == 1) :]) >= 4:
                current = _halved(current) if level else source
                voxels.append(current.reshape(-1))
                begin, end = end, end + current.size
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


def folder_of_sources(folder: str | None, name: str, sources: str) -> str:
    """The folder; where None that of this name in the folder IPADS_DATA."""
    data = os.environ.get("IPADS_DATA", "")
    if folder is None and not data:
        allowed = f"a folder of {sources}, or IPADS_DATA set to one that holds {name}/"
        raise ConfigError("folder", folder, allowed)
    return str(Path(data) / name) if folder is None else folder


def _halved(source: Any) -> Any:
    """Means of pairs along every axis longer than 1; an odd last one is left out."""
    out = source.astype(np.uint16)
    count = 1
    for axis in range(1, 4):
        if out.shape[axis] > 1:
            pairs = out.shape[axis] // 2
            pair = [np.take(out, np.arange(start, 2 * pairs, 2), axis=axis) for start in (0, 1)]
            out, count = pair[0] + pair[1], 2 * count
    return ((out + count // 2) // count).astype(np.uint8)
