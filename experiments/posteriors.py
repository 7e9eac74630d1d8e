"""Posteriors of relaxation times under protocols that training has not seen, beside exact ones.

    python experiments/posteriors.py [seeds=3] [steps=6000] [voxels=100]

Trains each system from several seeds, for fewer steps than take five minutes of one thread, and
compares, on the voxels of each of 20 keyed test protocols, errors with those of the exact posterior
mean and of the bound, and intervals with their nominal coverage. Finished networks are kept under
runs/posteriors; rows that are in results/posteriors.json are not made again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from result_files import RESULTS, ROOT, load
from training import trained

from ipads_stream import load_model, load_system
from ipads_stream.baselines import Method, classical_methods
from ipads_stream.baselines.importance import HOW
from ipads_stream.core.files import json_text, write_text
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.tasks.quantities import calibration
from ipads_stream.evaluation.tasks.quantities.calibration import CORRECTED
from ipads_stream.evaluation.tasks.quantities.scores import scores
from ipads_stream.report.figures import NETWORK

SYSTEMS = ("t2_map", "t2_cpmg", "t2star_map", "t1_map", "t1_inversion")
STEPS = 6000  # less than five minutes of one thread; the file of results says what they took
PROTOCOLS = 20
KEPT = ("quantity", "method", "log_rmse", "bias", "bound_ratio", "slope")


def test_set(system: Any, voxels: int) -> Sample:
    """As many voxels of each of the first 20 protocols of the test split.

    What is estimated, and B1, differ from voxel to voxel; the rest is its protocol's.
    """
    numbers = np.arange(PROTOCOLS * voxels, dtype=np.uint64)
    keys = Keys(0, "test", numbers)
    params = system.draw(keys, np.zeros(len(numbers)))
    shared = [name for name in params if name not in (*system.quantities, "B1")]
    params |= {name: np.repeat(params[name][:PROTOCOLS], voxels) for name in shared}
    sample = system.render(params, keys, np)
    tensors = [{name: torch.from_numpy(np.array(x)) for name, x in arrays.items()}
               for arrays in (sample.inputs, sample.targets)]  # fmt: skip
    return Sample(*tensors, params)


def compared(system: Any, sample: Sample, methods: Mapping[str, Method]) -> Comparison:
    """The estimates of methods for the test set, and seconds of the processor for a voxel."""
    empty = Comparison(quantities=system.quantities, estimates={}, seconds={}, sample=sample,
                       truths={name: x.numpy() for name, x in sample.targets.items()},
                       bounds=system.bound(sample.params))  # fmt: skip
    for name, method in methods.items():
        method({key: x[:64] for key, x in empty.inputs.items()})  # compiles
        started = time.process_time()
        empty.estimates[name] = method(empty.inputs)
        empty.seconds[name] = (time.process_time() - started) / len(empty)
    return empty


def scored(comparison: Comparison) -> list[dict[str, Any]]:
    """Errors of methods, over the bound, slopes, and microseconds of a voxel."""
    rows = scores(comparison)
    time_of = comparison.seconds
    return [{key: row.get(key) for key in KEPT} | {"us": 1e6 * time_of.get(row["method"], np.nan)}
            for row in rows]  # fmt: skip


def of_seed(name: str, seed: int, steps: int, classical: Comparison) -> dict[str, Any]:
    """A network: what its training took, its errors and its calibration."""
    folder = ROOT / "runs" / "posteriors" / f"{name}-{seed}-{steps}"
    is_whole, started = not folder.exists(), time.process_time()
    checkpoint = trained(folder, [f"system={name}", f"trainer.max_steps={steps}", f"seed={seed}"])
    taken = time.process_time() - started if is_whole else None
    model = load_model(checkpoint, device="cpu")
    corrected = calibration.posterior_of(model)
    assert corrected is not None
    methods = {NETWORK: model, CORRECTED: corrected}
    found = compared(corrected.system, classical.sample, methods)
    rows = scored(found)
    ranks, how, effective = calibration.ranks(corrected, found.inputs, found.truths)
    both = replace(found, estimates=found.estimates | classical.estimates)
    shares = np.bincount(how, minlength=len(HOW)) / len(how)
    return {
        "system": name, "seed": seed, "steps": steps, "processor_seconds": taken,
        "scores": rows, "calibration": calibration.rows_of(both, ranks),
        "effective": [float(x) for x in np.quantile(effective / corrected.points, (0.05, 0.5))],
        "how": dict(zip(HOW, shares.tolist(), strict=True)), "voxels": len(found),
    }  # fmt: skip


def main(words: list[str]) -> None:
    """Makes the rows that are missing, each written when it is there."""
    given = {"seeds": 3, "steps": STEPS, "voxels": 100}
    given |= {key: int(value) for key, value in (word.split("=") for word in words)}
    result = load("posteriors") or {"classical": {}, "rows": []}
    done = {(row["system"], row["seed"]) for row in result["rows"]}
    tests: dict[str, Comparison] = {}
    for seed in range(given["seeds"]):
        for name in SYSTEMS:
            if (name, seed) in done:
                continue
            if name not in tests:
                system = load_system(name)
                sample = test_set(system, given["voxels"])
                tests[name] = compared(system, sample, classical_methods(system))
                result["classical"][name] = scored(tests[name])
            result["rows"].append(of_seed(name, seed, given["steps"], tests[name]))
            write_text(RESULTS / "posteriors.json", json_text(result, 1) + "\n")
            print(name, seed, result["rows"][-1]["calibration"], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
