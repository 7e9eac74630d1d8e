"""Rates of a system's stream on this machine, and of reading a stored set instead."""

import itertools
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import __version__
from ipads_stream.core.fields import Number
from ipads_stream.core.files import json_text, write_text
from ipads_stream.stream.estimate import Needs, check_needs, check_threads, sample_costs, tell
from ipads_stream.stream.freeze import Frozen, freeze
from ipads_stream.stream.produce import produce
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System

STORED = 4096  # samples of the stored sets that are read
STORED_AT_ONCE = 512


def check_bench(
    system: System, *, batch_size: int, threads: int, seconds: float, device: str
) -> None:
    """ConfigError, by name, of more threads than help, batches that memory cannot hold, or stored
    sets that the disk cannot; arguments as of :func:`measure`."""
    Number(above=0, high=86_400)("seconds", seconds)
    stream = Stream(system, batch_size=batch_size, threads=threads, device=device)
    check_threads(stream)
    if (costs := sample_costs(system, device=stream.device)) is None:
        return
    batches = Needs(memory=costs.streamed(stream) + stream.batch_size * costs.kept)
    check_needs(batches, "batch_size", batch_size, device=stream.device)
    rows, sets = 5, 2
    sets_made = Needs(
        memory=costs.batch(STORED_AT_ONCE),
        disk=sets * STORED * costs.kept,
        seconds=rows * seconds + sets * STORED * costs.seconds,
    )
    tell(check_needs(sets_made, "system", system.name, folder=Path(tempfile.gettempdir())))


def measure(
    system: System, *, batch_size: int, threads: int, seconds: float, device: str
) -> list[dict[str, Any]]:
    """Medians of repeated calls: generate a batch, take a ready one, read one from a stored set.

    ``seconds`` are measured per row; ``threads`` are those of the threaded row.
    """
    Number(above=0)("seconds", seconds)
    inline = Stream(system, batch_size=batch_size, device=device, threads=0)
    ahead = Stream(system, batch_size=batch_size, device=device, threads=threads)
    per_batch = {
        "generate, in the consumer": median_seconds(_stepper(inline), seconds),
        f"generate, {threads} producer threads": _mean(ahead, seconds),
        "hand-over of a ready batch": hand_over(inline.batch(0), seconds),
    }
    stored = Stream(system, batch_size=STORED_AT_ONCE, device="cpu", threads=0)
    with tempfile.TemporaryDirectory() as folder:
        for fmt, name in (("npy", "memory-mapped NumPy"), ("hdf5", "HDF5")):
            frozen = Frozen(freeze(stored, Path(folder) / fmt, STORED, fmt=fmt))
            reader = frozen.stream(batch_size=batch_size, threads=0, device=device)
            per_batch[f"read stored, {name}"] = median_seconds(_stepper(reader), seconds)
    return [
        {"row": what, "ms_per_batch": 1e3 * time, "samples_per_s": batch_size / time}
        for what, time in per_batch.items()
    ]


def _stepper(stream: Stream) -> Callable[[], Any]:
    steps = itertools.count()
    return lambda: stream.batch(next(steps))


def median_seconds(call: Callable[[], Any], seconds: float) -> float:
    """Median time of a call, repeated for this many seconds and at least three times."""
    call()  # compiles
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def _mean(stream: Stream, seconds: float) -> float:
    batches = iter(stream)
    for _ in range(stream.depth + 1):
        next(batches)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds or count < 3:
        next(batches)
        count += 1
    return (time.perf_counter() - started) / count


def hand_over(ready: Any, seconds: float) -> float:
    """Median time, s, to take a ready batch that costs nothing to make."""
    times: list[float] = []
    with closing(produce(lambda step: ready, 0, threads=1, depth=4)) as items:
        next(items)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(times) < 3:
            time.sleep(5e-4)  # a consumer that works: the producer has caught up
            started = time.perf_counter()
            next(items)
            times.append(time.perf_counter() - started)
    return float(np.median(times))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    lines = [f"{'':34s} {'ms/batch':>10s} {'samples/s':>12s}"]
    for row in rows:
        lines.append(f"{row['row']:34s} {row['ms_per_batch']:10.3f} {row['samples_per_s']:12,.0f}")
    return "\n".join(lines)


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """The rows as JSON, with the machine they were measured on."""
    content = {
        "version": __version__,
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
        "rows": rows,
    }
    write_text(path, json_text(content, indent=1) + "\n")
