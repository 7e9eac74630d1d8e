"""Settings and guards that hold for every test."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import install_import_hook

SHAPED = ("acquisition", "baselines", "data", "evaluation", "physics", "sequences")
TEXTS = "sequences/pulseq_"  # whose many small functions make words of numbers


def _with_shapes() -> list[str]:
    """Modules that say what shapes their arrays have: there they are checked in every call.

    Elsewhere the check has nothing to look at, and takes more time than small helpers do. What
    users configure checks itself, by name.
    """
    root = Path(__file__).parents[1] / "ipads_stream"
    files = sorted(file for folder in SHAPED for file in (root / folder).rglob("[!_]*.py"))
    paths = [
        f.relative_to(root.parent).with_suffix("") for f in files if "jaxtyping" in f.read_text()
    ]
    return [".".join(path.parts) for path in paths if TEXTS not in path.as_posix()]


install_import_hook(_with_shapes(), "beartype.beartype")

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")


def pytest_configure() -> None:
    """Nothing of what collection makes is garbage: to look for some takes a third of its time."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()  # modules and tests stay: later collections need not look at them again
    gc.enable()


@pytest.fixture(autouse=True)
def _global_random_state_is_left_alone():
    """No test, and nothing under test, may touch a global random generator."""
    before = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    yield
    after = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    assert before["pos"] == after["pos"]
    assert np.array_equal(before["key"], after["key"])


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of measured data; the test is skipped where there is none."""
    folder = os.environ.get("IPADS_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("measured data: IPADS_DATA does not name a folder")
    return Path(folder)


@pytest.fixture
def gpu():
    """The package finds a GPU, emulated (tests/emulated_gpu); counts what it is asked for."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: the CUDA text cannot be run on the CPU")
    from emulated import emulated_gpu

    with emulated_gpu() as counting:
        yield counting


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a GPU, tests that need one run on the emulated one, or are skipped."""
    try:
        import cupy

        has_gpu = cupy.cuda.is_available()
    except ImportError:
        has_gpu = False
    for item in items:
        marker = item.get_closest_marker("gpu")
        if marker is None or has_gpu:
            continue
        if not marker.kwargs.get("emulated", True):
            item.add_marker(pytest.mark.skip(reason="no CUDA device, or no CuPy"))
        else:
            item.fixturenames.insert(0, "gpu")  # before what the test itself makes
