"""What a stream measures of itself, step by step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Timings:
    """Where the time of one step went.

    Attributes:
        wait: s the consumer waited for this batch.
        generation: s it took to make this batch (in a producer thread, or inline).
        step: s from this delivery to the previous one.
        queued: batches that lay ready when this one was asked for.
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
