"""The classical reconstructions of undersampled signals.

They are made for systems of signals (systems/dlnmr.py): inputs ``fid``, zero where it is not
sampled, and ``mask``, (rows, points).
"""

from collections.abc import Callable, Mapping

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.baselines.signals import Fids, Mask
from ipads_stream.baselines.signals import iterative_soft_threshold as ist
from ipads_stream.baselines.signals import low_rank_hankel as lrhm
from ipads_stream.physics.spectroscopy.spectrum import spectrum
from ipads_stream.systems import System

ZERO_FILLING, IST, LRHM = "zero-filling", "IST", "LRHM"  # as systems declare them


def zero_filling(system: System) -> Method:
    """The sampled points alone: what every other method starts from."""
    return as_method(fill_with_zeros)


def soft_thresholding(system: System) -> Method:
    """Iterative soft thresholding (IST)."""
    return as_method(ist.reconstruct)


def low_rank(system: System) -> Method:
    """Low-rank Hankel reconstruction (LRHM)."""
    return as_method(lrhm.reconstruct)


def fill_with_zeros(fid: Fids, mask: Mask) -> Fids:
    """The sampled points alone."""
    return np.where(mask, fid, 0).astype(fid.dtype)


def as_method(reconstruct: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Method:
    """A function ``(fid, mask) -> fid`` as a method, which gives the spectrum and the signal."""

    def method(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        fid = reconstruct(inputs["fid"], np.asarray(inputs["mask"], dtype=bool))
        return {"spectrum": np.asarray(spectrum(fid)), "fid": fid}

    return method
