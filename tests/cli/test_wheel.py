"""What would be uploaded: it is as the index wants it, and works outside a clone."""

from __future__ import annotations

import email
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def run(*words, cwd, site=None):
    """The finished process; outside a clone where a folder of installed packages is given."""
    environment = None if site is None else {"PYTHONPATH": str(site), "PATH": "", "HOME": str(cwd)}
    line = [sys.executable, *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder of the source distribution and of the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "-o", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def site(dist, tmp_path_factory):
    """The wheel, installed where no clone is."""
    (wheel,) = dist.glob("*.whl")
    folder = tmp_path_factory.mktemp("installed") / "site"
    run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder, wheel,
        cwd=dist)  # fmt: skip
    return folder


def test_the_index_would_take_it(dist):
    text = run("-m", "twine", "check", "--strict", *dist.glob("ipads_stream-*"), cwd=dist)
    assert text.count("PASSED") == 2


def test_the_wheel_holds_what_it_needs_and_no_more(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith("METADATA")]
        about = email.message_from_bytes(archive.read(metadata))
    assert {"ipads_stream/conf/train.yaml", "ipads_stream/core/philox.cu",
            "ipads_stream/py.typed"} <= set(names)  # fmt: skip
    zoo = ROOT / "ipads_stream" / "zoo"
    held = {f"ipads_stream/zoo/{path.name}" for path in zoo.glob("*.*")}
    assert len(held) >= 9 and held <= set(names)  # four networks, their cards, the module
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [n for n in names if n.startswith(("tests", "experiments", "docs", "examples"))]
    assert about["License-Expression"] == "MIT"
    assert about["Author"] == "The ipads_stream authors"
    assert "torch>=2.11" in about.get_all("Requires-Dist")


def test_the_source_distribution_holds_no_generated_files(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {"README.md", "LICENSE", "CHANGELOG.md", "docs/conf.py", "conf/train.yaml"} <= set(names)
    made = ("docs/api/", "docs/auto_gallery/", "docs/results/", "docs/_build/", "runs/", ".venv/")
    assert not [name for name in names if name.startswith(made)]


def test_the_wheel_trains_and_evaluates_outside_a_clone(site, tmp_path):
    where = (
        "import ipads_stream, ipads_stream.config as c; print(ipads_stream.__file__, c.conf_dir())"
    )
    package, conf = run("-c", where, cwd=tmp_path, site=site).split()
    assert package.startswith(str(site))
    assert conf == str(site / "ipads_stream" / "conf")
    quick = ["trainer.max_steps=10", "trainer.bar=false", "trainer.val_every=0", "logger=none"]
    train = ["train", "system=ann_mwf", *quick, "device=cpu", "output=run"]
    evaluate = ["evaluate", "checkpoint=run/run.ckpt", "samples=20", "device=cpu"]
    program = (
        "import sys; from ipads_stream.__main__ import main;"
        f"sys.exit(main({train}) or main({evaluate}))"
    )
    run("-c", program, cwd=tmp_path, site=site)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) >= 1
    assert (tmp_path / "run" / "report" / "report.html").is_file()
