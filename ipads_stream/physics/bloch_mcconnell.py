"""Pools of protons that exchange, under saturation: z-spectra by the Bloch-McConnell equations.

For water (w) and every other pool p, in the frame that turns at the offset of the RF,

    dM_p/dt = gamma M_p x B_p - (Mx, My, 0) / T2_p + (0, 0, f_p - Mz) / T1_p - k_p M_p + k_wp M_w
    dM_w/dt = ... + sum_p (k_p M_p - k_wp M_w),    k_wp = k_p f_p / f_w
    B_p = (B1 Re b1, B1 Im b1, B0 (shift_p + df - offset))

and for a semisolid pool only Mz, saturated at pi (gamma B1 |b1|)^2 g(offset - shift - df).

Source: McConnell, Reaction rates by nuclear magnetic resonance, Journal of Chemical Physics 28,
1958; Woessner et al., Numerical solution of the Bloch equations provides insights into the optimum
design of PARACEST agents for MRI, Magnetic Resonance in Medicine 53(4), 2005.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    is_cupy,
    is_numpy,
    is_torch,
    launch,
    namespace,
)
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.bloch_mcconnell_arguments import (
    Pool,
    Pulses,
    Semisolid,
    Solute,
    Water,
    check_numbers,
    check_settings,
    library_of,
    numbers_of,
    pools_of,
    pulses_of,
    settings_of,
)
from ipads_stream.physics.bloch_mcconnell_formula import (
    SHAPES,
    detuning,
    expm,
    saturation,
    z_spectrum_formula,
)
from ipads_stream.physics.epg_arguments import host
from ipads_stream.physics.kernels import bloch_mcconnell as lanes
from ipads_stream.physics.line_shape import interpolated_super_lorentzian

__all__ = ["Pulses", "Semisolid", "Solute", "Water", "expm", "z_spectrum", "z_spectrum_formula"]
_CUDA_TEXT = Path(__file__).parent / "kernels" / "bloch_mcconnell.cu"
_FAST_SHAPES = SHAPES | {"super-Lorentzian": interpolated_super_lorentzian}
_EQUAL = 1e-13  # of the largest: samples that differ by less are one


def z_spectrum(
    pools: Any,
    offsets_ppm: Any,
    pulses: Any,
    B0: Any,
    df_ppm: Any = 0.0,
    B1: Any = 1.0,
    *,
    Mz0: Any = 1.0,
) -> Float[Any, "... offsets"]:
    """Mz of the water over its equilibrium after saturation at every offset.

    M -> exp(A t) M + (exp(A t) - 1) A^-1 b over every interval of constant RF, exactly; a pulse of
    several samples is one such step, computed once and applied number times.

    Args:
        pools: 1 to 5, the water first: Water, Solute and Semisolid, or mappings with the names of
            their fields (fraction, T1, T2, exchange, shift_ppm, and line where semisolid), or
            objects with attributes of these names; each field a number or (*batch,).
        offsets_ppm: of the RF from 0 ppm, (offsets,).
        pulses: Pulses or a mapping with the names of its fields (amplitude, duration, gap, number),
            or an object with attributes of these names, or a sequence of them, one after the other.
            Mz is read after the last gap.
        B0: main field, T.
        df_ppm: moves all pools together, ppm, (*batch,).
        B1: RF relative to nominal, (*batch,); a negative one is a phase of pi.
        Mz0: longitudinal magnetisation of all pools before the first pulse of every offset over
            their equilibrium, (*batch,): 1 after full recovery, 1 - exp(-t / T1) a time t after it
            was destroyed.

    Returns:
        (*batch, offsets), of the library and the precision of the fields, float64 inside. NumPy,
        CuPy and torch without a gradient run in the kernel of the device, all else as formula.

    Raises:
        ValueError: an argument is out of range or the shapes do not fit. Arrays are checked on the
            host only: on a GPU it would stop the stream.
        TypeError: the arrays belong to different libraries, or a pool or train to none.
    """
    pools, trains = pools_of(pools), pulses_of(pulses)
    numbers = numbers_of(pools, df_ppm, B1, Mz0)
    offsets_ppm = offsets_ppm if hasattr(offsets_ppm, "shape") else np.asarray(offsets_ppm, float)
    others = settings_of(trains, offsets_ppm, B0)
    xp, kind, shape = library_of(numbers, others)
    check_settings(offsets_ppm, B0)
    solid = [f"pools[{i}].T2" for i, pool in enumerate(pools) if isinstance(pool, Semisolid)]
    check_numbers(numbers, lines=solid)
    given = [*numbers.values(), *others.values()]
    if not _runs_in_kernel(xp, given):
        return z_spectrum_formula(pools, offsets_ppm, trains, B0, df_ppm, B1, Mz0=Mz0)
    like = next((x for x in given if hasattr(x, "shape") and namespace(x) is xp), None)
    size = (*shape, offsets_ppm.shape[0])
    out = xp.empty(size, dtype=kind, device=None if like is None else device_of(like))
    _fill(pools, trains, numbers, offsets_ppm, float(B0), shape, out)
    return out


def _runs_in_kernel(xp: Any, given: Any) -> bool:
    """Whether the arrays are plain: of NumPy, of CuPy, or tensors that torch does not follow."""
    if any(is_torch(x) for x in given):
        from ipads_stream.core.handover import is_traced

        return not any(is_traced(x) for x in given if is_torch(x))
    return xp is namespace(np.empty(0)) or any(is_cupy(x) for x in given)


def _fill(
    pools: tuple[Pool, ...],
    trains: tuple[Pulses, ...],
    numbers: dict[str, Any],
    offsets_ppm: Any,
    B0: float,
    shape: tuple[int, ...],
    out: Any,
) -> None:
    """Run the kernel of the library that out, (*batch, offsets), belongs to."""
    samples, table = _tables(trains)
    if is_torch(out):
        from ipads_stream.core.handover import views

        arrays = {**numbers, "offsets_ppm": offsets_ppm}
        tensors = {name: x for name, x in arrays.items() if is_torch(x)}
        with views(*tensors.values(), out) as (*plain, target):
            seen = arrays | dict(zip(tensors, plain, strict=True))
            offsets_ppm = seen.pop("offsets_ppm")
            _run(pools, seen, offsets_ppm, B0, shape, samples, table, target)
        return
    _run(pools, numbers, offsets_ppm, B0, shape, samples, table, out)


def _run(
    pools: tuple[Pool, ...],
    numbers: dict[str, Any],
    offsets_ppm: Any,
    B0: float,
    shape: tuple[int, ...],
    samples: np.ndarray,
    trains: np.ndarray,
    out: Any,
) -> None:
    xp, num = namespace(out), math.prod(shape)
    if math.prod(out.shape) == 0:
        return
    per_ppm = 1e-6 * GAMMA_1H * B0
    values = {name: xp.asarray(x, dtype=xp.float64)[..., None] for name, x in numbers.items()}
    values["offsets"] = xp.asarray(offsets_ppm, dtype=xp.float64)
    rows: list[Any] = []
    for p in range(len(pools)):
        T1, T2, fraction = (values[f"pools[{p}].{name}"] for name in ("T1", "T2", "fraction"))
        exchange = values[f"pools[{p}].exchange"] if p else 0.0 * fraction
        rows += [1.0 / T1, 1.0 / T2, fraction, exchange, per_ppm * detuning(values, p, 0.0)]
    # A negative B1 turns all pulses by the phase pi, which Mz does not show.
    rows += [xp.abs(values["B1"]), values["Mz0"]]
    tissue = xp.stack([xp.reshape(xp.broadcast_to(row, (*shape, 1)), (num,)) for row in rows])
    solid = next((p for p, pool in enumerate(pools) if isinstance(pool, Semisolid)), -1)
    absorption = xp.empty((0, 0), dtype=xp.float64)
    if solid >= 0:
        pool = pools[solid]
        assert isinstance(pool, Semisolid)
        line = saturation(values, solid, _FAST_SHAPES[pool.line], per_ppm)
        absorption = xp.reshape(xp.broadcast_to(line, out.shape), (num, out.shape[-1]))
    offsets = per_ppm * values["offsets"]
    plane = xp.reshape(out, (num, out.shape[-1]))
    if is_numpy(out):
        line = np.require(absorption, float, ["C", "W"])  # Numba compiles read-only arrays anew.
        lanes.z_spectra(tissue, solid, line, offsets, samples, trains, plane)
        return
    result = xp.empty(plane.shape, dtype=xp.float64)
    launch(
        cuda_module(_CUDA_TEXT, (f"-DPOOLS={len(pools)}",)),
        "z_spectra",
        math.prod(out.shape),
        tissue,
        np.int64(num),
        np.int32(solid),
        xp.ascontiguousarray(absorption),
        offsets,
        np.int64(out.shape[-1]),
        *(xp.asarray(x) for x in (samples, trains)),
        np.int32(trains.shape[0]),
        result,
    )
    plane[...] = result


def _tables(trains: Sequence[Pulses]) -> tuple[np.ndarray, np.ndarray]:
    """Samples (rad/s, rad/s, s) and trains as the kernels take them.

    Equal neighbours become one; of a symmetric pulse the middle and all after it are given.
    """
    samples: list[np.ndarray] = []
    table, count = np.zeros((len(trains), lanes.COLUMNS)), 0
    for n, train in enumerate(trains):
        amplitude = np.ravel(np.asarray(host(train.amplitude), complex))
        steps = np.abs(np.diff(amplitude))
        first = np.flatnonzero(np.append(True, steps > _EQUAL * np.abs(amplitude).max()))
        lengths = np.diff(np.append(first, amplitude.size)) * float(train.duration) / amplitude.size
        fields = GAMMA_1H * amplitude[first]
        rows = np.stack([fields.real, fields.imag, lengths], axis=-1)
        # Of equal neighbours one is left: where all mirror one another, there is a middle.
        unlike = np.abs(rows - rows[::-1]).max(axis=0) > _EQUAL * np.abs(rows).max(axis=0)
        mirrored = rows.shape[0] % 2 == 1 and not unlike.any()
        if mirrored:
            rows = rows[rows.shape[0] // 2 :]
        samples.append(rows)
        stop = count + rows.shape[0]
        flags = (train.oscillator == "halted", train.spoiled, mirrored)
        table[n] = count, stop, float(train.gap), train.number, *map(float, flags)
        count = stop
    return np.concatenate(samples), table
