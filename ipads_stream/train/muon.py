"""Supervised training with Muon on the hidden matrices of a network, Adam on all else.

Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; Liu et al.,
Muon is scalable for LLM training, arXiv 2502.16982 (2025). It is torch.optim.Muon but for
the precision: its bfloat16 takes ten times as long on processors without units for it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import number, whole
from ipads_stream.train.supervised import Supervised


@dataclass(frozen=True, kw_only=True)
class Muon(Supervised):
    """As :class:`Supervised`, with Muon for the matrices between hidden layers.

    Muon steps along the gradient's momentum with all its singular values made 1: small networks
    come near an optimum in fewer samples. Its matrices are the parameters of two axes but the first
    and the last, which face inputs and outputs. Both rates follow the same rise and fall.

    Attributes:
        learning_rate: of Muon, highest.
        adam_rate: of Adam, highest.
        log_every: steps from one that is logged to the next; logging one takes as long as a small
            network's step.
    """

    learning_rate: float = number(0.02, low=1e-12, high=10)
    adam_rate: float = number(2e-3, low=1e-12, high=10)
    log_every: int = whole(10, low=1)

    def groups(self, net: torch.nn.Module) -> list[dict[str, Any]]:
        """Hidden matrices, then the others; ``scale`` is a group's rate over Muon's."""
        trained = [value for value in net.parameters() if value.requires_grad]
        hidden = [value for value in trained if value.ndim == 2][1:-1]
        if not hidden:
            allowed = "a network with matrices between hidden layers; else trainer=supervised"
            raise ConfigError("net", type(net).__name__, allowed)
        chosen = {id(value) for value in hidden}
        others = [value for value in trained if id(value) not in chosen]
        scale = self.adam_rate / self.learning_rate
        return [{"params": hidden, "scale": 1.0}, {"params": others, "scale": scale}]

    def optimizer(self, net: torch.nn.Module) -> torch.optim.Optimizer:
        """Muon and Adam as one optimizer."""
        (hidden, others), decay = self.groups(net), self.weight_decay
        muon = OrthogonalSteps([hidden], lr=self.learning_rate, weight_decay=decay)
        adam = torch.optim.AdamW([others], lr=self.adam_rate, betas=(0.9, 0.99), weight_decay=decay)
        return Together(muon, adam)


class OrthogonalSteps(torch.optim.Muon):
    """torch.optim.Muon, on the CPU in the precision of the parameters."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step along momenta whose singular values are made about 1; ``closure`` is not run:
        :class:`Together` has run it."""
        for group in self.param_groups:
            rate, share = group["lr"], group["momentum"]
            for value in group["params"]:
                if value.grad is None:
                    continue
                state = self.state[value]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(value.grad)
                momentum = state["momentum_buffer"].lerp_(value.grad, 1 - share)
                update = orthogonal(value.grad.lerp(momentum, share), group)
                size = math.sqrt(max(1.0, value.shape[0] / value.shape[1]))
                value.mul_(1 - rate * group["weight_decay"]).add_(update, alpha=-rate * size)


def orthogonal(matrix: Tensor, settings: Mapping[str, Any]) -> Tensor:
    """About U V^T of a matrix U S V^T: x <- a x + (b y + c y^2) x, y = x x^T, repeated."""
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / x.norm().clamp(min=settings["eps"])
    a, b, c = settings["ns_coefficients"]
    for _ in range(settings["ns_steps"]):
        y = x @ x.T
        x = torch.addmm(x, torch.addmm(y, y, y, beta=b, alpha=c), x, beta=a)
    return x.T if is_tall else x


class Together(torch.optim.Optimizer):
    """Several optimizers, of disjoint parameters, that step at once."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
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
        # Loading replaces the groups: the rate must be set in those that are used.
        self.param_groups = [group for part in self.parts for group in part.param_groups]
