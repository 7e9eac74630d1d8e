"""The CUDA text of slices in an inhomogeneous field: its formula in arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel

import ipads_stream
from ipads_stream.physics.bloch.slice_modulation import slice_images

PACKAGE = Path(ipads_stream.__file__).parent
SLICES = PACKAGE / "physics/bloch/kernels/slices.cu"
EDGE, BANDWIDTH, TE, PARTS = 1250.0, 1000.0, 5e-3, 6


@pytest.mark.parametrize("shape", [(2, 5, 4, 9), (1, 1, 6, 3), (1, 3, 1, 1)])
@pytest.mark.parametrize(("real", "bound"), [("float", 2e-5), ("double", 1e-12)])
def test_the_text_is_the_formula(shape, real, bound):
    dtype = np.float32 if real == "float" else np.float64
    rng = np.random.default_rng(0)
    df = (1500 * rng.normal(size=shape)).astype(dtype)
    df[..., ::3] = 0  # no slope, and an edge of the profile
    M0 = rng.uniform(size=shape).astype(dtype)
    profile = rng.normal(size=41) + 1j * rng.normal(size=41)
    expected = slice_images(df, M0, profile, edge=EDGE, bandwidth=BANDWIDTH, TE=TE, parts=PARTS)
    out = np.full(shape, np.nan, expected.dtype)
    table = np.concatenate([[0], profile, [0, 0]]).astype(out.dtype)
    host_kernel(SLICES, "slice_images", real)(
        df.size + 5, df, M0, table, *map(np.int64, (40, shape[0], *shape[1:], PARTS)),
        *map(np.float64, (EDGE, BANDWIDTH, TE)), out,
    )  # fmt: skip
    assert np.abs(out - expected).max() < bound * np.abs(expected).max()
