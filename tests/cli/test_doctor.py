"""What doctor says where something is missing or broken."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys

import pytest

from ipads_stream import doctor
from ipads_stream.__main__ import main

BLOCKED = """
import importlib.metadata, sys
sys.modules[{name!r}] = None
version = importlib.metadata.version
def without(name):
    if name == {name!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = without
from ipads_stream import doctor
from ipads_stream.__main__ import main
doctor.ARCHITECTURES = ()
sys.exit(main(["doctor"]))
"""


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch):
    monkeypatch.setattr(doctor, "ARCHITECTURES", ())


def test_the_list_is_that_of_the_metadata_without_extras(monkeypatch):
    lines = ["tqdm>=4", "torch<3,>=2.4", "a.b-c", "cupy-cuda13x<15; extra == 'cuda13'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    assert doctor.required_packages() == ["tqdm", "torch", "a.b-c"]


def test_without_metadata_the_list_is_complete(monkeypatch):
    def refuse(name):
        raise importlib.metadata.PackageNotFoundError(name)

    installed = doctor.required_packages()
    monkeypatch.setattr(importlib.metadata, "requires", refuse)
    assert set(installed) <= set(doctor.required_packages())
    assert {"tqdm", "threadpoolctl"} <= set(doctor.required_packages())


def test_a_missing_package_is_named_with_the_remedy(monkeypatch, capsys):
    version = importlib.metadata.version

    def without_tqdm(name):
        if name == "tqdm":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_tqdm)
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "tqdm               MISSING" in text
    assert "-m pip install tqdm\n" in text


@pytest.mark.parametrize("name", ["numba", "torch"])
def test_all_that_works_is_told_where_a_package_is_missing(name):
    program = BLOCKED.format(name=name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("  FAILED  ModuleNotFoundError") >= 1
    for word in ("MISSING", "devices", "cpu", "kernels", "folders", "IPADS_DATA"):
        assert word in done.stdout


def test_a_section_that_fails_is_one_line(monkeypatch):
    def broken():
        yield "  begun"
        raise RuntimeError("of\ntwo lines")

    monkeypatch.setattr(doctor, "SECTIONS", {"devices": (broken, doctor._processors)})
    text, is_sound = doctor.examine()
    assert "  begun\n  FAILED  RuntimeError: of two lines\n  cpu" in text
    assert not is_sound
    monkeypatch.setattr(doctor, "FOR_CUDA", (broken,))
    assert doctor.examine()[1]


def test_kernels_are_not_compiled_without_the_compiler(monkeypatch):
    find_spec = importlib.util.find_spec

    def without_cuda(name, package=None):
        if name.startswith("cuda"):
            raise ModuleNotFoundError("No module named 'cuda'")
        return find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_cuda)
    text, is_sound = doctor.examine()
    assert "not compiled: needs cuda-core and NVRTC" in text
    assert is_sound
