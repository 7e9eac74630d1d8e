"""Small systems for testing the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.core import random
from ipads_stream.core.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Toy:
    """Keyed numbers as signals; some indices come out non-finite or raise."""

    name: ClassVar[str] = "toy"

    points: int = 8
    nan_at: tuple[int, ...] = ()
    raise_at: tuple[int, ...] = ()
    delay: float = 0.0

    def draw(self, keys, progress):
        return {"level": random.uniform(keys["level"])}

    def render(self, params, keys, xp):
        if self.delay > 0:
            import time

            time.sleep(self.delay)
        for index in self.raise_at:
            if index in keys.indices.tolist():
                raise FloatingPointError("the field diverged")
        signal = random.normal(keys["noise"], (self.points,), xp) + params["level"][:, None]
        signal = signal.astype(np.float32)
        if keys.split == "train":
            signal[np.isin(keys.indices, np.array(self.nan_at, dtype=np.uint64))] = np.nan
        return Sample({"signal": signal}, {"level": params["level"].astype(np.float32)}, params)


@pytest.fixture(scope="session")
def toy():
    return Toy


@pytest.fixture
def counting():
    """A small system, and the list of the first sample of each batch that it has drawn."""
    made = []

    class Counting(Toy):
        def draw(self, keys, progress):
            made.append(int(keys.indices[0]))
            return super().draw(keys, progress)

    return Counting(), made


@pytest.fixture(scope="session")
def system():
    return load_system("dlnmr", ["points=32"])
