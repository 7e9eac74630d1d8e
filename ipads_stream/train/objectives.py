"""What adapting minimises: the error against known targets, or against measured points left out.

An objective is called with ``(predict, sample, step)``: a network with some weights as a function
of inputs, a batch, and the number of the step; it returns named errors, each (B,), as a loss does.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import check, number
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.physics.spectroscopy.spectrum import fid, spectrum

Named = dict[str, Tensor]
Predict = Callable[[dict[str, Tensor]], dict[str, Tensor]]
Objective = Callable[[Predict, Sample, int], dict[str, Tensor]]
EPS = 1e-3


def answered(
    predict: Callable[[Named], Any], loss: Callable[[Named, Sample], Any], sample: Sample
) -> tuple[Named, Named]:
    """Predictions of a network, and the errors of a loss, each (B,), by name.

    Shapes that would broadcast in silence are refused: (B, 1) beside (B,) gives (B, B), and such a
    network trains to nothing. Predictions that are no targets may have any shape.

    Raises:
        ConfigError: a network or loss of another system; not a dict; a prediction of another shape
            than its target; an error that is not one number per sample.
    """
    predictions = _asked("net", lambda: predict(sample.inputs), sample.inputs)
    if not isinstance(predictions, dict):
        names = ", ".join(f"{name!r}: ..." for name in sample.targets)
        allowed = f"a dict of predictions by the names of the targets, {{{names}}}"
        raise ConfigError("net", _shown(predictions), allowed)
    for name in predictions.keys() & sample.targets.keys():
        shape, target_shape = tuple(predictions[name].shape), tuple(sample.targets[name].shape)
        if shape != target_shape:
            allowed = f"a prediction of the shape of its target, {target_shape}"
            raise ConfigError("net", f"{name} of shape {shape}", allowed)
    known = predictions.keys() | sample.targets.keys() | sample.inputs.keys()
    errors, expected = _asked("loss", lambda: loss(predictions, sample), known), (len(sample),)
    if not isinstance(errors, dict) or not errors:
        allowed = f"a dict of errors by name, each of one number per sample, {expected}"
        raise ConfigError("loss", _shown(errors), allowed)
    for name, error in errors.items():
        if error.shape != expected:
            allowed = f"an error of one number per sample, {expected}, which can be weighted"
            raise ConfigError("loss", f"{name} of shape {tuple(error.shape)}", allowed)
    return predictions, errors


def _asked(part: str, call: Callable[[], Any], known: Iterable[str]) -> Any:
    """What a network or loss answers; ConfigError of one that asks for a name that is not there."""
    try:
        return call()
    except KeyError as error:
        name = error.args[0] if error.args else None
        if not isinstance(name, str) or name in known:
            raise
        allowed = f"one for what this system has ({', '.join(sorted(known))})"
        raise ConfigError(part, f"one that asks for {name!r}", allowed) from error


def _shown(answer: Any) -> str:
    if isinstance(answer, Tensor):
        return f"a tensor of shape {tuple(answer.shape)}"
    return f"{type(answer).__name__} {answer!r:.40}"


@dataclass(frozen=True)
class Targets:
    """The error of a loss against the sample's targets: for simulated or fully sampled signals.

    Attributes:
        loss: (predictions, sample) -> error per sample, by name.
    """

    loss: Callable[[Any, Sample], dict[str, Tensor]]

    def __call__(self, predict: Predict, sample: Sample, step: int) -> dict[str, Tensor]:
        return answered(predict, self.loss, sample)[1]


@dataclass(frozen=True)
class HiddenPoints:
    """The error at measured points that the network was not shown: needs no target.

    e = sqrt(mean_h |s - y|^2 / mean_m |y|^2 + eps^2) with the mean over hidden and over all
    measured points, averaged over the phases of an unrolled network (without them steps tear the
    early phases apart); which points are hidden is keyed by sample and step. For ``fid`` and
    ``mask`` in, ``spectrum`` and perhaps ``phases`` out.
    Source: Yaman et al., Magn Reson Med 84:3172 (2020), for the division of measured points.

    Attributes:
        share: of a sample's measured points that is hidden; at least one is, and one is not.
    """

    share: float = number(0.25, above=0, below=1)

    def __post_init__(self) -> None:
        check(self)

    def __call__(self, predict: Predict, sample: Sample, step: int) -> dict[str, Tensor]:
        mask, measured = sample.inputs["mask"], sample.inputs["fid"]
        hidden = self.hidden(sample, step)
        shown = mask & ~hidden
        inputs = {"fid": torch.where(shown, measured, 0), "mask": shown}
        predictions = predict(sample.inputs | inputs)
        spectra = predictions["phases"] if "phases" in predictions else predictions["spectrum"]
        error = _mean_square(fid(spectra) - measured, hidden)
        scale = _mean_square(measured, mask).clamp_min(torch.finfo(torch.float32).tiny)
        relative = (error / scale + EPS**2).sqrt()
        return {"hidden": relative.mean(0) if relative.ndim == 2 else relative}

    def hidden(self, sample: Sample, step: int) -> Tensor:
        """Points that are hidden in a step, (B, N) bool."""
        mask = sample.inputs["mask"]
        origin = sample.provenance
        seed, split = (0, "measured") if origin is None else (origin.seed, origin.split)
        indices = np.arange(len(mask), dtype=np.uint64) if origin is None else origin.indices
        key = Keys(seed, f"{split}/hidden", indices)[str(step)]
        score = torch.from_numpy(random.uniform(key, (mask.shape[1],))).to(mask.device)
        rank = score.where(mask, 2.0).argsort(dim=1).argsort(dim=1)
        total = mask.sum(1, keepdim=True)
        count = (total * self.share).round().clamp_min(1).minimum(total - 1)
        return mask & (rank < count)


def _mean_square(x: Tensor, where: Tensor) -> Tensor:
    squares = torch.view_as_real(x).square().sum(-1)
    return (squares * where).sum(-1) / where.sum(-1).clamp_min(1)


def summed(errors: dict[str, Tensor]) -> Tensor:
    """Sum of named errors of the samples, (B,)."""
    return torch.stack(list(errors.values())).sum(0)


def weighted(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of the samples' values by their weights."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def measured_samples(signals: np.ndarray, mask: np.ndarray, *, is_full: bool = False) -> Sample:
    """A user's data as a batch to adapt to.

    Args:
        signals: complex, any unit, (rows, points).
        mask: True where measured, (points,) or (rows, points).
        is_full: whether the signals are known at all points; then they are the targets.

    Raises:
        ValueError: shapes that do not fit, real data, a row without measured points.
    """
    signals, mask = np.asarray(signals), np.asarray(mask, dtype=bool)
    if signals.ndim != 2 or not np.iscomplexobj(signals):
        raise ValueError(f"signals of shape {signals.shape}: complex (rows, points) is allowed")
    if mask.shape not in (signals.shape, signals.shape[1:]):
        raise ValueError(f"mask of shape {mask.shape}: {signals.shape} or (points,) is allowed")
    mask = np.broadcast_to(mask, signals.shape).copy()
    if not mask.any(axis=1).all():
        raise ValueError("mask: at least one measured point in every row is allowed")
    rows = (signals if is_full else np.where(mask, signals, 0)).astype(np.complex128)
    largest = np.abs(np.where(mask, rows, 0)).max(axis=1, keepdims=True)
    rows = (rows / np.where(largest > 0, largest, 1.0)).astype(np.complex64)
    targets = {"spectrum": torch.from_numpy(spectrum(rows))} if is_full else {}
    inputs = {"fid": torch.from_numpy(np.where(mask, rows, 0)), "mask": torch.from_numpy(mask)}
    return Sample(inputs=inputs, targets=targets, params={})
