"""Delivering each batch several times in a row, made once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np

from ipads_stream.core.sample import Sample
from ipads_stream.stream.device import Device
from ipads_stream.stream.produce import produce


def echoed(
    make: Callable[[int], tuple[Sample, float]],
    step: int,
    *,
    echo: int,
    threads: int,
    depth: int,
    device: Device,
) -> Generator[tuple[Sample, float, int], None, None]:
    """From batch ``step`` on: the batch, the seconds it took (0: a repeat), and batches ready.

    Repeats are copies, so that a consumer that changes a batch changes no later one.

    Args:
        make: number of the batch as made -> the batch and the seconds it took.
        step: first batch to deliver.
        echo: deliveries of each batch made.
        threads, depth: see :func:`produce`.
        device: that the batches are on.
    """
    made = produce(make, step // echo, threads=threads, depth=depth)
    try:
        while True:
            (batch, generation), queued = next(made)
            for _ in range(step % echo, echo - 1):
                device.receive(batch)  # the copy reads it on the consumer's CUDA stream
                yield at_step(step, _copy(batch)), generation, queued
                step, generation = step + 1, 0.0
            yield at_step(step, batch), generation, queued
            step += 1
    finally:
        made.close()


def at_step(step: int, batch: Sample) -> Sample:
    """The batch as it is delivered at ``step``; its failures count at the first step only."""
    assert batch.provenance is not None
    if batch.provenance.step == step:
        return batch
    return replace(batch, provenance=replace(batch.provenance, step=step, failures=()))


def _copy(batch: Sample) -> Sample:
    """The batch in memory of its own, on the current CUDA stream."""
    return replace(
        batch,
        inputs={name: tensor.clone() for name, tensor in batch.inputs.items()},
        targets={name: tensor.clone() for name, tensor in batch.targets.items()},
        params={name: np.array(array) for name, array in batch.params.items()},
        weight=batch.weight.clone(),
    )
