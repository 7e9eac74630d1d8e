"""Weights and cards of the networks that are part of the package (ipads_stream/zoo).

    python experiments/zoo.py [t2_map t2_cpmg t2star_map t1_map t1_inversion]

Takes the runs of experiments/posteriors.py where they are (runs/posteriors, of seed 0), trains
those that are not, and goes on with those that were stopped. What a card says of errors and
calibration is the row of results/posteriors.json, once the network is seen to make its errors.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from posteriors import PROTOCOLS, STEPS, SYSTEMS, compared, scored, test_set
from result_files import ROOT, load
from training import QUIET, trained

from ipads_stream import ConfigError, Stream, load_model, zoo
from ipads_stream.config import build_run, build_system, compose
from ipads_stream.core.files import json_text, replacing, write_text
from ipads_stream.report.figures import NETWORK
from ipads_stream.train.checkpoint import EXTRA, read_checkpoint
from ipads_stream.train.run import check_resume

SEED = 0


def seen(config: dict[str, Any]) -> dict[str, Any]:
    """What is known again of the first samples that a network was trained on."""
    settings = {"seed": config["seed"], "split": "train"}
    stream = Stream(build_system(config), batch_size=256, device="cpu", threads=0, **settings)
    sample = stream.sample(range(zoo.SEEN))
    rendered = {**sample.inputs, **{f"target {name}": x for name, x in sample.targets.items()}}
    return {**settings, "samples": zoo.SEEN, "params": zoo.digest(sample.params),
            "values": zoo.glimpse(rendered)}  # fmt: skip


def measured(name: str) -> dict[str, Any]:
    """The row of results of the training."""
    for row in load("posteriors")["rows"]:
        if (row["system"], row["seed"], row["steps"]) == (name, SEED, STEPS):
            return row
    asked = f"a row of seed {SEED} and {STEPS} steps (python experiments/posteriors.py seeds=1)"
    raise ConfigError("posteriors.json", name, asked)


def check_errors(path: Path, row: dict[str, Any]) -> None:
    """ConfigError of a network whose errors are not those of the row."""
    model = load_model(path)
    system = model.system
    found = scored(compared(system, test_set(system, row["voxels"] // PROTOCOLS), {NETWORK: model}))
    told = {(each["quantity"], each["method"]): each for each in row["scores"]}
    for now in found:
        before = told[now["quantity"], now["method"]]
        for key in ("log_rmse", "bound_ratio", "slope"):
            if now[key] != before[key] and not np.isclose(now[key], before[key], rtol=1e-3):
                # Training on another processor rounds otherwise.
                allowed = f"{before[key]}, as in posteriors.json; measure this training there first"
                raise ConfigError(f"{key} of {now['quantity']}", now[key], allowed)


def make(name: str) -> None:
    """Writes weights and card of a network."""
    folder = Path("runs") / "posteriors" / f"{name}-{SEED}-{STEPS}"
    words = [f"system={name}", f"trainer.max_steps={STEPS}", f"seed={SEED}"]
    path = trained(ROOT / folder, words)
    run, row = read_checkpoint(path), measured(name)
    check_resume(run["config"], build_run(compose([*QUIET, *words])).config, str(path))
    check_errors(path, row)
    words = [*QUIET, *words, f"output={folder.as_posix()}"]
    config = run["config"] | {"output": folder.as_posix(), "resume": None, "overrides": words}
    weights = {f"net.{key}": tensor.clone() for key, tensor in run["weights"].items()}
    content = {
        EXTRA: {"config": config, "stream": {}, "version": run["version"]},
        "global_step": run["steps"], "state_dict": weights,
    }  # fmt: skip
    kept = zoo.FOLDER / f"{name}.ckpt"
    with replacing(kept) as partial, partial.open("wb") as file:
        torch.save(content, file)  # to a file, not to a path: its name would be in the bytes
    card = {
        "name": name, "quantities": config["net"]["outputs"], "ranges": config["system"],
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "seed": config["seed"], "steps": run["steps"], "version": run["version"],
        "command": f"ipads-stream train {' '.join(words)}",
        "processor_seconds": row["processor_seconds"],
        "test": f"{row['voxels']} voxels of {PROTOCOLS} protocols that training has not seen",
        "scores": [x for x in row["scores"] if x["slope"] is not None],
        "calibration": [x for x in row["calibration"] if "coverage_90" in x],
        "sha256": zoo.sha256(kept), "stream": seen(config),
    }  # fmt: skip
    write_text(kept.with_suffix(".json"), json_text(card, 1) + "\n")
    print(f"{kept.name}: {kept.stat().st_size / 1e3:.0f} kB; {zoo.sentence(name)}", flush=True)


if __name__ == "__main__":
    for each in sys.argv[1:] or SYSTEMS:
        make(each)
