"""Derivatives of extended phase graphs in reverse mode, for torch: kernels, not the formula.

Memory beside the signals is that of the arguments and, in the kernel, of the states at every
sqrt(TRs)-th pulse of 16 atoms (CPU) or of a part of the atoms (GPU).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_of, is_cupy, is_torch, launch, namespace
from ipads_stream.physics.epg_formula import as_array, complex_of, whole_turns_off
from ipads_stream.physics.epg_kernels import (
    cuda,
    fill_cpmg,
    fill_fisp,
    i_exp,
    on_device,
    on_one_axis,
)
from ipads_stream.physics.kernels import epg_adjoint as lanes

_CUDA_TEXT = Path(__file__).parent / "kernels" / "epg_adjoint.cu"
_WORK = 2**30  # bytes of states on a GPU


def fisp_with_adjoint(
    train: Any, given: Any, tissue: Any, shape: tuple[int, ...], orders: int
) -> Any:
    """Signals, (*shape, TRs), whose gradient in reverse mode comes from the kernel.

    Args:
        train: flip, phase, TR, TE on the host, (TRs,).
        given: the same as the user gave them, of which torch may follow some.
        tissue: T1, T2, B1 and the magnetisation before the train, of which it may, too.
        shape: of the atoms.
        orders: how many are kept.
    """
    from ipads_stream.core.handover import wants_gradient, with_adjoint

    xp, columns = _flat(tissue, shape)
    num = train[0].shape[0]
    pulses = [xp.broadcast_to(as_array(xp, xp.float64, columns[0], x), (num,)) for x in given]
    turned = is_torch(given[1]) and wants_gradient(given[1])

    def signals(*arrays: Any) -> Any:
        own, host = namespace(*arrays), math.prod(shape)
        out = own.empty((host, num), dtype=complex_of(own, arrays[4].dtype))
        fill_fisp(train, arrays[4:], orders, out)
        return out

    def pull_back(cotangent: Any, *arrays: Any) -> tuple[Any, ...]:
        return fisp_pull_back(cotangent, train, arrays[4:], orders, turned)

    out = with_adjoint(signals, pull_back, *pulses, *columns)
    return xp.reshape(out, (*shape, num))


def cpmg_with_adjoint(ESP: Any, num_echoes: int, tissue: Any, shape: tuple[int, ...]) -> Any:
    """Echoes, real, (*shape, echoes), whose gradient in reverse mode comes from the kernel.

    Args:
        ESP: from echo to echo, s.
        num_echoes: how many.
        tissue: T1, T2, B1.
        shape: of the atoms.
    """
    from ipads_stream.core.handover import with_adjoint

    xp, columns = _flat(tissue, shape)
    spacing = as_array(xp, xp.float64, columns[0], ESP)

    def echoes(spacing: Any, *arrays: Any) -> Any:
        own = namespace(*arrays)
        out = own.empty((math.prod(shape), num_echoes), dtype=arrays[0].dtype)
        fill_cpmg(float(spacing), arrays, out)
        return out

    def pull_back(cotangent: Any, spacing: Any, *arrays: Any) -> tuple[Any, ...]:
        return cpmg_pull_back(cotangent, float(spacing), arrays)

    out = with_adjoint(echoes, pull_back, spacing, *columns)
    return xp.reshape(out, (*shape, num_echoes))


def _flat(tissue: Any, shape: tuple[int, ...]) -> Any:
    """Array library and the tissue as arrays (atoms,)."""
    arrays = [x for x in tissue if hasattr(x, "shape")]
    xp, like = namespace(*arrays), arrays[0]
    kind = xp.result_type(*arrays)
    columns = (xp.broadcast_to(as_array(xp, kind, like, x), shape) for x in tissue)
    return xp, [xp.reshape(x, (math.prod(shape),)) for x in columns]


def fisp_pull_back(
    cotangent: Any, train: Any, columns: Any, orders: int, turned: bool
) -> tuple[Any, ...]:
    """Gradients for flip, phase, TR, TE, (TRs,), and T1, T2, B1, initial, (atoms,), in float64.

    Args:
        cotangent: d loss / d Re + i d loss / d Im of the signals, (atoms, TRs).
        train, columns, orders: as for the signals.
        turned: whether the phase is asked for; 0 where not and all pulses share an axis.
    """
    flip, phase, TR, TE = (np.array(x, float) for x in train)
    signed, one_axis = on_one_axis(flip, phase)
    real = one_axis and not turned
    flip = signed if real else flip
    if is_cupy(cotangent):
        by_pulse, by_atom = _fisp_on_gpu(cotangent, (flip, phase, TR, TE), columns, orders, real)
    else:
        by_pulse, by_atom = np.empty((4, flip.shape[0])), np.empty((4, cotangent.shape[0]))
        host = [np.array(column, float) for column in columns]
        plane = np.ascontiguousarray(cotangent).view(cotangent.real.dtype)
        if real:
            x, y = i_exp(phase[0])
            lanes.fisp_real(flip, TR, TE, *host, x, y, orders, plane, by_atom, by_pulse)
        else:
            lanes.fisp_complex(flip, phase, TR, TE, *host, orders, plane, by_atom, by_pulse)
    if real:
        by_pulse[0] *= namespace(by_pulse).asarray(np.sign(np.cos(phase - phase[0])))
    return (*by_pulse, *by_atom)


def cpmg_pull_back(cotangent: Any, ESP: float, columns: Any) -> tuple[Any, ...]:
    """Gradients for ESP, (), and T1, T2, B1, (atoms,), in float64.

    Args:
        cotangent: of the echoes, real, (atoms, echoes).
        ESP: from echo to echo, s.
        columns: T1, T2, B1, (atoms,).
    """
    xp = namespace(cotangent)
    if is_cupy(cotangent):
        by_atom = _cpmg_on_gpu(cotangent, ESP, columns)
    else:
        by_atom = np.empty((4, cotangent.shape[0]))
        host = [np.array(column, float) for column in columns]
        lanes.cpmg(ESP, *host, np.ascontiguousarray(cotangent), by_atom)
    return (xp.sum(by_atom[:1], axis=1), *by_atom[1:])


def _fisp_on_gpu(cotangent: Any, train: Any, columns: Any, orders: int, real: bool) -> Any:
    """by_pulse and by_atom in float64, from parts of the atoms, so that the states fit."""
    xp, kind, (atoms, num) = namespace(cotangent), cotangent.real.dtype, cotangent.shape
    length, size = _segments(num, orders, kind, 1 if real else 2)
    flip, phase, TR, TE = train
    pulses = list(on_device(cotangent, kind, flip, whole_turns_off(phase), TR, TE))
    by_pulse = xp.zeros((4, num), dtype=xp.float64, device=device_of(cotangent))
    by_atom = xp.empty((4, atoms), dtype=xp.float64)
    width = max(1, min(atoms, _WORK // size))
    work = xp.empty(size * width, dtype=xp.uint8)
    for first in range(0, atoms, width):
        part = slice(first, first + width)
        slopes = xp.ascontiguousarray(cotangent[part])
        count = slopes.shape[0]
        atom, pulse = xp.empty((4, count), dtype=kind), xp.empty((4, num, count), dtype=kind)
        launch(
            cuda(_CUDA_TEXT, kind, ORDERS=orders),
            "fisp_real" if real else "fisp_complex",
            count,
            *pulses,
            *on_device(cotangent, kind, *(column[part] for column in columns)),
            slopes,
            *map(np.int64, (count, num, length)),
            work,
            atom,
            pulse,
        )
        by_atom[:, part] = atom
        by_pulse += xp.sum(pulse, axis=2, dtype=xp.float64)
    return by_pulse, by_atom


def _cpmg_on_gpu(cotangent: Any, ESP: float, columns: Any) -> Any:
    xp, kind, (atoms, num) = namespace(cotangent), cotangent.dtype, cotangent.shape
    orders = (num + 1) // 2
    length, size = _segments(num, orders, kind, 1)
    by_atom = xp.empty((4, atoms), dtype=xp.float64)
    width = max(1, min(atoms, _WORK // size))
    work = xp.empty(size * width, dtype=xp.uint8)
    for first in range(0, atoms, width):
        part = slice(first, first + width)
        slopes = xp.ascontiguousarray(cotangent[part])
        count = slopes.shape[0]
        atom = xp.empty((4, count), dtype=kind)
        launch(
            cuda(_CUDA_TEXT, kind, ORDERS=orders),
            "cpmg",
            count,
            kind.type(ESP),
            *on_device(cotangent, kind, *(column[part] for column in columns)),
            slopes,
            *map(np.int64, (count, num, length)),
            work,
            atom,
        )
        by_atom[:, part] = atom
    return by_atom


def _segments(num: int, orders: int, kind: Any, parts: int) -> tuple[int, int]:
    """Pulses of a segment, and bytes of the states that the kernel keeps of one atom."""
    length = math.ceil(math.sqrt(num))
    pages = length + -(-num // length) + 1
    return length, pages * 3 * orders * parts * kind.itemsize
