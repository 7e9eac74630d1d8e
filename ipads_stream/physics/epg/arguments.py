"""Arguments of the extended phase graphs: brought to the host where they can be, and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ipads_stream.core.backend import namespace
from ipads_stream.physics import arguments as checks
from ipads_stream.physics.arrays import as_float, host, precision

CRUSHED = 2**15  # a shift from which nothing transverse returns: it is set to zero


class Tissue(NamedTuple):
    """Atoms: values are T1 (s), T2 (s) and B1, arrays of the library, dtype and device of like.

    kind: the name of the dtype; shape: of the atoms.
    """

    like: Any
    kind: str
    shape: tuple[int, ...]
    values: tuple[Any, ...]

    def columns(self, *others: Any) -> list[Any]:
        """T1, T2, B1 and others, one of each for every atom, (atoms,)."""
        xp, num = namespace(self.like), math.prod(self.shape)
        arrays = (as_float(x, self.like) for x in (*self.values, *others))
        return [xp.reshape(xp.broadcast_to(x, self.shape), (num,)) for x in arrays]


Named = Mapping[str, Any]


def tissue_of(T1: Any, T2: Any, B1: Any, pulses: Named, atoms: Named, check: bool = True) -> Tissue:
    """The tissue of a train, checked.

    pulses, atoms: all other arguments, of the train and of the atoms, which give the library and
    the dtype where T1, T2, B1 are numbers; atoms that are None are left out.
    """
    named = {"T1": T1, "T2": T2, "B1": B1}
    atoms = {name: x for name, x in atoms.items() if x is not None}
    like = checks.leading_array(named, {**pulses, **atoms})
    shape = checks.common_shape({**named, **atoms})
    if check:
        checks.check_values({**named, **atoms})
    return Tissue(like, precision(like), shape, tuple(as_float(x, like) for x in named.values()))


def train_of(flip: Any, phase: Any, TR: Any, TE: Any) -> Any:
    """flip, phase, TR, TE on the host, checked, each (TRs,); None where torch hides values."""
    named = {"flip": flip, "phase": phase, "TR": TR, "TE": TE}
    shape = tuple(np.shape(flip))
    if len(shape) != 1 or shape[0] < 1:
        raise ValueError(f"flip: shape {shape}; (TRs,) with at least one pulse is allowed")
    for name, x in named.items():
        checks.check_shape(name, x, shape, *([()] if name in ("TR", "TE") else []))
    values = [host(x) for x in named.values()]
    if any(x is None for x in values):
        return None
    checks.check_values(dict(zip(named, values, strict=True)))
    columns = tuple(np.broadcast_to(np.asarray(x, float), shape) for x in values)
    late = columns[3] > columns[2] * (1 + 1e-6)
    if late.any():
        raise ValueError(f"TE={columns[3][late][0]}: at most TR={columns[2][late][0]} is allowed")
    return columns


def steps_of(
    flip: Any, phase: Any, duration: Any, shift: Any, echo: Any, orders: Any
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """shift and echo of a train on the host and orders, checked with the rest of its steps."""
    pulses = {"flip": flip, "phase": phase, "duration": duration}
    shapes = {name: np.shape(x) for name, x in {**pulses, "shift": shift, "echo": echo}.items()}
    if len(shapes["flip"]) != 1 or len({*shapes.values()}) != 1:
        given = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"{given}: one shape, (steps,), is allowed")
    checks.check_values({name: host(x) for name, x in pulses.items()})
    whole = np.asarray(shift)
    if not np.issubdtype(whole.dtype, np.number) or np.any(whole != np.round(whole)):
        raise ValueError(f"shift={shift}: whole numbers are allowed")
    recorded = np.asarray(echo)
    if recorded.dtype != bool or not recorded.any():
        raise ValueError(f"echo={echo}: booleans, at least one of them true, are allowed")
    if orders is not None:
        orders = checks.whole_number("orders", orders, allowed="None or a whole number from 1 on")
    return whole.astype(int), recorded, orders
