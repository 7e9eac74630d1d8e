"""Frozen sets give the live batches, bit for bit, or refuse."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

from ipads_stream import Frozen, Stream, freeze, load_system
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError


@pytest.mark.parametrize("fmt", ["npy", "hdf5"])
def test_a_frozen_set_yields_the_live_batches(system, tmp_path, fmt):
    live = Stream(system, seed=5, split="test", batch_size=7, device="cpu")
    path = freeze(live, tmp_path / "set", 100, fmt=fmt)
    frozen = Frozen(path, config_hash=config_hash(system)).stream(batch_size=7, device="cpu")
    batches = iter(frozen)
    for step in range(14):
        a, b = live.batch(step), next(batches)
        for group in ("inputs", "targets"):
            for name, tensor in getattr(a, group).items():
                assert torch.equal(tensor, getattr(b, group)[name])
        for name, array in a.params.items():
            assert np.array_equal(array, b.params[name])
        assert a.provenance.record(0) == b.provenance.record(0)
    batches.close()
    wrapped = frozen.sample([3, 103, 1])
    assert torch.equal(wrapped.inputs["fid"][0], wrapped.inputs["fid"][1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize("policy", ["mask", "substitute"])
@pytest.mark.parametrize("fmt", ["npy", "hdf5"])
def test_weights_and_substitutions_are_frozen(toy, tmp_path, fmt, policy):
    live = Stream(toy(nan_at=(2, 9)), batch_size=4, on_nonfinite=policy, device="cpu")
    frozen = Frozen(freeze(live, tmp_path / "set", 12, fmt=fmt)).stream(batch_size=4, device="cpu")
    for step in range(3):
        a, b = live.batch(step), frozen.batch(step)
        assert torch.equal(a.weight, b.weight)
        assert a.weight.dtype == b.weight.dtype
        assert np.array_equal(a.provenance.substituted, b.provenance.substituted)
        assert [a.provenance.record(i) for i in range(4)] == [
            b.provenance.record(i) for i in range(4)
        ]
    assert frozen.sample([9, 3, 2]).provenance.substituted.tolist() == [True, False, True]
    assert frozen.num_failures == 0


@pytest.mark.parametrize("fmt", ["npy", "hdf5"])
def test_a_changed_or_missing_array_is_refused(toy, tmp_path, fmt):
    path = freeze(Stream(toy(), device="cpu"), tmp_path / "set", 300, fmt=fmt)
    name = "inputs.signal"
    Frozen(path)
    if fmt == "npy":
        array = np.load(path / f"{name}.npy", mmap_mode="r+")
        array[299, 7] += 1
        array.flush()
    else:
        with h5py.File(path, "a") as file:
            file[name][299, 7] += 1
    with pytest.raises(ConfigError, match=rf"{name}=.*SHA-256"):
        Frozen(path)
    Frozen(path, verify=False)
    if fmt == "npy":
        (path / f"{name}.npy").unlink()
    else:
        with h5py.File(path, "a") as file:
            del file[name]
    with pytest.raises(ConfigError, match=f"{name}=None"):
        Frozen(path, verify=False)


def test_a_truncated_array_is_refused(toy, tmp_path):
    path = freeze(Stream(toy(), device="cpu"), tmp_path / "set", 300)
    file = path / "inputs.signal.npy"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ConfigError, match=r"inputs\.signal"):
        Frozen(path)
    file.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"inputs\.signal"):
        Frozen(path)


@pytest.mark.slow
@pytest.mark.parametrize("fmt", ["npy", "hdf5"])
def test_verifying_needs_no_memory_of_the_size_of_the_set(toy, tmp_path, fmt):
    path = freeze(
        Stream(toy(points=4096), batch_size=256, device="cpu"), tmp_path / "set", 8192, fmt=fmt
    )  # 128 MiB
    program = (
        "import resource, sys, h5py; from ipads_stream import Frozen\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); Frozen(sys.argv[1]); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 32_000  # kB


def test_a_changed_manifest_is_refused(system, tmp_path):
    stream = Stream(system, device="cpu")
    path = freeze(stream, tmp_path / "set", 10)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"seed": 9}))
    with pytest.raises(ConfigError, match="manifest_hash"):
        Frozen(path)
    path = freeze(stream, tmp_path / "set.h5", 10, fmt="hdf5")
    with h5py.File(path, "a") as file:
        file.attrs["manifest"] = file.attrs["manifest"].replace('"seed": 0', '"seed": 1')
    with pytest.raises(ConfigError, match="manifest_hash"):
        Frozen(path)


def test_another_configuration_is_refused(system, tmp_path):
    path = freeze(Stream(system, device="cpu"), tmp_path / "set", 10)
    with pytest.raises(ConfigError, match="config_hash"):
        Frozen(path, config_hash="0" * 16)


def test_bad_arguments(system, tmp_path):
    stream = Stream(system, device="cpu")
    with pytest.raises(ConfigError, match="format"):
        freeze(stream, tmp_path / "set", 10, fmt="zip")
    with pytest.raises(ConfigError, match="num_samples"):
        freeze(stream, tmp_path / "set", 0)
    freeze(stream, tmp_path / "set", 10)
    with pytest.raises(ConfigError, match="does not exist yet"):
        freeze(stream, tmp_path / "set", 10)
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "other", tmp_path / "nothing", __file__):
        with pytest.raises(ConfigError, match="path"):
            Frozen(path)


def test_a_failed_freeze_leaves_nothing(toy, tmp_path):
    stream = Stream(toy(raise_at=(15,)), batch_size=4, device="cpu")
    with pytest.raises(RuntimeError, match="sample 15"):
        freeze(stream, tmp_path / "set", 20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fmt", ["npy", "hdf5"])
def test_samples_of_a_set_by_number(toy, tmp_path, fmt):
    live = Stream(toy(), seed=2, split="test", device="cpu")
    frozen = Frozen(freeze(live, tmp_path / "set", 10, fmt=fmt))
    assert len(frozen) == 10
    for rows, indices in (
        (3, [3]),
        (-1, [9]),
        (slice(2, 5), [2, 3, 4]),
        (slice(None, None, -4), [9, 5, 1]),
    ):
        found, expected = frozen[rows], live.sample(indices)
        assert found.provenance.indices.tolist() == indices
        assert torch.equal(found.inputs["signal"], expected.inputs["signal"])
        assert np.array_equal(found.params["level"], expected.params["level"])
    assert [len(sample) for sample in frozen] == [1] * 10
    for wrong in (10, -11):
        with pytest.raises(IndexError):
            frozen[wrong]
    assert "10 samples of toy" in repr(frozen)


def test_units_stand_beside_the_arrays(tmp_path):
    system = load_system("drone", ["schedule.num_frames=20"])
    path = freeze(Stream(system, device="cpu"), tmp_path / "set.h5", 4, fmt="hdf5")
    with h5py.File(path) as file:
        units = {name: array.attrs.get("unit") for name, array in file.items()}
    assert units["params.T1"] == units["targets.T2"] == "s"
    assert units["params.B1"] == "1"
    assert all(unit is None for name, unit in units.items() if name.startswith("inputs."))
    path = freeze(Stream(system, device="cpu"), tmp_path / "set", 4)
    assert Frozen(path).manifest["arrays"]["targets.T1"]["unit"] == "s"


def test_infinity_in_a_configuration_is_plain_json_and_comes_back(toy, tmp_path):
    live = Stream(toy(delay=-math.inf), device="cpu")
    path = freeze(live, tmp_path / "set", 3)
    text = (path / "manifest.json").read_text()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(word))
    assert (
        Frozen(path, config_hash=live.config_hash).stream(device="cpu").config_hash
        == live.config_hash
    )
    # As sets were written before: JavaScript's words, and the digest of them.
    manifest = json.loads(text)
    manifest["config"]["delay"] = -math.inf
    body = {key: value for key, value in manifest.items() if key != "manifest_hash"}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(body | {"manifest_hash": digest}))
    assert Frozen(path).stream(device="cpu").config_hash == live.config_hash
