"""What a draw may depend on besides its own uniform number."""

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
        """The value of another parameter; KeyError where it was not given."""
        if name not in self.values:
            raise KeyError(f"{name} is not given; draw the parameters with draw_parameters")
        return self.values[name]

    def where(self, chosen: Any) -> "Given":
        """The circumstances of the draws marked in ``chosen`` (bool, shape of the draws)."""
        given = {"": self.progress, **self.values}
        values = {name: np.broadcast_to(x, chosen.shape)[chosen] for name, x in given.items()}
        return Given(values.pop(""), values)


UNCONDITIONAL = Given()
