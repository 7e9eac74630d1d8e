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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import (
    cuda_module,
    interned,
    is_cupy,
    is_numpy,
    kept,
    launch,
    namespace,
)
from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics.arrays import as_float64, host, precision
from ipads_stream.physics.dispatch import dispatched
from ipads_stream.physics.exchange import line_shape
from ipads_stream.physics.exchange.arguments import (
    Experiment,
    Pulses,
    Semisolid,
    experiment_of,
)
from ipads_stream.physics.exchange.generator import SHAPES, Generator, absorption_of, detuning, expm
from ipads_stream.physics.exchange.kernels import bloch_mcconnell as lanes

_CUDA_TEXT = Path(__file__).parent / "kernels" / "bloch_mcconnell.cu"
_FAST_SHAPES = SHAPES | {"super-Lorentzian": line_shape.interpolated_super_lorentzian}
# Lanes of which the kernel takes one per pair of pools: of a warp or, from 6 pools, a thread block
_WARP, _BLOCK, _WITHIN_WARP, _WITHIN_BLOCK = 32, 128, 5, 11
_ROWS = 5  # of a pool in the table of tissue
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
        pools: any number (on a GPU 11), the water first: Water, Solute and Semisolid, or mappings
            with the names of their fields (fraction, T1, T2, exchange, shift_ppm, and line where
            semisolid); each field a number or (*batch,).
        offsets_ppm: of the RF from 0 ppm, (offsets,).
        pulses: Pulses or a mapping with the names of its fields (amplitude, duration, gap, number),
            or a sequence of them, one after the other. Mz is read after the last gap.
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
    return z_spectra(pools, offsets_ppm, [pulses], B0, df_ppm, B1, Mz0=Mz0)


def z_spectra(
    pools: Any,
    offsets_ppm: Any,
    protocols: Sequence[Any],
    B0: Any,
    df_ppm: Any = 0.0,
    B1: Any = 1.0,
    *,
    Mz0: Any = 1.0,
) -> Float[Any, "... offsets"]:
    """Spectra under several protocols side by side, (*batch, protocols x offsets).

    What they share is prepared once.

    Args:
        protocols: pulses of each, at least one.
        pools, offsets_ppm, B0, df_ppm, B1, Mz0: as of :func:`z_spectrum`.
    """
    given = (B0, df_ppm, B1, Mz0)
    experiments = [experiment_of(pools, offsets_ppm, pulses, *given) for pulses in protocols]
    arguments: dict[str, Any] = {}
    for n, experiment in enumerate(experiments):
        experiment.check()
        arguments |= {f"protocols[{n}].{name}": x for name, x in experiment.settings.items()}
    first = experiments[0]
    return dispatched(
        {**arguments, **first.numbers, **first.settings},
        lambda out, given: _fill(experiments, given, out),
        lambda: namespace(first.like).concat([_spectrum(x) for x in experiments], axis=-1),
        like=first.like,
        shape=(*first.shape, len(experiments) * first.settings["offsets_ppm"].shape[0]),
        dtype=precision(first.like),
    )


def _fill(experiments: Sequence[Experiment], given: Mapping[str, Any], out: Any) -> None:
    """Run the kernel of the library that out, (*batch, protocols x offsets), belongs to."""
    if math.prod(out.shape) == 0:
        return
    first, xp = experiments[0], namespace(out)
    shape, solid, num = first.shape, first.solid, math.prod(first.shape)
    per_ppm = 1e-6 * GAMMA_1H * float(first.settings["B0"])
    values = {name: as_float64(given[name], out)[..., None] for name in first.numbers}
    offsets = given["offsets_ppm"]
    fixed = is_cupy(out) and is_numpy(offsets)
    values["offsets"] = as_float64(kept(interned(offsets), xp) if fixed else offsets, out)
    rows: list[Any] = []
    for p in range(len(first.pools)):
        T1, T2, fraction = (values[f"pools[{p}].{name}"] for name in ("T1", "T2", "fraction"))
        exchange = values[f"pools[{p}].exchange"] if p else 0.0 * fraction
        rows += [1.0 / T1, 1.0 / T2, fraction, exchange, per_ppm * detuning(values, p, 0.0)]
    # A negative B1 turns all pulses by the phase pi, which Mz does not show.
    rows += [xp.abs(values["B1"]), values["Mz0"]]
    tissue = xp.stack([xp.reshape(xp.broadcast_to(row, (*shape, 1)), (num,)) for row in rows])
    absorption, count = xp.empty((0, 0), dtype=xp.float64), values["offsets"].shape[0]
    if solid >= 0:
        pool = first.pools[solid]
        assert isinstance(pool, Semisolid)
        line = absorption_of(values, solid, _FAST_SHAPES[pool.line], per_ppm)
        absorption = xp.reshape(xp.broadcast_to(line, (*shape, count)), (num, count))
    planes = xp.reshape(out, (num, len(experiments), count))
    kind = out.dtype if is_numpy(out) else xp.float64
    for n, experiment in enumerate(experiments):
        plane = xp.empty((num, count), dtype=kind)
        tables = _tables(experiment.trains)
        _run(tissue, solid, absorption, per_ppm * values["offsets"], tables, plane)
        planes[:, n] = plane


def _run(tissue: Any, solid: int, absorption: Any, offsets: Any, tables: Any, plane: Any) -> None:
    """One protocol of all spectra, (spectra, offsets)."""
    if is_numpy(plane):
        line = np.require(absorption, float, ["C", "W"])  # Numba compiles read-only arrays anew.
        lanes.z_spectra(tissue, solid, line, offsets, *tables, plane)
        return
    xp, (num, count) = namespace(plane), plane.shape
    pools, items = (tissue.shape[0] - 2) // _ROWS, num * count * _BLOCK
    if pools > _WITHIN_BLOCK:
        raise ValueError(f"pools: {pools} of them; on a GPU at most {_WITHIN_BLOCK} are allowed")
    if pools <= _WITHIN_WARP:
        items = -(-num * count // (_WARP // pools**2)) * _WARP
    module = cuda_module(_CUDA_TEXT, (f"-DPOOLS={pools}",))
    there = [kept(interned(x), xp) for x in tables]
    spins = tissue, np.int64(num), np.int32(solid), xp.ascontiguousarray(absorption)
    rest = offsets, np.int64(count), *there, np.int32(len(tables[1])), plane
    launch(module, "z_spectra", items, *spins, *rest)


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


def z_spectrum_formula(
    pools: Any,
    offsets_ppm: Any,
    pulses: Any,
    B0: Any,
    df_ppm: Any = 0.0,
    B1: Any = 1.0,
    *,
    Mz0: Any = 1.0,
) -> Float[Any, "... offsets"]:
    """:func:`z_spectrum` in the array API by affine matrices, differentiable in every number.

    Values are not checked. Memory grows with offsets and batch times (3 pools + 1)^2. Durations and
    gaps may be arrays of no dimension.
    """
    return _spectrum(experiment_of(pools, offsets_ppm, pulses, B0, df_ppm, B1, Mz0))


def _spectrum(experiment: Experiment) -> Any:
    """The z-spectrum of an experiment by the formula."""
    generator = Generator(experiment)
    xp, number, values = generator.xp, generator.number, generator.values
    M = generator.start()
    for train in experiment.trains:
        x, y = _samples(train.amplitude, number)
        step = number(train.duration) / x.shape[0]
        pulse = None
        for i in range(x.shape[0]):
            sample = expm(generator.driven(x[i], y[i]) * step)
            pulse = sample if pulse is None else xp.matmul(sample, pulse)
        frame = 0.0 if train.oscillator == "halted" else values["offsets"]
        gap = expm(generator.free(frame) * number(train.gap))
        if train.spoiled:
            gap = gap * generator.spoiled()
        both = xp.matmul(gap, pulse)
        for _ in range(train.number):
            M = xp.matmul(both, M)
    ratio = M[..., 2, 0] / values["pools[0].fraction"]
    return xp.astype(ratio, experiment.like.dtype)


def _samples(amplitude: Any, number: Any) -> tuple[Any, Any]:
    """Angular velocities about x and y, rad/s, (samples,)."""
    amplitude = amplitude if hasattr(amplitude, "shape") else np.asarray(amplitude)
    xp = namespace(amplitude)
    amplitude = xp.reshape(amplitude, (-1,))
    if xp.isdtype(amplitude.dtype, "complex floating"):
        return GAMMA_1H * number(xp.real(amplitude)), GAMMA_1H * number(xp.imag(amplitude))
    return GAMMA_1H * number(amplitude), 0.0 * number(amplitude)
