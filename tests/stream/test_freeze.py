"""Frozen sets give the live batches, bit for bit, or refuse."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch

from ipads_stream import Frozen, Stream, freeze
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
