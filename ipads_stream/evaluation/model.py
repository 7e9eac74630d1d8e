"""A trained network as a function of somebody's data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ipads_stream.core.backend import resolve_device
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.handover import torch_threads
from ipads_stream.evaluation.checked_mask import checked_mask
from ipads_stream.physics.spectrum import fid as fid_of


class Model:
    """Reconstructs undersampled signals: ``model(fid, mask)``.

    The network computes in single precision; each row is brought to a magnitude near 1 by a power
    of two before and back after it, so that any unit fits.

    Args:
        net: trained; takes ``{"fid", "mask"}`` and returns ``{"spectrum"}`` that scales with it.
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
        fid = np.asarray(fid)
        mask = np.array(checked_mask(fid, np.asarray(mask)))
        if not np.isfinite(fid[mask]).all():
            raise ValueError("fid: measured points must be finite")
        rows = np.where(mask, fid, 0)
        largest = np.maximum(np.abs(rows.real), np.abs(rows.imag)).max(axis=1, initial=0)
        exponents = np.frexp(largest)[1][:, None]
        rows = _times_power_of_two(rows, -exponents).astype(np.complex64)
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
        estimate = _times_power_of_two(estimate.astype(fid.dtype), exponents)
        return np.where(mask, fid, estimate).astype(fid.dtype)


def torch_device(device: str) -> str:
    """The device that torch runs a network on.

    Args:
        device: "auto", "cpu" or "cuda".

    Raises:
        ConfigError: "cuda" where torch finds no CUDA device.
    """
    resolved = resolve_device(device)
    if resolved == "cuda" and not torch.cuda.is_available():
        if device == "cuda":
            raise ConfigError("device", device, "cpu or auto: torch finds no CUDA device")
        return "cpu"
    return resolved


def _times_power_of_two(rows: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """rows 2^exponents, (rows, points) times (rows, 1): exact, and without a factor that overflows.

    Args:
        rows: complex, any unit.
        exponents: whole numbers.
    """
    return np.ldexp(rows.real, exponents) + 1j * np.ldexp(rows.imag, exponents)
