"""Learned thresholds against the sampling rate, for networks that have any."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ipads_stream.core.handover import torch_threads
from ipads_stream.evaluation.synthetic import test_overrides
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System

RATES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
SIGNALS = 64
QUANTITIES = {  # of a network's predictions, both (phases, batch)
    "thresholds": "mean threshold (units of the features)",
    "relative_thresholds": "mean threshold (of the largest feature)",
}


def thresholds_by_rate(
    net: torch.nn.Module,
    system: System,
    *,
    rates: Sequence[float] = RATES,
    samples: int = SIGNALS,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Mean thresholds of every phase at every rate, over the same noise-free test signals.

    Args:
        net: inputs -> predictions.
        system: has the field ``rate``.
        rates: sampled shares of the points.
        samples: signals per rate.
        seed: of the stream.

    Returns:
        Rows with "rate", "phase" from 1, and those of ``QUANTITIES`` that the network gives; empty
        for a network without thresholds.
    """
    rows: list[dict[str, Any]] = []
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    for rate in map(float, rates):
        at_rate = dataclasses.replace(system, **test_overrides(system, rate))  # type: ignore[type-var]
        stream = Stream(
            at_rate, seed=seed, split="test", batch_size=samples, device="cpu", threads=0
        )
        inputs = {name: tensor.to(device) for name, tensor in stream.batch(0).inputs.items()}
        with torch.inference_mode(), torch_threads(1):
            predictions = net.eval()(inputs)
        found = {
            key: predictions[key].double().mean(dim=-1).tolist()
            for key in QUANTITIES
            if key in predictions
        }
        if not found:
            return []
        count = len(next(iter(found.values())))
        rows += [
            {"rate": rate, "phase": phase + 1}
            | {key: values[phase] for key, values in found.items()}
            for phase in range(count)
        ]
    return rows


def told(rows: Sequence[dict[str, Any]]) -> str:
    """How the thresholds change with the sampling rate and from phase to phase, in one sentence.

    Args:
        rows: of :func:`thresholds_by_rate`.
    """
    key = list(QUANTITIES)[-1] if list(QUANTITIES)[-1] in rows[0] else next(iter(QUANTITIES))
    name = "relative threshold" if key == "relative_thresholds" else "threshold"
    table = table_of(rows, key)
    rates = sorted({row["rate"] for row in rows})
    falls = int((table[-1] < table[0]).sum())
    by_rate = table[-1].mean() / table[0].mean() - 1
    by_phase = table[:, -1].mean() / table[:, 0].mean() - 1
    return (
        f"From {100 * rates[0]:g} to {100 * rates[-1]:g} % sampling the mean {name} changes by "
        f"{100 * by_rate:+.1f} % (it falls in {falls} of {table.shape[1]} phases), from the first "
        f"phase to the last by {100 * by_phase:+.1f} %. One training: no interval."
    )


def table_of(rows: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    """Values of one quantity, (rates, phases)."""
    phases = max(row["phase"] for row in rows)
    return np.array([row[key] for row in rows], dtype=np.float64).reshape(-1, phases)
