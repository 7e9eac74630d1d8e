"""What happens when a sample cannot be simulated, or comes out non-finite.

A non-finite sample is never trained on. ``raise`` stops with the index and the parameters;
``substitute`` puts a sample in its place that is drawn at the same index from a split of its own,
so that it is the same for every batch size, thread count and world size; ``mask`` sets the sample
to zero with weight zero.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.systems import System

POLICIES = ("raise", "substitute", "mask")
ATTEMPTS = 8


class SimulationError(RuntimeError):
    """A sample that could not be made: its index and, where drawn, its parameters."""

    def __init__(self, reason: str, index: int, params: dict[str, Any]) -> None:
        self.reason, self.index, self.params = reason, index, params
        drawn = ", ".join(f"{name}={value}" for name, value in params.items())
        super().__init__(f"sample {index}: {reason}; parameters: {drawn or 'not drawn'}")

    def __reduce__(self) -> tuple[Any, ...]:
        return SimulationError, (self.reason, self.index, self.params)


def row_of(params: Arrays, row: int) -> dict[str, Any]:
    """One sample's parameters as plain lists and numbers."""
    return {name: np.asarray(values)[row].tolist() for name, values in params.items()}


def simulate(system: System, keys: Keys, xp: Any) -> Sample:
    """Draws and renders a batch; an exception is traced to the sample that caused it.

    Raises:
        SimulationError: the system raised; the message holds the index and the parameters.
    """
    try:
        return _simulate(system, keys, xp)
    except Exception as error:
        for index in keys.indices:
            one = Keys(keys.seed, keys.split, np.array([index], dtype=np.uint64))
            params: Arrays = {}
            try:
                params = system.draw(one, progress_of(one))
                system.render(params, one, xp)
            except Exception as culprit:
                reason = f"{type(culprit).__name__}: {culprit}"
                raise SimulationError(reason, int(index), row_of(params, 0)) from culprit
        raise error  # only the batch as a whole fails


def _simulate(system: System, keys: Keys, xp: Any) -> Sample:
    params = system.draw(keys, progress_of(keys))
    return system.render(params, keys, xp)


def progress_of(keys: Keys) -> np.ndarray:
    """Where samples stand in the course of training: their index; past its end in other splits.

    So that validation and test see what a curriculum leads to, not where it starts.
    """
    if keys.split.partition("/")[0] == "train":
        return keys.indices.astype(np.float64)
    return np.full(keys.indices.shape, np.inf)


def is_finite(sample: Sample, xp: Any) -> np.ndarray:
    """(B,) bool on the host: every input and target of the sample, and its weight, is finite."""
    good = None
    for array in (*sample.inputs.values(), *sample.targets.values()):
        if array.dtype.kind not in "fc":
            continue
        # A sum over a sample is finite unless it holds a NaN, an infinity or overflows.
        finite = xp.isfinite(xp.sum(xp.abs(array), axis=tuple(range(1, array.ndim))))
        good = finite if good is None else good & finite
    weighted = np.isfinite(_weight(sample))
    return weighted if good is None else _on_host(good) & weighted


def complete(sample: Sample) -> Sample:
    """The sample with ``weight`` and ``substituted`` on the host: the system's, or ones and False.

    Both are arrays of their own, which may be written to.
    """
    flags = sample.substituted
    flags = np.zeros(len(sample), dtype=bool) if flags is None else np.array(_on_host(flags), bool)
    return replace(sample, weight=_weight(sample), substituted=flags)


def _weight(sample: Sample) -> np.ndarray:
    if sample.weight is None:
        return np.ones(len(sample), dtype=np.float32)
    return np.array(_on_host(sample.weight), dtype=np.float32)


def _on_host(array: Any) -> np.ndarray:
    return np.asarray(array.get() if hasattr(array, "get") else array)


def handle_nonfinite(
    sample: Sample, system: System, keys: Keys, xp: Any, policy: str
) -> tuple[Sample, list[dict[str, Any]]]:
    """Applies the policy; returns a finite batch and a record of every sample that was not.

    Raises:
        SimulationError: policy ``raise``, or no finite substitute in several attempts.
    """
    sample = complete(sample)
    bad = np.flatnonzero(~is_finite(sample, xp))
    if not len(bad):
        return sample, []
    events: list[dict[str, Any]] = [
        {
            "index": int(keys.indices[row]),
            "split": keys.split,
            "seed": keys.seed,
            "policy": policy,
            "params": row_of(sample.params, int(row)),
        }
        for row in bad
    ]
    if policy == "raise":
        first = events[0]
        raise SimulationError("non-finite inputs or targets", first["index"], first["params"])
    sample.substituted[bad] = True
    if policy == "mask":
        sample.weight[bad] = 0.0
        sample = replace(sample, inputs=dict(sample.inputs), targets=dict(sample.targets))
        for group in (sample.inputs, sample.targets):
            for name, array in group.items():
                group[name] = _with_rows(array, bad, 0, xp)
        return sample, events
    return _substituted(sample, bad, system, keys, xp), events


def _substituted(sample: Sample, bad: np.ndarray, system: System, keys: Keys, xp: Any) -> Sample:
    sample = replace(
        sample,
        inputs=dict(sample.inputs),
        targets=dict(sample.targets),
        params=dict(sample.params),
    )
    for attempt in range(ATTEMPTS):
        again = Keys(keys.seed, f"{keys.split}/substitute/{attempt}", keys.indices[bad])
        other = simulate(system, again, xp)
        for mine, theirs in (
            (sample.inputs, other.inputs),
            (sample.targets, other.targets),
        ):
            for name, array in mine.items():
                mine[name] = _with_rows(array, bad, theirs[name], xp)
        for name, array in sample.params.items():
            sample.params[name] = _with_rows(array, bad, other.params[name], np)
        sample.weight[bad] = _weight(other)
        bad = bad[~is_finite(other, xp)]
        if not len(bad):
            return sample
    first = int(bad[0])
    raise SimulationError(
        f"non-finite, and so were {ATTEMPTS} substitutes",
        int(keys.indices[first]),
        row_of(sample.params, first),
    )


def _with_rows(array: Any, rows: np.ndarray, values: Any, xp: Any) -> Any:
    copy = array.copy()
    copy[xp.asarray(rows)] = values
    return copy
