"""What the guides take to be at hand: trained networks, files of somebody's data, the examples."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ipads_stream import Stream, freeze, load_system
from ipads_stream.__main__ import main
from ipads_stream.acquisition.poisson_gap import poisson_gap
from ipads_stream.core.random import Keys
from ipads_stream.data.planes.simulated import simulated_plane

ROOT = Path(__file__).parents[2]
QUICK = ["trainer.max_steps=1", "trainer.val_every=0", "trainer.bar=false", "logger=none"]
PACKAGES = ("mylab", "t2_mapping", "parallel_imaging", "displacement")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with all that the guides name without making it."""
    folder = tmp_path_factory.mktemp("guides")
    for name, words in {
        "demo": ["system.points=128"],
        "mwf": ["system=ann_mwf", "net.widths=[8, 8]"],
        "t2": ["system=t2_map", "net.encoder.width=8"],
    }.items():
        output = f"output={folder / 'runs' / name}"
        assert main(["train", *QUICK, "device=cpu", *words, output]) == 0
    plane = simulated_plane(num_direct=128, num_indirect=128).fid
    np.save(folder / "plane.npy", plane)
    np.save(folder / "rows.npy", plane)
    schedule = Keys(0, "schedule", np.zeros(1, np.uint64))["mask"]  # as the network's training
    np.save(folder / "mask.npy", poisson_gap(schedule, 128, np.array([32]))[0])
    echoes = 1.6e-3 + 1e-3 * np.arange(32)
    images = np.broadcast_to(np.exp(-echoes / 0.05), (4, 4, 2, 32)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(images, np.eye(4)), folder / "sub-01_MEGRE.nii.gz")
    (folder / "sub-01_MEGRE.json").write_text(json.dumps({"EchoTime": echoes.tolist()}))
    times = 0.01 * np.arange(1, 9)
    noise = np.random.Generator(np.random.Philox(key=0)).standard_normal((2, 8, 8, 2, 8))
    decays = np.hypot(100 * np.exp(-times / 0.08) + noise[0], noise[1]).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(decays, np.eye(4)), folder / "sub-02_MESE.nii.gz")
    (folder / "sub-02_MESE.json").write_text(json.dumps({"EchoTime": times.tolist()}))
    for suffix in (".nii.gz", ".json"):
        anat = folder / "dataset" / "sub-02" / "anat"
        anat.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"sub-02_MESE{suffix}", anat)
    freeze(Stream(load_system("dlnmr"), device="cpu"), folder / "set.h5", 64, fmt="hdf5")
    return folder


@pytest.fixture
def place(prepared, tmp_path, monkeypatch):
    """The working directory of a reader: a copy of the prepared folder, and the examples."""
    here = tmp_path / "here"
    shutil.copytree(prepared, here)
    shutil.copytree(ROOT / "examples", here, dirs_exist_ok=True)
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(str(here))
    yield here
    for name in [n for n in sys.modules if n.partition(".")[0] in PACKAGES]:
        del sys.modules[name]  # the next page has another module of that name
