"""Thresholds that a network tells of, by phase and by sampling rate, for the log.

A network that has thresholds gives them beside its spectra: "thresholds", and perhaps
"relative_thresholds", both (phases, batch).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ipads_stream.core.sample import Sample
from ipads_stream.train.objectives import weighted

NAMES = {"thresholds": "threshold", "relative_thresholds": "relative_threshold"}
BINS = 20  # of the sampling rate: the nearest 5 %


def by_phase(predictions: dict[str, Tensor], weight: Tensor | None) -> dict[str, Tensor]:
    """Mean over a batch: ``threshold/phase_1`` and so on; empty for networks without thresholds.

    Args:
        predictions: of the network.
        weight: of the samples, (B,).
    """
    return {
        f"{name}/phase_{phase}": weighted(values.detach(), weight)
        for key, name in NAMES.items()
        if key in predictions
        for phase, values in enumerate(predictions[key], start=1)
    }


class ByRate:
    """Means over held-out batches: of every phase, at every sampling rate to the nearest 5 %."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, predictions: dict[str, Tensor], sample: Sample) -> None:
        """Takes in one batch; one without thresholds, or without a mask, adds nothing.

        Args:
            predictions: of the network.
            sample: with "mask" (B, N) among its inputs.
        """
        mask = sample.inputs.get("mask")
        if mask is None:
            return
        rate = mask.double().flatten(1).mean(1)
        one_hot = torch.nn.functional.one_hot((BINS * rate).round().long(), BINS + 1).double()
        if sample.weight is not None:
            one_hot = one_hot * sample.weight[:, None]
        for key, name in NAMES.items():
            if key in predictions:
                ones = torch.ones_like(predictions[key][:1])
                values = torch.cat([predictions[key], ones]).detach().double()
                sums = values @ one_hot  # the last row counts the samples
                self._sums[name] = self._sums.get(name, 0) + sums

    def means(self, total: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """``threshold/phase_1/rate_25`` and so on, where there were samples; then starts anew.

        Args:
            total: sum over all processes; None: there is one.
        """
        found: dict[str, float] = {}
        for name, sums in self._sums.items():
            *phases, counts = (sums if total is None else total(sums)).tolist()
            found |= {
                f"{name}/phase_{phase}/rate_{100 * place // BINS}": values[place] / count
                for place, count in enumerate(counts)
                if count > 0
                for phase, values in enumerate(phases, start=1)
            }
        self._sums = {}
        return found
