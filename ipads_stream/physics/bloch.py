"""Isochromats: the Bloch equation under RF, gradients and off-resonance, with relaxation.

Axes: N spin, K step. Signs: dM/dt = gamma M x B, M+ = Mx + i My, so that M+ of a spin at +df turns
as exp(-2 pi i df t). Fields are constant within a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from jaxtyping import Complex, Float

from ipads_stream.core.backend import is_cupy, is_numpy, is_torch, namespace
from ipads_stream.physics.bloch_adjoint import slopes
from ipads_stream.physics.bloch_arguments import (
    SPINS,
    check_shapes,
    check_values,
    played,
    tolerance_of,
)
from ipads_stream.physics.bloch_formula import evolve_formula, free_precession
from ipads_stream.physics.bloch_kernels import play
from ipads_stream.physics.bloch_signal import signal, signal_formula

__all__ = ["evolve", "evolve_formula", "free_precession", "signal", "signal_formula"]


def evolve(
    M: Float[Any, "N 3"],
    b1: Complex[Any, " K"],
    gradient: Float[Any, "K 3"],
    dt: Any,
    *,
    position: Float[Any, "N 3"] | None = None,
    df: Any = 0,
    T1: Any = math.inf,
    T2: Any = math.inf,
    B1: Any = 1.0,
    M0: Any = 1.0,
    tolerance: float | None = None,
) -> Float[Any, "N 3"]:
    """The magnetisation after K steps of constant RF and gradients.

    dM/dt = gamma M x B - (Mx, My, 0) / T2 + (0, 0, M0 - Mz) / T1,
    B = (B1 Re b1, B1 Im b1, 2 pi df / gamma + G . r)

    A step without RF is exact whatever its length. A step with RF is a rotation between two halves
    of relaxation, cut into equal parts or replaced by the exponential of its generator where that
    would be off by more than the tolerance. In float32 roundings of steps that are alike add up, to
    at most about 1.5e-7 of all the angle turned in steps with RF: 1e-4 after 1,000 steps of 10 us
    at 10 kHz. A pulse along x leaves M+ = i sin(flip), which closed forms count as real.

    Of tensors it is differentiable in all arguments: once by the kernel's adjoint, and as often as
    wanted, forward and in vmap by ``evolve_formula``.

    Args:
        M: magnetisation at the start, (N, 3); the result has its dtype and its precision.
        b1: RF in the rotating frame, T, complex, (K,); its real part along x.
        gradient: G, T/m, (K, 3).
        dt: length of the steps, s, a number or (K,), from 0 on: a step of 0 s changes nothing.
        position: r, m, (N, 3); the isocentre where None.
        df: off-resonance, Hz, a number or (N,).
        T1: longitudinal relaxation time, s, a number or (N,); inf where there is none.
        T2: transverse relaxation time, s, a number or (N,), at most 2 T1; inf leaves it out.
        B1: RF relative to nominal, a number or (N,).
        M0: equilibrium magnetisation, a number or (N,).
        tolerance: estimated error of relaxation allowed per step with RF; 1e-6 in float32 and 1e-8
            in float64 where None.

    Raises:
        TypeError: an argument is a list, or arrays are of several libraries.
        ValueError: an argument is not finite or out of range, or the shapes do not fit. Values of
            arrays are checked on the host only: on a GPU it would stop the stream.

    Source: Bloch, Physical Review 70, 460 (1946); splitting: Strang, SIAM Journal on Numerical
    Analysis 5, 506 (1968).
    """
    spins = dict(zip(SPINS, (position, df, T1, T2, B1, M0), strict=True))
    check_shapes(M, b1, gradient, dt, spins)
    check_values({"dt": dt, "tolerance": tolerance, **spins}, arrays=False)
    arguments = {"M": M, "b1": b1, "gradient": gradient, "dt": dt, **spins}
    if is_numpy(M) or is_cupy(M):
        xp = namespace(M)
        out = xp.array(M, order="C")
        _fill(out, arguments, tolerance)
        return out
    if is_torch(M):
        from ipads_stream.core.handover import is_transformed, wants_gradient, with_adjoint

        tensors = {name: x for name, x in arguments.items() if is_torch(x)}
        if not any(map(is_transformed, tensors.values())):
            wanted = frozenset(name for name, x in tensors.items() if wants_gradient(x))
            compute, pull_back = _both_ways(arguments, tuple(tensors), wanted, tolerance)
            return with_adjoint(compute, pull_back, *tensors.values())
    return evolve_formula(M, b1, gradient, dt, **spins, tolerance=tolerance)


def _both_ways(
    arguments: dict[str, Any],
    names: tuple[str, ...],
    wanted: frozenset[str],
    tolerance: float | None,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """evolve of arrays that stand for some of the arguments, and its derivative backward."""

    def compute(*arrays: Any) -> Any:
        given = arguments | dict(zip(names, arrays, strict=True))
        out = namespace(given["M"]).array(given["M"], order="C")
        _fill(out, given, tolerance)
        return out

    def pull_back(cotangent: Any, *arrays: Any) -> tuple[Any, ...]:
        given = arguments | dict(zip(names, arrays, strict=True))
        found = slopes(cotangent, given, tolerance, wanted=wanted)
        return tuple(found.get(name) for name in names)

    return compute, pull_back


def _fill(out: Any, arguments: dict[str, Any], tolerance: float | None) -> None:
    """Evolve out, which holds M, by the kernel of its library."""
    if is_numpy(out):
        check_values(arguments, arrays=True)
    steps, spins = played(namespace(out), arguments)
    play(steps, spins, tolerance_of(out, tolerance), out)
