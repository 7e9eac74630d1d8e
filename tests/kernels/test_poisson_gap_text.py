"""The CUDA text of Poisson-gap schedules: the masks of the Numba twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import host_kernel

import ipads_stream
from ipads_stream.acquisition.poisson_gap import mean_gaps, poisson_gap
from ipads_stream.core import random
from ipads_stream.core.random import Keys

TEXT = Path(ipads_stream.__file__).parent / "acquisition/kernels/poisson_gap.cu"


@pytest.mark.parametrize(("points", "low"), [(2, 1), (17, 1), (256, 20), (3000, 3)])
def test_text_and_twin_draw_the_same_masks(points, low):
    num = 200
    key = Keys(3, "train", np.arange(num, dtype=np.uint64))["mask"]
    counts = np.random.default_rng(0).integers(low, points + 2, num)
    words, mask = np.ascontiguousarray(random.words(key, points)), np.full((num, points), True)
    host_kernel(TEXT, "poisson_gap")(
        num + 3, words, counts, mean_gaps(points), np.int64(num), np.int64(points), mask
    )  # fmt: skip
    assert np.array_equal(mask, poisson_gap(key, points, counts))
