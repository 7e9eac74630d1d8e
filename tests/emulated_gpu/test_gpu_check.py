"""What is asked of a GPU is asked of the emulated one, as far as it can answer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from ipads_stream import ConfigError

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def checks(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    spec = importlib.util.spec_from_file_location("gpu_check", EXPERIMENTS / "gpu_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SYSTEMS", ["dlnmr"])
    monkeypatch.setattr(module, "BATCHES", (2, 4))
    monkeypatch.setattr(module, "BATCH", 4)
    return module


def test_without_a_gpu_it_refuses(checks):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="device='cuda': cpu here"):
        checks.main([])
    with pytest.raises(ConfigError, match="step='speed'"):
        checks.main(["step=speed"])


def test_its_steps_run(gpu, checks, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 1000, raising=False)
    monkeypatch.setattr(checks, "rate", lambda name, size: 10.0 * size)
    out = tmp_path / "gpu.json"
    steps = {**checks.STEPS, "training": lambda: checks.check_training(steps=4)}
    monkeypatch.setattr(checks, "STEPS", steps)
    words = "step=systems,memory,rates,training,kernels"
    assert checks.main([words, f"out={out}"]) == 0, capsys.readouterr()
    results = json.loads(out.read_text())
    assert max(results["systems"]["differences"]["dlnmr"].values()) < 1e-5
    assert results["memory"]["bytes"]["dlnmr"] == {"8": 1000, "64": 1000}
    assert 0 <= results["training"]["stall"] <= 1
    assert "damped_exponentials" in results["kernels"]["of_systems"]["dlnmr"]
    text = capsys.readouterr().out
    assert "| emulated | 40 |" in text


def test_what_fails_is_said_and_the_rest_goes_on(gpu, checks, monkeypatch, tmp_path, capsys):
    def broken():
        raise MemoryError("no room")

    monkeypatch.setattr(checks, "STEPS", {"systems": broken, "rates": lambda: {"passed": True}})
    out = tmp_path / "gpu.json"
    assert checks.main([f"out={out}"]) == 1
    results = json.loads(out.read_text())
    assert results["systems"] == {"error": "MemoryError: no room", "passed": False}
    assert results["rates"]["passed"]
    assert "FAILED" in capsys.readouterr().out


def test_doctor_uses_every_library(gpu, monkeypatch):
    import cupy

    from ipads_stream import doctor

    monkeypatch.setattr(doctor, "_version", lambda name: "14.2.0")
    assert not [line for line in doctor._cupy() if "MISSING" in line]

    def missing(*_):
        raise ImportError("libcufft.so.11: cannot open shared object file")

    monkeypatch.setattr(cupy.fft, "fft", missing)
    lines = list(doctor._cupy())
    assert any("MISSING cuFFT: libcufft.so.11" in line for line in lines)
    assert any("ipads-stream[cuda13]" in line for line in lines)


@pytest.mark.gpu(emulated=False)
def test_all_of_it_on_a_gpu(checks, tmp_path):
    assert checks.main(["step=doctor,systems", f"out={tmp_path / 'gpu.json'}"]) == 0
