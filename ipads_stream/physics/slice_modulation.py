"""Images of slices whose excitation, phase and signal an inhomogeneous field modulates.

A slice-selective pulse turns the spins of a band of frequencies. Where the field is off by df, the
band lies elsewhere: the slice bends by df over the slope of the selecting gradient, so that next to
a strong source a slice shows what lies in front of or behind it, twice or not at all. Choice: the
pulse is simulated once, as a function of the frequency that a spin has while it is played; an image
is then a sum over positions across the slices, with the field linear between the centres of voxels
and the dephasing along all axes in closed form. Evidence: tests/physics/test_slice_modulation.py
has the difference from Bloch simulations of all spins, with gradients, rephasing and delay.

Axes: X, Y in the slices, Z across them, F frequency.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import is_torch, namespace
from ipads_stream.physics import bloch
from ipads_stream.physics.arrays import as_float
from ipads_stream.physics.dephasing import box_response


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
    rest = np.zeros((len(df), 3))
    rest[:, 2] = 1.0
    M = bloch.evolve(rest, b1, np.zeros((len(b1), 3)), dt, df=np.asarray(df, np.float64))
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
    and over the voxel's other edges is exact for the slope (physics/dephasing.py).

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
    for name, x in (("edge", edge), ("bandwidth", bandwidth)):
        if not 0 < x < math.inf:
            raise ValueError(f"{name}={x}: a positive frequency in Hz is allowed")
    if not 0 <= TE < math.inf:
        raise ValueError(f"TE={TE}: a time in s from 0 on is allowed")
    if parts < 2 or parts % 2:
        raise ValueError(f"parts={parts}: an even number from 2 on is allowed")
    xp = namespace(df)
    num_slices = df.shape[-1]
    # Beyond these slices every profile is 0, whatever else is in the batch.
    values = df.detach() if is_torch(df) else df
    most = float(xp.max(xp.abs(values))) if math.prod(df.shape) else 0.0
    reach = min(math.ceil((edge + most) / bandwidth), num_slices - 1)
    real, imaginary = (_table(part, df) for part in (profile.real, profile.imag))
    steps, in_plane = _steps_across(df), _slopes_in_plane(df)
    found = [xp.zeros_like(df), xp.zeros_like(df)]
    for side, across in zip((-1.0, 1.0), steps, strict=True):
        slopes = xp.stack([*in_plane, across], axis=-1)
        amplitude = M0 * box_response(TE * slopes, (1.0, 1.0, 1.0 / parts)) / parts
        for part in range(parts // 2):
            place = side * (part + 0.5) / parts
            here = df + place * across
            angle = (-2 * math.pi * TE) * here
            phasor = amplitude * xp.cos(angle), amplitude * xp.sin(angle)
            for offset in range(-reach, reach + 1):  # the slice is that many before the voxel
                if abs(place + offset) * bandwidth > edge + most:
                    continue
                f = here + bandwidth * (place + offset)
                m = _looked_up(f, (real, imaginary), edge)
                terms = m[0] * phasor[0] - m[1] * phasor[1], m[0] * phasor[1] + m[1] * phasor[0]
                found = [
                    total + _moved(term, offset) for total, term in zip(found, terms, strict=True)
                ]
    return found[0] + 1j * found[1]


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
    found = []
    for axis in (-3, -2):
        moved = xp.moveaxis(df, axis, -1)
        if moved.shape[-1] == 1:
            found.append(xp.zeros_like(df))
            continue
        step = moved[..., 1:] - moved[..., :-1]
        mean = 0.5 * (step[..., 1:] + step[..., :-1])
        found.append(
            xp.moveaxis(xp.concat([step[..., :1], mean, step[..., -1:]], axis=-1), -1, axis)
        )
    return found


def _table(values: np.ndarray, like: Any) -> tuple[Any, Any]:
    """Values between two zeros, and the steps to the next."""
    ends = np.concatenate([[0.0], values, [0.0, 0.0]])
    return as_float(ends[:-1], like), as_float(np.diff(ends), like)


def _looked_up(f: Any, tables: tuple[tuple[Any, Any], ...], edge: float) -> list[Any]:
    """The tables at frequencies, linear in between, 0 beyond the edges."""
    xp = namespace(f)
    last = tables[0][0].shape[0] - 3  # of the profile's intervals
    x = xp.clip((f + edge) * (last / (2 * edge)) + 1.0, 0.0, last + 2.0)
    low = xp.floor(x)
    rest = x - low
    index = xp.reshape(xp.astype(low, xp.int64), (-1,))
    return [
        xp.reshape(xp.take(values, index, axis=0), f.shape)
        + rest * xp.reshape(xp.take(steps, index, axis=0), f.shape)
        for values, steps in tables
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
