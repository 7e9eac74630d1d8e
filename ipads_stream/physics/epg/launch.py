"""Extended phase graphs by the kernels of the arrays' library, and gradients back through them.

Beside signals and arguments the gradients take the states at every sqrt(TRs)-th pulse, of 16 atoms
(CPU) or of a part of the atoms (GPU).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    interned,
    is_cupy,
    is_numpy,
    kept,
    launch,
    namespace,
)
from ipads_stream.physics.arrays import host
from ipads_stream.physics.dispatch import real_option
from ipads_stream.physics.epg.arguments import CRUSHED
from ipads_stream.physics.epg.formula import whole_turns_off
from ipads_stream.physics.epg.kernels import adjoint, general, regular

PULSES = ("flip", "phase", "TR", "TE")
ATOMS = ("T1", "T2", "B1", "initial")
_KERNELS = Path(__file__).parent / "kernels"
_WORK = 2**26  # bytes of orders or states in a GPU's memory, so that its cache holds most of them
_ON_CHIP = 12288  # bytes of orders of a warp
_FEWEST, _WARP, _WARPS = 4, 32, 4  # lanes of an atom, lanes of a warp, warps of a thread block
# Of 255 of a lane, for the orders of an atom; back as many are read beside them.
REGISTERS = {"regular": 144, "adjoint": 72}


def fill_fisp(train: Any, columns: Any, orders: int, out: Any) -> None:
    """Write the signals of pulses that are each followed by one order of spoiling.

    train: flip, phase, TR, TE on the host, (TRs,); columns: T1, T2, B1 and the magnetisation before
    the train, (atoms,); out: complex, (atoms, TRs).
    """
    flip, phase, TR, TE = (np.array(x, float) for x in train)
    flip, one_axis = _on_one_axis(flip, phase)
    if is_cupy(out):
        name, parts = ("fisp_real", 1) if one_axis else ("fisp_complex", 2)
        module, lanes = _module("regular", out, orders, parts)
        given = _on_device(out, flip, whole_turns_off(phase), TR, TE, *columns)
        launch(module, name, lanes * out.shape[0], *given, *map(np.int64, out.shape), out)
        return
    atoms, plane = _on_host(columns), out.view(out.real.dtype)
    if one_axis:
        regular.fisp_real(flip, TR, TE, *atoms, *_i_exp(phase[0]), orders, plane)
    else:
        regular.fisp_complex(flip, phase, TR, TE, *atoms, orders, plane)


def fisp_pull_back(
    cotangent: Any, train: Any, columns: Any, orders: int, turned: bool
) -> dict[str, Any]:
    """Gradients for flip, phase, TR, TE, (TRs,), and T1, T2, B1, initial, (atoms,), in float64.

    cotangent: d loss / d Re + i d loss / d Im of the signals, (atoms, TRs); turned: whether the
    phase is asked for; 0 where not and all pulses share an axis.
    """
    flip, phase, TR, TE = (np.array(x, float) for x in train)
    signed, one_axis = _on_one_axis(flip, phase)
    real = one_axis and not turned
    flip = signed if real else flip
    if is_cupy(cotangent):
        name, parts = ("fisp_real", 1) if real else ("fisp_complex", 2)
        pulses = _on_device(cotangent, flip, whole_turns_off(phase), TR, TE)
        by_pulse, by_atom = _on_gpu(name, cotangent, pulses, columns, orders, parts, 4)
    else:
        by_pulse, by_atom = np.empty((4, flip.shape[0])), np.empty((4, cotangent.shape[0]))
        atoms, plane = _on_host(columns), np.ascontiguousarray(cotangent)
        last = (orders, plane.view(cotangent.real.dtype), by_atom, by_pulse)
        if real:
            adjoint.fisp_real(flip, TR, TE, *atoms, *_i_exp(phase[0]), *last)
        else:
            adjoint.fisp_complex(flip, phase, TR, TE, *atoms, *last)
    if real:
        by_pulse[0] *= namespace(by_pulse).asarray(np.sign(np.cos(phase - phase[0])))
    return dict(zip((*PULSES, *ATOMS), (*by_pulse, *by_atom), strict=True))


def fill_cpmg(ESP: float, columns: Any, out: Any) -> None:
    """Write the echoes of spin echoes, real, (atoms, echoes); columns: T1, T2, B1, (atoms,)."""
    if not is_cupy(out):
        regular.cpmg(float(ESP), *_on_host(columns), out)
        return
    module, lanes = _module("regular", out, (out.shape[1] + 1) // 2, 1)
    given = out.dtype.type(ESP), *_on_device(out, *columns), *map(np.int64, out.shape)
    launch(module, "cpmg", lanes * out.shape[0], *given, out)


def cpmg_pull_back(cotangent: Any, ESP: float, columns: Any) -> dict[str, Any]:
    """Gradients for ESP, (), and T1, T2, B1, (atoms,), in float64, from (atoms, echoes)."""
    if is_cupy(cotangent):
        orders, spacing = (cotangent.shape[1] + 1) // 2, cotangent.dtype.type(ESP)
        _, by_atom = _on_gpu("cpmg", cotangent, [spacing], columns, orders, 1, 0)
    else:
        by_atom = np.empty((4, cotangent.shape[0]))
        adjoint.cpmg(ESP, *_on_host(columns), np.ascontiguousarray(cotangent), by_atom)
    by_name = (namespace(cotangent).sum(by_atom[:1], axis=1), *by_atom[1:])
    return dict(zip(("ESP", *ATOMS[:3]), by_name, strict=True))


def fill_train(steps: Any, columns: Any, twist: float, counts: list[int], out: Any) -> None:
    """Write the echoes of any train.

    steps: flip, phase, duration, shift, echo, (steps,); columns: T1, T2, B1, df, D and the
    magnetisation before the train, (atoms,); twist: dephasing of one order, rad/m; counts: orders
    kept after each step up to the last echo; out: complex, (atoms, echoes).
    """
    num = len(counts)
    flip, phase, duration = (np.array(host(x), float)[:num] for x in steps[:3])
    shift, echo = (np.array(x)[:num] for x in steps[3:])
    crushed = shift == CRUSHED
    shift[crushed] = 0
    count, phase = np.array(counts), whole_turns_off(phase)
    *tissue, D, initial = columns
    if is_cupy(out):
        atoms = (*tissue, twist * (twist * D), initial)
        whole, may_diffuse = (shift, crushed, echo, count), twist != 0  # D is on the GPU
        _launch_train((flip, phase, duration), whole, atoms, may_diffuse, out)
        return
    kinds, interval = np.unique(np.stack([duration, shift], 1), axis=0, return_inverse=True)
    spread = np.array(D, float) * twist**2
    pulses = flip, phase, duration, shift, crushed, echo, count, interval.reshape(num)
    lengths, shifts = kinds[:, 0].copy(), kinds[:, 1].copy()
    atoms = *_on_host(tissue), spread, np.array(initial, float), bool(spread.any())
    general.train(*pulses, lengths, shifts, *atoms, out.view(out.real.dtype))


def _launch_train(pulses: Any, whole: Any, columns: Any, may_diffuse: bool, out: Any) -> None:
    """All atoms where their orders fit on the chip, else parts of them, so that those fit."""
    xp, real, (atoms, echoes) = namespace(out), out.real.dtype, out.shape
    shift, count = whole[0], whole[3]
    length = 1 << int(2 * (count.max() + np.abs(shift).max()) + 1).bit_length()
    rows, lanes = length + length // 2, _FEWEST
    ring = 2 * real.itemsize * rows
    while lanes < _WARP and ring * (_WARP // lanes) > _ON_CHIP:
        lanes *= 2
    on_chip = ring * (_WARP // lanes) <= _ON_CHIP
    width = max(1, atoms if on_chip else min(atoms, _WORK // ring))
    warps = 0 if on_chip else -(-width // _WARPS) * _WARPS
    work = xp.empty((warps, rows, _WARP // lanes), dtype=out.dtype, device=device_of(out))
    module = _compiled("general", out, LENGTH=length, LANES=lanes, ON_CHIP=int(on_chip))
    shared = [*_on_device(out, *pulses), *_tables_on_device(out, *whole)]
    diffusing = np.int32(may_diffuse)
    for first in range(0, atoms, width):
        part = slice(first, min(first + width, atoms))
        num = part.stop - first
        given = *shared, *_on_device(out, *(column[part] for column in columns)), diffusing
        sizes = np.int64(num), np.int64(len(shift)), work, np.int64(echoes)
        launch(module, "train", lanes * num, *given, *sizes, out[part])


def _on_gpu(
    name: str, cotangent: Any, train: Any, columns: Any, orders: int, parts: int, num_pulse: int
) -> Any:
    """by_pulse and by_atom in float64, from parts of the atoms, so that the states fit.

    train: what the kernel takes before the columns; parts: real numbers of a state; num_pulse:
    slopes by pulse, of which there may be none.
    """
    xp, kind, (atoms, num) = namespace(cotangent), cotangent.real.dtype, cotangent.shape
    length = math.ceil(math.sqrt(num))  # pulses of a segment
    pages = length + -(-num // length) + 1
    module, lanes = _module("adjoint", cotangent, orders, parts)
    fours = -(-3 * parts * -(-orders // lanes) // 4)
    size = pages * lanes * fours * 4 * kind.itemsize  # bytes of the states of one atom
    by_pulse = xp.zeros((num_pulse, num), dtype=xp.float64, device=device_of(cotangent))
    by_atom = xp.empty((4, atoms), dtype=xp.float64)
    width = max(1, min(atoms, _WORK // size))
    work = xp.empty(size * width, dtype=xp.uint8)
    for first in range(0, atoms, width):
        part = slice(first, first + width)
        slopes = xp.ascontiguousarray(cotangent[part])
        count = slopes.shape[0]
        atom, pulse = (xp.empty(n, dtype=kind) for n in ((4, count), (num_pulse, num, count)))
        given = *_on_device(cotangent, *(column[part] for column in columns)), slopes
        sizes, written = map(np.int64, (count, num, length)), (atom, pulse)[: 1 + bool(num_pulse)]
        launch(module, name, lanes * count, *train, *given, *sizes, work, *written)
        by_atom[:, part] = atom
        by_pulse += xp.sum(pulse, axis=2, dtype=xp.float64)
    return by_pulse, by_atom


def _module(text: str, like: Any, orders: int, parts: int) -> tuple[Any, int]:
    """A text for orders of so many real parts each, and the lanes that share them."""
    lanes = lanes_of(orders, parts * like.real.dtype.itemsize, REGISTERS[text])
    return _compiled(text, like, ORDERS=orders, LANES=lanes), lanes


def _compiled(text: str, like: Any, **defined: int) -> Any:
    options = (f"-D{name}={value}" for name, value in defined.items())
    return cuda_module(_KERNELS / f"{text}.cu", (*real_option(like), *options))


def lanes_of(orders: int, size: int, registers: int) -> int:
    """How many lanes of a warp share the orders of an atom, so that registers hold them.

    size: bytes of one number of a state, of which an order has three.
    """
    lanes = 1
    while lanes < _WARP and 3 * -(-orders // lanes) * size > 4 * registers:
        lanes *= 2
    return lanes


def _on_one_axis(flip: np.ndarray, phase: np.ndarray) -> tuple[np.ndarray, bool]:
    """Angles about the axis of the first pulse, and whether all pulses share it.

    Pulses half a turn apart share an axis: the second has the negative angle.
    """
    steps = phase - phase[0]
    away = np.abs(np.sin(steps)) > 8 * np.finfo(float).eps * np.maximum(1, np.abs(steps))
    if away.any():
        return flip, False
    return flip * np.sign(np.cos(steps)), True


def _i_exp(phase: float) -> tuple[float, float]:
    """Real and imaginary part of i exp(i phase)."""
    return -math.sin(phase), math.cos(phase)


def _on_host(columns: Any) -> list[np.ndarray]:
    return [np.array(column, float) for column in columns]


def _on_device(like: Any, *arrays: Any) -> list[Any]:
    """The arrays on the device of like (CuPy), contiguous and of its real dtype.

    Those of NumPy are of the train, mostly the same from batch to batch.
    """
    xp, real = namespace(like), like.real.dtype
    return [
        kept(interned(x), xp, real)
        if is_numpy(x)
        else xp.ascontiguousarray(xp.astype(x, real, copy=False))
        for x in arrays
    ]


def _tables_on_device(like: Any, *whole: np.ndarray) -> list[Any]:
    """Whole numbers of a train there."""
    return [kept(interned(x), namespace(like), np.int32) for x in whole]
