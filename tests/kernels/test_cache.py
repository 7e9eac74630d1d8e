"""A kernel gives the same bits whether it was compiled just now or loaded from the cache."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import hashlib, sys
import numpy as np
from ipads_stream import Stream, load_system
from ipads_stream.core.random import Keys
from ipads_stream.physics import epg
from ipads_stream.physics.spectroscopy.exponentials import damped_exponentials

def told(*arrays):
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    print(sha.hexdigest())

def template():
    from ipads_stream.phantoms import Grid, RandomShapes, rasterized
    from ipads_stream.phantoms.pyramid import pyramid
    keys, shapes = Keys(0, "train", np.arange(2)), RandomShapes(number=30)
    maps = [rasterized(shapes.draw(keys, Grid(n, (4e-3,) * len(n))), np.ones((2, 30, 2)),
        Grid(n, (4e-3,) * len(n)), rule="add") for n in ((30, 40), (10, 12, 14))]
    places = np.float32(np.linspace(-1, 9, 60)).reshape(1, 3, 20)
    volume = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8)
    return [*maps, pyramid([volume]).sampled(np.array([0]), np.array([1.0]), places)]

parts = {
    "fid": lambda: told(damped_exponentials(
        *(np.linspace(0.1, 0.9, 60).reshape(12, 5) + i for i in range(4)),
        points=77, dtype="complex64")),
    "stream": lambda: told(*(
        tensor.numpy() for tensor in Stream(
            load_system("dlnmr"), device="cpu").sample(range(100)).inputs.values())),
    "train": lambda: told(epg.train(*epg.spin_echoes(np.full(9, 3.0), np.zeros(9), 0.01),
        T1=np.float32([0.5, 1.0]), T2=np.float32([0.05, 0.1]))),
    "template": lambda: told(*template()),
}
for name in sys.argv[1:]:
    parts[name]()
"""


def digests(cache, *names):
    environment = (
        dict(os.environ) if cache is None else {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    )
    line = [sys.executable, "-W", "ignore", "-c", PROGRAM, *names]
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(names, done.stdout.split(), strict=True))


# One program of each shape: lanes of a tile, a chain of states, and pixels of many shapes. All are
# compiled by the same decorator; to compile each anew takes minutes.
NAMES = ("stream", "fid", "train", "template")


@pytest.mark.slow
@pytest.mark.timeout(900)  # compiles kernels for up to half a minute each
def test_compiled_and_cached_kernels_agree_bit_for_bit(tmp_path):
    """Compiled now, loaded after that, and loaded where other programs compiled them before; the
    first two share a kernel, of which the second finds a part in the cache."""
    compiled = digests(tmp_path, *NAMES[:1])
    compiled |= digests(tmp_path, *NAMES[1:])
    assert digests(tmp_path, *NAMES) == compiled
    assert digests(None, *NAMES) == compiled
