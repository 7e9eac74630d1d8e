"""What generation costs each system of quantities, beside the training that it feeds.

Every system of conf/system that estimates quantities, with its own network, loss and batch, as
``ipads-stream train system=NAME`` would run it on a CPU. Milliseconds are of a batch, processor
time of one thread (medians of repeated calls); where they go: drawing the parameters, rendering,
the rest of what a stream does to a batch (checks, hand-over), forward with the loss, backward with
the step of AdamW. ``share_of_generation`` is generation over generation and training, when one
thread does both; the stall is the share of the time that training waits, by the clock, with one
producing thread beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ipads_stream import ConfigError, Stream
from ipads_stream.config import build_run, build_system, compose, conf_dir
from ipads_stream.core.handover import torch_threads
from ipads_stream.core.random import Keys


def names() -> list[str]:
    """Systems that estimate quantities, by the names of their YAML files."""
    found = []
    for path in sorted((conf_dir() / "system").glob("*.yaml")):
        target = compose([f"system={path.stem}"])["system"]["_target_"]
        module, _, cls = target.rpartition(".")
        if hasattr(getattr(__import__(module, fromlist=[cls]), cls), "quantities"):
            found.append(path.stem)
    return found


def processor_seconds(call: Callable[[], Any], seconds: float) -> float:
    """Median processor time of a call, repeated for so many seconds, at least three times."""
    call()  # compiles
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < 3:
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return float(np.median(taken))


class Trained:
    """The training of a system: its network, its loss, and steps on given samples."""

    def __init__(self, config: dict[str, Any]) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            run = build_run(config)
            self.net, self.loss = run.build_net(), run.build_loss()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4)

    def forward(self, sample: Any) -> torch.Tensor:
        terms = self.loss(self.net(sample.inputs), sample)
        return torch.stack(list(terms.values())).sum(0).mean()

    def step(self, sample: Any) -> None:
        self.optimizer.zero_grad()
        self.forward(sample).backward()
        self.optimizer.step()


def measured(name: str, seconds: float, steps: int) -> dict[str, Any]:
    """Parts of a training step of one system, and the stall of some steps."""
    config = compose([f"system={name}", "device=cpu", "logger=none"])
    system = build_system(config)
    batch, repeat = config["stream"]["batch_size"], config["stream"]["repeat"]
    settings = {"batch_size": batch, "device": "cpu"}
    inline = Stream(system, threads=0, **settings)
    keys = Keys(0, "train", np.arange(batch, dtype=np.uint64))
    params, sample = system.draw(keys, keys.indices.astype(float)), inline.batch(0)
    training = Trained(config)
    draw = processor_seconds(lambda: system.draw(keys, keys.indices.astype(float)), seconds)
    render = processor_seconds(lambda: system.render(params, keys, np), seconds)
    whole = processor_seconds(lambda: inline.batch(0), seconds)
    forward = processor_seconds(lambda: training.forward(sample), seconds)
    step = processor_seconds(lambda: training.step(sample), seconds)
    return {
        "batch_size": batch,
        "repeat": repeat,
        "samples_per_s_1_thread": batch / whole,
        "draw_ms": 1e3 * draw,
        "render_ms": 1e3 * render,
        "hand_over_ms": 1e3 * max(whole - draw - render, 0.0),
        "forward_ms": 1e3 * forward,
        "backward_ms": 1e3 * max(step - forward, 0.0),
        "share_of_generation": whole / repeat / (whole / repeat + step),
        "stall": stall(system, training, steps, repeat=repeat, **settings),
    }


def stall(system: Any, training: Trained, steps: int, **settings: Any) -> float:
    """Share of the time that training waits for one producing thread, after the first batches."""
    stream = Stream(system, threads=1, **settings)
    waited = taken = 0.0
    for number, sample in enumerate(stream):
        if number > stream.depth:
            waited, taken = waited + stream.timings.wait, taken + stream.timings.step
        if number == stream.depth + steps:
            break
        training.step(sample)
    return waited / taken


def measure(quick: bool) -> dict[str, Any]:
    seconds, steps = (0.02, 3) if quick else (2.0, 60)
    results: dict[str, Any] = {}
    with torch_threads(1):
        for name in names():
            try:
                results[name] = measured(name, seconds, steps)
            except ConfigError as error:  # such as data that are not at hand
                results[name] = f"not measured: {error}"
    return results
