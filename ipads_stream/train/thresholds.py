"""Thresholds that a network reports, by phase and by sampling rate, in the log.

A network that has thresholds gives them beside its spectra: "thresholds", and perhaps
"relative_thresholds", both (phases, batch).
"""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ipads_stream.core.sample import Sample
from ipads_stream.train.objectives import weighted
from ipads_stream.train.training import Training

NAMES = {"thresholds": "threshold", "relative_thresholds": "relative_threshold"}
BINS = 20  # of the sampling rate: the nearest 5 %


def by_phase(predictions: dict[str, Tensor], weight: Tensor | None) -> dict[str, Tensor]:
    """Weighted mean over a batch: ``threshold/phase_1`` ...; empty without thresholds."""
    return {
        f"{name}/phase_{phase}": weighted(values.detach(), weight)
        for key, name in NAMES.items()
        if key in predictions
        for phase, values in enumerate(predictions[key], start=1)
    }


class ThresholdLog(Callback):
    """Logs thresholds: of every phase in each step; in validations at every sampling rate, too,
    to the nearest 5 %."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Sample, batch_idx: int
    ) -> None:
        for predictions, sample in outputs["answers"]:
            module.log_dict(by_phase(predictions, sample.weight), batch_size=len(sample))

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Sample,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        for predictions, sample in outputs["answers"]:
            self.add(predictions, sample)

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Training)
        means = self.means(module.total if trainer.world_size > 1 else None)
        module.log_dict({f"val/{name}": mean for name, mean in means.items()})

    def add(self, predictions: dict[str, Tensor], sample: Sample) -> None:
        """Takes in a held-out batch; without thresholds, or an input ``mask``, it adds nothing."""
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
        """``threshold/phase_1/rate_25`` ..., where there were samples; then starts anew.

        ``total`` sums over all processes; None: there is one.
        """
        means: dict[str, float] = {}
        for name, sums in self._sums.items():
            *phases, counts = (sums if total is None else total(sums)).tolist()
            means |= {
                f"{name}/phase_{phase}/rate_{100 * place // BINS}": values[place] / count
                for place, count in enumerate(counts)
                if count > 0
                for phase, values in enumerate(phases, start=1)
            }
        self._sums = {}
        return means
