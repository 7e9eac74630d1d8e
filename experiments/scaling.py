"""What scaling depends on, by system: rate of a processor core, sizes of sample and checkpoint.

    python experiments/scaling.py

One step of training and a few batches of every system at its recommended configuration; minutes on
two cores. Rates are of processor time, which other work on the machine hardly changes.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from result_files import RESULTS
from training import QUIET

from ipads_stream.config import build_run, compose, group_names
from ipads_stream.core.files import json_text, write_text
from ipads_stream.stream.stream import Stream
from ipads_stream.train.run import train_run

BATCHES = 7


def measured(name: str, output: Path) -> dict[str, Any]:
    """Samples per second of a core; bytes of a sample's inputs and targets and of a checkpoint."""
    words = [*QUIET, f"system={name}", "trainer.max_steps=1", f"output={output}"]
    config = compose(words) | {"overrides": words}
    run = build_run(config)
    size = config["stream"]["batch_size"]
    stream = Stream(run.system, batch_size=size, device="cpu", threads=0)
    seconds = []
    for step in range(BATCHES):  # the first compiles
        started = time.process_time()
        samples = stream.batch(step)
        seconds.append(time.process_time() - started)
    tensors = [*samples.inputs.values(), *samples.targets.values()]
    train_run(run)
    parameters = sum(p.numel() for p in run.build_net().parameters() if p.requires_grad)
    return {
        "batch_size": size,
        "samples_per_s_of_a_core": size / min(seconds),
        "sample_bytes": sum(tensor.nbytes for tensor in tensors) // len(samples),
        "parameters": parameters,
        "checkpoint_bytes": (output / "run.ckpt").stat().st_size,
    }


def main() -> None:
    """Measures all systems and writes the file of results."""
    found = {}
    for name in group_names("system"):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measured(name, Path(folder) / "run")
        print(name, found[name], flush=True)
    write_text(RESULTS / "scaling.json", json_text(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
