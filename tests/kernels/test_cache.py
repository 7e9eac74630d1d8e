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
from ipads_stream.core.random import Keys, normal, words
from ipads_stream.physics import bloch, bloch_mcconnell, epg
from ipads_stream.physics.bloch.phantom import Phantom
from ipads_stream.sequences.gradient_echo import gradient_echo
from ipads_stream.physics.spectroscopy.exponentials import damped_exponentials

def told(*arrays):
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    print(sha.hexdigest())

def tissue():
    import torch
    return [torch.tensor(x, requires_grad=True) for x in ([0.5, 1.0], [0.05, 0.1])]

def epg_gradients():
    import torch
    T1, T2 = tissue()
    flip = torch.full((20,), 0.5, requires_grad=True)
    epg.fisp(flip, torch.zeros(20), 0.01, 0.005, T1, T2, orders=20).abs().sum().backward()
    return [x.grad.numpy() for x in (T1, T2, flip)]

def bloch_gradients():
    import torch
    T1, T2 = tissue()
    rf = torch.full((9,), 1e-6 + 0j, dtype=torch.complex64, requires_grad=True)
    M = torch.tensor([[0.0, 0.0, 1.0]] * 2)
    bloch.evolve(M, rf, torch.zeros(9, 3), 1e-4, T1=T1, T2=T2).sum().backward()
    return [x.grad.numpy() for x in (T1, T2, rf)]

def template():
    from ipads_stream.phantoms import Grid, RandomShapes, rasterized
    from ipads_stream.phantoms.pyramid import pyramid
    keys, shapes = Keys(0, "train", np.arange(2)), RandomShapes(number=30)
    maps = [rasterized(shapes.draw(keys, Grid(n, (4e-3,) * len(n))), np.ones((2, 30, 2)),
        Grid(n, (4e-3,) * len(n)), rule="add") for n in ((30, 40), (10, 12, 14))]
    places = np.float32(np.linspace(-1, 9, 60)).reshape(1, 3, 20)
    volume = np.arange(256, dtype=np.uint8).reshape(1, 4, 8, 8)
    return [*maps, pyramid([volume]).sampled(np.array([0]), np.array([1.0]), places)]

keys = Keys(0, "train", np.arange(100, dtype=np.uint64))
parts = {
    "random": lambda: told(words(keys["w"], 7), normal(keys["n"], (9,))),
    "fid": lambda: told(damped_exponentials(
        *(np.linspace(0.1, 0.9, 60).reshape(12, 5) + i for i in range(4)),
        points=77, dtype="complex64")),
    "stream": lambda: told(*(
        tensor.numpy() for tensor in Stream(
            load_system("dlnmr"), device="cpu").sample(range(100)).inputs.values())),
    "epg": lambda: told(epg.fisp(np.linspace(0.1, 1, 40), np.zeros(40), 0.01, 0.005,
        np.float32([0.5, 1.0]), np.float32([0.05, 0.1]), orders=20)),
    "train": lambda: told(epg.train(*epg.spin_echoes(np.full(9, 3.0), np.zeros(9), 0.01),
        T1=np.float32([0.5, 1.0]), T2=np.float32([0.05, 0.1]))),
    "mcconnell": lambda: told(bloch_mcconnell.z_spectrum(
        [{"fraction": 1.0, "T1": 1.0, "T2": 0.1, "shift_ppm": 0.0},
         {"fraction": 1e-3, "T1": 1.0, "T2": 0.01, "exchange": 100.0, "shift_ppm": 3.5}],
        np.linspace(-5, 5, 11),
        {"amplitude": 2e-6, "duration": 0.05, "gap": 0.01, "number": 5}, 3.0)),
    "signal": lambda: told(bloch.signal(gradient_echo(matrix=8), Phantom(
        np.float32(np.linspace(-0.05, 0.05, 60)).reshape(20, 3), T1=1.0, T2=0.1))),
    "template": lambda: told(*template()),
    "epg_gradients": lambda: told(*epg_gradients()),
    "bloch_gradients": lambda: told(*bloch_gradients()),
    "bloch": lambda: told(bloch.evolve(np.tile(np.float32([0, 0, 1]), (40, 1)),
        np.full(30, 1e-6 + 0j), np.full((30, 3), 1e-3), 1e-5,
        position=np.linspace(-0.01, 0.01, 120).reshape(40, 3), T1=1.0, T2=0.1)),
}
for name in sys.argv[1:]:
    parts[name]()
"""


def digests(cache, *names):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    line = [sys.executable, "-W", "ignore", "-c", PROGRAM, *names]
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(names, done.stdout.split(), strict=True))


KERNELS = [
    ("random", "fid", "stream"),
    ("epg", "train", "epg_gradients"),
    ("bloch", "signal", "bloch_gradients"),
    ("mcconnell",),
    ("template",),
]


@pytest.mark.slow
@pytest.mark.timeout(900)  # compiles a kernel for up to half a minute
@pytest.mark.parametrize("names", KERNELS, ids=lambda names: names[0])
def test_compiled_and_cached_kernels_agree_bit_for_bit(names, tmp_path):
    compiled = digests(tmp_path, *names)
    assert digests(tmp_path, *names) == compiled


@pytest.mark.slow
def test_a_cache_that_is_filled_piece_by_piece_gives_the_same_bits(tmp_path):
    names = KERNELS[0]
    piecewise: dict[str, str] = {}
    for name in reversed(names):
        piecewise |= digests(tmp_path / "pieces", name)
    assert piecewise == digests(tmp_path / "whole", *names)
