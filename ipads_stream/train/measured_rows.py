"""Fully sampled measured signals, undersampled anew each time: real samples to train on."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Complex

from ipads_stream.acquisition.masks import SCHEDULES, num_sampled
from ipads_stream.core import random
from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution
from ipads_stream.physics.spectroscopy.spectrum import spectrum
from ipads_stream.systems import System, Undersampled

FAINTEST = 0.03  # of the tallest spectrum point of all rows: fainter rows hold noise alone


@runtime_checkable
class RealSamples(Protocol):
    """A source of real samples; a user's own class goes under ``data: {_target_: ...}``."""

    def parts(
        self, system: System, *, seed: int, train: int, held: int, is_mixed: bool
    ) -> tuple[System, System]:
        """Samples to train on and held-out ones, none of which is in both, as systems.

        Args:
            system: with the fields of the real samples where they differ from training's.
            seed: of the division.
            train: samples to train on, a larger set holding the smaller. 0: any.
            held: samples held out, the same whatever is trained on.
            is_mixed: whether they share batches with samples of the system.

        Raises:
            ConfigError: fewer samples than asked for, or samples that do not fit the system.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRows:
    """Sample n is row ``n mod R`` of measured signals, divided by its largest magnitude.

    The target is the spectrum of all measured points, noise included.

    Attributes:
        signals: complex, any unit, (R, N).
        rate: share of points that is shown.
        schedule: of the sampling (acquisition/masks.py).
    """

    name: ClassVar[str] = "measured_rows"

    signals: Complex[np.ndarray, "R N"]
    rate: Distribution
    schedule: str

    def describe(self) -> dict[str, Any]:
        """Fields, with a digest for the signals."""
        digest = hashlib.sha256(np.ascontiguousarray(self.signals).tobytes()).hexdigest()
        return {"signals": digest, "rate": describe(self.rate), "schedule": self.schedule}

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        row = (keys.indices % np.uint64(len(self.signals))).astype(np.int64)
        return {"row": row, "rate": self.rate.draw(keys["rate"], (), progress)}

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample:
        rows = self.signals[params["row"]]
        largest = np.abs(rows).max(axis=1, keepdims=True)
        full = xp.asarray((rows / np.where(largest > 0, largest, 1.0)).astype(np.complex64))
        points = full.shape[1]
        counts = num_sampled(params["rate"], points)
        mask = SCHEDULES[self.schedule](keys["mask"], points, counts, xp)
        return Sample(
            inputs={"fid": xp.where(mask, full, xp.zeros_like(full)), "mask": mask},
            targets={"spectrum": spectrum(full)},
            params=params,
        )


def usable_rows(signals: np.ndarray) -> np.ndarray:
    """The rows that hold a signal: whose tallest spectrum point reaches 3 % of that of all rows;
    ConfigError of rows that are not complex, finite or other than zero."""
    if signals.ndim != 2 or not np.iscomplexobj(signals) or not np.isfinite(signals).all():
        given = f"{signals.dtype} of shape {signals.shape}"
        raise ConfigError("data", given, "finite complex signals, (rows, points)")
    heights = np.abs(spectrum(signals)).max(axis=1)
    if not heights.any():
        raise ConfigError("data", "zeros", "signals that are not all zero")
    return signals[heights >= FAINTEST * heights.max()]


@runtime_checkable
class Scheduled(System, Undersampled, Protocol):
    """A system of undersampled signals that names its sampling schedule."""

    schedule: str


@dataclass(frozen=True)
class SignalRows:
    """Real samples that are rows of a fully sampled measured plane, undersampled anew each time.

    Of the rows that hold a signal, a stretch of neighbours, which hold the same lines, is held out;
    training takes the first of the others in a keyed order.

    Attributes:
        data: name of a data set, or path of a measured plane.
    """

    data: str

    def parts(
        self, system: System, *, seed: int, train: int, held: int, is_mixed: bool
    ) -> tuple[System, System]:
        """See ``RealSamples.parts``."""
        if not isinstance(system, Scheduled):
            allowed = f"a system of signals with points, rate and schedule; {system.name} has none"
            raise ConfigError("system", system.name, allowed)
        signals = usable_rows(measured_signals(self.data))
        if is_mixed and system.points != signals.shape[1]:
            allowed = f"{signals.shape[1]}, as the signals of data have, to be in a batch with them"
            raise ConfigError("system.points", system.points, allowed)
        if held > len(signals):
            allowed = f"fewer held out: data have {len(signals)} rows that hold a signal"
            raise ConfigError("trainer.val_samples", held, allowed)
        if train + held > len(signals):
            most = len(signals) - held
            allowed = f"at most {most} (data have {len(signals)} rows, val_samples={held})"
            raise ConfigError("trainer.samples", train, allowed)
        keys = Keys(seed, "real", np.zeros(1, dtype=np.uint64))
        start = int(random.integers(keys["stretch"], 0, len(signals) - 1)[0])
        held_out = (start + np.arange(held)) % len(signals)
        order = random.permutation(keys["order"], len(signals))[0]
        trained = order[~np.isin(order, held_out)][: max(train, 1)]
        training, validation = (
            MeasuredRows(signals=signals[rows], rate=system.rate, schedule=system.schedule)
            for rows in (trained, held_out)
        )
        return cast(System, training), cast(System, validation)


def measured_signals(data: str) -> np.ndarray:
    """Signals of a measured plane, of a named one the rows that hold its signals; ConfigError where
    ``data`` is neither a name nor a path."""
    from ipads_stream.data import named as datasets
    from ipads_stream.data.planes.plane import read_plane, rows_between

    if data in datasets.NAMES:
        plane = read_plane(datasets.find(data))
        return plane.fid[rows_between(plane, *datasets.SOURCES[data].signal_ppm)]
    if not Path(data).exists():
        allowed = f"{', '.join(datasets.NAMES)}, or the path of a file or folder that exists"
        raise ConfigError("data", data, allowed)
    plane = read_plane(data)
    for note in plane.notes:
        logging.getLogger(__name__).warning("%s: %s", plane.name, note)
    return plane.fid
