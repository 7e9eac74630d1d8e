"""The CUDA texts compile, and need no more registers and memory than was measured."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from harness import lacking

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
MEASURED = json.loads((EXPERIMENTS / "results/kernels.json").read_text())["now"]
SLACK = 1.1  # of registers, from version to version of the compiler


@pytest.fixture(scope="module")
def sass():
    sys.path.insert(0, str(EXPERIMENTS))
    try:
        yield importlib.import_module("sass_table")
    finally:
        sys.path.remove(str(EXPERIMENTS))


@pytest.fixture(scope="module")
def compiled(sass):
    try:
        sass.compiled(sass.builds()[0], "sm_90")
    except Exception as error:  # a missing package, a missing library or one of another version
        lacking(f"cuda-core[cu13] with nvidia-cuda-nvrtc is needed to compile CUDA text: {error}")
    return sass.compiled


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("name", MEASURED)
def test_registers_and_memory_are_within_what_was_measured(sass, compiled, name, arch):
    (build,) = (build for build in sass.builds() if build.name == name)
    _, found = compiled(build, arch)
    allowed = MEASURED[name][arch]
    for memory in ("spilled", "local", "shared"):
        assert found[memory] <= allowed[memory], memory
    assert found["registers"] <= SLACK * allowed["registers"]


def test_no_state_lies_in_local_memory():
    """On one architecture a few registers of the largest states are spilled."""
    for name, rows in MEASURED.items():
        for arch, row in rows.items():
            assert row["local"] <= (64 if arch == "sm_100" else 0), name
            assert row["spilled"] == 0 or row["local"] > 0, name


def test_the_registers_of_every_kernel_are_checked(sass):
    assert {build.name for build in sass.builds()} == set(MEASURED)
    builds = {(build.text, build.entry) for build in sass.builds()}
    for path in sass.PACKAGE.rglob("*.cu"):
        for entry in re.findall(
            r"__global__ void(?: __launch_bounds__\(.*?\))? (\w+)\(", path.read_text()
        ):
            assert (path.relative_to(sass.PACKAGE).as_posix(), entry) in builds


def test_the_share_counts_the_busiest_pipe(sass):
    """40 multiply-adds in 60 issue slots; with 32 results of 16 a clock they wait for those."""
    codes = ["FFMA"] * 40 + ["MOV"] * 20
    assert sass.share(codes, "float", "sm_90") == pytest.approx(40 / 60)
    assert sass.share(codes, "float", "sm_80") == 1
    assert sass.share([*codes, *["MUFU"] * 10], "float", "sm_90") == pytest.approx(0.5)


def test_the_hot_path_is_the_shortest_way_around_the_loop(sass):
    block = sass.Block
    blocks = [block([], ["MOV"], [1]), block([], ["LDG", "FFMA"], [2, 3]),
              block([], ["MUFU"] * 9, [3]), block([], ["FADD", "BRA"], [1, 4]),
              block([], ["EXIT"], [])]  # fmt: skip
    assert sorted(sass.hot_path(blocks, "F")) == ["BRA", "FADD", "FFMA", "LDG"]
