"""What a draw may depend on besides its own uniform number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Given:
    """The circumstances of a draw; all arrays broadcast against the uniform numbers.

    Attributes:
        progress: global sample index, for distributions that change over training.
        values: of other parameters, SI, for distributions that are conditioned on them.
    """

    progress: Any = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> Any:
        """The value of another parameter.

        Raises:
            KeyError: it was not given: draw the parameters together (``draw_parameters``).
        """
        if name not in self.values:
            raise KeyError(f"{name} is not given; draw the parameters with draw_parameters")
        return self.values[name]

    def where(self, chosen: Any) -> Given:
        """The circumstances of the draws marked in ``chosen`` (bool, shape of the draws)."""

        def some(array: Any) -> Any:
            return np.broadcast_to(array, chosen.shape)[chosen]

        values = {name: some(array) for name, array in self.values.items()}
        return Given(some(self.progress), values)


UNCONDITIONAL = Given()
