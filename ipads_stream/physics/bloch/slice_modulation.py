"""Images of slices whose excitation, phase and signal an inhomogeneous field modulates.

Where the field is off by df, a slice bends by df over the slope of the selecting gradient: it shows
what lies in front of or behind it, twice or not at all. Choice: the pulse is simulated once, as a
function of frequency; an image is a sum over positions across the slices, with the field linear
between voxels and the dephasing in closed form. Evidence: the difference from Bloch simulations of
all spins in tests/physics/test_slice_modulation.py. Axes: X, Y in the slices, Z across, F in Hz.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    interned,
    is_cupy,
    is_numpy,
    is_torch,
    kept,
    launch,
    namespace,
)
from ipads_stream.physics.arguments import Range, check_values
from ipads_stream.physics.arrays import as_float, complex_of, precision
from ipads_stream.physics.bloch import evolution as bloch
from ipads_stream.physics.bloch.dephasing import box_response
from ipads_stream.physics.bloch.kernels import slice_rows as lanes
from ipads_stream.physics.dispatch import real_option

_CUDA_TEXT = Path(__file__).parent / "kernels" / "slices.cu"
CACHED = 1 << 14  # voxels at a time on the CPU


def slice_profile(
    b1: Complex[np.ndarray, " K"], dt: float, df: Float[np.ndarray, " F"]
) -> Complex[np.ndarray, " F"]:
    """Transverse magnetisation of a pulse, by frequency, counted from the middle of the pulse.

    m(df) = -i M+(df) exp(2 pi i df T / 2), M+ at the end of the pulse of length T, from M = (0, 0,
    1): the selecting gradient's part of the phase is what its rephasing takes away, that of
    off-resonance counts as if the excitation were in the middle. A small flip about x is real.

    Args:
        b1: RF in the rotating frame, T.
        dt: length of a sample, s.
        df: frequencies of the spins, off-resonance and selecting gradient together, Hz.

    Raises:
        ValueError: a value is not finite or out of range.
    """
    start = np.zeros((len(df), 3))
    start[:, 2] = 1.0
    M = bloch.evolve(start, b1, np.zeros((len(b1), 3)), dt, df=np.asarray(df, np.float64))
    turned = np.exp(2j * np.pi * df * (0.5 * dt * len(b1)))
    return np.asarray(-1j * (M[:, 0] + 1j * M[:, 1]) * turned)


def slice_images(
    df: Float[Any, "*batch X Y Z"],
    M0: Float[Any, "*batch X Y Z"],
    profile: Complex[np.ndarray, " F"],
    *,
    edge: float,
    bandwidth: float,
    TE: float,
    parts: int = 6,
) -> Complex[Any, "*batch X Y Z"]:
    """Every slice's image: S_s = sum_z M0 m(bandwidth (z - s) + df) exp(-2 pi i df TE) / parts.

    z and s count slices. Each voxel is cut into equal parts across the slices, in which df is
    linear, between the centres of voxels; m is constant in a part, the mean phasor over the part
    and over the voxel's other edges is exact for the slope (dephasing.py).

    Slices are contiguous, each with the spins at equilibrium before it; readouts are too fast for
    df to move anything. Nothing lies outside the volume.

    Args:
        df: off-resonance at the centres of voxels, Hz.
        M0: magnetisation, with all of its decay until TE.
        profile: m at F evenly spaced frequencies from -edge to edge, Hz; 0 beyond.
        edge: last frequency of the profile, Hz.
        bandwidth: slope of the frequency across the slices, gammabar G thickness, Hz a slice.
        TE: from the middle of the pulse to the echo, s.
        parts: of a voxel, even.

    Raises:
        ValueError: parts are odd, or a number is not positive.
    """
    frequency = Range(noun="frequency in Hz", positive=True)
    ranges = {"edge": frequency, "bandwidth": frequency}
    check_values({"edge": edge, "bandwidth": bandwidth, "TE": TE}, ranges)
    if parts < 2 or parts % 2:
        raise ValueError(f"parts={parts}: an even number from 2 on is allowed")
    if is_cupy(df):
        return _on_gpu(df, M0, profile, edge, bandwidth, TE, parts)
    if is_numpy(df) and is_numpy(M0) and (df.shape, df.dtype) == (M0.shape, M0.dtype):
        return _by_rows(df, M0, profile, edge, bandwidth, TE, parts)
    return _formula(df, M0, profile, edge, bandwidth, TE, parts)


def _formula(
    df: Any, M0: Any, profile: Any, edge: float, bandwidth: float, TE: float, parts: int
) -> Any:
    """:func:`slice_images` in the array API, differentiable."""
    xp = namespace(df)
    reach, shifts = _shifts(df, edge, bandwidth, parts)
    tables = as_float(_tables(profile), df)
    here, real, imaginary = _parts_of_voxels(df, M0, TE, parts)
    image = [xp.zeros_like(df), xp.zeros_like(df)]
    for part in range(parts):
        f, p, q = (x[part, ...] for x in (here, real, imaginary))
        for o, shift in enumerate(shifts[part].tolist()):
            if math.isnan(shift):
                continue
            m, n = _looked_up(f + shift, tables, edge)
            terms = m * p - n * q, m * q + n * p
            image = [x + _moved(term, o - reach) for x, term in zip(image, terms, strict=True)]
    return image[0] + 1j * image[1]


def _by_rows(
    df: Any, M0: Any, profile: Any, edge: float, bandwidth: float, TE: float, parts: int
) -> Any:
    """The formula on NumPy arrays, bit for bit: some samples at a time, their sums in a kernel."""
    kind, space, out = df.dtype.type, df.shape[-3:], np.empty(df.shape, complex_of(precision(df)))
    field, amount, image = (x.reshape(-1, *space) for x in (df, M0, out))
    _, shifts = _shifts(df, edge, bandwidth, parts)
    scale = (len(profile) - 1) / (2 * edge)
    tables = np.ascontiguousarray(_tables(profile).T, kind)
    given = shifts.astype(kind), kind(edge), kind(scale), tables
    step = max(1, CACHED // max(1, math.prod(space)))
    for first in range(0, len(field), step):
        now = slice(first, first + step)
        voxels = _parts_of_voxels(field[now], amount[now], TE, parts)
        rows = [x.reshape(parts, -1, space[-1]) for x in voxels]
        sums = np.empty((2, *rows[0].shape[1:]), kind)
        lanes.add_slices(*rows, *given, sums)
        image[now] = (sums[0] + 1j * sums[1]).reshape(-1, *space)
    return out


def _shifts(df: Any, edge: float, bandwidth: float, parts: int) -> tuple[int, np.ndarray]:
    """How many slices a voxel reaches, and the frequency of its parts in each of them, Hz.

    (parts, 2 reach + 1), NaN where every profile is 0, whatever else is in the batch.
    """
    xp = namespace(df)
    values = df.detach() if is_torch(df) else df
    most = float(xp.max(xp.abs(values))) if math.prod(df.shape) else 0.0
    reach = min(math.ceil((edge + most) / bandwidth), df.shape[-1] - 1)
    far = _places(parts)[:, None] + np.arange(-reach, reach + 1)
    return reach, np.where(np.abs(far) * bandwidth > edge + most, math.nan, bandwidth * far)


def _places(parts: int) -> np.ndarray:
    """Middles of the parts of a voxel, in slices from its centre: those before it, those after."""
    ahead = (np.arange(parts // 2) + 0.5) / parts
    return np.concatenate([-ahead, ahead])


def _parts_of_voxels(df: Any, M0: Any, TE: float, parts: int) -> tuple[Any, Any, Any]:
    """df of the parts of voxels, Hz, and real and imaginary part of M0 exp(-2 pi i df TE) / parts.

    Each (parts, *batch, X, Y, Z): the mean over the part and the voxel's other edges.
    """
    xp = namespace(df)
    in_plane = box_response(TE * xp.stack(_slopes_in_plane(df), axis=-1), (1.0, 1.0))
    places = np.split(_places(parts), 2)
    found = []
    for side, across in zip(places, _steps_across(df), strict=True):
        amplitude = M0 * (in_plane * box_response(TE * across[..., None], (1.0 / parts,))) / parts
        place = xp.reshape(as_float(side, df), (-1, *(1,) * df.ndim))
        here = df + place * across
        angle = (-2 * math.pi * TE) * here
        found.append((here, amplitude * xp.cos(angle), amplitude * xp.sin(angle)))
    here, real, imaginary = (xp.concat(x, axis=0) for x in zip(*found, strict=True))
    return here, real, imaginary


def _on_gpu(
    df: Any, M0: Any, profile: np.ndarray, edge: float, bandwidth: float, TE: float, parts: int
) -> Any:
    """The images by the kernel: the formula's array operations would be about a thousand."""
    xp = namespace(df)
    real, kind = df.dtype, complex_of(precision(df))
    out = xp.empty(df.shape, dtype=getattr(xp, kind), device=device_of(df))
    table = interned(np.concatenate([[0], profile, [0, 0]]))
    *_, X, Y, Z = df.shape
    launch(
        cuda_module(_CUDA_TEXT, real_option(df)),
        "slice_images",
        math.prod(df.shape),
        xp.ascontiguousarray(df),
        xp.ascontiguousarray(xp.astype(M0, real, copy=False)),
        kept(table, xp, out.dtype),
        *map(np.int64, (len(profile) - 1, math.prod(df.shape[:-3]), X, Y, Z, parts)),
        *map(np.float64, (edge, bandwidth, TE)),
        out,
    )
    return out


def _steps_across(df: Any) -> tuple[Any, Any]:
    """Of each voxel from the one before it along Z, and to the one after it; at the ends the field
    goes on as it did."""
    xp, last = namespace(df), df.shape[-1] - 1
    if last == 0:
        return xp.zeros_like(df), xp.zeros_like(df)
    step = df[..., 1:] - df[..., :-1]
    before = xp.concat([step[..., :1], step], axis=-1)
    return before, xp.concat([step, step[..., last - 1 :]], axis=-1)


def _slopes_in_plane(df: Any) -> list[Any]:
    """Half the difference of both neighbours along X and along Y, one-sided at the edges."""
    xp = namespace(df)
    slopes = []
    for axis in (-3, -2):
        moved = xp.moveaxis(df, axis, -1)
        if moved.shape[-1] == 1:
            slopes.append(xp.zeros_like(df))
            continue
        step = moved[..., 1:] - moved[..., :-1]
        mean = 0.5 * (step[..., 1:] + step[..., :-1])
        slope = xp.concat([step[..., :1], mean, step[..., -1:]], axis=-1)
        slopes.append(xp.moveaxis(slope, -1, axis))
    return slopes


def _tables(profile: np.ndarray) -> np.ndarray:
    """Real part, its steps to the next value, and both of the imaginary part, between zeros."""
    ends = [np.concatenate([[0.0], x, [0.0, 0.0]]) for x in (profile.real, profile.imag)]
    return np.stack([row for x in ends for row in (x[:-1], np.diff(x))])


def _looked_up(f: Any, tables: Any, edge: float) -> list[Any]:
    """The tables at frequencies, linear in between, 0 beyond the edges."""
    xp = namespace(f)
    last = tables.shape[1] - 3  # of the profile's intervals
    x = xp.clip((f + edge) * (last / (2 * edge)) + 1.0, 0.0, last + 2.0)
    low = xp.floor(x)
    share = x - low
    index = xp.reshape(xp.astype(low, xp.int64), (-1,))
    values, steps = tables[0::2, :], tables[1::2, :]
    return [
        xp.reshape(xp.take(values[i, :], index, axis=0), f.shape)
        + share * xp.reshape(xp.take(steps[i, :], index, axis=0), f.shape)
        for i in range(2)
    ]


def _moved(term: Any, offset: int) -> Any:
    """What voxels give to the slice that lies ``offset`` before them along Z."""
    if offset == 0:
        return term
    xp = namespace(term)
    empty = xp.zeros_like(term[..., : abs(offset)])
    if offset > 0:
        return xp.concat([term[..., offset:], empty], axis=-1)
    return xp.concat([empty, term[..., :offset]], axis=-1)
