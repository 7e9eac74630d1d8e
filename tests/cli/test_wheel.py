"""The wheel works outside a clone: it carries the configuration and the CUDA texts."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_wheel_works_outside_a_clone(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    done = subprocess.run([*build, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert "ipads_stream/conf/train.yaml" in names
    assert "ipads_stream/core/philox.cu" in names
    assert not [name for name in names if name.startswith(("tests", "experiments"))]
    program = (
        "import ipads_stream, ipads_stream.config as c;"
        "print(ipads_stream.__file__, c.conf_dir());"
        "print(next(iter(ipads_stream.Stream(ipads_stream.load_system('dlnmr')))).inputs.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    package, conf = done.stdout.splitlines()[0].split()
    assert package.startswith(str(site))
    assert conf == str(site / "ipads_stream" / "conf")
