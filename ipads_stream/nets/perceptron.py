"""A fully connected network from named features of a voxel to quantities."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import quantities

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
ENDS: dict[str, type[nn.Module]] = {"identity": nn.Identity, "tanh": nn.Tanh}


class Perceptron(nn.Module):
    """Quantities of a voxel from its features, z = W_L a(... a(W_1 x + b_1) ...) + b_L.

    x is all features of a voxel in the order of ``inputs``, each about of size 1; z holds one
    normalised quantity each (core/quantity.py): -1 at ``low``, 1 at ``high``.

    Args:
        inputs: name -> how many numbers; 1 stands for (B,) as for (B, 1).
        outputs: name -> low, high, unit, scale, bids of a quantity.
        widths: of the hidden layers.
        activation: silu, relu, leaky_relu, tanh or sigmoid, after every hidden layer.
        end: "identity"; "tanh": predictions stay between ``low`` and ``high``.

    Raises:
        ConfigError: a name that is not known, a size below 1.
    """

    def __init__(
        self,
        *,
        inputs: Mapping[str, int],
        outputs: Mapping[str, Any],
        widths: Sequence[int] = (128, 128, 128),
        activation: str = "silu",
        end: str = "identity",
    ) -> None:
        super().__init__()
        if not isinstance(inputs, Mapping) or not inputs:
            raise ConfigError("inputs", inputs, "name: size of every input of the network")
        self.sizes = {name: _size(f"inputs.{name}", size) for name, size in inputs.items()}
        if isinstance(widths, (str, int)) or not widths:
            raise ConfigError("widths", widths, "a list of whole numbers, one per hidden layer")
        widths = [_size(f"widths[{i}]", width) for i, width in enumerate(widths)]
        for key, name, known in (("activation", activation, ACTIVATIONS), ("end", end, ENDS)):
            if name not in known:
                raise ConfigError(key, name, f"one of {', '.join(known)}")
        self.quantities = quantities(outputs)
        sizes = [sum(self.sizes.values()), *widths]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(
            *layers, nn.Linear(sizes[-1], len(self.quantities)), ENDS[end]()
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Quantities in SI, each (B,); ``inputs`` (B, size) by name, others are left alone."""
        features = [
            inputs[name].reshape(len(inputs[name]), size) for name, size in self.sizes.items()
        ]
        normalized = self.layers(torch.cat(features, dim=1))
        return {
            name: quantity.physical(normalized[:, i])
            for i, (name, quantity) in enumerate(self.quantities.items())
        }


def _size(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(key, value, "a whole number, at least 1")
    return value
