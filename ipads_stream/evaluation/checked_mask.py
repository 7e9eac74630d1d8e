"""Rows of signals and the schedules that they were sampled with, checked against each other."""

import numpy as np


def checked_mask(fid: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Refuse rows and a schedule that do not fit each other; give every row its schedule.

    Args:
        fid: complex rows, any unit, (rows, points).
        mask: boolean schedule, (points,) for all rows or (rows, points).

    Returns:
        The schedule of every row, read-only, (rows, points).

    Raises:
        ValueError: what was given and what is allowed.
    """
    if fid.ndim != 2 or not np.iscomplexobj(fid):
        raise ValueError(
            f"fid has shape {fid.shape} and type {fid.dtype}; allowed: complex (rows, points)"
        )
    if mask.dtype != np.bool_ or mask.shape not in (fid.shape, fid.shape[1:]):
        raise ValueError(
            f"mask has shape {mask.shape} and type {mask.dtype}; "
            f"allowed: boolean, {fid.shape[1:]} or {fid.shape}"
        )
    mask = np.broadcast_to(mask, fid.shape)
    if not mask.any(axis=1).all():
        raise ValueError(
            "mask has no sampled point in some row; allowed: at least one measured point in each"
        )
    return mask
