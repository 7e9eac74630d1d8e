"""Steps of training on a stream in Lightning's loop, and what they log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from ipads_stream import __version__
from ipads_stream.core.sample import Sample
from ipads_stream.stream.stream import Stream
from ipads_stream.train.checkpoint import EXTRA, check_weight
from ipads_stream.train.objectives import Named, answered, summed, weighted

if TYPE_CHECKING:
    from ipads_stream.train.supervised import Supervised


@runtime_checkable
class OfDraws(Protocol):
    """A loss that gives the errors of single draws, not of whole samples alone."""

    def errors(self, predictions: Named, sample: Sample) -> Named: ...


class Training(LightningModule):
    """Supervised steps on a stream.

    A step returns, for callbacks, ``answers``: (predictions, sample) of all that was predicted. The
    learning rate of a group of parameters is its ``scale``, if any, times ``rate(finished steps)``.
    The checkpoint keeps ``config``; the stream's timings and failures are logged.
    """

    def __init__(
        self,
        settings: Supervised,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        config: dict[str, Any],
        rate: Callable[[int], float],
    ) -> None:
        super().__init__()
        self.settings, self.net, self.loss = settings, net, loss
        self.stream, self.config, self.rate = stream, config, rate
        self.first_step, self.has_begun = 0, False

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.settings.optimizer(self.net)

    def on_train_start(self) -> None:
        self._check_restored()
        self.has_begun = True
        first = self.trainer.strategy.broadcast(self.stream.step)
        if first != self.stream.step:  # such as a file of one node that another does not see yet
            raise RuntimeError(
                f"process {self.global_rank} goes on from a checkpoint at batch "
                f"{self.stream.step}, the first process from one at batch {first}"
            )

    def _check_restored(self) -> None:
        """Raises ValueError or TypeError of a checkpoint whose parts do not belong together."""
        if self.global_step != self.first_step:
            raise ValueError(f"its loops are at step {self.global_step}, not {self.first_step}")
        for weight, moments in self.trainer.optimizers[0].state.items():
            for name, value in moments.items():
                if not isinstance(value, Tensor) or not value.ndim:
                    continue
                check_weight(name, value.cpu())
                if value.shape != weight.shape or not value.isfinite().all():
                    raise ValueError(f"{name} of the optimizer does not fit, or is not finite")

    def on_train_batch_start(self, batch: Sample, batch_idx: int) -> None:
        # Lightning counts one step of the log too many after a checkpoint at a validation.
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.global_step
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = group.get("scale", 1.0) * self.rate(self.global_step)

    def training_step(self, batch: Sample, batch_idx: int) -> dict[str, Any]:
        predictions, errors = answered(self.net, self.loss, batch)
        assert batch.provenance is not None
        if self.stream.table.adaptive:
            self._feed_back(predictions, errors, batch)
        loss = self.report(errors, batch, batch.weight, batch.provenance.indices)
        return {"loss": loss, "answers": [(predictions, batch)]}

    def _feed_back(self, predictions: Named, errors: Named, batch: Sample) -> None:
        """Reports to the stream where the network failed, and logs the shares that follow."""
        shared = self.trainer.world_size > 1
        failure: Tensor | Named = summed(errors).detach()
        if isinstance(self.loss, OfDraws):
            failure = self.loss.errors(predictions, batch)
        self.stream.feed_back(batch, failure, self.total if shared else None)
        if self.stream.table.history:
            for name, shares in self.stream.table.history[-1][1].items():
                values = {f"shares/{name}/{i}": float(share) for i, share in enumerate(shares)}
                self.log_dict(values, batch_size=len(batch))

    def total(self, sums: Tensor) -> Tensor:
        """Sum of a tensor over all processes."""
        gathered = self.all_gather(sums.to(self.device))
        assert isinstance(gathered, Tensor)
        return gathered.sum(0).to(sums.device)

    def report(self, errors: Named, batch: Sample, weight: Tensor, indices: np.ndarray) -> Tensor:
        """The loss of a step, the weighted mean of the summed errors; logged where it is due.

        Errors, weight and indices are (B,), of the samples that the errors are of.
        """
        total = summed(errors)
        loss = weighted(total, weight)
        if (self.global_step + 1) % self.settings.log_every:  # as Lightning counts
            return loss
        timings, size = self.stream.timings, len(batch)
        worst = int(total.detach().argmax())
        shared = self.trainer.world_size > 1
        self.log("loss", loss, prog_bar=True, batch_size=size, sync_dist=shared)
        terms = {f"loss/{name}": weighted(error, weight) for name, error in errors.items()}
        values: dict[str, Any] = terms | {
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
        }
        self.log_dict(values, batch_size=size)
        self.log("stall", timings.stall, prog_bar=True, batch_size=size)
        return loss

    def validation_step(self, batch: Sample, batch_idx: int) -> dict[str, Any]:
        predictions, errors = answered(self.net, self.loss, batch)
        self.report_validation(errors, batch.weight)
        return {"answers": [(predictions, batch)]}

    def report_validation(self, errors: Named, weight: Tensor) -> None:
        """Logs the errors of a held-out batch, each (B,), by the weights (B,) of its samples."""
        size, loss = len(weight), weighted(summed(errors), weight)
        self.log("val/loss", loss, batch_size=size, prog_bar=True, sync_dist=True)
        terms = {f"val/loss/{name}": weighted(error, weight) for name, error in errors.items()}
        self.log_dict(terms, batch_size=size, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Of whole steps: the batch that Lightning has fetched for the next one comes again.
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            counts |= dict.fromkeys(("ready", "started", "processed"), counts["completed"])
        checkpoint[EXTRA] = {
            "config": self.config,
            "stream": self.trainer.datamodule.train.state_dict(),  # type: ignore[attr-defined]
            "version": __version__,
        }
