"""Supervised training with Muon on the hidden matrices of a network, Adam on all else.

Muon steps along the gradient's momentum with all its singular values made 1. Small fully connected
networks that are to come near an optimum get there in fewer samples with it.

Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; Liu et al.,
Muon is scalable for LLM training, arXiv 2502.16982 (2025). The optimizer is torch.optim.Muon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.stream.stream import Stream
from ipads_stream.train.objectives import weighted
from ipads_stream.train.supervised import Supervised, check_numbers
from ipads_stream.train.training import Training


@dataclass(frozen=True, kw_only=True)
class Muon(Supervised):
    """As :class:`Supervised`, with Muon for the matrices between hidden layers.

    Those are the parameters of two axes but the first and the last of them, which face inputs and
    outputs. Both rates follow the same rise and fall.

    Attributes:
        learning_rate: of Muon, highest.
        adam_rate: of Adam, highest.
        log_every: steps from one that is logged to the next; logging one takes as long as a small
            network's step.
    """

    learning_rate: float = 0.02
    adam_rate: float = 2e-3
    log_every: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = ("whole number", 1, math.inf)
        check_numbers(self, {"adam_rate": ("number", 1e-12, 10), "log_every": whole})

    def module(
        self,
        net: torch.nn.Module,
        loss: torch.nn.Module,
        stream: Stream,
        config: dict[str, Any],
        rate: Callable[[int], float],
    ) -> Training:
        """What one step does; the arguments are those of Training."""
        return Reporting(self.log_every, net, loss, stream, config, self.optimizer, rate)

    def groups(self, net: torch.nn.Module) -> list[dict[str, Any]]:
        """Hidden matrices, then the others; ``scale`` is a group's rate over Muon's."""
        trained = [value for value in net.parameters() if value.requires_grad]
        hidden = [value for value in trained if value.ndim == 2][1:-1]
        if not hidden:
            allowed = "a network with matrices between hidden layers; else trainer=supervised"
            raise ConfigError("net", type(net).__name__, allowed)
        chosen = {id(value) for value in hidden}
        rest = [value for value in trained if id(value) not in chosen]
        scale = self.adam_rate / self.learning_rate
        return [{"params": hidden, "scale": 1.0}, {"params": rest, "scale": scale}]

    def optimizer(self, net: torch.nn.Module) -> torch.optim.Optimizer:
        """Muon and Adam as one optimizer."""
        hidden, rest = self.groups(net)
        return Together(
            torch.optim.Muon([hidden], lr=self.learning_rate, weight_decay=self.weight_decay),
            torch.optim.AdamW(
                [rest], lr=self.adam_rate, betas=(0.9, 0.99), weight_decay=self.weight_decay
            ),
        )


class Reporting(Training):
    """Supervised steps, of which only some are logged.

    Args:
        every: steps from one that is logged to the next.
        training: the arguments of Training.
    """

    def __init__(self, every: int, *training: Any) -> None:
        super().__init__(*training)
        self.every = every

    def on_fit_start(self) -> None:
        self.trainer.log_every_n_steps = self.every  # type: ignore[attr-defined]

    def report(
        self, terms: dict[str, Tensor], batch: Sample, weight: Tensor, indices: np.ndarray
    ) -> Tensor:
        """The loss of a step, logged or not; the arguments are those of Training.report."""
        if (self.global_step + 1) % self.every == 0:  # as Lightning counts
            return super().report(terms, batch, weight, indices)
        assert batch.provenance is not None
        self.next_step = batch.provenance.step + 1
        return weighted(torch.stack(list(terms.values())).sum(0), weight)


class Together(torch.optim.Optimizer):
    """Several optimizers, each of its own parameters, that step at once.

    Args:
        parts: of disjoint parameters.
    """

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step of each part; the closure, which computes loss and gradient, runs once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        # Loading replaces the groups: those whose rate is set are to be the ones that are used.
        self.param_groups = [group for part in self.parts for group in part.param_groups]
