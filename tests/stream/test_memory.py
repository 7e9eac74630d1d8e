"""What a batch frees serves the next one."""

from __future__ import annotations

import platform
import resource

import numpy as np
import pytest

from ipads_stream.stream.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_pages_are_not_asked_for_anew_for_every_batch():
    def batch():
        return [np.ones(2**21, np.uint8) for _ in range(4)]  # of 2,048 pages

    keep_freed_memory()
    batch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        batch()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 20 * 2048 / 4
