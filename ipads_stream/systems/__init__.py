"""Published systems, one flat file each: parameters, draw, render, forward.

A system is a frozen dataclass whose fields are its YAML keys. ``draw(keys, progress) -> params``
is small and runs on the host; ``render(params, keys, xp) -> Sample`` is heavy and runs on the
device; ``forward(params) -> signal`` is the differentiable physics inside.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample


@runtime_checkable
class System(Protocol):
    """What the stream needs of a system."""

    name: str

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays: ...

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample: ...
