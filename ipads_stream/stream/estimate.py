"""What a run takes of memory, disk and time: said before it begins, refused where it does not fit.

A few samples are made on trial, in a split of their own: their peaks, extrapolated to batches, are
what a stream takes. Trials change no state of the run, and share no random number with it.
"""

import os
import shutil
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import check_memory, free_memory
from ipads_stream.core.sample import Sample
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System

THREADS = 16  # per processor
SPLIT = "estimate"
# A trial: bytes of its finished samples and seconds at most, samples at least and at most. Systems
# that render a few samples at a time need more than two to tell what a further one takes.
TRIED, SECONDS, FEWEST, MOST = 1_000_000, 0.3, 4, 64
QUICK = 0.1  # s
# Of what is free the first sample may take a tenth: one of a million times too many points is
# refused before it fills the machine. Compiling takes less than ROOM.
FIRST, ROOM = 0.1, 1e9
# The heap keeps more than it is asked for; tests/stream/test_estimate.py holds peaks within it.
MARGIN = 1.5
WORTH = {"bytes": 1e9, "seconds": 60.0}  # what a run takes at least that is told before it


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What making samples takes.

    Attributes:
        fixed: bytes of a batch of any size, while it is made.
        each: bytes of a sample while it is made, finished included.
        kept: bytes of a finished sample: inputs, targets and parameters.
        seconds: to make a sample, in one thread.
        tried: the samples of the trial, on the device.
    """

    fixed: float
    each: float
    kept: float
    seconds: float
    tried: Sample

    def batch(self, size: int) -> float:
        """Bytes at the peak while a batch is made."""
        return self.fixed + size * self.each

    def streamed(self, stream: Stream, size: int | None = None) -> float:
        """Bytes of the batches of a stream that are in use, made and being made at once; of
        another ``size`` than its own, if given."""
        size = stream.batch_size if size is None else size
        ahead = stream.depth if stream.threads else 0
        return max(1, min(stream.threads, stream.depth)) * self.batch(size) + (
            (1 + ahead) * size * self.kept
        )


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a run takes: bytes of memory and of disk, and seconds; margins are not in."""

    memory: float = 0.0
    disk: float = 0.0
    seconds: float = 0.0


def check_threads(stream: Stream) -> None:
    """Raises ConfigError of more threads than help."""
    most = THREADS * (os.cpu_count() or 1)
    if stream.threads > most:
        raise ConfigError("threads", stream.threads, f"at most {most} on this machine")


def sample_costs(system: System, *, seed: int = 0, device: str = "cpu") -> Costs | None:
    """What samples of a system take on a device; None where a trial fails, as the run itself will,
    and on a GPU that torch does not count the memory of.

    Raises:
        ConfigError: not even the trial fits into memory.
    """
    if device != "cpu" and torch.version.cuda is None:
        return None
    try:
        probe = Stream(system, seed=seed, split=SPLIT, device=device, threads=0)
        with within_memory(device, share=FIRST):
            kept = _finished(probe.sample([0], raw=True))  # also compiles
            one, took, _ = _trial(probe, 1)
        with within_memory(device):
            few = int(np.clip(min(TRIED / max(kept, 1), SECONDS / took), FEWEST, MOST))
            peak, took, tried = _trial(probe, few)
            if took < QUICK:  # following its memory may take longer than the trial
                started = time.perf_counter()
                probe.sample(range(few), raw=True)
                took = time.perf_counter() - started
            each = max((peak - one) / (few - 1), kept)
    except Exception as error:
        if is_out_of_memory(error):
            free = f"a sample of it takes too much of the {size_text(free_bytes(device))} free"
            raise ConfigError("system", system.name, f"less: {free}") from error
        return None  # whatever is wrong, the run says so at its place
    return Costs(fixed=max(one - each, 0.0), each=each, kept=kept, seconds=took / few, tried=tried)


def _finished(sample: Sample) -> int:
    groups = (sample.inputs, sample.targets, sample.params)
    return sum(int(x.nbytes) for group in groups for x in group.values()) // len(sample)


def _trial(probe: Stream, count: int) -> tuple[float, float, Sample]:
    """Bytes at the peak while samples are made, where Numba's own small arrays are not seen, the
    seconds that it took, and the samples."""
    started = time.perf_counter()
    with peak_of(probe.device) as peak:
        tried = probe.sample(range(count), raw=True)
    return peak[0], time.perf_counter() - started, tried


@contextmanager
def peak_of(device: str) -> Iterator[list[float]]:
    """Bytes that arrays take at most inside the block: NumPy's, or on a GPU torch's and CuPy's."""
    peak = [0.0]
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield peak
        peak[0] = float(torch.cuda.max_memory_allocated() - before)
        return
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        yield peak
        peak[0] = float(tracemalloc.get_traced_memory()[1] - before)
    finally:
        if not was_tracing:
            tracemalloc.stop()


@contextmanager
def within_memory(device: str, *, share: float = 1.0) -> Iterator[None]:
    """Inside the block an allocation beyond a share of what is free fails, in place of the whole
    process; ROOM is left in any case.

    Not on a GPU: CUDA reserves more addresses than there is memory.
    """
    free = free_memory()
    if device != "cpu" or free == sys.maxsize:  # a system that does not say, nor has the limit
        yield
    elif sys.platform != "win32":
        import resource

        limit, hard = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        room = int(max(share * free, min(free, ROOM)))
        most = [x for x in (limit, hard, used + room) if x != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(most), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    else:
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused; torch says so in a RuntimeError on the CPU."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def free_bytes(device: str) -> float:
    """Of memory on a device, those included that torch holds and does not use."""
    if device == "cpu" or torch.version.cuda is None:
        return free_memory()
    held = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return torch.cuda.mem_get_info()[0] + held


def check_needs(
    needs: Needs,
    key: str,
    value: Any,
    *,
    device: str = "cpu",
    folder: Path | None = None,
) -> str:
    """Refuses what does not fit; what a long or large run takes in words, "" of a small one.

    Args:
        needs: without margins.
        key, value: that a user would make smaller.
        device: whose memory is taken.
        folder: that is written to, or will be.

    Raises:
        ConfigError: more memory or disk than is free, with both numbers.
    """
    memory, free = MARGIN * needs.memory, free_bytes(device)
    if device == "cpu":
        check_memory(key, value, memory)
    elif memory > free:
        asked = f"less: it needs about {size_text(memory)} on the GPU, {size_text(free)} are free"
        raise ConfigError(key, value, asked)
    text = [f"{size_text(memory)} of memory ({size_text(free)} free)"]
    if folder is not None and needs.disk:
        there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        room = shutil.disk_usage(there).free
        if needs.disk > room:
            asked = f"less: it needs about {size_text(needs.disk)} in {folder}"
            raise ConfigError(key, value, f"{asked}, {size_text(room)} are free")
        text.append(f"{size_text(needs.disk)} on disk ({size_text(room)} free)")
    is_large = max(memory, needs.disk) >= WORTH["bytes"] or needs.seconds >= WORTH["seconds"]
    text += [duration(needs.seconds)] if needs.seconds else []
    return f"About {', '.join(text)}" if is_large else ""


def tell(text: str) -> None:
    """Says on the error stream what a run takes, if there is something to say."""
    if text:
        sys.stderr.write(f"{text}\n")


def size_text(num_bytes: float) -> str:
    """Such as "1.2 GB" or "30 MB"."""
    if num_bytes >= 1e8:
        return f"{num_bytes / 1e9:.2g} GB" if num_bytes < 1e11 else f"{num_bytes / 1e9:.0f} GB"
    return f"{max(num_bytes / 1e6, 0.1):.2g} MB"


def duration(seconds: float) -> str:
    """Such as "90 s", "12 min" or "30 h"."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 10_800 else f"{seconds / 3600:.0f} h"
