"""What one step of training does: loss, learning rate, log, and what the checkpoint holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from ipads_stream import __version__
from ipads_stream.core.sample import Sample
from ipads_stream.stream.stream import Stream
from ipads_stream.train.checkpoint import EXTRA
from ipads_stream.train.objectives import weighted
from ipads_stream.train.thresholds import ByRate, by_phase


class Training(LightningModule):
    """Supervised steps on a stream.

    Args:
        net: inputs -> predictions.
        loss: (predictions, sample) -> error per sample, by name.
        stream: that the batches come from; its timings and failures are logged.
        config: of the run, kept in the checkpoint.
        build_optimizer: network -> optimizer; where a group of its parameters has a ``scale``, its
            learning rate is that times ``rate``.
        rate: number of finished steps -> learning rate.
    """

    def __init__(
        self,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        config: dict[str, Any],
        build_optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer],
        rate: Callable[[int], float],
    ) -> None:
        super().__init__()
        self.net, self.loss, self.stream, self.config = net, loss, stream, config
        self.build_optimizer, self.rate = build_optimizer, rate
        self.next_step = 0
        self.thresholds = ByRate()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.build_optimizer(self.net)

    def on_train_batch_start(self, batch: Sample, batch_idx: int) -> None:
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = group.get("scale", 1.0) * self.rate(self.global_step)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        predictions = self.net(batch.inputs)
        terms = self.loss(predictions, batch)
        assert batch.provenance is not None
        if self.stream.table.adaptive:
            self._feed_back(predictions, terms, batch)
        self.log_dict(by_phase(predictions, batch.weight), batch_size=len(batch))
        return self.report(terms, batch, batch.weight, batch.provenance.indices)

    def _feed_back(
        self, predictions: dict[str, Tensor], terms: dict[str, Tensor], batch: Sample
    ) -> None:
        """Tells the stream where the network failed, and logs the shares that follow from it.

        A loss that can tell the errors of single draws has a method ``errors``; the others count
        the whole sample's.
        """
        own = getattr(self.loss, "errors", None)
        whole = torch.stack(list(terms.values())).sum(0).detach()
        errors = whole if own is None else own(predictions, batch)
        shared = self.trainer.world_size > 1
        self.stream.feed_back(batch, errors, self._total if shared else None)
        if self.stream.table.history:
            for name, shares in self.stream.table.history[-1][1].items():
                found = {f"shares/{name}/{i}": float(share) for i, share in enumerate(shares)}
                self.log_dict(found, batch_size=len(batch))

    def _total(self, sums: Tensor) -> Tensor:
        of_ranks = self.all_gather(sums.to(self.device))
        assert isinstance(of_ranks, Tensor)
        return of_ranks.sum(0).to(sums.device)

    def report(
        self, terms: dict[str, Tensor], batch: Sample, weight: Tensor, indices: np.ndarray
    ) -> Tensor:
        """Logs a step and gives its loss: the weighted mean of the sum of the terms.

        Args:
            terms: error per sample, by name, each (B,).
            batch: that was trained on.
            weight, indices: of the samples that the terms are about, (B,).
        """
        total = torch.stack(list(terms.values())).sum(0)
        loss = weighted(total, weight)
        timings = self.stream.timings
        worst = int(total.detach().argmax())
        assert batch.provenance is not None
        self.next_step = batch.provenance.step + 1
        shared = self.trainer.world_size > 1
        self.log("loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=shared)
        self.log_dict(
            {
                **{f"loss/{name}": weighted(term, weight) for name, term in terms.items()},
                "learning_rate": self.rate(self.global_step),
                "stream/wait_s": timings.wait,
                "stream/generation_s": timings.generation,
                "stream/step_s": timings.step,
                "stream/queued": float(timings.queued),
                "stream/samples_per_s": timings.samples / max(timings.step, 1e-9),
                "stream/failures": float(self.stream.num_failures),
                # float32, Lightning's default, would round indices above 2^24.
                "worst/index": torch.tensor(float(indices[worst]), dtype=torch.double),
                "worst/loss": total.detach()[worst],
            },
            batch_size=len(batch),
        )
        self.log("stall", timings.stall, prog_bar=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        predictions = self.net(batch.inputs)
        self.thresholds.add(predictions, batch)
        self.report_validation(self.loss(predictions, batch), batch.weight)

    def report_validation(self, terms: dict[str, Tensor], weight: Tensor) -> None:
        """Logs the terms of a held-out batch, each (B,), by the weights (B,) of its samples."""
        total = torch.stack(list(terms.values())).sum(0)
        size = len(weight)
        self.log(
            "val/loss", weighted(total, weight), batch_size=size, prog_bar=True, sync_dist=True
        )
        each = {f"val/loss/{name}": weighted(term, weight) for name, term in terms.items()}
        self.log_dict(each, batch_size=size, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        shared = self.trainer.world_size > 1
        means = self.thresholds.means(self._total if shared else None)
        self.log_dict({f"val/{name}": mean for name, mean in means.items()})

    def transfer_batch_to_device(self, batch: Sample, device: Any, dataloader_idx: int) -> Sample:
        return batch  # the stream made it where it is needed

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning asks for one batch ahead: what counts is what was trained on.
        checkpoint[EXTRA] = {
            "config": self.config,
            "stream": self.stream.state_at(self.next_step),
            "version": __version__,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.next_step = checkpoint[EXTRA]["stream"]["step"]
