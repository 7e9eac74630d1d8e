"""A trained network as a function of a user's undersampled signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ipads_stream.baselines.signals import checked_mask
from ipads_stream.core.notebook import Shown
from ipads_stream.evaluation.model import Model
from ipads_stream.physics.spectroscopy.spectrum import fid as fid_of


class Reconstruction(Shown):
    """Reconstructs undersampled signals: ``reconstruct(fid, mask)``.

    The network of ``model``, ``{"fid", "mask"}`` to ``{"spectrum"}``, computes in single precision;
    each row is brought to a magnitude near 1 by a power of two before and back after it.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.config, self.net, self.device = model.config, model.net, model.device

    @property
    def limit(self) -> Any:
        return self.model.limit

    @property
    def headline(self) -> str:
        return f"{type(self.net).__name__}: reconstructs undersampled signals"

    @property
    def entries(self) -> Mapping[str, Any]:
        return self.model.entries

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
        if not len(rows):
            return rows.astype(fid.dtype)
        spectra = self.model({"fid": rows, "mask": mask}, batch_size=batch_size)["spectrum"]
        estimate = _times_power_of_two(fid_of(spectra).astype(fid.dtype), exponents)
        return np.where(mask, fid, estimate).astype(fid.dtype)


def _times_power_of_two(rows: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """rows 2^exponents, (rows, points) times (rows, 1): exact, and no factor overflows."""
    return np.ldexp(rows.real, exponents) + 1j * np.ldexp(rows.imag, exponents)
