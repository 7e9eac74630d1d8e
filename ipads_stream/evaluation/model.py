"""A trained network as a function of somebody's data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ipads_stream.core.backend import resolve_device
from ipads_stream.core.handover import torch_threads
from ipads_stream.physics.spectrum import fid as fid_of


class Model:
    """Reconstructs undersampled signals: ``model(fid, mask)``.

    Args:
        net: trained; takes ``{"fid", "mask"}`` and returns ``{"spectrum"}``.
        config: of the run that trained it.
        device: "auto", "cpu" or "cuda".
    """

    def __init__(self, net: torch.nn.Module, *, config: dict[str, Any], device: str) -> None:
        self.config = config
        self.device = resolve_device(device)
        self.net = net.eval().to(self.device)

    def __call__(
        self,
        fid: np.ndarray,
        mask: np.ndarray,
        *,
        batch_size: int = 32,
    ) -> np.ndarray:
        """The reconstructed signals; measured points come back as they were measured.

        Args:
            fid: complex, any unit, (rows, points); only points where mask is True are looked at.
            mask: bool, True where measured, (points,) for all rows or (rows, points).
            batch_size: rows at a time.

        Raises:
            ValueError: shapes that do not fit, real data, no sampled point, non-finite values.
        """
        fid, mask = _checked(fid, mask)
        rows = np.where(mask, fid, 0).astype(np.complex64)
        parts = []
        with torch.inference_mode(), torch_threads(1):
            for start in range(0, len(rows), batch_size):
                stop = start + batch_size
                inputs = {
                    "fid": torch.from_numpy(rows[start:stop]).to(self.device),
                    "mask": torch.from_numpy(mask[start:stop]).to(self.device),
                }
                parts.append(self.net(inputs)["spectrum"].cpu().numpy())
        estimate = fid_of(np.concatenate(parts)) if parts else rows
        return np.where(mask, fid, estimate).astype(fid.dtype)


def _checked(fid: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    fid, mask = np.asarray(fid), np.asarray(mask)
    if fid.ndim != 2 or not np.iscomplexobj(fid):
        raise ValueError(f"fid is {fid.dtype} {fid.shape}; allowed: complex, (rows, points)")
    if mask.dtype != np.bool_ or mask.shape not in (fid.shape, fid.shape[1:]):
        raise ValueError(
            f"mask is {mask.dtype} {mask.shape}; allowed: bool, {fid.shape[1:]} or {fid.shape}"
        )
    mask = np.array(np.broadcast_to(mask, fid.shape))
    if len(fid) and not mask.any(axis=1).all():
        raise ValueError("mask: every row needs at least one measured point")
    if not np.isfinite(fid[mask]).all():
        raise ValueError("fid: measured points must be finite")
    return fid, mask
