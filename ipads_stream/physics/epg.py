"""Extended phase graphs of gradient-spoiled trains (FISP) and of spin-echo trains (CPMG).

The transverse magnetisation of a voxel in which the spoiling gradient turns the spins by all angles
theta is the series M+ = sum_k F_k exp(i k theta), Mz = sum_k Z_k exp(i k theta), and the signal is
F_0. Signs as in all imaging here, dM/dt = gamma M x B: a pulse of flip a and phase phi (of B1, from
x to y) turns equilibrium into F_0 = i sin(a) exp(i phi), Z_0 = cos(a), and

    F_k'  = cos^2(a/2) F_k + exp(2 i phi) sin^2(a/2) F_-k* + i exp(i phi) sin(a) Z_k
    Z_k'  = cos(a) Z_k + (i/2) sin(a) (exp(-i phi) F_k - exp(i phi) F_-k*)

Source: Hennig, Echoes - how to generate, recognize, use or avoid them in MR-imaging sequences,
Concepts in Magnetic Resonance 3, 1991; Weigel, Extended phase graphs: dephasing, RF pulses, and
echoes - pure and simple, Journal of Magnetic Resonance Imaging 41(2), 2015 (signs of i reversed
there: the opposite sense of rotation).
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    is_cupy,
    is_numpy,
    is_torch,
    launch,
    namespace,
)
from ipads_stream.physics.epg_arguments import check_echoes, check_TI, host, tissue_of, train_of
from ipads_stream.physics.kernels import epg as lanes

BOUND = 1e-5  # of M0: what orders="auto" may leave out
_CUDA_TEXT = Path(__file__).parent / "kernels" / "epg.cu"
_SAFETY = 4.0


def fisp(
    flip: Float[Any, " TRs"],
    phase: Float[Any, " phases"],
    TR: Float[Any, "..."] | float,
    TE: Float[Any, "..."] | float,
    T1: Float[Any, "..."] | float,
    T2: Float[Any, "..."] | float,
    B1: Float[Any, "..."] | float = 1.0,
    TI: Float[Any, "..."] | float | None = None,
    orders: int | Literal["auto"] = "auto",
) -> Complex[Any, "... TRs"]:
    """The echoes of a train of pulses, after each of which the gradients spoil by one order.

    s_n = F_0(n) exp(-TE_n / T2); then until the next pulse F_k -> F_(k+1) exp(-TR_n / T2) and
    Z_k -> Z_k exp(-TR_n / T1) + (1 - exp(-TR_n / T1)) [k = 0]. M0 = 1.

    Args:
        flip: nominal flip angle of every pulse, rad, (TRs,).
        phase: phase of every pulse, rad, (TRs,); the signal is not demodulated with it.
        TR: from a pulse to the next, s, number or (TRs,).
        TE: from a pulse to its echo, s, number or (TRs,).
        T1, T2: s, (*atoms,); any shapes that broadcast, at least one of them an array.
        B1: factor of the flip angles, (*atoms,).
        TI: from a perfect inversion (B1 does not scale it) to the first pulse, s, number or
            (*atoms,); None: the train starts in equilibrium.
        orders: how many are kept, from 0 on; "auto": as num_orders says for the ranges of T1, T2,
            B1 in the batch, so that an atom may differ by BOUND from batch to batch: give
            num_orders of the ranges drawn from where it must not.

    Returns:
        complex, (*atoms, TRs), of the precision of T1, T2, B1. NumPy, CuPy and torch without a
        gradient run in the kernel of the device, all else as formula.

    Raises:
        ValueError: an argument is out of range or the shapes do not fit. T1, T2, B1, TI are checked
            on the host only: on a GPU it would stop the stream ("auto" does stop it: it reads the
            ranges of T1, T2, B1).
        TypeError: the arrays belong to different libraries.

    Source: Jiang et al., MR fingerprinting using fast imaging with steady state precession (FISP)
    with spiral readout, Magnetic Resonance in Medicine 74(6), 2015; and the module's.
    """
    xp, kind, shape, tissue = tissue_of(T1, T2, B1)
    train = train_of(xp, flip, phase, TR, TE)
    check_TI(TI)
    kept = _kept(orders, train, tissue, TI)
    given = (flip, phase, TR, TE, T1, T2, B1, TI)
    if train is None or not _runs_in_kernel(tissue, given):
        return fisp_formula(flip, phase, TR, TE, T1, T2, B1, TI, kept)
    like = next(x for x in tissue if hasattr(x, "shape"))
    num = train[0].shape[0]
    out = xp.empty((*shape, num), dtype=_complex(xp, kind), device=device_of(like))
    initial = _initial(xp, kind, tissue[0], TI, like)
    with _arrays(*tissue, initial, out, shape=shape) as (*columns, target):
        _fill_fisp(train, columns, kept, target)
    return out


def cpmg(
    ESP: Float[Any, ""] | float,
    num_echoes: int,
    T1: Float[Any, "..."] | float,
    T2: Float[Any, "..."] | float,
    B1: Float[Any, "..."] | float = 1.0,
) -> Complex[Any, "... {num_echoes}"]:
    """The echoes of a train 90 - (180 - echo) - (180 - echo) ... that meets the CPMG condition.

    s_n = F_0 at n ESP, n = 1 .. num_echoes. The magnetisation after the excitation lies along the
    axis of refocusing (excitation of phase -pi/2, refocusing of phase 0), so that the echoes are
    real and s_n = exp(-n ESP / T2) where B1 = 1. Crushers before and after every refocusing pulse
    are equal. No order is left out.

    Args:
        ESP: from echo to echo, s.
        num_echoes: how many.
        T1, T2: s, (*atoms,); any shapes that broadcast, at least one of them an array.
        B1: factor of both flip angles, 90 B1 and 180 B1 degrees, (*atoms,).

    Raises:
        ValueError: an argument is out of range or the shapes do not fit; as for fisp.

    Source: Hennig, Multiecho imaging sequences with low refocusing flip angles, Journal of Magnetic
    Resonance 78(3), 1988; and the module's.
    """
    xp, kind, shape, tissue = tissue_of(T1, T2, B1)
    check_echoes(ESP, num_echoes)
    if not _runs_in_kernel(tissue, (ESP, T1, T2, B1)):
        return cpmg_formula(ESP, num_echoes, T1, T2, B1)
    like = next(x for x in tissue if hasattr(x, "shape"))
    out = xp.empty((*shape, num_echoes), dtype=kind, device=device_of(like))
    with _arrays(*tissue, out, shape=shape) as (*columns, target):
        _fill_cpmg(ESP, columns, target)
    return xp.astype(out, _complex(xp, kind))


def fisp_formula(
    flip: Any,
    phase: Any,
    TR: Any,
    TE: Any,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
    TI: Any = None,
    orders: int | None = None,
) -> Any:
    """The same train in the array API, differentiable in every argument; nothing checked.

    s_n = F_0(n) exp(-TE_n / T2), with the rotations and shifts above.

    Args:
        flip, phase, TR, TE, T1, T2, B1, TI: as above.
        orders: how many are kept; None: all that can reach an echo.
    """
    xp, kind, shape, (T1, T2, B1) = tissue_of(T1, T2, B1, check=False)
    like = next(x for x in (T1, T2, B1) if hasattr(x, "shape"))
    number = functools.partial(_as_array, xp, kind, like)
    T1, T2, B1 = (number(x)[..., None] for x in (T1, T2, B1))
    num = flip.shape[0]
    phase = phase - 2 * math.pi * namespace(phase).round(phase / (2 * math.pi))
    flip, phase, TR, TE = (xp.broadcast_to(number(x), (num,)) for x in (flip, phase, TR, TE))
    orders = orders or _all_orders(flip)
    start = xp.ones(T1.shape, dtype=kind, device=device_of(like))
    if TI is not None:
        start = 1.0 - 2.0 * xp.exp(-number(TI)[..., None] / T1)
    Z = xp.astype(xp.broadcast_to(start, (*shape, 1)), _complex(xp, kind))
    empty = Z * 0.0
    up, down, echoes = empty, empty, []
    for n in range(num):
        e1, e2, echo = xp.exp(-TR[n] / T1), xp.exp(-TR[n] / T2), xp.exp(-TE[n] / T2)
        up, down, Z = _pulse(xp, flip[n] * B1, phase[n], up, down, Z)
        echoes.append(up[..., 0] * echo[..., 0])
        count = max(1, min(orders, n + 2, num - 1 - n))
        down = xp.concat([e2 * down[..., 1:], empty, empty], axis=-1)[..., :count]
        up = xp.concat([_conjugate(xp, down[..., :1]), e2 * up], axis=-1)[..., :count]
        Z = xp.concat([e1 * Z[..., :1] + (1.0 - e1), e1 * Z[..., 1:], empty], axis=-1)[..., :count]
    return xp.stack(echoes, axis=-1)


def cpmg_formula(ESP: Any, num_echoes: int, T1: Any, T2: Any, B1: Any = 1.0) -> Any:
    """The same echoes in the array API, differentiable; nothing checked.

    Orders move by one every ESP / 2; odd ones are filled at a pulse, F_0 at an echo.

    Args:
        ESP, num_echoes, T1, T2, B1: as above.
    """
    xp, kind, shape, (T1, T2, B1) = tissue_of(T1, T2, B1, check=False)
    like = next(x for x in (T1, T2, B1) if hasattr(x, "shape"))
    number = functools.partial(_as_array, xp, kind, like)
    T1, T2, B1, ESP = (number(x)[..., None] for x in (T1, T2, B1, ESP))
    e1, e2, half = xp.exp(-ESP / T1), xp.exp(-ESP / T2), xp.exp(-0.5 * ESP / T2)
    zero = number(0.0)
    up = xp.broadcast_to(xp.sin(0.5 * math.pi * B1) * half, (*shape, 1))
    up = xp.astype(up, _complex(xp, kind))
    empty = up * 0.0
    down, Z, echoes = empty, empty, []
    for n in range(num_echoes):
        up, down, Z = _pulse(xp, math.pi * B1, zero, up, down, Z)
        echoes.append(_conjugate(xp, down[..., 0]) * half[..., 0])
        count = max(1, min(n + 2, num_echoes - 1 - n))
        up = xp.concat([_conjugate(xp, e2 * down[..., :1]), e2 * up], axis=-1)[..., :count]
        down = xp.concat([e2 * down[..., 1:], empty, empty], axis=-1)[..., :count]
        Z = xp.concat([e1 * Z, empty], axis=-1)[..., :count]
    return xp.stack(echoes, axis=-1)


def truncation_error(
    flip: Float[Any, " TRs"],
    phase: Float[Any, " phases"],
    TR: Float[Any, "..."] | float,
    TE: Float[Any, "..."] | float,
    T1: Float[Any, "..."] | float,
    T2: Float[Any, "..."] | float,
    B1: Float[Any, "..."] | float = 1.0,
    TI: Float[Any, "..."] | float | None = None,
    orders: int | Literal["auto"] = "auto",
) -> Float[Any, "..."]:
    """The largest error of each atom's train that leaving out orders causes, in units of M0.

    max_n |s_n(orders) - s_n(all)|, both in the precision of the tissue: float32 shows no less than
    about 1e-6. All are (TRs + 1) // 2: no higher order returns to an echo of the train.

    Args:
        flip, phase, TR, TE, T1, T2, B1, TI, orders: as for fisp.
    """
    rest = (flip, phase, TR, TE, T1, T2, B1, TI)
    difference = fisp(*rest, orders=orders) - fisp(*rest, orders=_all_orders(flip))
    xp = namespace(difference)
    return xp.max(xp.abs(difference), axis=-1)


def num_orders(
    flip: np.ndarray,
    phase: np.ndarray,
    TR: np.ndarray | float,
    TE: np.ndarray | float,
    T1: tuple[float, float],
    T2: tuple[float, float],
    B1: tuple[float, float] = (1.0, 1.0),
    TI: float | None = None,
    bound: float = BOUND,
) -> int:
    """How many orders keep the error of the signal below a bound for all tissue within ranges.

    What rises above the order K and comes back decays by exp(-2 K TR / T2) at least, but the pulses
    take more than that: 20 orders are off by 5e-3, 80 by 2e-6 where that factor is 0.2 and 0.004.
    So the train itself is run, in float64 and without truncation, for 16 probes that decay least
    (the longest T2, 4 values of T1 and 4 of B1 across their ranges), and then with 8, 10, 12, 14,
    16, 20, ... orders until no echo of a probe differs by more than a quarter of the bound.

    Args:
        flip, phase, TR, TE: on the host, else as for fisp.
        T1, T2, B1: lowest and highest value.
        TI: as for fisp, a number.
        bound: of the error, in units of M0.

    Returns:
        at most (TRs + 1) // 2, the number that can reach an echo: with it nothing is left out.
    """
    columns = (np.broadcast_to(np.asarray(x, float), flip.shape) for x in (flip, phase, TR, TE))
    ranges = (_up(T2[1]), max(_down(T1[0]), _up(T2[1]) / 2), _up(T1[1]), _down(B1[0]), _up(B1[1]))
    return _num_orders(tuple(x.tobytes() for x in columns), ranges, TI, bound)


@functools.lru_cache(maxsize=256)
def _num_orders(
    train: tuple[bytes, ...], ranges: tuple[float, ...], TI: float | None, bound: float
) -> int:
    flip, phase, TR, TE = (np.frombuffer(x) for x in train)
    T2, T1_low, T1_high, B1_low, B1_high = ranges
    T1 = np.repeat(np.geomspace(T1_low, max(T1_low, T1_high), 4), 4)
    B1 = np.tile(np.linspace(B1_low, B1_high, 4), 4)
    probes = (flip, phase, TR, TE, T1, np.full(16, T2), B1, TI)
    most = _all_orders(flip)
    exact = fisp(*probes, orders=most)
    orders, step = 8, 2
    while orders < most:
        if np.abs(fisp(*probes, orders=orders) - exact).max() <= bound / _SAFETY:
            return orders
        orders += step
        step = 2 * step if orders == 8 * step else step
    return most


def _up(x: float) -> float:
    """The next of the steps of 9 % above: few distinct ranges, so that their result is reused."""
    return 2 ** (math.ceil(8 * math.log2(x) - 1e-9) / 8) if x > 0 else x


def _down(x: float) -> float:
    return 2 ** (math.floor(8 * math.log2(x) + 1e-9) / 8) if x > 0 else x


def _kept(orders: Any, train: Any, tissue: Any, TI: Any) -> int:
    """As given; for "auto" num_orders of the batch, or all where its values are hidden (vmap)."""
    if orders != "auto":
        if isinstance(orders, bool) or not isinstance(orders, int) or orders < 1:
            raise ValueError(f"orders={orders!r}: 'auto' or a whole number from 1 on is allowed")
        return orders if train is None else min(orders, _all_orders(train[0]))
    values = [host(x) for x in (*tissue, 0.0 if TI is None else TI)]
    ranges = [(float(x.min()), float(x.max())) for x in values if x is not None and x.size]
    if train is None or any(x is None for x in values):
        return 2**31 - 1
    if len(ranges) < 4:
        return 1  # an empty batch
    flip, phase, TR, TE = train
    T1, T2, B1, times = ranges
    return num_orders(flip, phase, TR, TE, T1, T2, B1, None if TI is None else times[0])


def _all_orders(flip: Any) -> int:
    return (flip.shape[0] + 1) // 2


def _pulse(xp: Any, angle: Any, phase: Any, up: Any, down: Any, Z: Any) -> tuple[Any, Any, Any]:
    """F_k, conj(F_-k) and Z_k after a pulse."""
    c, s = xp.cos(angle), xp.sin(angle)
    kept, swapped = 0.5 * (1.0 + c), 0.5 * (1.0 - c)
    turned = xp.astype(xp.cos(phase), Z.dtype) + 1j * xp.astype(xp.sin(phase), Z.dtype)
    back = _conjugate(xp, turned)
    return (
        kept * up + swapped * (turned * turned * down) + s * (1j * turned * Z),
        kept * down + swapped * (back * back * up) - s * (1j * back * Z),
        c * Z + (0.5 * s) * (1j * (back * up - turned * down)),
    )


def _conjugate(xp: Any, x: Any) -> Any:
    """As xp.conj, which torch's vmap does not know."""
    return xp.astype(xp.real(x), x.dtype) - 1j * xp.astype(xp.imag(x), x.dtype)


def _fill_fisp(train: Any, columns: Any, orders: int, out: Any) -> None:
    """Run the kernel of the library that out, (atoms, TRs), belongs to."""
    flip, phase, TR, TE = (np.array(x, float) for x in train)
    # Pulses half a turn apart share an axis: the second has the negative angle.
    steps = phase - phase[0]
    away = np.abs(np.sin(steps)) > 8 * np.finfo(float).eps * np.maximum(1, np.abs(steps))
    one_axis = not away.any()
    if one_axis:
        flip = flip * np.sign(np.cos(steps))
    x, y = -math.sin(phase[0]), math.cos(phase[0])
    if is_cupy(out):
        phase = phase - 2 * math.pi * np.round(phase / (2 * math.pi))
        xp, real = namespace(out), out.real.dtype
        place = functools.partial(xp.asarray, dtype=real)
        launch(
            _cuda(real, orders),
            "fisp_real" if one_axis else "fisp_complex",
            out.shape[0],
            *map(place, (flip, phase, TR, TE)),
            *(xp.ascontiguousarray(column, dtype=real) for column in columns),
            *(np.int64(n) for n in out.shape),
            out,
        )
        return
    host = [np.array(column, float) for column in columns]
    plane = out.view(out.real.dtype)
    if one_axis:
        lanes.fisp_real(flip, TR, TE, *host, x, y, orders, plane)
    else:
        lanes.fisp_complex(flip, phase, TR, TE, *host, orders, plane)


def _fill_cpmg(ESP: float, columns: Any, out: Any) -> None:
    """Run the kernel of the library that out, (atoms, echoes) real, belongs to."""
    if is_cupy(out):
        xp = namespace(out)
        launch(
            _cuda(out.dtype, (out.shape[1] + 1) // 2),
            "cpmg",
            out.shape[0],
            out.dtype.type(ESP),
            *(xp.ascontiguousarray(column, dtype=out.dtype) for column in columns),
            *(np.int64(n) for n in out.shape),
            out,
        )
        return
    lanes.cpmg(float(ESP), *(np.array(column, float) for column in columns), out)


def _cuda(real: Any, orders: int) -> Any:
    name = "float" if real == np.float32 else "double"
    return cuda_module(_CUDA_TEXT, (f"-DREAL={name}", f"-DORDERS={orders}"))


def _arrays(*arrays: Any, shape: tuple[int, ...]) -> Any:
    """Columns (atoms,) and the last array as (atoms, n), in the memory of the arrays given."""
    import contextlib

    @contextlib.contextmanager
    def opened() -> Any:
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

    return opened()


def _initial(xp: Any, kind: Any, T1: Any, TI: Any, like: Any) -> Any:
    if TI is None:
        return 1.0
    return 1.0 - 2.0 * xp.exp(-_as_array(xp, kind, like, TI) / _as_array(xp, kind, like, T1))


def _runs_in_kernel(tissue: Any, given: Any) -> bool:
    """Whether the arrays are plain: of NumPy, of CuPy, or tensors that torch does not follow."""
    if any(is_torch(x) for x in given):
        from ipads_stream.core.handover import is_traced

        return not any(is_traced(x) for x in given if is_torch(x))
    return any(is_numpy(x) or is_cupy(x) for x in tissue)


def _as_array(xp: Any, kind: Any, like: Any, x: Any) -> Any:
    if hasattr(x, "shape") and not is_numpy(x):
        return xp.astype(x, kind)
    return xp.asarray(x, dtype=kind, device=device_of(like))


def _complex(xp: Any, kind: Any) -> Any:
    return xp.complex128 if kind == xp.float64 else xp.complex64
