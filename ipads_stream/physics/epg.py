"""Extended phase graphs: gradient-spoiled trains (FISP, SPGR), spin echoes (CPMG), any train.

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

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Complex, Float, Num

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.physics.epg_adjoint import cpmg_with_adjoint, fisp_with_adjoint
from ipads_stream.physics.epg_arguments import (
    CRUSHED,
    as_sequence,
    check_echoes,
    check_TI,
    tissue_of,
    train_of,
)
from ipads_stream.physics.epg_formula import (
    all_orders,
    as_array,
    complex_of,
    cpmg_formula,
    fisp_formula,
)
from ipads_stream.physics.epg_kernels import (
    columns_of,
    fill_cpmg,
    fill_fisp,
    is_followed,
    runs_in_kernel,
)
from ipads_stream.physics.epg_orders import BOUND, kept_orders, num_orders
from ipads_stream.physics.epg_schedules import (
    gradient_echoes,
    inverted,
    quadratic_phase,
    reversed_gradient_echoes,
    spin_echoes,
)
from ipads_stream.physics.epg_train import Train, train, train_formula

__all__ = [
    "BOUND",
    "CRUSHED",
    "Train",
    "cpmg",
    "cpmg_formula",
    "fisp",
    "fisp_formula",
    "gradient_echoes",
    "inverted",
    "num_orders",
    "quadratic_phase",
    "reversed_gradient_echoes",
    "spgr",
    "spin_echoes",
    "train",
    "train_formula",
    "truncation_error",
]


def fisp(
    flip: Num[Any, " TRs"] | Sequence[float],
    phase: Num[Any, " phases"] | Sequence[float],
    TR: Any,
    TE: Any,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
    TI: Any = None,
    orders: Any = "auto",
) -> Complex[Any, "... TRs"]:
    """The echoes of a train of pulses, after each of which the gradients spoil by one order.

    s_n = F_0(n) exp(-TE_n / T2); then until the next pulse F_k -> F_(k+1) exp(-TR_n / T2) and
    Z_k -> Z_k exp(-TR_n / T1) + (1 - exp(-TR_n / T1)) [k = 0]. M0 = 1.

    Args:
        flip: nominal flip angle of every pulse, rad, (TRs,).
        phase: phase of every pulse, rad, (TRs,); the signal is not demodulated with it.
        TR: from a pulse to the next, s, number or (TRs,).
        TE: from a pulse to its echo, s, number or (TRs,).
        T1, T2: s, numbers or (*atoms,); any shapes that broadcast; inf where nothing relaxes, else
            T2 at most 2 T1.
        B1: factor of the flip angles, number or (*atoms,); a negative one turns by the phase pi.
        TI: from a perfect inversion (B1 does not scale it) to the first pulse, s, number or
            (*atoms,); None: the train starts in equilibrium.
        orders: how many are kept, from 0 on; "auto": as num_orders says for the ranges of T1, T2,
            B1 in the batch, so that an atom may differ by BOUND from batch to batch: give
            num_orders of the ranges drawn from where it must not.

    Returns:
        complex, (*atoms, TRs), of the precision and library of T1, T2, B1; where they are numbers
        of those of flip, phase, TR, TE; whole numbers count as float64. NumPy, CuPy and torch run
        in the kernel of the device, a gradient in reverse mode in that of its adjoint; vmap and
        forward mode take the formula; second derivatives and torch.compile need fisp_formula.

    Raises:
        ValueError: an argument is out of range or the shapes do not fit. T1, T2, B1, TI are checked
            on the host only: on a GPU it would stop the stream ("auto" does stop it: it reads the
            ranges of T1, T2, B1).
        TypeError: an argument is neither an array nor a number (a list only for flip, phase, TR,
            TE), or the arrays belong to different libraries (NumPy goes with all for flip, phase,
            TR, TE and TI).

    Source: Jiang et al., MR fingerprinting using fast imaging with steady state precession (FISP)
    with spiral readout, Magnetic Resonance in Medicine 74(6), 2015; and the module's.
    """
    flip, phase, TR, TE = map(as_sequence, (flip, phase, TR, TE))
    pulses = {"flip": flip, "phase": phase, "TR": TR, "TE": TE}
    xp, kind, shape, tissue = tissue_of(T1, T2, B1, pulses, {"TI": TI})
    train = train_of(flip, phase, TR, TE)
    check_TI(TI)
    kept = kept_orders(orders, train, tissue, TI)
    given = (flip, phase, TR, TE, *tissue, TI)
    like = next(x for x in tissue if hasattr(x, "shape"))
    followed = is_followed(given)
    if train is None or not (followed or runs_in_kernel(tissue, given)):
        T1, T2, B1 = tissue
        return fisp_formula(flip, phase, TR, TE, T1, T2, B1, TI, kept)
    start = _initial(xp, kind, tissue[0], TI, like)
    if followed:
        return fisp_with_adjoint(train, given[:4], (*tissue, start), shape, kept)
    num = train[0].shape[0]
    out = xp.empty((*shape, num), dtype=complex_of(xp, kind), device=device_of(like))
    with columns_of(*tissue, start, out, shape=shape) as (*columns, target):
        fill_fisp(train, columns, kept, target)
    return out


def spgr(
    flip: Num[Any, " TRs"] | Sequence[float],
    TR: Any,
    TE: Any,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
    TI: Any = None,
    increment: float = math.radians(117),
    orders: Any = "auto",
) -> Complex[Any, "... TRs"]:
    """The echoes of an RF-spoiled gradient-echo train, demodulated with the phase of their pulse.

    s_n exp(-i phi_n), s_n as of fisp, phi_n = increment n (n + 1) / 2. Ideal spoiling, which this
    comes near, is a shift of CRUSHED in gradient_echoes.

    Args:
        flip, TR, TE, T1, T2, B1, TI, orders: as for fisp.
        increment: by which the step of the phase grows from pulse to pulse, rad.

    Raises:
        ValueError, TypeError: as for fisp.

    Source: Zur et al., Magnetic Resonance in Medicine 21(2), 1991 (117 degrees).
    """
    phase = quadratic_phase(len(flip), increment)
    signal = fisp(flip, phase, TR, TE, T1, T2, B1, TI, orders)
    xp = namespace(signal)
    back = np.cos(phase) - 1j * np.sin(phase)
    return signal * xp.asarray(back, dtype=signal.dtype, device=device_of(signal))


def cpmg(
    ESP: Any,
    num_echoes: Any,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
) -> Complex[Any, "... {num_echoes}"]:
    """The echoes of a train 90 - (180 - echo) - (180 - echo) ... that meets the CPMG condition.

    s_n = F_0 at n ESP, n = 1 .. num_echoes. The magnetisation after the excitation lies along the
    axis of refocusing (excitation of phase -pi/2, refocusing of phase 0), so that the echoes are
    real and s_n = exp(-n ESP / T2) where B1 = 1. Crushers before and after every refocusing pulse
    are equal. No order is left out.

    Args:
        ESP: from echo to echo, s.
        num_echoes: how many.
        T1, T2: s, as for fisp.
        B1: factor of both flip angles, 90 B1 and 180 B1 degrees, number or (*atoms,).

    Raises:
        ValueError, TypeError: as for fisp.

    Source: Hennig, Multiecho imaging sequences with low refocusing flip angles, Journal of Magnetic
    Resonance 78(3), 1988; and the module's.
    """
    xp, kind, shape, tissue = tissue_of(T1, T2, B1, {"ESP": ESP}, {})
    num_echoes = check_echoes(ESP, num_echoes)
    given = (ESP, *tissue)
    if is_followed(given):
        echoes = cpmg_with_adjoint(ESP, num_echoes, tissue, shape)
        return xp.astype(echoes, complex_of(xp, kind))
    if not runs_in_kernel(tissue, given):
        return cpmg_formula(ESP, num_echoes, *tissue)
    like = next(x for x in tissue if hasattr(x, "shape"))
    out = xp.empty((*shape, num_echoes), dtype=kind, device=device_of(like))
    with columns_of(*tissue, out, shape=shape) as (*columns, target):
        fill_cpmg(ESP, columns, target)
    return xp.astype(out, complex_of(xp, kind))


def truncation_error(
    flip: Num[Any, " TRs"] | Sequence[float],
    phase: Num[Any, " phases"] | Sequence[float],
    TR: Any,
    TE: Any,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
    TI: Any = None,
    orders: Any = "auto",
) -> Float[Any, "..."]:
    """The largest error of each atom's train that leaving out orders causes, in units of M0.

    max_n |s_n(orders) - s_n(all)|, both in the precision of the tissue: float32 shows no less than
    about 1e-6. All are (TRs + 1) // 2: no higher order returns to an echo of the train.

    Args:
        flip, phase, TR, TE, T1, T2, B1, TI, orders: as for fisp.
    """
    rest = (flip, phase, TR, TE, T1, T2, B1, TI)
    difference = fisp(*rest, orders=orders) - fisp(*rest, orders=all_orders(flip))
    xp = namespace(difference)
    return xp.max(xp.abs(difference), axis=-1)


def _initial(xp: Any, kind: Any, T1: Any, TI: Any, like: Any) -> Any:
    if TI is None:
        return 1.0
    return 1.0 - 2.0 * xp.exp(-as_array(xp, kind, like, TI) / as_array(xp, kind, like, T1))
