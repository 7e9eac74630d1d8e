"""The CUDA text that lays out the spins of single shots gives the rows of the formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel

import ipads_stream
from ipads_stream.physics.bloch.arguments import rows

SHOT = Path(ipads_stream.__file__).parent / "physics/bloch/kernels/shot.cu"
VOXELS, ITEMS = 5, 3


@pytest.mark.parametrize(("real", "kind"), [("float", np.float32), ("double", np.float64)])
def test_spins_are_those_of_the_formula(real, kind):
    rng, N = np.random.default_rng(3), VOXELS * ITEMS
    df, B1, T1, T2, M0 = (rng.uniform(0.1, 2, N).astype(kind) for _ in range(5))
    place = rng.uniform(-0.1, 0.1, (VOXELS, 3))
    spins, still = np.full((2, 8, N), np.nan)
    M, p, q = np.full((3, N, 3), np.nan, kind)
    host_kernel(SHOT, "shot_spins", real)(
        N + 4, df, B1, T1, T2, M0, place, np.int64(N), np.int64(VOXELS), spins, still, M, p, q
    )
    tissue = {"df": df, "B1": B1, "T1": T1, "T2": T2}
    expected = rows(np, M, position=np.tile(place, (ITEMS, 1)), M0=M0, **tissue)
    assert np.array_equal(spins, np.stack(expected))
    expected = rows(np, M, position=None, M0=np.zeros(N, kind), **tissue)
    assert np.array_equal(still, np.stack(expected))
    assert np.array_equal(M, np.stack([0 * M0, 0 * M0, M0], axis=-1))
    assert np.array_equal(p, np.tile(np.eye(3)[0], (N, 1)))
    assert np.array_equal(q, np.tile(np.eye(3)[1], (N, 1)))
