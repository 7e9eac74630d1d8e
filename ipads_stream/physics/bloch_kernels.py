"""Isochromats played by the kernel of their library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.backend import cuda_module, is_numpy, launch, namespace
from ipads_stream.physics.bloch_arguments import merged
from ipads_stream.physics.kernels import bloch as lanes

_CUDA_TEXT = Path(__file__).parent / "kernels" / "bloch.cu"


def play(
    steps: Float[Any, "K 6"], spins: Float[Any, "8 N"], tolerance: float, M: Float[Any, "N 3"]
) -> None:
    """Evolve M through steps, in place.

    Args:
        steps, spins: columns and rows as of ``bloch_arguments.played``, in float64.
        tolerance: error of relaxation allowed per step with RF.
        M: magnetisation, (N, 3), contiguous, float32 or float64, in NumPy or CuPy as all others.
    """
    if M.shape[0] == 0 or steps.shape[0] == 0:
        return
    if is_numpy(M):
        steps, _ = merged(steps)
        table = np.empty((steps.shape[0], lanes.COLUMNS), M.dtype)
        lanes.shaped(steps, table)
        lanes.bloch(steps, table, spins, tolerance, M)
        return
    real = {"float32": "float", "float64": "double"}[str(M.dtype)]
    launch(
        cuda_module(_CUDA_TEXT, (f"-DREAL={real}",)),
        "bloch",
        M.shape[0],
        steps,
        namespace(M).astype(steps, M.dtype),
        np.int64(steps.shape[0]),
        spins,
        np.int64(M.shape[0]),
        np.float64(tolerance),
        M,
    )
