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
        on_nonfinite: policy for non-finite samples that the batch was made under.
        failures: non-finite samples of this batch, at its first delivery: index, split, seed,
            step, policy, config_hash and drawn parameters of each.
        shares: of each sample, where the system adapts: name of the parameter -> shares of its
            regions; None: those of the configuration. ``with_shares`` (stream/adaptation.py) gives
            the system that drew the sample.
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
    on_nonfinite: str
    failures: tuple[dict[str, Any], ...] = ()
    shares: tuple[dict[str, list[float]] | None, ...] | None = None

    def record(self, row: int) -> dict[str, Any]:
        """One sample's provenance as plain values, ready for JSON; ``replay`` reads it back."""
        record = {
            "system": self.system,
            "seed": self.seed,
            "split": self.split,
            "index": int(self.indices[row]),
            "step": self.step,
            "config_hash": self.config_hash,
            "version": self.version,
            "backend": self.backend,
            "on_nonfinite": self.on_nonfinite,
            "substituted": bool(self.substituted[row]),
        }
        return record if self.shares is None else record | {"shares": self.shares[row]}


@dataclass(frozen=True)
class Sample:
    """A batch: what the network sees, what it should say, and the physics behind it.

    Attributes:
        inputs, targets: named arrays or tensors, batch axis first.
        params: physical parameters that were drawn (SI), batch axis first, on the host.
        weight: (B,) float32, weight of each sample in the loss (0: masked by the failure policy);
            a system leaves it out for ones.
        provenance: where the samples come from.
        substituted: (B,) bool on the host, as in the provenance; a system that reads stored samples
            says here which of them replace a non-finite one.
    """

    inputs: Arrays
    targets: Arrays
    params: Arrays
    weight: Any = None
    provenance: Provenance | None = None
    substituted: Any = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))
