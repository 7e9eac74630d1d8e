"""Dephasing within a voxel: by sets of spins at other frequencies, and in closed form.

A set stands for a Lorentzian line. Even frequencies weighted by the Fourier coefficients of its
decay are exact in half a period but for the tail left out, which falls as 1 / count; quantiles of
the line err as count^(-3/4), weights of the line itself have aliases. Axes: N spin, C member of a
set, S sample.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from jaxtyping import Float

from ipads_stream.core.backend import device_of, namespace
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.arguments import POSITIVE_TIME, check_values, whole_number
from ipads_stream.physics.arrays import as_float
from ipads_stream.physics.bloch.phantom import TISSUE, Phantom

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
    check_values({"duration": duration}, {"duration": POSITIVE_TIME})
    xp, n = namespace(T2p), count // 2
    c = xp.arange(-n, n + 1, dtype=T2p.dtype, device=device_of(T2p))
    sign = as_float([(-1.0) ** (i - n) for i in range(count)], T2p)
    x = (duration / T2p)[..., None]
    centre = (c == 0) & (x == 0)
    below = x**2 + (math.pi * c) ** 2
    decay = xp.exp(-x)
    w = x * (1 - sign * decay) / xp.where(centre, xp.ones_like(below), below)
    w = xp.where(centre, xp.ones_like(w), w)
    return c / (2 * duration), w / xp.sum(w, axis=-1, keepdims=True)


def dephased(phantom: Phantom, count: Any, duration: float) -> Phantom:
    """The phantom of N spins with a set in place of each and no T2' left, N count spins.

    Those of a set lie side by side; count, duration, what is raised: :func:`lorentzian_offsets`.
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
    check_values({"B0": B0})
    shift = as_float([1e-6 * GAMMA_BAR_1H * B0 * float(x) for x in shifts_ppm], phantom.position)
    given = {"fractions": fractions, "T1": T1, "T2": T2}
    changes = {name: as_float(x, phantom.position) for name, x in given.items() if x is not None}
    for name, x in changes.items():
        if x.shape[-1:] != (count,):
            raise ValueError(f"{name}: shape {tuple(x.shape)}; (..., {count}) is allowed")
    share = changes.pop("fractions")
    return _replicated(phantom, count, df=_each(phantom.df, phantom) + shift,
                       M0=_each(phantom.M0, phantom) * share, **changes)  # fmt: skip


def box_response(k: Float[Any, "*samples D"], size: Any) -> Float[Any, "*samples"]:
    """The mean phasor of a box of spins under gradients: the product of sinc(k_i size_i).

    sinc(x) = sin(pi x) / (pi x). A field that varies linearly within the box, by the slope of df
    in Hz/m, adds tau slope to k.

    Args:
        k: of the pathway along the axes of the box, 1/m, (*samples, D).
        size: edges of the box, m, (D,) or any shape that broadcasts with k.
    """
    xp = namespace(k)
    angle = math.pi * k * as_float(size, k)
    small = xp.abs(angle) < 1e-2
    safe = xp.where(small, xp.ones_like(angle), angle)
    square = angle * angle
    series = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
    return xp.prod(xp.where(small, series, xp.sin(safe) / safe), axis=-1)


def _replicated(phantom: Phantom, count: int, **by_member: Any) -> Phantom:
    """Every spin count times, with fields by member, (..., N, C) or a number, where given."""
    xp, spins = namespace(phantom.position), phantom.position.shape[-2]
    batch = phantom.position.shape[:-2]

    def joined(x: Any) -> Any:
        if not hasattr(x, "shape"):
            return x
        x = xp.broadcast_to(x, (*x.shape[:-2], spins, count))
        return xp.reshape(x, (*x.shape[:-2], spins * count))

    changes = {name: getattr(phantom, name) for name in (*TISSUE, "sensitivity", "drive")}
    for name, x in changes.items():
        if hasattr(x, "shape") and x.ndim and x.shape[-1] == spins:
            changes[name] = joined(x[..., None])
    changes |= {name: joined(x) for name, x in by_member.items()}
    place = xp.broadcast_to(phantom.position[..., None, :], (*batch, spins, count, 3))
    return replace(phantom, position=xp.reshape(place, (*batch, spins * count, 3)), **changes)


def _each(x: Any, phantom: Phantom) -> Any:
    """A field of the phantom with an axis for the members of a set."""
    return as_float(x, phantom.position)[..., None]
