"""A trained network as a method: inputs to quantities in SI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ipads_stream.core.handover import torch_threads
from ipads_stream.evaluation.model import torch_device

VALUES = 1 << 18  # of all inputs together in one batch, where a sample is smaller


class QuantityModel:
    """Estimates quantities: ``model(inputs) -> {quantity: values in SI}``, on NumPy arrays.

    Args:
        net: trained; takes a dictionary of tensors and returns one of quantities in SI.
        config: of the run that trained it.
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: "cuda" where torch finds no CUDA device.
    """

    def __init__(self, net: torch.nn.Module, *, config: dict[str, Any], device: str) -> None:
        self.config = config
        self.device = torch_device(device)
        self.net = net.eval().to(self.device)

    def __call__(
        self, inputs: Mapping[str, np.ndarray], *, batch_size: int | None = None
    ) -> dict[str, np.ndarray]:
        """The quantities of all samples, in one thread of torch.

        Args:
            inputs: as the system renders them, batch first.
            batch_size: samples at a time; None: as many as make some 2^18 values.

        Raises:
            ValueError: no input, or inputs of unequal numbers of samples.
        """
        counts = {name: len(values) for name, values in inputs.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"inputs of {counts} samples: one number for all is allowed")
        (count,) = set(counts.values())
        if batch_size is None:
            values = sum(array.size for array in inputs.values())
            batch_size = max(1, VALUES * max(count, 1) // max(values, 1))
        found: dict[str, list[np.ndarray]] = {}
        with torch.inference_mode(), torch_threads(1):
            for start in range(0, max(count, 1), batch_size):
                tensors = {
                    name: torch.from_numpy(
                        np.ascontiguousarray(array[start : start + batch_size])
                    ).to(self.device)
                    for name, array in inputs.items()
                }
                for name, values in self.net(tensors).items():
                    found.setdefault(name, []).append(values.cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}
