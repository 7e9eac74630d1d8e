"""A batch of samples and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Provenance:
    """All that is needed to build these samples again.

    Attributes:
        system: name of the system.
        seed, split: of the stream.
        indices: (B,) uint64, global sample indices.
        step: batch number in the stream; -1 for samples asked for by index.
        config_hash: digest of the system's configuration.
        version: of this package.
        backend: array library and device that rendered the samples.
        substituted: (B,) bool, samples that replace a non-finite one (see stream/failure.py).
    """

    system: str
    seed: int
    split: str
    indices: np.ndarray
    step: int
    config_hash: str
    version: str
    backend: str
    substituted: np.ndarray

    def record(self, row: int) -> dict[str, Any]:
        """One sample's provenance as plain values, ready for JSON; ``replay`` reads it back."""
        return {
            "system": self.system,
            "seed": self.seed,
            "split": self.split,
            "index": int(self.indices[row]),
            "step": self.step,
            "config_hash": self.config_hash,
            "version": self.version,
            "backend": self.backend,
        }


@dataclass(frozen=True)
class Sample:
    """A batch: what the network sees, what it should say, and the physics behind it.

    Attributes:
        inputs, targets: named arrays or tensors, batch axis first.
        params: physical parameters that were drawn (SI), batch axis first, on the host.
        weight: (B,) float32, weight of each sample in the loss (0: masked by the failure policy).
        provenance: where the samples come from.
    """

    inputs: Arrays
    targets: Arrays
    params: Arrays
    weight: Any = None
    provenance: Provenance | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))
