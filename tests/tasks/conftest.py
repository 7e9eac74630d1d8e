"""The example packages, as if somebody had installed them, each trained for a few steps."""

import sys

import numpy as np
import pytest
from outside import EXAMPLES, FEW

from ipads_stream.__main__ import main


@pytest.fixture(scope="session")
def outside():
    """The folder of the packages, on Python's path while the tests run."""
    sys.path.insert(0, str(EXAMPLES))
    yield EXAMPLES
    sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="session")
def runs(outside, tmp_path_factory):
    """name -> folder of its run; trained by the command line when it is first asked for."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "run"
            words = [
                f"conf={outside / name / 'conf'}", f"trusted=[{name}]", f"system={name}",
                f"output={made[name]}", "device=cpu", "logger=none", "trainer.val_every=0",
                "trainer.bar=false", *FEW[name],
            ]  # fmt: skip
            assert main(["train", *words]) == 0
        return made[name]

    return run


@pytest.fixture(scope="session")
def rng():
    return np.random.default_rng(0)
