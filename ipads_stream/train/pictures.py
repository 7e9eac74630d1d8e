"""Pictures of a run: samples before training, predictions beside the truth at each validation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from ipads_stream.core.fields import Whole
from ipads_stream.core.sample import Sample
from ipads_stream.report.galleries import Labels
from ipads_stream.report.signals import sample_gallery
from ipads_stream.systems import Quantified, System


class Pictures(Callback):
    """Draws ``samples.png`` and, at each validation, ``predictions.png`` in the run's folder.

    Loggers that show pictures (W&B, TensorBoard) get them, too.

    Args:
        samples: in a picture, the first of the validation split.
    """

    def __init__(self, samples: int = 4) -> None:
        self.samples: int = Whole(low=1, high=64)("samples", samples)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.is_global_zero:
            stream = trainer.datamodule.held.stream  # type: ignore[attr-defined]
            self._draw(trainer, "samples", stream.sample(range(self.samples), raw=True))

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Sample,
        batch_idx: int, dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if batch_idx or not trainer.is_global_zero:
            return
        predictions, sample = outputs["answers"][0]
        predicted = {
            f"{name}, predicted": predictions[name].detach().to(target.dtype)
            for name, target in sample.targets.items()
            if name in predictions
        }
        if not predicted:
            return
        system = trainer.datamodule.held.stream.system  # type: ignore[attr-defined]
        if isinstance(system, Quantified):  # numbers and maps stand beside what is measured
            sample = replace(sample, targets=sample.targets | predicted)
        else:  # curves and images beside those that they should be
            sample = replace(sample, inputs=sample.targets, targets=predicted)
        self._draw(trainer, "predictions", sample)

    def _draw(self, trainer: Trainer, key: str, sample: Sample) -> None:
        path = Path(trainer.default_root_dir) / f"{key}.png"
        system: System = trainer.datamodule.held.stream.system  # type: ignore[attr-defined]
        labels = Labels.of(system)
        predicted = {f"{name}, predicted": each for name, each in labels.quantities.items()}
        labels = replace(labels, quantities={**labels.quantities, **predicted})
        sample = sample.rows(slice(0, self.samples)).to("cpu")
        sample_gallery(sample, path, labels=labels, count=self.samples)
        show(trainer, key, path)


def show(trainer: Trainer, key: str, path: Path) -> None:
    """Gives a PNG to the loggers that show pictures."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [str(path)])
        elif isinstance(logger, TensorBoardLogger):
            from matplotlib.image import imread

            pixels = imread(path)
            logger.experiment.add_image(key, pixels, trainer.global_step, dataformats="HWC")
