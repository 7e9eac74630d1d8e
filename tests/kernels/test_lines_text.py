"""The CUDA text of the factors of parallel lines: its formula in arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel

import ipads_stream
from ipads_stream.physics.bloch import line_readout

PACKAGE = Path(ipads_stream.__file__).parent
LINES = PACKAGE / "physics/bloch/kernels/lines.cu"
SPACING, BLOCKS, ROWS = 1e-3, 3, 5


@pytest.mark.parametrize(("real", "bound"), [("float", 1e-5), ("double", 1e-12)])
def test_the_text_is_the_formula(real, bound):
    kind, pair = {"float": ("f4", "c8"), "double": ("f8", "c16")}[real]
    rng, (B, X, Y) = np.random.default_rng(0), (2, 3, 7)
    M = (rng.normal(size=(B, X, Y)) + 1j * rng.normal(size=(B, X, Y))).astype(pair)
    T2, df = rng.uniform(0.02, 0.2, (B, X, Y)), rng.uniform(-200, 200, (B, X, Y))
    T2, df = T2.astype(kind), df.astype(kind)
    stepping, beginning = (np.exp(1j * rng.normal(size=Y)).astype(pair) for _ in range(2))
    times = np.array([1e-3, 2e-3])
    given = (M, T2, df, stepping, beginning)
    expected = line_readout._factors(*given, times, SPACING, BLOCKS, ROWS)
    left = np.full((B, X, len(times) * BLOCKS, Y), np.nan, pair)
    right = np.full((B, X, Y, ROWS), np.nan, pair)
    host_kernel(LINES, "line_factors", real)(
        M.size + 5, *given, times.astype(kind), np.float64(SPACING),
        *map(np.int64, (B * X, Y, len(times), BLOCKS, ROWS)), left, right,
    )  # fmt: skip
    for found, formula in zip((left, right), expected, strict=True):
        assert np.abs(found - formula).max() < bound * np.abs(formula).max()
