"""Those who only simulate need no PyTorch, Lightning, Hydra, Weights & Biases or CuPy."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKED = ("torch", "lightning", "hydra", "omegaconf", "wandb", "cupy", "tqdm", "pooch", "nmrglue",
           "h5py", "nibabel", "matplotlib", "einops")  # fmt: skip
BLOCK = f"""
import sys
for name in {BLOCKED}:
    sys.modules[name] = None  # an import of it raises ImportError
"""
SIMULATION = """
import importlib, pkgutil
import numpy as np
import ipads_stream
from ipads_stream import bloch, epg, sequences
for room in ("core", "physics", "distributions", "sequences", "acquisition", "phantoms", "systems"):
    package = importlib.import_module(f"ipads_stream.{room}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name != "ipads_stream.core.handover":  # hands batches over to torch
            importlib.import_module(module.name)
echoes = epg.cpmg(ESP=0.01, num_echoes=4, T1=1.0, T2=np.array([0.05, 0.1], np.float32))
assert echoes.shape == (2, 4)
from ipads_stream.distributions import LogUniform
from ipads_stream.core.random import Keys
T2 = LogUniform(low=20, high=500, unit="ms")
draws = T2.draw(Keys(0, "train", np.arange(5, dtype=np.uint64))["T2"])
assert draws.shape == (5,)
"""
HELP = """
from ipads_stream.__main__ import main
assert main(["--help"]) == 0
"""


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_the_block_holds():
    done = run(BLOCK + "import torch")
    assert done.returncode != 0
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize("program", [SIMULATION, HELP], ids=["simulation", "help"])
def test_without_them(program):
    done = run(BLOCK + program)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_takes_no_time():
    program = "import sys, ipads_stream; print(len([m for m in sys.modules if '.' not in m]))"
    program += "; assert not {'torch', 'numba', 'scipy', 'hydra', 'numpy'} & set(sys.modules)"
    done = run(program)
    assert done.returncode == 0, done.stderr
