"""Undersampled signals without a network: sparse, low-rank and line models."""

import numpy as np
from jaxtyping import Bool, Complex

Fids = Complex[np.ndarray, "rows points"]
Mask = Bool[np.ndarray, "..."]  # (points,) for all rows or (rows, points); True where sampled


def checked_mask(fid: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The schedule of every row, read-only; refuses rows and a schedule that do not fit each other.

    fid: complex rows, (rows, points); mask: boolean, (points,) for all rows or (rows, points).
    """
    if fid.ndim != 2 or not np.iscomplexobj(fid):
        given = f"fid has shape {fid.shape} and type {fid.dtype}"
        raise ValueError(f"{given}; allowed: complex (rows, points)")
    if mask.dtype != np.bool_ or mask.shape not in (fid.shape, fid.shape[1:]):
        given = f"mask has shape {mask.shape} and type {mask.dtype}"
        raise ValueError(f"{given}; allowed: boolean, {fid.shape[1:]} or {fid.shape}")
    mask = np.broadcast_to(mask, fid.shape)
    if not mask.any(axis=1).all():
        given = "mask has no sampled point in some row"
        raise ValueError(f"{given}; allowed: at least one measured point in each")
    return mask
