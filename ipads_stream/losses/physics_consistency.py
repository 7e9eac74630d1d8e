"""Eq. 10 of the review: what a network estimates must also give back what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ipads_stream import systems
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Instance, Names, Whole, check, number, ruled, whole
from ipads_stream.core.sample import Sample
from ipads_stream.losses.deep_supervision import EPS, energy
from ipads_stream.physics.spectroscopy.spectrum import fid

Predictions = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class LinearWeight:
    """Weight of a term by the global sample index: linear from one value to another.

    A function of the index alone, so that a resumed run and any number of ranks give the same.

    Attributes:
        first, last: weight up to sample ``begin`` and from sample ``end`` on.
        begin, end: global sample indices.

    Raises:
        ConfigError: a negative weight, or an end that is not after the beginning.
    """

    first: float = number(0.0, low=0.0)
    last: float = number(1.0, low=0.0)
    begin: int = whole(0, low=0)
    end: int = whole(10_000, low=1)

    def __post_init__(self) -> None:
        check(self)
        Whole(low=self.begin + 1)("end", self.end)

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Weights (B,) of the samples with these global indices (B,)."""
        share = (indices.astype(np.float64) - self.begin) / (self.end - self.begin)
        return self.first + (self.last - self.first) * np.clip(share, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Undersampling:
    """The sampled points of the estimated spectrum's FID: F^-1 X at the mask.

    Zero by construction for a network whose last step keeps the measured points exactly; of use for
    one with soft consistency or none.

    Attributes:
        spectrum: name of the prediction, zero frequency in the middle.
    """

    spectrum: str = "spectrum"

    def __call__(self, predictions: Predictions, sample: Sample) -> Tensor:
        return torch.where(sample.inputs["mask"], fid(predictions[self.spectrum]), 0)


@dataclass(frozen=True, kw_only=True)
class Forward:
    """The measurement that estimated parameters give, by the system's differentiable ``forward``.

    Attributes:
        system: with a differentiable ``forward`` (:class:`systems.Forward`).
        parameters: names of the predictions that replace the drawn parameters, in SI; parameters
            that are not estimated keep their drawn values.

    Raises:
        ConfigError: a system without ``forward``, no parameter.
    """

    system: Any = ruled(Instance(of=systems.Forward, allowed="a system with a forward model"))
    parameters: Sequence[str] = ruled(Names(what="names of parameters"))

    def __post_init__(self) -> None:
        check(self)
        if not self.parameters:
            raise ConfigError("parameters", self.parameters, "at least one name of a parameter")

    def __call__(self, predictions: Predictions, sample: Sample) -> Tensor:
        estimated = {name: predictions[name] for name in self.parameters}
        like = next(iter(estimated.values()))
        drawn = {
            name: torch.as_tensor(value, dtype=like.dtype, device=like.device)
            for name, value in sample.params.items()
        }
        signal: Tensor = self.system.forward(drawn | estimated)
        mask = sample.inputs.get("mask")
        return signal if mask is None else torch.where(mask, signal, 0)


class PhysicsConsistency(torch.nn.Module):
    """A supervised loss plus ``w(n) sqrt(||F(p_hat) - s||^2 / ||s||^2 + eps^2)``.

    F(p_hat) is the measurement that the estimate implies and s the one that the network was given.

    Args:
        supervised: the loss of the estimate itself; its terms are kept.
        model: ``(predictions, sample) -> F(p_hat)``: :class:`Undersampling` or :class:`Forward`.
        weight: w as a function of the global sample index, such as :class:`LinearWeight`.
        signal: name of the input s.

    Raises:
        ConfigError: a part that is not of its kind.

    Source: review of imaging-physics-based data synthesis, Eq. 10; Feng et al. 2021 (QSMnet+).
    """

    def __init__(
        self,
        *,
        supervised: torch.nn.Module,
        model: Callable[[Predictions, Sample], Tensor],
        weight: Callable[[np.ndarray], np.ndarray],
        signal: str = "fid",
    ) -> None:
        super().__init__()
        parts = {"supervised": supervised, "model": model, "weight": weight}
        for name, part in parts.items():
            if not callable(part):
                raise ConfigError(name, part, "an object under _target_")
        self.supervised, self.model, self.weight, self.signal = supervised, model, weight, signal

    def forward(self, predictions: Predictions, sample: Sample) -> dict[str, Tensor]:
        """Terms of the supervised loss and ``consistency``, each (B,)."""
        terms = self.supervised(predictions, sample)
        measured = sample.inputs[self.signal]
        scale = energy(measured).clamp_min(torch.finfo(torch.float32).tiny)
        error = (energy(self.model(predictions, sample) - measured) / scale + EPS**2).sqrt()
        assert sample.provenance is not None
        weight = torch.from_numpy(self.weight(sample.provenance.indices)).to(error)
        # The last term is what validation reports, so the supervised ones stay behind this one.
        return {"consistency": weight * error} | terms
