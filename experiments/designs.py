"""Does a better bound make a better network? Equal training on the protocol that there is and on
the one that ``ipads-stream design`` chooses.

    python experiments/designs.py [seeds=3] [steps=4000] [voxels=4000]

Both networks of a seed see the same tissue; errors are of the same test voxels, with the same noise
in units of M0. The error is the root mean square over quantities of the error over the prior's
standard deviation (of logarithms where these count), as the search has it. Finished networks are
kept under runs/designs; rows that are in results/designs.json are not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from result_files import RESULTS, ROOT, load
from training import trained

from ipads_stream import load_model, load_system
from ipads_stream.config import compose
from ipads_stream.core.files import json_text, write_text
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant
from ipads_stream.evaluation.design import Outcome, designed
from ipads_stream.evaluation.design.fingerprints import Fingerprint
from ipads_stream.evaluation.design.search import left, mean_square, voxels
from ipads_stream.sequences.fingerprint_schedules import ScheduleFile

CONSTANT = "{{_target_: ipads_stream.distributions.Constant, value: {}, unit: '{}'}}"
FILE = "{{_target_: ipads_stream.sequences.fingerprint_schedules.ScheduleFile, path: {}, TI: {}}}"
ECHOES = {"num_echoes": (8, ""), "first_echo": (10, "ms"), "spacing": (10, "ms")}
# System -> words of design, and of the system as it is.
ASKED: dict[str, tuple[dict[str, Any], Sequence[str]]] = {
    "t2_map": (
        {"count": 8, "budget": 0.2, "start": {"first_echo": 0.01, "spacing": 0.01}},
        [f"system.{name}={CONSTANT.format(*value)}" for name, value in ECHOES.items()],
    ),
    "ann_mwf": ({"budget": 0.06, "quantities": ["MWF"]}, []),
    "drone": ({}, []),
}


def of_system(name: str) -> tuple[Outcome, dict[str, list[str]]]:
    """What is chosen for a system, and the words that train on each protocol."""
    asked, there = ASKED[name]
    config = compose([f"system={name}"], name="design") | asked
    outcome = designed(load_system(name), config)
    folder = ROOT / "runs" / "designs" / name
    folder.mkdir(parents=True, exist_ok=True)
    settings, _ = outcome.found.problem.settings(outcome.found.controls, folder)
    words = [f"system={name}"]
    for field, setting in settings.items():
        value: Any = setting.value
        if isinstance(value, Constant):
            words.append(f"system.{field}={CONSTANT.format(value.value, value.unit)}")
        elif isinstance(value, ScheduleFile):
            path = Path(value.path).relative_to(ROOT)
            words += [f"~system.{field}", f"+system.{field}={FILE.format(path, value.TI)}"]
        else:
            words.append(f"system.{field}={value}")
    return outcome, {"now": [f"system={name}", *there], "designed": words}


def error_of(model: Any, outcome: Outcome, count: int, *, is_new: bool) -> float:
    """Root mean square error of a network over the prior's standard deviation."""
    system, unknown = model.system, outcome.found.problem.unknown
    keys = Keys(0, "test", np.arange(count, dtype=np.uint64))
    params = system.draw(keys, np.full(count, np.inf))
    if is_new and isinstance(outcome.found.problem, Fingerprint):  # the noise in units of M0 stays
        signal = np.imag(system.forward(params))
        before = np.imag(outcome.found.problem.system.forward(params))
        sizes = [np.sqrt(np.mean(x**2, axis=1)) for x in (signal, before)]
        params["snr"] = params["snr"] * sizes[0] / sizes[1]
    sample = system.render(params, keys, np)
    estimates = model({name: np.asarray(x) for name, x in sample.inputs.items()})
    columns = []
    for name, scale in unknown.items():
        if name in outcome.wanted:
            ends = [np.asarray(x, float) for x in (estimates[name], params[name])]
            ends = [np.log(x) for x in ends] if scale == "log" else ends
            columns.append((ends[0] - ends[1]) / outcome.voxels.spread[name])
    return float(np.sqrt(np.mean(np.square(columns))))


def bounds(outcome: Outcome, system: Any, count: int) -> tuple[float, float]:
    """The bound on the same error of both protocols, on the test voxels."""
    problem = outcome.found.problem
    tested = voxels(system, problem.unknown, count, 0, "test")
    chosen = {name: torch.as_tensor(x) for name, x in outcome.found.controls.items()}
    signals = outcome.there.signal, lambda params: problem.signal(params, chosen)
    names = list(problem.unknown)
    first, second = (
        float(mean_square(left(x, problem.unknown, tested, 1.0), names, outcome.wanted, tested))
        for x in signals
    )
    return first**0.5, second**0.5


def main(words: list[str]) -> None:
    """Makes the rows that are missing, each written when it is there."""
    given = {"seeds": 3, "steps": 4000, "voxels": 4000}
    given |= {key: int(value) for key, value in (word.split("=") for word in words)}
    result = load("designs") or {"rows": []}
    done = {(row["system"], row["seed"]) for row in result["rows"]}
    for name in ASKED:
        if all((name, seed) in done for seed in range(given["seeds"])):
            continue
        outcome, arms = of_system(name)
        limits = bounds(outcome, load_system(name), given["voxels"])
        for seed in range(given["seeds"]):
            if (name, seed) in done:
                continue
            errors = {}
            for arm, asked in arms.items():
                folder = ROOT / "runs" / "designs" / f"{name}-{arm}-{seed}-{given['steps']}"
                asked = [*asked, f"trainer.max_steps={given['steps']}", f"seed={seed}"]
                model = load_model(trained(folder, asked), device="cpu")
                is_new = arm == "designed"
                errors[arm] = error_of(model, outcome, given["voxels"], is_new=is_new)
            result["rows"].append({
                "system": name, "seed": seed, "steps": given["steps"], "network": errors,
                "bound": dict(zip(errors, limits, strict=True)), "chosen": outcome.sentence(),
            })  # fmt: skip
            write_text(RESULTS / "designs.json", json_text(result, 1) + "\n")
            print(name, seed, errors, limits, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
