"""Extended phase graphs in the kernel of the library that the arrays belong to."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    is_cupy,
    is_numpy,
    is_torch,
    launch,
    namespace,
)
from ipads_stream.physics.epg_arguments import CRUSHED, host
from ipads_stream.physics.epg_formula import whole_turns_off
from ipads_stream.physics.kernels import epg as lanes
from ipads_stream.physics.kernels import epg_train as lanes_train

_CUDA_TEXT = Path(__file__).parent / "kernels" / "epg.cu"
_TRAIN_TEXT = Path(__file__).parent / "kernels" / "epg_train.cu"
_WORK = 2**30  # bytes of orders on a GPU


def fill_fisp(train: Any, columns: Any, orders: int, out: Any) -> None:
    """The signals of a train of pulses, each followed by one order of spoiling.

    Args:
        train: flip, phase, TR, TE on the host, (TRs,).
        columns: T1, T2, B1 and the magnetisation before the train, (atoms,).
        orders: how many are kept.
        out: complex, (atoms, TRs), is filled.
    """
    flip, phase, TR, TE = (np.array(x, float) for x in train)
    flip, one_axis = on_one_axis(flip, phase)
    if is_cupy(out):
        real = out.real.dtype
        launch(
            cuda(_CUDA_TEXT, real, ORDERS=orders),
            "fisp_real" if one_axis else "fisp_complex",
            out.shape[0],
            *on_device(out, real, flip, whole_turns_off(phase), TR, TE, *columns),
            *(np.int64(n) for n in out.shape),
            out,
        )
        return
    host = [np.array(column, float) for column in columns]
    plane = out.view(out.real.dtype)
    if one_axis:
        lanes.fisp_real(flip, TR, TE, *host, *i_exp(phase[0]), orders, plane)
    else:
        lanes.fisp_complex(flip, phase, TR, TE, *host, orders, plane)


def fill_cpmg(ESP: float, columns: Any, out: Any) -> None:
    """The echoes of a train of spin echoes.

    Args:
        ESP: from echo to echo, s.
        columns: T1, T2, B1, (atoms,).
        out: real, (atoms, echoes), is filled.
    """
    if is_cupy(out):
        launch(
            cuda(_CUDA_TEXT, out.dtype, ORDERS=(out.shape[1] + 1) // 2),
            "cpmg",
            out.shape[0],
            out.dtype.type(ESP),
            *on_device(out, out.dtype, *columns),
            *(np.int64(n) for n in out.shape),
            out,
        )
        return
    lanes.cpmg(float(ESP), *(np.array(column, float) for column in columns), out)


def fill_train(steps: Any, columns: Any, twist: float, counts: list[int], out: Any) -> None:
    """The echoes of any train.

    Args:
        steps: flip, phase, duration, shift, echo, (steps,).
        columns: T1, T2, B1, df, D and the magnetisation before the train, (atoms,).
        twist: dephasing of one order, rad/m.
        counts: orders kept after each step up to the last echo.
        out: complex, (atoms, echoes), is filled.
    """
    num = len(counts)
    flip, phase, duration = (np.array(host(x), float)[:num] for x in steps[:3])
    shift, echo = (np.array(x)[:num] for x in steps[3:])
    crushed = shift == CRUSHED
    shift[crushed] = 0
    count, phase = np.array(counts), whole_turns_off(phase)
    *tissue, D, initial = columns
    if is_cupy(out):
        spread = twist * (twist * D)
        _launch_train(
            (flip, phase, duration), (shift, crushed, echo, count), (*tissue, spread, initial), out
        )
        return
    kinds, interval = np.unique(np.stack([duration, shift], 1), axis=0, return_inverse=True)
    spread = np.array(D, float) * twist**2
    lanes_train.train(flip, phase, duration, shift, crushed, echo, count, interval.reshape(num),
                      kinds[:, 0].copy(), kinds[:, 1].copy(),
                      *(np.array(column, float) for column in tissue), spread,
                      np.array(initial, float), bool(spread.any()),
                      out.view(out.real.dtype))  # fmt: skip


def _launch_train(pulses: Any, whole: Any, columns: Any, out: Any) -> None:
    """Parts of the atoms, so that the orders fit."""
    xp, real, (atoms, echoes) = namespace(out), out.real.dtype, out.shape
    shift, count = whole[0], whole[3]
    most, moved = int(count.max() + np.abs(shift).max()), np.cumsum(shift)
    start = most + max(0, int(moved.max())) + 1
    size = start + most + 2 - min(0, int(moved.min()))
    rows = size + most + 1
    width = max(1, min(atoms, _WORK // (2 * real.itemsize * rows)))
    shared = [*on_device(out, real, *pulses), *on_device(out, np.dtype(np.int32), *whole)]
    diffusing = np.int32(bool((columns[4] > 0).any()))
    for first in range(0, atoms, width):
        part = slice(first, min(first + width, atoms))
        num = part.stop - first
        work = xp.zeros((rows, num), dtype=out.dtype, device=device_of(out))
        numbers = map(np.int64, (num, shift.shape[0], start, size))
        launch(cuda(_TRAIN_TEXT, real), "train", num, *shared,
               *on_device(out, real, *(column[part] for column in columns)), diffusing, *numbers,
               work, np.int64(echoes), out[part])  # fmt: skip


def on_one_axis(flip: np.ndarray, phase: np.ndarray) -> tuple[np.ndarray, bool]:
    """Angles about the axis of the first pulse, and whether all pulses share it.

    Args:
        flip, phase: of the pulses, rad, (TRs,). Pulses half a turn apart share an axis: the second
            has the negative angle.
    """
    steps = phase - phase[0]
    away = np.abs(np.sin(steps)) > 8 * np.finfo(float).eps * np.maximum(1, np.abs(steps))
    if away.any():
        return flip, False
    return flip * np.sign(np.cos(steps)), True


def i_exp(phase: float) -> tuple[float, float]:
    """Real and imaginary part of i exp(i phase)."""
    return -math.sin(phase), math.cos(phase)


def cuda(text: Path, real: Any, **numbers: int) -> Any:
    """The CUDA text compiled for a precision, real, and for numbers known to the compiler."""
    name = "float" if real == np.float32 else "double"
    defined = (f"-D{key}={value}" for key, value in numbers.items())
    return cuda_module(text, (f"-DREAL={name}", *defined))


def on_device(like: Any, real: Any, *arrays: Any) -> Iterator[Any]:
    """The arrays on the device of like (CuPy), contiguous and of the dtype real."""
    xp = namespace(like)
    return (xp.ascontiguousarray(xp.asarray(x, dtype=real)) for x in arrays)


@contextlib.contextmanager
def columns_of(*arrays: Any, shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    """Columns (atoms,) and the last of the arrays as (atoms, n), in the memory of those given.

    Args:
        arrays: of one library, or numbers; the last is the output.
        shape: of the atoms, to which all but the last broadcast.
    """
    with contextlib.ExitStack() as stack:
        plain: Any = arrays
        if is_torch(arrays[-1]):
            from ipads_stream.core.handover import views

            tensors = [x for x in arrays if hasattr(x, "shape")]
            seen = iter(stack.enter_context(views(*tensors)))
            plain = [next(seen) if hasattr(x, "shape") else x for x in arrays]
        *columns, out = plain
        xp, num = namespace(out), math.prod(shape)
        real = out.real.dtype
        yield (
            *(xp.reshape(xp.broadcast_to(xp.asarray(x, dtype=real), shape), (num,))
              for x in columns),
            xp.reshape(out, (num, out.shape[-1])),
        )  # fmt: skip


def runs_in_kernel(tissue: Any, given: Any) -> bool:
    """Whether the arrays are plain: of NumPy, of CuPy, or tensors that torch does not follow.

    Args:
        tissue: T1, T2, B1.
        given: all arguments, those among them.
    """
    if any(is_torch(x) for x in given):
        from ipads_stream.core.handover import is_traced

        return not any(is_traced(x) for x in given if is_torch(x))
    return any(is_numpy(x) or is_cupy(x) for x in tissue)


def is_followed(given: Any) -> bool:
    """Whether torch follows one of the arguments given, and all for reverse mode at most."""
    tensors = [x for x in given if is_torch(x)]
    if not tensors:
        return False
    from ipads_stream.core.handover import is_transformed, wants_gradient

    return any(map(wants_gradient, tensors)) and not any(map(is_transformed, tensors))
