"""Pools and pulses of the Bloch-McConnell equations: what they are, and which are allowed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ipads_stream.core.backend import is_cupy, is_torch
from ipads_stream.physics.arrays import is_array
from ipads_stream.physics.epg_arguments import (
    check_T2,
    common_dtype,
    common_shape,
    floating,
    host,
    shared_library,
    whole_number,
)

MOST_POOLS = 5
_STRONGEST = 1e-3  # T; saturation takes microtesla, and a value in them is far above


@dataclasses.dataclass(frozen=True)
class Water:
    """The pool that is observed and with which all others exchange.

    Args:
        T1, T2: s, each a number or (*batch,); inf without relaxation, else T2 at most 2 T1.
        fraction: equilibrium magnetisation, number or (*batch,).
        shift_ppm: resonance, number or (*batch,); offsets are counted from 0, not from here.
    """

    T1: Any
    T2: Any
    fraction: Any = 1.0
    shift_ppm: Any = 0.0


@dataclasses.dataclass(frozen=True)
class Solute:
    """Mobile protons that exchange with water; in equilibrium as many come as go.

    Args:
        fraction: equilibrium magnetisation where the water's is 1 (or in the water's unit).
        T1, T2: s, as of the water.
        exchange: rate from this pool to the water, Hz; the opposite is exchange times the ratio of
            the fractions.
        shift_ppm: resonance.
    """

    fraction: Any
    T1: Any
    T2: Any
    exchange: Any
    shift_ppm: Any


@dataclasses.dataclass(frozen=True)
class Semisolid:
    """Protons without transverse magnetisation, saturated at pi w1^2 g: see line_shape.

    Args:
        fraction, T1, exchange: as of a solute.
        T2: of its line, s, about 1e-5.
        shift_ppm: centre of the line.
        line: its shape, "super-Lorentzian", "Lorentzian" or "Gaussian".
    """

    fraction: Any
    T1: Any
    T2: Any
    exchange: Any
    shift_ppm: Any = 0.0
    line: str = "super-Lorentzian"


@dataclasses.dataclass(frozen=True)
class Pulses:
    """A train of equal saturation pulses, each followed by a gap, the last one too.

    Args:
        amplitude: T; a number is a rectangular pulse, (samples,) its course in equal intervals,
            complex where the phase varies (real part along x of the frame that turns at the
            offset); multiplied by B1.
        duration: of one pulse, s; 0 turns nothing.
        gap: without RF after each pulse, s.
        number: of pulses.
        oscillator: "continuous": the phase of the RF runs on at the offset through a gap; "halted":
            it stands still there, as where a sequence gives a pulse the phase at which the last
            one ended (so do Pulseq-CEST, BMCTool and the BMsim cases). Without full dephasing in
            the gap the spectra differ by 0.1 and more.
        spoiled: whether gradients in the gap destroy all transverse magnetisation.
    """

    amplitude: Any
    duration: Any
    gap: Any = 0.0
    number: Any = 1
    oscillator: str = "continuous"
    spoiled: Any = False


LINES = ("super-Lorentzian", "Lorentzian", "Gaussian")
Pool = Water | Solute | Semisolid


def pools_of(pools: Any) -> tuple[Pool, ...]:
    """The pools as dataclasses; the first is the water, one with a line is semisolid.

    Args:
        pools: of dataclasses, of mappings with the names of their fields, or of objects with
            attributes of these names, whose other attributes are ignored.

    Raises:
        ValueError, TypeError: names the pool and the field, what it holds and what is allowed.
    """
    if not isinstance(pools, Sequence) or isinstance(pools, str) or _is_one(pools, Water):
        raise TypeError(f"pools={type(pools).__name__}: a sequence, the water first, is allowed")
    if not 1 <= len(pools) <= MOST_POOLS:
        raise ValueError(f"pools: {len(pools)} of them; 1 to {MOST_POOLS} are allowed")
    made = tuple(_pool(given, i) for i, given in enumerate(pools))
    for i, pool in enumerate(made):
        if isinstance(pool, Water) != (i == 0):
            raise ValueError(f"pools[{i}]={type(pool).__name__}: the water is allowed first, only")
        if isinstance(pool, Semisolid) and pool.line not in LINES:
            raise ValueError(f"pools[{i}].line={pool.line!r}: one of {', '.join(LINES)} is allowed")
    if sum(isinstance(pool, Semisolid) for pool in made) > 1:
        raise ValueError("pools: two are semisolid; one is allowed")
    return made


def _pool(given: Any, i: int) -> Pool:
    if isinstance(given, Water | Solute | Semisolid):
        return given
    name = f"pools[{i}]"
    given = _by_name(given, (Water, Solute, Semisolid), name)
    if i > 0:
        return _made(Semisolid if "line" in given else Solute, given, name)
    rest = dict(given)
    exchange = rest.pop("exchange", 0)
    if np.any(host(exchange) != 0):
        raise ValueError(
            f"{name}.exchange={exchange}: 0 is allowed for the water, whose rates follow"
            " from those of the other pools"
        )
    return _made(Water, rest, name)


def pulses_of(pulses: Any) -> tuple[Pulses, ...]:
    """One train or several, as dataclasses.

    Args:
        pulses: of dataclasses, of mappings with the names of their fields, or of objects with
            attributes of these names, whose other attributes are ignored.

    Raises:
        ValueError, TypeError: names the train and the field, what it holds and what is allowed.
    """
    single = _is_one(pulses, Pulses)
    if not single and (not isinstance(pulses, Sequence) or isinstance(pulses, str)):
        raise TypeError(f"pulses={type(pulses).__name__}: a train or a sequence of them is allowed")
    trains: list[Pulses] = []
    for i, given in enumerate([pulses] if single else pulses):
        name = "pulses" if single else f"pulses[{i}]"
        train = given
        if not isinstance(given, Pulses):
            train = _made(Pulses, _by_name(given, (Pulses,), name), name)
        _check_train(train, name)
        trains.append(train)
    if not trains:
        raise ValueError("pulses: none given; at least one train is allowed")
    return tuple(trains)


def _fields(*kinds: Any) -> list[str]:
    return list(dict.fromkeys(field.name for kind in kinds for field in dataclasses.fields(kind)))


def _is_one(given: Any, kind: Any) -> bool:
    """Whether it is one and not several: a mapping, or what has an attribute of a field's name."""
    return isinstance(given, Mapping) or any(hasattr(given, name) for name in _fields(kind))


def _by_name(given: Any, kinds: tuple[Any, ...], name: str) -> Mapping[str, Any]:
    """What is given of the fields, by name: a mapping, or attributes of an object."""
    if isinstance(given, Mapping):
        return given
    known = _fields(*kinds)
    found = {field: getattr(given, field) for field in known if hasattr(given, field)}
    if not found:
        raise TypeError(f"{name}={type(given).__name__}: what has {', '.join(known)} is allowed")
    return found


def _made(kind: Callable[..., Any], given: Mapping[str, Any], name: str) -> Any:
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    known = [field.name for field in fields]
    for key in given:
        if key not in known:
            raise ValueError(f"{name}.{key}={given[key]!r}: {', '.join(known)} are allowed")
    for field in fields:
        if field.name not in given and field.default is dataclasses.MISSING:
            raise ValueError(f"{name}.{field.name} is missing; {', '.join(known)} are allowed")
    return kind(**given)


def _check_train(train: Pulses, name: str) -> None:
    if len(np.shape(train.amplitude)) > 1 or 0 in np.shape(train.amplitude):
        shape = tuple(np.shape(train.amplitude))
        raise ValueError(f"{name}.amplitude of shape {shape}: a number or (samples,) is allowed")
    allowed = f"finite tesla up to {_STRONGEST} are"
    _check(f"{name}.amplitude", train.amplitude, lambda x: np.abs(x) <= _STRONGEST, allowed)
    for field in ("duration", "gap"):
        value = getattr(train, field)
        if np.shape(value) != ():
            raise ValueError(f"{name}.{field} of shape {np.shape(value)}: a number is allowed")
        _check(f"{name}.{field}", value, lambda x: x >= 0, "a finite time in s from 0 on is")
    whole_number(f"{name}.number", train.number)
    if train.oscillator not in ("continuous", "halted"):
        raise ValueError(f"{name}.oscillator={train.oscillator!r}: continuous or halted is allowed")
    if not isinstance(train.spoiled, bool | np.bool_):
        raise ValueError(f"{name}.spoiled={train.spoiled!r}: True or False is allowed")


def numbers_of(pools: Sequence[Pool], df_ppm: Any, B1: Any, Mz0: Any) -> dict[str, Any]:
    """All that a spectrum may have for itself, by name; lists become arrays.

    Args:
        pools: as dataclasses.
        df_ppm, B1, Mz0: numbers or arrays.
    """
    found = {
        f"pools[{i}].{field.name}": getattr(pool, field.name)
        for i, pool in enumerate(pools)
        for field in dataclasses.fields(pool)
        if field.name != "line"
    }
    found |= {"df_ppm": df_ppm, "B1": B1, "Mz0": Mz0}
    return {name: np.asarray(x) if isinstance(x, list | tuple) else x for name, x in found.items()}


def settings_of(trains: Sequence[Pulses], offsets_ppm: Any, B0: Any) -> dict[str, Any]:
    """All that is one for all spectra, by name.

    Args:
        trains: as dataclasses.
        offsets_ppm, B0: as for z_spectrum.
    """
    found = {"offsets_ppm": offsets_ppm, "B0": B0}
    for i, train in enumerate(trains):
        name = "pulses" if len(trains) == 1 else f"pulses[{i}]"
        x = train.amplitude  # a number may be complex
        found[f"{name}.amplitude"] = x if is_array(x) else np.asarray(x)
        found |= {f"{name}.duration": train.duration, f"{name}.gap": train.gap}
    return found


def library_of(numbers: dict[str, Any], others: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Array library, dtype and common shape (*batch,) of the numbers.

    Args:
        numbers: by name, each a number or an array.
        others: as settings_of gives them: they choose the library where no number does.

    Raises:
        ValueError: the shapes do not fit together.
        TypeError: the arrays belong to different libraries, or something is none and no number.
    """
    xp = shared_library(numbers, others)
    fields = {name: x for name, x in numbers.items() if is_array(x)}
    given = fields or floating(xp, others)
    kind = common_dtype(xp, given)
    if kind not in (xp.float32, xp.float64):
        raise TypeError(f"{', '.join(given)} of {kind}: float32 or float64 is allowed")
    return xp, kind, common_shape(numbers)


def check_numbers(numbers: Mapping[str, Any], lines: Collection[str] = ()) -> None:
    """Refuses values that make no sense, where they lie on the host.

    Args:
        numbers: by name, each a number or an array.
        lines: names of the T2 of semisolid pools: inf would be a line without width.

    Raises:
        ValueError: names the argument, its value and what is allowed.
    """
    for name, x in numbers.items():
        field = name.rpartition(".")[2]
        if name in lines:
            _check(name, x, lambda x: x > 0, "a finite positive time in s, of the line, is")
        elif field in ("T1", "T2"):
            _check(name, x, lambda x: x > 0, "a positive time in s is", finite=False)
        elif field == "exchange":
            _check(name, x, lambda x: x >= 0, "a finite rate in Hz from 0 on is")
        elif name == "pools[0].fraction":
            _check(name, x, lambda x: x > 0, "a finite positive fraction is")
        elif field == "fraction":
            _check(name, x, lambda x: x >= 0, "a finite factor from 0 on is")
        elif field == "B1":
            _check(name, x, np.isfinite, "a finite factor is")
        elif field == "Mz0":
            _check(name, x, lambda x: np.abs(x) <= 1, "from -1 to 1 is")
        else:
            _check(name, x, lambda x: np.abs(x) < np.inf, "finite ppm are")
    for name in numbers:
        if name.endswith(".T2"):
            T1, T2 = (_values(numbers[name[:-2] + time]) for time in ("T1", "T2"))
            if T1 is not None and T2 is not None:
                check_T2(T1, T2, name)


def check_settings(offsets_ppm: Any, B0: Any) -> None:
    """Refuses offsets or a main field that make no sense.

    Args:
        offsets_ppm: of the RF, (offsets,).
        B0: T, a number.

    Raises:
        ValueError: names the argument, its value and what is allowed.
    """
    if len(np.shape(offsets_ppm)) != 1:
        shape = tuple(np.shape(offsets_ppm))
        raise ValueError(f"offsets_ppm of shape {shape}: (offsets,) is allowed")
    _check("offsets_ppm", offsets_ppm, lambda x: np.abs(x) < np.inf, "finite ppm are")
    if np.shape(B0) != ():
        raise ValueError(f"B0 of shape {tuple(np.shape(B0))}: a number is allowed")
    _check("B0", B0, lambda x: x > 0, "a finite positive field in T is")


def _values(x: Any) -> np.ndarray | None:
    """On the host, unless that would stop a GPU or torch hides the values."""
    return None if is_cupy(x) or (is_torch(x) and x.is_cuda) else host(x)


def _check(name: str, x: Any, good: Callable[[Any], Any], allowed: str, finite: Any = True) -> None:
    values = _values(x)
    if values is None:
        return
    if values.dtype.kind not in "fciu":
        raise ValueError(f"{name}={x!r}: numbers are allowed")
    bad = ~np.asarray(good(values)) | (finite & ~np.isfinite(values))
    if np.any(bad):
        raise ValueError(f"{name}={values[bad].flat[0]}: {allowed} allowed")
