"""Dephasing within a voxel: by sets of spins at other frequencies, and in closed form.

A Lorentzian line of frequencies dephases as exp(-|tau| / T2'), and a set of spins stands for it.
Spaced evenly by 1 / P and weighted by the Fourier coefficients of that decay over one period P,
they are exact for |tau| <= P / 2 but for the tail that a finite set leaves out, which falls as
1 / count. Equally likely frequencies, the quantiles of the line, err as count^(-3/4): nine times
as much with 101 up to tau = T2', four times up to 3 T2'. Weights of the line itself have aliases
and need a period that is longer by several T2'.

Axes: N spin, C member of a set, S sample.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from jaxtyping import Float

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.arrays import as_float
from ipads_stream.physics.epg_arguments import whole_number
from ipads_stream.physics.phantom import Phantom

_COUNT = "an odd whole number from 3 on"


def lorentzian_offsets(
    T2p: Float[Any, "*spins"], count: Any, duration: float
) -> tuple[Float[Any, " C"], Float[Any, "*spins C"]]:
    """Frequencies and shares of a set of spins that dephase as exp(-|tau| / T2').

    f_c = c / P, w_c ~ x (1 - (-1)^c exp(-x)) / (x^2 + (pi c)^2) for c = -n ... n, where P = 2
    duration, x = duration / T2' and count = 2 n + 1; the shares add up to 1. The mean phasor
    sum_c w_c exp(-2 pi i f_c tau) is real, off by less than 1.5 e / (1 - e) for |tau| <= duration,
    with e = 2 x (1 + exp(-x)) / (pi^2 n), and revives at tau = P.

    Args:
        T2p: T2', s, any shape; inf where nothing dephases.
        count: of the set, odd, from 3 on.
        duration: longest |tau| at which they are to be right, s.

    Returns:
        offsets, Hz, (C,), the same for all T2'; shares, (*spins, C), differentiable in T2'.

    Raises:
        ValueError: the count or the duration is out of range.
    """
    count = whole_number("count", count, 3, _COUNT)
    if count % 2 == 0:
        raise ValueError(f"count={count}: {_COUNT} is allowed")
    _check_duration(duration)
    xp, where = namespace(T2p), device_of(T2p)
    n = count // 2
    c = xp.arange(-n, n + 1, dtype=T2p.dtype, device=where)
    sign = as_float([(-1.0) ** (i - n) for i in range(count)], T2p)
    x = (duration / T2p)[..., None]
    centre = (c == 0) & (x == 0)
    below = x**2 + (math.pi * c) ** 2
    decay = xp.exp(-x)
    w = x * (1 - sign * decay) / xp.where(centre, xp.ones_like(below), below)
    w = xp.where(centre, xp.ones_like(w), w)
    return c / (2 * duration), w / xp.sum(w, axis=-1, keepdims=True)


def lorentzian_count(T2p: float, duration: float, error: float) -> int:
    """How many spins of a set stay within an error of exp(-|tau| / T2'), by the bound above.

    Args:
        T2p: shortest T2', s.
        duration: longest |tau| at which they are to be right, s.
        error: of the mean phasor, between 0 and 1.

    Raises:
        ValueError: an argument is out of range.
    """
    _check_duration(duration)
    if not T2p > 0:
        raise ValueError(f"T2p={T2p}: a positive time in s is allowed")
    if not 0 < error < 1:
        raise ValueError(f"error={error}: between 0 and 1 is allowed")
    x = duration / T2p
    tail = error / (1.5 + error)
    return 2 * max(1, math.ceil(2 * x * (1 + math.exp(-x)) / (math.pi**2 * tail))) + 1


def dephased(phantom: Phantom, count: Any, duration: float) -> Phantom:
    """The phantom with a set of spins in place of each, and no T2' left to them.

    Args:
        phantom: of N spins.
        count: of the set, odd, from 3 on; lorentzian_count tells how many.
        duration: longest |tau| at which they are to be right, s.

    Returns:
        of N count spins, those of one set side by side.

    Raises:
        ValueError: the count or the duration is out of range.
    """
    T2p = as_float(phantom.T2p, phantom.position)
    offsets, shares = lorentzian_offsets(T2p, count, duration)
    df, M0 = _each(phantom.df, phantom) + offsets, _each(phantom.M0, phantom) * shares
    return _replicated(phantom, offsets.shape[0], T2p=math.inf, df=df, M0=M0)


def with_species(
    phantom: Phantom,
    shifts_ppm: tuple[float, ...],
    fractions: Any,
    B0: float,
    T1: Any = None,
    T2: Any = None,
) -> Phantom:
    """The phantom with several chemical species in place of each spin, as of water and fat.

    df_c = df + 1e-6 shift_c gammabar B0, M0_c = fraction_c M0

    Args:
        phantom: of N spins.
        shifts_ppm: of the C species against the frequency that df counts from, ppm; that of fat
            against water is about -3.4.
        fractions: of M0, C numbers or (*batch, N, C); they need not add up to 1.
        B0: main field, T.
        T1, T2: of the species, s, C numbers or (*batch, N, C); the phantom's where None.

    Returns:
        of N C spins, those of one place side by side.

    Raises:
        ValueError: B0 is not positive, or the numbers of species differ.
    """
    count = len(shifts_ppm)
    if not 0 < B0 < math.inf:
        raise ValueError(f"B0={B0}: a positive field in T is allowed")
    shift = as_float([1e-6 * GAMMA_BAR_1H * B0 * float(x) for x in shifts_ppm], phantom.position)
    own = {}
    for name, x in (("fractions", fractions), ("T1", T1), ("T2", T2)):
        if x is None:
            continue
        own[name] = as_float(x, phantom.position)
        if own[name].ndim == 0 or own[name].shape[-1] != count:
            raise ValueError(f"{name}: shape {tuple(own[name].shape)}; (..., {count}) is allowed")
    share = own.pop("fractions")
    return _replicated(phantom, count, df=_each(phantom.df, phantom) + shift,
                       M0=_each(phantom.M0, phantom) * share, **own)  # fmt: skip


def box_response(k: Float[Any, "*samples 3"], size: Any) -> Float[Any, "*samples"]:
    """The mean phasor of a box of spins under gradients: the product of sinc(k_i size_i).

    sinc(x) = sin(pi x) / (pi x). A field that varies linearly within the box, by the slope of df
    in Hz/m, adds tau slope to k.

    Args:
        k: of the pathway, 1/m, (*samples, 3).
        size: edges of the box, m, (3,) or any shape that broadcasts with k.
    """
    xp = namespace(k)
    angle = math.pi * k * as_float(size, k)
    small = xp.abs(angle) < 1e-2
    some = xp.where(small, xp.ones_like(angle), angle)
    square = angle * angle
    series = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
    return xp.prod(xp.where(small, series, xp.sin(some) / some), axis=-1)


def lorentzian_response(tau: Float[Any, "..."], T2p: Any) -> Float[Any, "..."]:
    """The mean phasor of a Lorentzian line of frequencies: exp(-|tau| / T2').

    Args:
        tau: of the pathway, s, any shape.
        T2p: T2', s, a number or any shape that broadcasts with it.

    Source: Yablonskiy and Haacke, Magnetic Resonance in Medicine 32, 749 (1994).
    """
    xp = namespace(tau)
    return xp.exp(-xp.abs(tau) / T2p)


def _replicated(phantom: Phantom, count: int, **own: Any) -> Phantom:
    """Every spin count times, with fields of their own, (..., N, C) or a number, where given."""
    xp, spins = namespace(phantom.position), phantom.position.shape[-2]
    batch = phantom.position.shape[:-2]

    def repeated(x: Any) -> Any:
        if not hasattr(x, "shape") or x.ndim == 0 or x.shape[-1] == 1 != spins:
            return x
        return xp.reshape(
            xp.broadcast_to(x[..., None], (*x.shape, count)), (*x.shape[:-1], spins * count)
        )

    def joined(x: Any) -> Any:
        shape = (*x.shape[:-2], spins, count) if x.ndim > 1 else (spins, count)
        return xp.reshape(xp.broadcast_to(x, shape), (*shape[:-2], spins * count))

    fields = {name: getattr(phantom, name) for name in ("M0", "T1", "T2", "df", "B1", "T2p", "D")}
    changes = {name: repeated(x) for name, x in fields.items()}
    changes |= {name: joined(x) if hasattr(x, "shape") else x for name, x in own.items()}
    place = xp.broadcast_to(phantom.position[..., None, :], (*batch, spins, count, 3))
    if phantom.sensitivity is not None:
        changes["sensitivity"] = repeated(phantom.sensitivity)
    return replace(phantom, position=xp.reshape(place, (*batch, spins * count, 3)), **changes)


def _each(x: Any, phantom: Phantom) -> Any:
    """A field of the phantom with an axis for the members of a set."""
    return as_float(x, phantom.position)[..., None]


def _check_duration(duration: float) -> None:
    if not 0 < duration < math.inf:
        raise ValueError(f"duration={duration}: a positive and finite time in s is allowed")
