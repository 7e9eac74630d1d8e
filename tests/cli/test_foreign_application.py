"""An application of somebody's own composes the groups of this package and builds from them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ipads_stream.config import conf_dir

APPLICATION = """
import hydra

@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(cfg):
    system = hydra.utils.instantiate(cfg.ipads_stream.system)
    print(system.name, "|", cfg.trainer, "|", ",".join(sorted(cfg)))

main()
"""
SYSTEMS = sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))


def run(folder, *words):
    config = "defaults: [{ipads_stream/system: drone}, _self_]\ntrainer: somebody's own\n"
    (folder / "config.yaml").write_text(config)
    text = APPLICATION.replace("config_path=None", f"config_path={str(folder)!r}")
    (folder / "application.py").write_text(text)
    line = [sys.executable, str(folder / "application.py"), "hydra.run.dir=out", *words]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_a_system_is_composed_and_nothing_else_is_touched(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "drone | somebody's own | ipads_stream,trainer"


def test_the_groups_are_listed(tmp_path):
    done = run(tmp_path, "--help")
    assert "ipads_stream/system: ann_mwf, ann_mwf_cpmg, anncest" in done.stdout
    assert "ipads_stream/net:" in done.stdout


@pytest.mark.slow
def test_every_system_is_built_by_hydra_itself(tmp_path):
    names = ",".join(SYSTEMS)
    done = run(tmp_path, f"ipads_stream/system={names}", "hydra.sweep.dir=out", "-m")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| somebody's own |") == len(SYSTEMS)


def test_a_net_follows_the_system_beside_it(tmp_path):
    done = run(tmp_path, "+ipads_stream/net=drone", "--cfg", "job", "--resolve")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("num_frames: 200") == 2  # of the system, and as the net sees it
