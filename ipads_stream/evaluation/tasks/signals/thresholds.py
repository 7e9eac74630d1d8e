"""Learned thresholds against the sampling rate, for networks with thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ipads_stream.core.handover import torch_threads
from ipads_stream.evaluation.comparison import draw
from ipads_stream.evaluation.tasks.signals.scores import at_rate
from ipads_stream.report.figures import GREY, drawing
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

    Rows have "rate", "phase" from 1, and those of ``QUANTITIES`` that the network reports, if any.
    """
    rows: list[dict[str, Any]] = []
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    for rate in map(float, rates):
        sample = draw(at_rate(system, rate).system, samples=samples, seed=seed, at_once=samples)
        inputs = {name: tensor.to(device) for name, tensor in sample.inputs.items()}
        with torch.inference_mode(), torch_threads(1):
            predictions = net.eval()(inputs)
        known = [key for key in QUANTITIES if key in predictions]
        means = [predictions[key].double().mean(dim=-1).tolist() for key in known]
        for phase, values in enumerate(zip(*means, strict=True), start=1):
            place = {"rate": rate, "phase": phase}
            rows.append(place | dict(zip(known, values, strict=True)))
        if not known:
            break
    return rows


def sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """How the thresholds change with the sampling rate and from phase to phase, in one sentence."""
    key = list(QUANTITIES)[-1] if list(QUANTITIES)[-1] in rows[0] else next(iter(QUANTITIES))
    name = "relative threshold" if key == "relative_thresholds" else "threshold"
    table = _table(rows, key)
    rates = sorted({row["rate"] for row in rows})
    falls = int((table[-1] < table[0]).sum())
    by_rate = table[-1].mean() / table[0].mean() - 1
    by_phase = table[:, -1].mean() / table[:, 0].mean() - 1
    return (
        f"From {100 * rates[0]:g} to {100 * rates[-1]:g} % sampling the mean {name} changes by "
        f"{100 * by_rate:+.1f} % (it falls in {falls} of {table.shape[1]} phases), from the first "
        f"phase to the last by {100 * by_phase:+.1f} %. One training: no interval."
    )


def _table(rows: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """Values of one quantity, (rates, phases)."""
    phases = max(row["phase"] for row in rows)
    return np.array([row[key] for row in rows], dtype=np.float64).reshape(-1, phases)


def threshold_curves(
    rows: Sequence[Mapping[str, Any]], trained: tuple[float, float], path: Path
) -> Path:
    """Learned thresholds against the sampling rate, one line per phase, first dark, last light.

    ``trained`` are the lowest and highest rate of the training.
    """
    import matplotlib as mpl

    keys = [key for key in QUANTITIES if key in rows[0]]
    percent = [100 * rate for rate in sorted({row["rate"] for row in rows})]
    low, high = trained if trained[1] > trained[0] else (trained[0] - 0.004, trained[0] + 0.004)
    with drawing(path, 1, len(keys), height=3.8) as axes:
        for axis, key in zip(axes[0], keys, strict=True):
            table = _table(rows, key)
            shades = mpl.colormaps["cividis"](np.linspace(0, 0.9, table.shape[1]))
            for phase, (values, shade) in enumerate(zip(table.T, shades, strict=True), start=1):
                axis.plot(
                    percent, values, "o-", color=shade, markersize=3.5, label=f"phase {phase}"
                )
            axis.axvspan(100 * low, 100 * high, color=GREY, alpha=0.12, linewidth=0, zorder=0,
                         label="rates of the training")  # fmt: skip
            if (table > 0).all() and table.max() > 5 * table.min():
                axis.set_yscale("log")
            axis.set(xlabel="sampled points (%)", ylabel=QUANTITIES[key],
                     xlim=(percent[0] - 1, percent[-1] + 1))  # fmt: skip
        axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path
