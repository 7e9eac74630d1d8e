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

from ipads_stream.core.backend import device_of, is_torch, namespace
from ipads_stream.physics.arguments import check_shape, check_values, whole_number
from ipads_stream.physics.arrays import as_float64, as_sequence, complex_of, host
from ipads_stream.physics.dispatch import dispatched
from ipads_stream.physics.epg import launch
from ipads_stream.physics.epg.arguments import tissue_of, train_of
from ipads_stream.physics.epg.formula import all_orders, cpmg_formula, fisp_formula, start_of
from ipads_stream.physics.epg.general import quadratic_phase

BOUND = 1e-5  # of M0: what orders="auto" may leave out


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
        orders: how many are kept, from 0 on; "auto": as num_orders says for the ranges of T1 and T2
            in the batch, so that an atom may differ by BOUND from batch to batch: give num_orders
            of the ranges drawn from where it must not.

    Returns:
        complex, (*atoms, TRs), of the precision and library of T1, T2, B1; where they are numbers
        of those of flip, phase, TR, TE; whole numbers count as float64. NumPy, CuPy and torch run
        in the kernel of the device, a gradient in reverse mode in that of its adjoint; vmap and
        forward mode take the formula; second derivatives and torch.compile need fisp_formula.

    Raises:
        ValueError: an argument is out of range or the shapes do not fit. T1, T2, B1, TI are checked
            on the host only: on a GPU it would stop the stream ("auto" does stop it: it reads the
            ranges of T1 and T2).
        TypeError: an argument is neither an array nor a number (a list only for flip, phase, TR,
            TE), or the arrays belong to different libraries (NumPy goes with all for flip, phase,
            TR, TE and TI).

    Source: Jiang et al., MR fingerprinting using fast imaging with steady state precession (FISP)
    with spiral readout, Magnetic Resonance in Medicine 74(6), 2015; and the module's.
    """
    pulses = dict(zip(launch.PULSES, map(as_sequence, (flip, phase, TR, TE)), strict=True))
    tissue = tissue_of(T1, T2, B1, pulses, {"TI": TI})
    train = train_of(**pulses)
    kept = _kept_orders(orders, train, *tissue.values[:2])

    def formula() -> Any:
        named = dict(zip(("T1", "T2", "B1"), tissue.values, strict=True))
        return fisp_formula(**pulses, **named, TI=TI, orders=kept)

    if train is None:
        return formula()
    xp, num, names = namespace(tissue.like), len(train[0]), launch.ATOMS
    atoms = dict(zip(names, tissue.columns(start_of(tissue, TI)), strict=True))
    # Their values are known already: they matter as tensors, for a gradient.
    tensors = {name: x for name, x in pulses.items() if is_torch(x)}
    tensors = {name: xp.broadcast_to(as_float64(x, x), (num,)) for name, x in tensors.items()}
    signals = dispatched(
        {**tensors, **atoms},
        lambda out, x: launch.fill_fisp(train, [x[name] for name in names], kept, out),
        formula,
        like=tissue.like,
        shape=(math.prod(tissue.shape), num),
        dtype=complex_of(tissue.kind),
        adjoint=lambda slope, x, wanted: launch.fisp_pull_back(
            slope, train, [x[name] for name in names], kept, "phase" in wanted
        ),
    )
    return xp.reshape(signals, (*tissue.shape, num))


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
    ESP: Any, num_echoes: Any, T1: Any, T2: Any, B1: Any = 1.0
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
    tissue = tissue_of(T1, T2, B1, {"ESP": ESP}, {})
    check_shape("ESP", ESP, ())
    check_values({"ESP": host(ESP)})
    num_echoes, xp = whole_number("num_echoes", num_echoes), namespace(tissue.like)
    atoms = dict(zip(launch.ATOMS, tissue.columns(), strict=False))
    spacing = {"ESP": as_float64(ESP, ESP)} if is_torch(ESP) else {}
    echoes = dispatched(
        {**spacing, **atoms},
        lambda out, x: launch.fill_cpmg(float(ESP), [x[name] for name in atoms], out),
        lambda: xp.real(cpmg_formula(ESP, num_echoes, *tissue.values)),
        like=tissue.like,
        shape=(math.prod(tissue.shape), num_echoes),
        dtype=tissue.kind,
        adjoint=lambda slope, x, _: launch.cpmg_pull_back(
            slope, float(ESP), [x[name] for name in atoms]
        ),
    )
    echoes = xp.reshape(echoes, (*tissue.shape, num_echoes))
    return xp.astype(echoes, getattr(xp, complex_of(tissue.kind)))


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
    train = (flip, phase, TR, TE, T1, T2, B1, TI)
    difference = fisp(*train, orders=orders) - fisp(*train, orders=all_orders(flip))
    xp = namespace(difference)
    return xp.max(xp.abs(difference), axis=-1)


def _kept_orders(orders: Any, train: Any, T1: Any, T2: Any) -> int:
    """As given; for "auto" num_orders of the batch, or all where its values are hidden (vmap)."""
    if orders != "auto":
        orders = whole_number("orders", orders, allowed="'auto' or a whole number from 1 on")
        return orders if train is None else min(orders, all_orders(train[0]))
    values = [x for x in (host(T1), host(T2)) if x is not None]
    if train is None or len(values) < 2:
        return 2**31 - 1
    if any(x.size == 0 for x in values):
        return 1  # an empty batch
    of_T1, of_T2 = ((float(x.min()), float(x.max())) for x in values)
    return num_orders(train[2], of_T1, of_T2)


def num_orders(
    TR: Float[np.ndarray, " TRs"] | Sequence[float],
    T1: tuple[float, float],
    T2: tuple[float, float],
    bound: float = BOUND,
) -> int:
    """How many orders keep the error of the signal below a bound, whatever the pulses and their B1.

    |s_n(K) - s_n(all)| <= sqrt(TRs - 2 K) (1/q) exp(K t (q / T1 - 2 / T2)) for any q from 0 to 1,
    at most T1 / T2, with t the shortest TR, the longest T2 and the shortest T1 that goes with it.

    Proof. Let orders weigh v^|k| in the norm x^2 = sum_k v^(2|k|) (|F_k|^2 + |Z_k|^2). A pulse
    turns F_k, F_-k* and Z_k into each other and preserves it. Until the next pulse F grows by
    v exp(-TR/T2) at most and Z by exp(-TR/T1), both below exp(-q TR/T1) where
    v = exp(t (1/T2 - q/T1)), and 1 - exp(-TR/T1) <= (1 - exp(-q TR/T1)) / q is added: x stays
    below 1/q, and the F_K that truncation drops after each TR, l_n, have
    sum_n |l_n|^2 <= (v^-K / q)^2. Each adds to an echo a multiple of itself, its component of the
    adjoint of reading F_0, which by the same argument with v = exp(t / T2), nothing being added, is
    at most exp(-K t / T2). K shifts come before the first drop and K after the last one that
    returns, which leaves TRs - 2 K of them; the inequality of Cauchy and Schwarz gives the rest.

    Args:
        TR: from a pulse to the next, s, (TRs,).
        T1, T2: lowest and highest value, s; inf where nothing relaxes. T2 is at most 2 T1.
        bound: of the error, in units of M0.

    Returns:
        at most (TRs + 1) // 2, the number that can reach an echo: with it nothing is left out.
    """
    most, shortest = all_orders(TR), float(np.min(np.asarray(TR, float)))
    orders = np.arange(1, most)
    longest = T2[1]
    least = max(T1[0], longest / 2)
    if math.isinf(longest) or shortest <= 0:
        return most
    decay = orders * (shortest / least)
    q = np.minimum(1 / np.maximum(decay, 1.0), min(1.0, least / longest))  # of the least bound
    exponent = q * decay - orders * (2 * shortest / longest) - np.log(q)
    kept = np.log(np.maximum(len(TR) - 2 * orders, 1)) / 2 + exponent <= math.log(bound)
    return int(orders[kept][0]) if kept.any() else most
