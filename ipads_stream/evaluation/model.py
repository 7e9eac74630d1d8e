"""A trained network as a method: inputs to estimates, on NumPy arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.handover import network_device, torch_threads
from ipads_stream.core.notebook import Shown
from ipads_stream.evaluation.familiar import UnfamiliarWarning
from ipads_stream.systems import System

Limit = Callable[[Mapping[str, np.ndarray]], tuple[Mapping[str, np.ndarray], np.ndarray]]
VALUES = 1 << 18  # of all inputs together in one batch, where a sample is smaller


class Model(Shown):
    """Estimates what a network was trained for: ``model(inputs) -> {target: values}``.

    Args:
        net: trained; takes a dictionary of tensors and returns one of predictions.
        config: of the run that trained it.
        device: "auto", "cpu", "cuda" or its number, as in "cuda:1".
        targets: names of the predictions that are given; None: all.
        familiar: inputs -> sentences on what the network was not trained on, which are warned of
            once (:class:`evaluation.familiar.Familiar`); None: inputs are not compared.
        limit: inputs -> those that the network is given, and which of them differ, (B,): noise is
            added to data cleaner than the training's, which is said once; None: as they are.
        system: that simulated the training data.

    Attributes:
        limited: what share of the samples was given noise at last, a sentence; "": none so far.

    Raises:
        ConfigError: "cuda" where torch finds no CUDA device.
    """

    def __init__(
        self,
        net: torch.nn.Module,
        *,
        config: dict[str, Any],
        device: str,
        targets: Collection[str] | None = None,
        familiar: Callable[[Mapping[str, np.ndarray]], Sequence[str]] | None = None,
        limit: Limit | None = None,
        system: System | None = None,
    ) -> None:
        self.config, self.targets, self.familiar = config, targets, familiar
        self.limit, self.limited, self.system = limit, "", system
        self.device = network_device(device)
        self.net = net.eval().to(self.device)

    @property
    def headline(self) -> str:
        targets = f" of {', '.join(self.targets)}" if self.targets else ""
        return f"{type(self.net).__name__}: estimates{targets}"

    @property
    def entries(self) -> Mapping[str, Any]:
        parameters = sum(parameter.numel() for parameter in self.net.parameters())
        return {"parameters": parameters, "device": self.device, "seed": self.config.get("seed")}

    def __call__(
        self, inputs: Mapping[str, np.ndarray], *, batch_size: int | None = None
    ) -> dict[str, np.ndarray]:
        """The estimates of all samples, in SI, in one thread of torch.

        Args:
            inputs: as the system renders them, batch first.
            batch_size: samples at a time; None: as many as make about 2^18 values.

        Raises:
            ValueError: no input, or inputs of unequal numbers of samples.
            ConfigError: a network that predicts none of the targets.
        """
        return self._answers(inputs, self.targets, batch_size)

    def proposal(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The normal distribution of the scores (nets/posterior.py): mean (B, P), root (B, P, P).

        Raises:
            ConfigError: a network that answers with none.
        """
        names = ("posterior_mean", "posterior_root")
        answers = self._answers(inputs, names, None)
        return answers[names[0]], answers[names[1]]

    def _answers(
        self,
        inputs: Mapping[str, np.ndarray],
        wanted: Collection[str] | None,
        batch_size: int | None,
    ) -> dict[str, np.ndarray]:
        """The predictions of these names, of those that there are."""
        counts = {name: len(values) for name, values in inputs.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"inputs of {counts} samples: one number for all is allowed")
        (count,) = set(counts.values())
        if self.familiar is not None and (sentences := self.familiar(inputs)):
            self.familiar = None
            text = f"this network was not trained on such data: {'; '.join(sentences)}"
            warnings.warn(text, UnfamiliarWarning, stacklevel=2)
        if self.limit is not None and count:
            inputs, is_limited = self.limit(inputs)
            if is_limited.any():
                text = (
                    f"{is_limited.mean():.0%} of the samples are cleaner than any that this network"
                    " was trained on: noise is added to them up to that of its cleanest"
                )
                if not self.limited:
                    warnings.warn(text, UnfamiliarWarning, stacklevel=2)
                self.limited = text
        if batch_size is None:
            values = sum(array.size for array in inputs.values())
            batch_size = max(1, VALUES * max(count, 1) // max(values, 1))
        parts: dict[str, list[np.ndarray]] = {}
        with torch.inference_mode(), torch_threads(1):
            for start in range(0, max(count, 1), batch_size):
                tensors = {}
                for name, array in inputs.items():
                    batch = np.ascontiguousarray(array[start : start + batch_size])
                    tensors[name] = torch.from_numpy(batch).to(self.device)
                predictions = self.net(tensors)
                names = [n for n in predictions if wanted is None or n in wanted]
                if not names:
                    allowed = f"predictions of {', '.join(wanted or ())}, or of one of them"
                    raise ConfigError("net", ", ".join(predictions), allowed)
                for name in names:
                    parts.setdefault(name, []).append(predictions[name].cpu().numpy())
        return {name: np.concatenate(part) for name, part in parts.items()}
