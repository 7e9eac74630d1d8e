"""Pools and pulses of the Bloch-McConnell equations: what they are, and which are allowed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipads_stream.physics import arguments as checks
from ipads_stream.physics.arrays import as_sequence, host, is_array


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
    """The pools as dataclasses, or from mappings: first the water, one with a line is semisolid."""
    if not isinstance(pools, Sequence) or isinstance(pools, str):
        raise TypeError(f"pools={type(pools).__name__}: a sequence, the water first, is allowed")
    if not pools:
        raise ValueError("pools: none given; the water at least is allowed")
    made: list[Pool] = []
    for i, given in enumerate(pools):
        name = f"pools[{i}]"
        kind: type[Pool] = Solute if i else Water
        if isinstance(given, Mapping) and i == 0:
            given = dict(given)
            exchange = given.pop("exchange", 0)
            if np.any(host(exchange) != 0):
                raise ValueError(f"{name}.exchange={exchange}: 0 is allowed for the water, whose "
                                 "rates follow from those of the other pools")  # fmt: skip
        elif isinstance(given, Mapping) and "line" in given:
            kind = Semisolid
        pool = _made(kind, given, name, Pool)
        if isinstance(pool, Water) != (i == 0):
            raise ValueError(f"{name}={type(pool).__name__}: the water is allowed first, only")
        if isinstance(pool, Semisolid) and pool.line not in LINES:
            raise ValueError(f"{name}.line={pool.line!r}: one of {', '.join(LINES)} is allowed")
        made.append(pool)
    if sum(isinstance(pool, Semisolid) for pool in made) > 1:
        raise ValueError("pools: two are semisolid; one is allowed")
    return tuple(made)


def pulses_of(pulses: Any) -> dict[str, Pulses]:
    """One train or several, by the name that messages give them, or from mappings; checked."""
    single = isinstance(pulses, Mapping | Pulses)
    if not single and (not isinstance(pulses, Sequence) or isinstance(pulses, str)):
        raise TypeError(f"pulses={type(pulses).__name__}: a train or a sequence of them is allowed")
    named = {"pulses": pulses} if single else {f"pulses[{i}]": x for i, x in enumerate(pulses)}
    if not named:
        raise ValueError("pulses: none given; at least one train is allowed")
    trains = {name: _made(Pulses, given, name, Pulses) for name, given in named.items()}
    for name, train in trains.items():
        shape = tuple(np.shape(train.amplitude))
        if len(shape) > 1 or 0 in shape:
            raise ValueError(f"{name}.amplitude: shape {shape}; a number or (samples,) is allowed")
        timed = {f"{name}.{x}": getattr(train, x) for x in ("duration", "gap")}
        for field, x in timed.items():
            checks.check_shape(field, x, ())
        checks.check_values({f"{name}.amplitude": train.amplitude, **timed})
        checks.whole_number(f"{name}.number", train.number)
        if (x := train.oscillator) not in ("continuous", "halted"):
            raise ValueError(f"{name}.oscillator={x!r}: continuous or halted is allowed")
        if not isinstance(train.spoiled, bool | np.bool_):
            raise ValueError(f"{name}.spoiled={train.spoiled!r}: True or False is allowed")
    return trains


def _made(kind: Any, given: Any, name: str, kinds: Any) -> Any:
    """One of several dataclasses as it is, or one of a kind from a mapping of its fields."""
    if isinstance(given, kinds):
        return given
    required = {x.name: x.default is dataclasses.MISSING for x in dataclasses.fields(kind)}
    known = ", ".join(required)
    if not isinstance(given, Mapping):
        raise TypeError(f"{name}={type(given).__name__}: a mapping of {known} is allowed")
    for key in given:
        if key not in required:
            raise ValueError(f"{name}.{key}={given[key]!r}: {known} are allowed")
    for key in required:
        if key not in given and required[key]:
            raise ValueError(f"{name}.{key} is missing; {known} are allowed")
    return kind(**given)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Pools, trains and what surrounds them, of one library.

    numbers: what a spectrum may have for itself, by name, such as "pools[0].T1", "df_ppm";
    settings: what is one for all spectra; like: an array of the library and dtype of the spectra;
    shape: (*batch,), to which the numbers broadcast.
    """

    pools: tuple[Pool, ...]
    trains: tuple[Pulses, ...]
    numbers: dict[str, Any]
    settings: dict[str, Any]
    like: Any
    shape: tuple[int, ...]

    @property
    def solid(self) -> int:
        """Which pool is semisolid; -1 where none is."""
        return next((p for p, pool in enumerate(self.pools) if isinstance(pool, Semisolid)), -1)

    def check(self) -> None:
        """Refuse values that make no sense, by name."""
        checks.check_shape("B0", self.settings["B0"], ())
        checks.check_values({name: self.settings[name] for name in ("offsets_ppm", "B0")})
        water = checks.Range(noun="fraction", positive=True)
        # A time of inf would be a line without width.
        line = checks.Range(noun="time in s, of the line", positive=True)
        changed = {"pools[0].fraction": water, f"pools[{self.solid}].T2": line}
        checks.check_values(self.numbers, changed)


def experiment_of(
    pools: Any, offsets_ppm: Any, pulses: Any, B0: Any, df_ppm: Any, B1: Any, Mz0: Any
) -> Experiment:
    """What is simulated by z_spectrum; values of pools are not looked at."""
    pools, trains = pools_of(pools), pulses_of(pulses)
    numbers = {
        f"pools[{i}].{field.name}": getattr(pool, field.name)
        for i, pool in enumerate(pools)
        for field in dataclasses.fields(pool)
        if field.name != "line"
    }
    numbers |= {"df_ppm": df_ppm, "B1": B1, "Mz0": Mz0}
    numbers = {name: as_sequence(x) for name, x in numbers.items()}
    offsets_ppm = offsets_ppm if hasattr(offsets_ppm, "shape") else np.asarray(offsets_ppm, float)
    if len(shape := tuple(offsets_ppm.shape)) != 1:
        raise ValueError(f"offsets_ppm: shape {shape}; (offsets,) is allowed")
    settings = {"offsets_ppm": offsets_ppm, "B0": B0}
    for name, train in trains.items():
        x = train.amplitude  # a number may be complex
        settings[f"{name}.amplitude"] = x if is_array(x) else np.asarray(x)
        settings |= {f"{name}.duration": train.duration, f"{name}.gap": train.gap}
    like, shape = checks.leading_array(numbers, settings), checks.common_shape(numbers)
    return Experiment(pools, tuple(trains.values()), numbers, settings, like, shape)
