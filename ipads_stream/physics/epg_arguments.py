"""Arguments of the extended phase graphs: brought to the host where they can be, and checked."""

from __future__ import annotations

import contextlib
import operator
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_of, is_cupy, is_numpy, is_torch, namespace
from ipads_stream.physics.arrays import check_arrays, check_one_library, is_array

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


def shared_library(named: dict[str, Any], others: dict[str, Any] | None = None) -> Any:
    """The array library of named arguments; that of others where none of them is an array.

    Args:
        named: numbers, or arrays of one library, by name.
        others: numbers, or arrays of that library or of NumPy, by name.

    Raises:
        TypeError: an argument is neither array nor number, or two libraries are mixed, by name.
    """
    given = named | (others or {})
    for name, x in given.items():
        if x is None:
            raise TypeError(f"{name}=None: a number or an array is allowed")
    check_arrays(given, numbers=given)
    arrays = {name: x for name, x in given.items() if is_array(x)}
    leading = {name: x for name, x in arrays.items() if name in named or not is_numpy(x)}
    check_one_library(leading)
    return namespace(*leading.values()) if leading else namespace(np.empty(0))


def common_dtype(xp: Any, named: dict[str, Any]) -> Any:
    """The real floating dtype that arrays share; whole numbers do not count, without any float64.

    Args:
        xp: array library.
        named: numbers, or arrays of it, by name.

    Raises:
        TypeError: an array is not of real numbers, by name.
    """
    kinds = []
    for name, x in named.items():
        if not is_array(x) or xp.isdtype(x.dtype, "integral"):
            continue
        if not xp.isdtype(x.dtype, "real floating"):
            raise TypeError(f"{name} of {x.dtype}: real numbers are allowed")
        kinds.append(x.dtype)
    return xp.result_type(*kinds) if kinds else xp.float64


def common_shape(named: dict[str, Any]) -> tuple[int, ...]:
    """The shape to which named arguments broadcast, or a ValueError that names theirs."""
    try:
        return np.broadcast_shapes(*(tuple(np.shape(x)) for x in named.values()))
    except ValueError as error:
        shapes = ", ".join(f"{name} {tuple(np.shape(x))}" for name, x in named.items())
        raise ValueError(f"{shapes}: these shapes do not fit together") from error


def tissue_of(
    T1: Any,
    T2: Any,
    B1: Any,
    pulses: dict[str, Any],
    atoms: dict[str, Any],
    check: bool = True,
) -> Any:
    """Array library, real dtype, common shape, and (T1, T2, B1), at least one of them an array.

    Args:
        T1, T2: relaxation times, s, inf where nothing relaxes; else T2 at most 2 T1.
        B1: relative to nominal; where it is negative every pulse turns the other way.
        pulses, atoms: all other arguments by name, of the train and of the atoms, which give the
            library and the dtype where T1, T2, B1 are numbers; atoms that are None are left out.
        check: whether values are looked at, where they can be.

    Raises:
        ValueError: names the argument, its value and what is allowed.
        TypeError: names what is no array or number, or the arrays of different libraries.
    """
    named = {"T1": T1, "T2": T2, "B1": B1}
    atoms = {name: x for name, x in atoms.items() if x is not None}
    others = pulses | atoms
    xp, shape = shared_library(named, others), common_shape(named | atoms)
    arrays = {name: x for name, x in named.items() if is_array(x)}
    floats = {} if arrays else floating(xp, others)
    kind = common_dtype(xp, arrays or floats)
    if kind not in (xp.float32, xp.float64):
        raise TypeError(f"{', '.join(arrays or floats)} of {kind}: float32 or float64 is allowed")
    if check:
        on_host = not any(is_cupy(x) or is_cuda(x) for x in arrays.values())
        _check_tissue({name: host(x) if on_host else None for name, x in named.items()})
    named = {name: x if is_array(x) else float(x) for name, x in named.items()}
    if not arrays:
        like = next((x for x in others.values() if is_array(x) and not is_numpy(x)), np.empty(0))
        named["T1"] = xp.asarray(named["T1"], dtype=kind, device=device_of(like))
    named |= {name: xp.astype(x, kind) for name, x in arrays.items()
              if xp.isdtype(x.dtype, "integral")}  # fmt: skip
    return xp, kind, shape, tuple(named.values())


def floating(xp: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Those arrays of xp among the given, by name, that have a real floating dtype."""
    return {name: x for name, x in given.items()
            if is_array(x) and namespace(x) is xp
            and xp.isdtype(x.dtype, "real floating")}  # fmt: skip


def _check_tissue(values: dict[str, np.ndarray | None]) -> None:
    for name, x in values.items():
        if x is not None and name == "B1":
            refuse(name, x, np.isfinite(x), "a finite factor")
        elif x is not None:
            refuse(name, x, x > 0, "a positive time in s")
    if values["T1"] is not None and values["T2"] is not None:
        check_T2(values["T1"], values["T2"])


def check_T2(T1: np.ndarray, T2: np.ndarray, name: str = "T2") -> None:
    """Refuses a T2, s, above 2 T1; inf is allowed: transverse relaxation is left out.

    Args:
        T1, T2: on the host; shapes that broadcast.
        name: of T2.
    """
    wrong = (T2 > 2 * T1) & np.isfinite(T2)
    if np.any(wrong):
        T1, T2 = (np.broadcast_to(x, wrong.shape)[wrong].flat[0] for x in (T1, T2))
        raise ValueError(f"{name}={T2}: at most 2 T1 is allowed, T1={T1}")


def whole_number(
    name: str, x: Any, least: int = 1, allowed: str = "", most: int | None = None
) -> int:
    """x as int, of Python, NumPy or any library.

    Args:
        name: of the argument.
        x: what was given for it.
        least, most: the range allowed.
        allowed: said in place of "from least on".

    Raises:
        ValueError: x is not whole, or out of range.
    """
    with contextlib.suppress(TypeError):
        number = operator.index(x)
        if not isinstance(x, bool | np.bool_) and least <= number <= (
            number if most is None else most
        ):
            return number
    said = allowed or f"a whole number from {least} on"
    raise ValueError(f"{name}={x!r}: {said} is allowed")


def as_sequence(x: Any) -> Any:
    """x, a list or tuple of numbers, as an array of NumPy in float64; all else as it is."""
    return np.asarray(x, float) if isinstance(x, list | tuple) else x


def refuse(name: str, x: Any, good: Any, allowed: str) -> None:
    """A ValueError that names the first value of x, on the host, that is not good.

    Args:
        name: of the argument.
        x: its values.
        good: which of them are allowed.
        allowed: said of them.
    """
    bad = ~np.asarray(good)
    if np.any(bad):
        values = np.broadcast_to(np.asarray(x), bad.shape)
        raise ValueError(f"{name}={values[bad].flat[0]}: {allowed} is allowed")


def _refuse(name: str, x: np.ndarray, good: Any, allowed: str) -> None:
    refuse(name, x, np.asarray(good) & np.isfinite(x), allowed)


def train_of(flip: Any, phase: Any, TR: Any, TE: Any) -> Any:
    """flip, phase, TR, TE on the host, checked, each (TRs,); None where torch hides values.

    Args:
        flip, phase: of the pulses, rad, (TRs,).
        TR, TE: s, one number or (TRs,).

    Raises:
        ValueError: shapes or values that do not fit, by name.
    """
    shapes = [tuple(np.shape(x)) for x in (flip, phase, TR, TE)]
    if len(shapes[0]) != 1 or shapes[0][0] < 1:
        raise ValueError(f"flip of shape {shapes[0]}: (TRs,) with at least one pulse is allowed")
    for name, shape in zip(("phase", "TR", "TE"), shapes[1:], strict=True):
        if shape != shapes[0] and (name == "phase" or shape != ()):
            raise ValueError(f"{name} of shape {shape}: that of flip, {shapes[0]}, is allowed")
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


def check_echoes(ESP: Any, num_echoes: Any) -> int:
    """The number of echoes num_echoes; refuses it, or an echo spacing ESP, s, without sense."""
    values = host(ESP)
    if np.shape(ESP) != ():
        raise ValueError(f"ESP of shape {np.shape(ESP)}: one number is allowed")
    if values is not None:
        _refuse("ESP", values, values > 0, "a positive and finite time in s")
    return whole_number("num_echoes", num_echoes)


def steps_of(
    flip: Any, phase: Any, duration: Any, shift: Any, echo: Any, orders: Any
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """shift and echo of a train on the host and orders, checked with the rest of its steps.

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
    if orders is not None:
        orders = whole_number("orders", orders, allowed="None or a whole number from 1 on")
    return whole.astype(int), recorded, orders


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
