"""What it takes to resume a stream at step 1e9, by system, plain and adaptive.

    python experiments/resuming.py

The state is written as JSON, read back and loaded into a new stream; the median of repeated calls.
An adaptive stream adapts every drawn parameter that is uniform, and has as many shares in its state
as it ever keeps.
"""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import numpy as np
import torch
from result_files import RESULTS

from ipads_stream import Stream, load_system
from ipads_stream.config import group_names
from ipads_stream.core.files import json_text, write_text
from ipads_stream.distributions import Adaptive, LogUniform, Uniform
from ipads_stream.stream.adaptation import KEPT

STEP = 10**9
TIMES = 51
REGIONS = 4
EVERY = 3  # deliveries to a block: the fewest that batches made ahead allow here
SETTINGS: dict[str, Any] = {
    "batch_size": 1, "threads": 0, "depth": 1, "adapt_every": EVERY, "device": "cpu",
}  # fmt: skip


def adaptive(system: Any) -> Any:
    """The system with each uniform parameter in four regions that adapt; None: it has none."""
    changed = {}
    for name, value in system.distributions().items():
        if isinstance(value, (Uniform, LogUniform)):
            between = np.geomspace if isinstance(value, LogUniform) else np.linspace
            edges = between(value.low, value.high, REGIONS + 1)[1:-1].tolist()
            changed[name] = Adaptive(distribution=value, edges=edges)
    return dataclasses.replace(system, **changed) if changed else None


def state_at(system: Any) -> dict[str, Any]:
    """Of a stream that has come to the step; what adapts was fed the errors of the last blocks."""
    stream = Stream(system, **SETTINGS)
    first = STEP - EVERY * (KEPT + 3)
    stream.load_state_dict(stream.state_at(first))
    for step in range(first, STEP if stream.table.adaptive else first):
        stream.feed_back(stream.batch(step), torch.ones(1))
    return stream.state_at(STEP)


def resumed(system: Any) -> dict[str, float]:
    """Bytes of the state, and milliseconds from its text to a stream that goes on."""
    text = json.dumps(state_at(system))
    stream, seconds = Stream(system, **SETTINGS), []
    for _ in range(TIMES):
        started = time.perf_counter()
        stream.load_state_dict(json.loads(text))
        seconds.append(time.perf_counter() - started)
    assert stream.step == STEP
    return {"bytes": len(text), "ms": round(1e3 * float(np.median(seconds)), 3)}


def main() -> None:
    """Measures all systems and writes the file of results."""
    found: dict[str, dict[str, Any]] = {}
    for name in group_names("system"):
        system = load_system(name)
        changed = adaptive(system)
        found[name] = {
            "plain": resumed(system),
            "adaptive": None if changed is None else resumed(changed),
        }
        print(name, found[name], flush=True)
    write_text(RESULTS / "resuming.json", json_text(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
