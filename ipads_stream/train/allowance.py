"""What a network may ask of memory: refused with the estimate, before it is taken."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ipads_stream.core.errors import ConfigError


class Allowance(TorchDispatchMode):
    """While a network is built: refuses tensors beyond an allowance, before they are made.

    Args:
        network: its name, for the error.
        num_bytes: of all new tensors together.
        num_tensors: of all modules together.

    Raises:
        ConfigError: by the tensor that is one too many.
    """

    def __init__(self, network: str, *, num_bytes: int, num_tensors: int) -> None:
        super().__init__()
        self.network, self.num_bytes, self.num_tensors = network, num_bytes, num_tensors
        self.asked, self.count = 0, 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if args and isinstance(args[0], (list, tuple)) and all(type(x) is int for x in args[0]):
            dtype = (kwargs or {}).get("dtype") or torch.float32
            self.asked += math.prod(args[0]) * dtype.itemsize
            self.count += 1
            if self.asked > self.num_bytes or self.count > self.num_tensors:
                asked = f"at least {self.asked / 1e9:.3g} GB in {self.count} tensors"
                most = f"{self.num_bytes / 1e9:.3g} GB in {self.num_tensors} are allowed"
                raise ConfigError("", self.network, f"less: it needs {asked}, {most}")
        return func(*args, **(kwargs or {}))
