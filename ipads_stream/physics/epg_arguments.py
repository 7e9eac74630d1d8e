"""Arguments of the extended phase graphs: brought to the host where they can be, and checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ipads_stream.core.backend import is_cupy, is_numpy, is_torch, namespace

CRUSHED = 2**15  # a shift from which nothing transverse returns: it is set to zero


def host(x: Any) -> np.ndarray | None:
    """The values of x in NumPy; None where they are hidden, as in vmap or in a compiled graph."""
    if is_cupy(x):
        return x.get()
    if is_torch(x):
        from ipads_stream.core.handover import is_traced

        plain = x.detach()
        return None if is_traced(plain) else plain.cpu().numpy()
    return np.asarray(x)


def is_cuda(x: Any) -> bool:
    """Whether x is a tensor on a GPU."""
    return is_torch(x) and bool(x.is_cuda)


def tissue_of(T1: Any, T2: Any, B1: Any, check: bool = True) -> Any:
    """Array library, real dtype, common shape, and (T1, T2, B1).

    Args:
        T1, T2: relaxation times, s; T2 at most 2 T1.
        B1: relative to nominal.
        check: whether values are looked at, where they can be.

    Raises:
        ValueError: names the argument, its value and what is allowed.
    """
    named = {"T1": T1, "T2": T2, "B1": B1}
    arrays = [x for x in named.values() if hasattr(x, "shape")]
    if not arrays:
        raise ValueError(f"T1={T1}, T2={T2}, B1={B1}: at least one array is needed")
    xp = namespace(*arrays)
    try:
        shape = np.broadcast_shapes(*(tuple(x.shape) for x in arrays))
    except ValueError as error:
        shapes = ", ".join(f"{name} {tuple(np.shape(x))}" for name, x in named.items())
        raise ValueError(f"{shapes}: these shapes do not fit together") from error
    if check:
        on_host = not any(is_cupy(x) or is_cuda(x) for x in arrays)
        values = {name: host(x) if on_host else None for name, x in named.items()}
        _check_tissue(values)
    return xp, xp.result_type(*arrays), shape, (T1, T2, B1)


def _check_tissue(values: dict[str, np.ndarray | None]) -> None:
    for name, allowed in (("T1", "positive time in s"), ("T2", "positive time in s"),
                          ("B1", "factor from 0 on")):  # fmt: skip
        x = values[name]
        if x is not None:
            _refuse(name, x, (x >= 0 if name == "B1" else x > 0), f"a finite {allowed}")
    T1, T2 = values["T1"], values["T2"]
    if T1 is not None and T2 is not None and np.any(T2 > 2 * T1):
        T1, T2 = np.broadcast_arrays(T1, T2)
        wrong = T2 > 2 * T1
        raise ValueError(f"T2={T2[wrong][0]}: at most 2 T1 is allowed, T1={T1[wrong][0]}")


def _refuse(name: str, x: np.ndarray, good: Any, allowed: str) -> None:
    bad = ~(np.asarray(good) & np.isfinite(x))
    if np.any(bad):
        raise ValueError(f"{name}={np.asarray(x)[bad].flat[0]}: {allowed} is allowed")


def train_of(xp: Any, flip: Any, phase: Any, TR: Any, TE: Any) -> Any:
    """flip, phase, TR, TE on the host, checked, each (TRs,); None where torch hides values.

    Args:
        xp: array library of the tissue.
        flip, phase: of the pulses, rad, (TRs,).
        TR, TE: s, one number or (TRs,).

    Raises:
        ValueError, TypeError: shapes or values that do not fit, by name.
    """
    shapes = [tuple(np.shape(x)) for x in (flip, phase, TR, TE)]
    if len(shapes[0]) != 1 or shapes[0][0] < 1:
        raise ValueError(f"flip of shape {shapes[0]}: (TRs,) with at least one pulse is allowed")
    for name, shape in zip(("phase", "TR", "TE"), shapes[1:], strict=True):
        if shape != shapes[0] and (name == "phase" or shape != ()):
            raise ValueError(f"{name} of shape {shape}: that of flip, {shapes[0]}, is allowed")
    for x in (flip, phase, TR, TE):
        if hasattr(x, "shape") and not is_numpy(x) and namespace(x) is not xp:
            raise TypeError("flip, phase, TR, TE: NumPy or the library of T1 and T2 is needed")
    values = [x for x in map(host, (flip, phase, TR, TE)) if x is not None]
    if len(values) < 4:
        return None
    for name, x in zip(("flip", "phase"), values, strict=False):
        _refuse(name, x, True, "a finite angle in rad")
    for name, x in zip(("TR", "TE"), values[2:], strict=True):
        _refuse(name, x, x >= 0, "a finite time in s from 0 on")
    columns = tuple(np.broadcast_to(np.asarray(x, float), shapes[0]) for x in values)
    late = columns[3] > columns[2] * (1 + 1e-6)
    if late.any():
        raise ValueError(f"TE={columns[3][late][0]}: at most TR={columns[2][late][0]} is allowed")
    return columns


def check_TI(TI: Any) -> None:
    """Refuses an inversion time TI, s, that is negative or not finite."""
    values = None if TI is None or is_cupy(TI) else host(TI)
    if values is not None:
        _refuse("TI", values, values >= 0, "None or a finite time in s from 0 on")


def check_echoes(ESP: Any, num_echoes: Any) -> None:
    """Refuses an echo spacing ESP, s, or a number of echoes num_echoes that makes no sense."""
    values = host(ESP)
    if np.shape(ESP) != ():
        raise ValueError(f"ESP of shape {np.shape(ESP)}: one number is allowed")
    if values is not None:
        _refuse("ESP", values, values > 0, "a positive and finite time in s")
    if isinstance(num_echoes, bool) or not isinstance(num_echoes, int) or num_echoes < 1:
        raise ValueError(f"num_echoes={num_echoes!r}: a whole number from 1 on is allowed")


def steps_of(
    flip: Any, phase: Any, duration: Any, shift: Any, echo: Any, orders: Any
) -> tuple[np.ndarray, np.ndarray]:
    """shift and echo of a train on the host, checked with the rest of its steps.

    Args:
        flip, phase: of the pulses, rad, (steps,).
        duration: of the intervals, s, (steps,).
        shift: whole numbers, (steps,).
        echo: booleans, (steps,), at least one of them true.
        orders: None or how many are kept.

    Raises:
        ValueError: shapes or values that do not fit, by name.
    """
    named = {"flip": flip, "phase": phase, "duration": duration, "shift": shift, "echo": echo}
    shapes = {name: tuple(np.shape(x)) for name, x in named.items()}
    if len(shapes["flip"]) != 1 or len(set(shapes.values())) != 1:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{said}: one shape, (steps,), is allowed")
    for name in ("flip", "phase", "duration"):
        values = host(named[name])
        if values is not None:
            timed = name == "duration"
            allowed = "a finite time in s from 0 on" if timed else "a finite angle in rad"
            _refuse(name, values, values >= 0 if timed else True, allowed)
    whole = np.asarray(shift)
    if not np.issubdtype(whole.dtype, np.number) or np.any(whole != np.round(whole)):
        raise ValueError(f"shift={shift}: whole numbers are allowed")
    recorded = np.asarray(echo)
    if recorded.dtype != bool or not recorded.any():
        raise ValueError(f"echo={echo}: booleans, at least one of them true, are allowed")
    if orders is not None and (isinstance(orders, bool) or orders != int(orders) or orders < 1):
        raise ValueError(f"orders={orders!r}: None or a whole number from 1 on is allowed")
    return whole.astype(int), recorded


def check_diffusion(df: Any, D: Any, twist: Any, initial: Any) -> None:
    """Refuses df (Hz), D (m^2/s), twist (rad/m) or initial (of M0) that make no sense."""
    for name, x, allowed in (("df", df, "frequency in Hz"), ("D", D, "coefficient from 0 on"),
                             ("twist", twist, "dephasing in rad/m"),
                             ("initial", initial, "part of M0, from -1 to 1,")):  # fmt: skip
        values = None if is_cupy(x) or is_cuda(x) else host(x)
        if values is not None:
            good = {"D": values >= 0, "initial": np.abs(values) <= 1}.get(name, True)
            _refuse(name, values, good, f"a finite {allowed}")
    moving = None if is_cupy(D) or is_cuda(D) else host(D)
    if moving is not None and np.any(moving > 0) and float(twist) == 0:
        raise ValueError(f"twist={twist}: with D the dephasing of one order in rad/m is needed")
