"""Samples and checkpoints made before the package was rearranged: still the same, still loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ipads_stream import Stream, load_model, load_system
from ipads_stream.config import build_system
from ipads_stream.core.description import describe

FOLDER = Path(__file__).parent
SAMPLES = json.loads((FOLDER / "samples.json").read_text())
PREDICTIONS = json.loads((FOLDER / "predictions.json").read_text())


def digest(arrays):
    """SHA-256 of named arrays: names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def some(array, count):
    """A few evenly spaced values, real and imaginary parts of complex ones."""
    flat = np.asarray(array).ravel()
    flat = flat[:: max(1, flat.size // count)][:count]
    return np.stack([flat.real, flat.imag], -1).ravel() if np.iscomplexobj(flat) else flat


@pytest.mark.parametrize("name", SAMPLES["systems"])
def test_samples_are_those_of_before(name):
    before, system = SAMPLES["systems"][name], load_system(name)
    described = json.dumps(describe(system), sort_keys=True).encode()
    assert hashlib.sha256(described).hexdigest()[:16] == before["config"]
    stream = Stream(
        system, seed=SAMPLES["seed"], split=SAMPLES["split"], batch_size=4, device="cpu", threads=0
    )
    sample = stream.sample(SAMPLES["indices"])
    groups = {"params": sample.params, "inputs": sample.inputs, "targets": sample.targets}
    arrays = {key: {n: np.asarray(x) for n, x in of.items()} for key, of in groups.items()}
    assert digest({"w": np.asarray(sample.weight)}) == before["weight"]
    shown = arrays["inputs"] | {f"target {n}": x for n, x in arrays["targets"].items()}
    for key, values in before["values"].items():
        np.testing.assert_allclose(some(shown[key], 16), values, rtol=1e-5, atol=1e-6)
    if any(digest(arrays[key]) != before[key] for key in groups):
        # Another processor may round otherwise, exponentials of NumPy too; of one that does not,
        # every bit is the same.
        assert other_processor(), "samples are no longer the same bits"


def other_processor():
    import platform

    lines = Path("/proc/cpuinfo")
    model = (
        next(
            (
                line.split(":")[1].strip()
                for line in lines.read_text().splitlines()
                if "model name" in line
            ),
            platform.processor(),
        )
        if lines.is_file()
        else platform.processor()
    )
    return model != SAMPLES["processor"]


@pytest.mark.parametrize("name", PREDICTIONS)
def test_checkpoints_of_before_still_load_and_estimate_the_same(name):
    model = load_model(FOLDER / f"{name}.ckpt")
    stream = Stream(
        build_system(model.config), seed=5, split="test", batch_size=2, device="cpu", threads=0
    )
    inputs = {key: np.asarray(x) for key, x in stream.sample([0, 9]).inputs.items()}
    if "outputs" in model.config["net"]:
        found = model(inputs)
    else:
        found = {"fid": model(inputs["fid"], inputs["mask"])}
    assert found.keys() == PREDICTIONS[name].keys()
    for key, values in PREDICTIONS[name].items():
        np.testing.assert_allclose(some(found[key], 8), values, rtol=1e-3, atol=1e-5)
