"""Producing batches ahead of the consumer, in order, in bounded number."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from ipads_stream.core.sample import Sample
from ipads_stream.stream.blas import single_blas
from ipads_stream.stream.device import Device

Item = TypeVar("Item")


def produce(
    make: Callable[[int], Item], start: int, *, threads: int, depth: int
) -> Generator[tuple[Item, int], None, None]:
    """Yields ``make(start), make(start + 1), ...`` and the number of items that were ready.

    Threads rather than processes: the simulators release the interpreter lock, nothing is pickled
    or copied, and CUDA survives. With ``threads=0`` each item is made when it is asked for. An
    exception in ``make``, which several threads call at once, is raised at its place in the order;
    closing the iterator waits for the items in the making and drops the others. At most ``depth``
    items are made or in the making before the consumer asks. NumPy's matrix products use one
    thread meanwhile: the producers are the parallel ones.

    Raises:
        RuntimeError: in a process that was forked after iterating began: it has no threads.
    """
    number = start
    if threads == 0:
        while True:
            yield make(number), 0
            number += 1
    process, producers = os.getpid(), set[int]()
    with single_blas():
        pool = ThreadPoolExecutor(
            threads, "ipads-producer", initializer=lambda: producers.add(threading.get_ident())
        )
        ahead: deque[Future[Item]] = deque()
        try:
            while True:
                if os.getpid() != process:
                    raise RuntimeError(
                        "this process was forked after iterating began, without its threads: "
                        "iterate over the stream anew here, or start processes by spawn"
                    )
                while len(ahead) < depth:
                    ahead.append(pool.submit(make, number))
                    number += 1
                ready = sum(item.done() for item in ahead)
                yield ahead.popleft().result(), ready
        finally:
            if os.getpid() == process:
                # A producer that collects the forgotten iterator cannot wait for itself.
                is_consumer = threading.get_ident() not in producers
                pool.shutdown(wait=is_consumer, cancel_futures=True)


def repeated(
    made: Generator[tuple[tuple[Sample, float], int], None, None],
    step: int,
    *,
    repeat: int,
    device: Device,
) -> Generator[tuple[Sample, float, int], None, None]:
    """Each batch ``repeat`` times, from delivery ``step`` on, with the seconds it took and the
    number of batches ready; a repetition takes 0 s.

    Repetitions are copies, so that a consumer that changes a batch changes no later one. ``made``
    gives the batches from that of ``step`` on, as :func:`produce`.
    """
    with closing(made):
        while True:
            (batch, generation), queued = next(made)
            for _ in range(step % repeat, repeat - 1):
                device.receive(batch)  # the copy reads it on the consumer's CUDA stream
                yield at_step(step, _copy(batch)), generation, queued
                step, generation = step + 1, 0.0
            yield at_step(step, batch), generation, queued
            step += 1


def at_step(step: int, batch: Sample) -> Sample:
    """The batch as it is delivered at ``step``; its failures count at the first step only."""
    assert batch.provenance is not None
    if batch.provenance.step == step:
        return batch
    return replace(batch, provenance=replace(batch.provenance, step=step, failures=()))


def _copy(batch: Sample) -> Sample:
    """The batch in memory of its own, on the current CUDA stream."""
    params = {name: np.array(array) for name, array in batch.params.items()}
    return replace(batch.mapped(torch.clone), params=params, weight=batch.weight.clone())


@dataclass
class Timings:
    """Where the time of one step went.

    Attributes:
        wait: s the consumer waited for this batch.
        generation: s it took to make this batch (in a producer thread, or inline).
        step: s from this delivery to the previous one.
        queued: batches that were ready when this one was asked for.
        samples: in this batch, on this rank.
    """

    wait: float = 0.0
    generation: float = 0.0
    step: float = 0.0
    queued: int = 0
    samples: int = 0

    @property
    def stall(self) -> float:
        """Share of the step that the consumer spent waiting."""
        return self.wait / self.step if self.step > 0 else 0.0
