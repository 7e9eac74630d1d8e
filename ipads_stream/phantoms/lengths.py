"""Lengths in templates: in metres, or as a share of the field of view."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.units import dimension
from ipads_stream.distributions import Distribution, as_distribution
from ipads_stream.phantoms.grid import Grid


def as_length(name: str, value: Any) -> Distribution:
    """A distribution of lengths: in a unit of length, or without one a share of the field of view.

    Args:
        name: key of the parameter, for errors.
        value: a distribution or a number (a share).

    Raises:
        ConfigError: neither, another unit, or a support that is not above 0.
    """
    is_length = isinstance(value, Distribution) and dimension(value.unit) == "length"
    quantity = "length" if is_length else "number"
    return as_distribution(name, value, within=(1e-9, math.inf), quantity=quantity)


def length(of: Any, drawn: Float[np.ndarray, "..."], grid: Grid) -> Float[np.ndarray, "..."]:
    """What was drawn from a distribution of lengths, in m.

    Args:
        of: the distribution.
        drawn: its draws, SI.
        grid: whose shortest field of view is meant by a share of 1.
    """
    return drawn if dimension(of.unit) == "length" else drawn * min(grid.field_of_view)
