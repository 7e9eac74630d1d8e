"""A batch of samples and where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ipads_stream.core.notebook import Shown

Arrays = dict[str, Any]
GROUPS = ("inputs", "targets", "params")
# Of the provenance of a whole batch, what is logged with each of its samples.
RECORDED = ("system", "seed", "split", "step", "config_hash", "version", "backend", "on_nonfinite")


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
            regions (stream/adaptation.py); None: those of the configuration.
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
        record = {name: getattr(self, name) for name in RECORDED}
        record |= {"index": int(self.indices[row]), "substituted": bool(self.substituted[row])}
        return record if self.shares is None else record | {"shares": self.shares[row]}

    def rows(self, rows: slice) -> "Provenance":
        """Where some of the samples come from; failures stay with the whole batch."""
        return replace(
            self,
            indices=self.indices[rows],
            substituted=self.substituted[rows],
            failures=(),
            shares=None if self.shares is None else self.shares[rows],
        )


@dataclass(frozen=True, repr=False)
class Sample(Shown):
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

    def to(self, device: Any, *, non_blocking: bool = False) -> "Sample":
        """The batch with its tensors on another device, as ``torch.Tensor.to``.

        Parameters and provenance stay on the host.
        """

        def moved(tensor: Any) -> Any:
            return tensor.to(device, non_blocking=non_blocking)

        weight = None if self.weight is None else moved(self.weight)
        return replace(self.mapped(moved), weight=weight)

    def mapped(self, change: Callable[[Any], Any]) -> "Sample":
        """The batch with every input and target changed."""
        inputs, targets = (
            {name: change(array) for name, array in group.items()}
            for group in (self.inputs, self.targets)
        )
        return replace(self, inputs=inputs, targets=targets)

    def rows(self, rows: slice) -> "Sample":
        """Neighbouring samples of the batch, with their provenance."""
        groups = {
            group: {name: array[rows] for name, array in getattr(self, group).items()}
            for group in GROUPS
        }
        return Sample(
            **groups,
            weight=None if self.weight is None else self.weight[rows],
            provenance=None if self.provenance is None else self.provenance.rows(rows),
            substituted=None if self.substituted is None else self.substituted[rows],
        )

    @property
    def headline(self) -> str:
        size, origin = f"Sample: a batch of {len(self)}", self.provenance
        if origin is None:
            return size
        indices = f"{origin.indices[0]} to {origin.indices[-1]}"
        return f"{size} ({origin.system}, {origin.split}, seed {origin.seed}, indices {indices})"

    @property
    def entries(self) -> dict[str, str]:
        """Names, types and shapes of the arrays, by group."""
        return {
            group: ", ".join(
                f"{name} {str(array.dtype).removeprefix('torch.')} {tuple(array.shape)}"
                for name, array in getattr(self, group).items()
            )
            for group in GROUPS
        }

    def __repr__(self) -> str:
        rows = (f"\n  {group}: {arrays or 'none'}" for group, arrays in self.entries.items())
        return self.headline + "".join(rows)
