"""A stream as the data of any LightningModule, resumed exactly.

Lightning fetches ahead; a checkpoint has to hold the batch that comes next in training.
"""

from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningDataModule

from ipads_stream.core.fields import Whole
from ipads_stream.core.sample import Sample
from ipads_stream.stream.stream import Stream


class Ahead:
    """The stream's batches, for a loop that fetches them before it trains on them."""

    def __init__(self, data: "StreamDataModule") -> None:
        self.data, self.stream = data, data.stream
        # Step and number of batches trained on when iterating began, and what counts them.
        self._begun: tuple[int, int, Any] | None = None

    @property
    def next_step(self) -> int:
        """The first batch that was not trained on."""
        if self._begun is None:
            return self.stream.step
        step, trained, progress = self._begun
        return step + int(progress.processed) - trained

    def __iter__(self) -> Iterator[Sample]:
        step = self.next_step
        if step != self.stream.step:  # what an earlier loop fetched and dropped comes again
            self.stream.load_state_dict(self.state_dict())
        if self.data.trainer is not None:
            progress: Any = self.data.trainer.fit_loop.epoch_loop.batch_progress.total
            self._begun = step, progress.processed, progress
        return iter(self.stream)

    def state_dict(self) -> dict[str, Any]:
        return self.stream.state_at(self.next_step)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stream.load_state_dict(state)
        self._begun = None


class Held:
    """The first samples of a stream, in whole batches, the same each time."""

    def __init__(self, stream: Stream, num_samples: int) -> None:
        self.stream, self.batches = stream, max(1, num_samples // stream.batch_size)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Sample]:
        return (self.stream.batch(step) for step in range(self.batches))


class StreamDataModule(LightningDataModule):
    """Batches of a stream for ``Trainer.fit(module, datamodule=StreamDataModule(stream))``.

    A run that goes on from a checkpoint (``ckpt_path``), whenever it was saved, trains on the same
    batches as one that was never interrupted. The stream has no end: the Trainer's ``max_steps``
    (or ``limit_train_batches`` and ``max_epochs``) bounds training, and ``val_check_interval`` is a
    number of steps. Tell ``self.log`` the ``batch_size=len(batch)``.

    Args:
        stream: to train on; it shares batches out to several processes by itself.
        validation: stream whose first samples are held out; None: no validation.
        val_samples: held out, in whole batches.
    """

    def __init__(
        self, stream: Stream, validation: Stream | None = None, *, val_samples: int = 256
    ) -> None:
        super().__init__()
        Whole(low=1)("val_samples", val_samples)
        self.stream = stream
        self.train = Ahead(self)
        self.held = None if validation is None else Held(validation, val_samples)

    def train_dataloader(self) -> Ahead:
        return self.train

    def val_dataloader(self) -> Held | list[Any]:
        return [] if self.held is None else self.held
