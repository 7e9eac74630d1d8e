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

from ipads_stream.core.backend import is_cupy, is_device_failure
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import GROUPS, Arrays, Sample
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
        Exception: whatever memory or a GPU failed with, at once and as it is.
    """
    try:
        return system.render(system.draw(keys, progress_of(keys)), keys, xp)
    except Exception as error:
        if is_device_failure(error):
            raise
        for index in keys.indices:
            key = Keys(keys.seed, keys.split, np.array([index], dtype=np.uint64))
            params: Arrays = {}
            try:
                params = system.draw(key, progress_of(key))
                system.render(params, key, xp)
            except Exception as culprit:
                reason = f"{type(culprit).__name__}: {culprit}"
                raise SimulationError(reason, int(index), row_of(params, 0)) from culprit
        raise error  # only the batch as a whole fails


def progress_of(keys: Keys) -> np.ndarray:
    """Where samples stand in the course of training: their index; past its end in other splits.

    So that validation and test see what a curriculum leads to, not where it starts.
    """
    if keys.split.partition("/")[0] == "train":
        return keys.indices.astype(np.float64)
    return np.full(keys.indices.shape, np.inf)


def is_finite(sample: Sample, xp: Any) -> np.ndarray:
    """(B,) bool on the host: every input and target of the sample, and its weight, is finite."""
    rows = [
        xp.ascontiguousarray(xp.reshape(array, (len(array), -1)))
        for array in (*sample.inputs.values(), *sample.targets.values())
        if array.dtype.kind in "fc"
    ]
    flat = [x.view(x.real.dtype) for x in rows]
    if xp is not np and flat:  # few launches instead of few copies
        flat = [xp.concatenate(flat, axis=1)]
    good = np.isfinite(_weight(sample))
    for x in flat:
        # A sum over a sample is finite unless it holds a NaN, an infinity or overflows; of the real
        # and imaginary parts together it takes a quarter of the time of a sum of magnitudes.
        good = good & np.isfinite(_on_host(xp.einsum("bn->b", x)))
    return good


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
    return np.asarray(array.get() if is_cupy(array) else array)


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
        return sample.mapped(lambda array: _with_rows(array, bad, 0, xp)), events
    return _substituted(sample, bad, system, keys, xp), events


def _substituted(sample: Sample, bad: np.ndarray, system: System, keys: Keys, xp: Any) -> Sample:
    groups: dict[str, Any] = {name: dict(getattr(sample, name)) for name in GROUPS}
    sample = replace(sample, **groups)
    for attempt in range(ATTEMPTS):
        again = Keys(keys.seed, f"{keys.split}/substitute/{attempt}", keys.indices[bad])
        other = simulate(system, again, xp)
        for group, arrays in groups.items():
            space = np if group == "params" else xp
            for name, array in arrays.items():
                arrays[name] = _with_rows(array, bad, getattr(other, group)[name], space)
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
