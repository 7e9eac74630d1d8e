"""One block of a sequence: what is played together, and how long it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ipads_stream.sequences.events import ADC, RF, Gradient, refuse

LATE = 1e-9  # s; what a sum of rounded times may lie beyond the end of its block


@dataclass(frozen=True, eq=False)
class Block:
    """Events that start together, each after its own delay; nothing but a duration is a delay.

    Attributes:
        duration: s.
        rf: pulse.
        gx, gy, gz: gradients.
        adc: window of the receiver.

    Raises:
        ValueError: a duration that makes no sense, or an event that ends after the block.
    """

    duration: float
    rf: RF | None = None
    gx: Gradient | None = None
    gy: Gradient | None = None
    gz: Gradient | None = None
    adc: ADC | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration) and self.duration >= 0):
            refuse("Block.duration", self.duration, "a finite time from 0 s")
        for name in ("rf", "gx", "gy", "gz", "adc"):
            event = getattr(self, name)
            if event is not None and event.stop > self.duration + LATE:
                allowed = f"an end within the block of {self.duration} s"
                refuse(f"Block.{name}.stop", event.stop, allowed)

    @property
    def gradients(self) -> tuple[Gradient | None, Gradient | None, Gradient | None]:
        """Along x, y and z."""
        return self.gx, self.gy, self.gz
