"""A fully connected network from named features of a voxel to quantities."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import COUNT, COUNTS, Choice
from ipads_stream.core.quantity import physical, quantities

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
        self.sizes = {name: COUNT(f"inputs.{name}", size) for name, size in inputs.items()}
        Choice(among=tuple(ACTIVATIONS))("activation", activation)
        Choice(among=tuple(ENDS))("end", end)
        self.quantities = quantities(outputs)
        sizes = [sum(self.sizes.values()), *COUNTS("widths", widths)]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(
            *layers, nn.Linear(sizes[-1], len(self.quantities)), ENDS[end]()
        )

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Quantities in SI, each (B,); ``inputs`` (B, size) by name, others are left alone."""
        features = [inputs[n].reshape(len(inputs[n]), size) for n, size in self.sizes.items()]
        return physical(self.quantities, self.layers(torch.cat(features, dim=1)))
