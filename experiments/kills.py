"""Trainings that are killed at random moments and started again, beside ones that were not.

    python experiments/kills.py [MINUTES]

For so many minutes of processor time (15) runs of every kind are killed (SIGKILL) two to five times
each, at moments spread evenly over how long the uninterrupted run takes, and go on by the command
that began them. Weights, moments of the optimizer, the stream's state, and every row of every log
must be those of the uninterrupted run; clock times aside.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from result_files import RESULTS

from ipads_stream.__main__ import main
from ipads_stream.core.files import json_text, write_text

BASE = [
    "train", "stream.batch_size=8", "stream.threads=1", "logger=none", "device=cpu",
    "trainer.bar=false", "trainer.val_every=6", "trainer.val_samples=8", "trainer.max_steps=60",
    "trainer.save_every=0.05",
]  # fmt: skip
SIGNALS = ["system.points=32", "net.phases=1", "net.growth=4", "net.memory=2"]
UNIFORM = "{_target_: ipads_stream.distributions.Uniform, low: 0.05, high: 1.0}"
KINDS = {
    "dlnmr": SIGNALS,
    "drone": ["system=drone", "system.schedule.num_frames=30", "trainer.log_every=1"],
    "adaptive": [
        *SIGNALS,
        "stream.adapt_every=6",
        "system.amplitude={_target_: ipads_stream.distributions.Adaptive, edges: [0.2, 0.6],"
        f" distribution: {UNIFORM}}}",
    ],
    "samples that are not finite": [
        *SIGNALS,
        "stream.on_nonfinite=substitute",
        "system.amplitude={_target_: ipads_stream.distributions.Choice,"
        " values: [0.1, 0.3, 0.6, 1.0, 1e39], weights: [1, 1, 1, 1, 0.04]}",
    ],
    "repeat": [*SIGNALS, "stream.repeat=3"],
    "meta": [*SIGNALS, "trainer=meta", "trainer.task_size=4", "trainer.support=1",
             "trainer.inner_steps=1"],
    "transfer": [*SIGNALS, "trainer=transfer", "trainer.target={rate:0.2}", "trainer.samples=5"],
    "two processes": [*SIGNALS, "trainer.devices=2"],
}  # fmt: skip
CLOCK = ("time", "stall", "stream/wait_s", "stream/generation_s", "stream/step_s",
         "stream/queued", "stream/samples_per_s")  # fmt: skip
STUCK = 600  # s


class Started:
    """A training in a process group of its own, forked (imports are done) or, of several
    processes, by the command."""

    def __init__(self, words: list[str]) -> None:
        self.is_forked = "trainer.devices=2" not in words
        if self.is_forked:
            self.process: Any = multiprocessing.get_context("fork").Process(
                target=_train, args=(words,)
            )
            self.process.start()
        else:
            command = [sys.executable, "-m", "ipads_stream", *words]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.process = subprocess.Popen(command, start_new_session=True, **quiet)

    def wait(self, seconds: float) -> int | None:
        """The exit code; None: it goes on after so many seconds."""
        if self.is_forked:
            self.process.join(seconds)
            return self.process.exitcode
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self.is_forked:
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait(STUCK)


def _train(words: list[str]) -> None:
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        os._exit(main(words))


def finished(words: list[str]) -> float:
    """Seconds of a run that is left alone; RuntimeError where it fails."""
    began, started = time.monotonic(), Started(words)
    code = started.wait(STUCK)
    if code != 0:
        started.kill()
        raise RuntimeError(f"exit code {code} of {' '.join(words)}")
    return time.monotonic() - began


def rows(path: Path) -> list[dict[str, Any]]:
    """Of a log, without what depends on the clock."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def state(run: Path) -> Any:
    """What a run goes on from."""
    content = torch.load(run / "run.ckpt", weights_only=True)
    kept = [content[key] for key in ("state_dict", "optimizer_states", "global_step")]
    return [*kept, content["ipads_stream"]["stream"], content["callbacks"].get("Best")]


def same(a: Any, b: Any) -> bool:
    """Bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def differences(run: Path, whole: Path) -> list[str]:
    """What of a run is not as in the uninterrupted one."""
    found = [] if same(state(run), state(whole)) else ["checkpoint"]
    names = {path.name for folder in (run, whole) for path in folder.glob("*.jsonl")}
    for name in sorted(names):
        if not all((folder / name).is_file() for folder in (run, whole)):
            found.append(f"{name} is missing")
        elif rows(run / name) != rows(whole / name):
            found.append(name)
    return found


def killed(words: list[str], seconds: float, draw: random.Random) -> int:
    """Kills of one run before it is done; those that came after its end do not count."""
    kills = 0
    for _ in range(draw.randint(2, 5)):
        started = Started(words)
        code = started.wait(draw.uniform(0, seconds))
        if code == 0:  # it was sooner done than killed
            return kills
        if code is not None:
            raise RuntimeError(f"exit code {code} of {' '.join(words)}")
        started.kill()
        kills += 1
    finished(words)
    return kills


def processor_seconds() -> float:
    """That this process and all that have ended took."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, both))


def study(minutes: float, say: Callable[[str], None]) -> None:
    """Kills, and writes the file of results after every run."""
    found = {kind: {"runs": 0, "kills": 0, "differ": []} for kind in KINDS}
    draw = random.Random(time.time_ns())
    with tempfile.TemporaryDirectory() as name:
        folder, lengths = Path(name), {}
        for number, kind in enumerate(itertools.cycle(KINDS)):
            if processor_seconds() > 60 * minutes:
                return
            words, whole = [*BASE, *KINDS[kind]], folder / kind.replace(" ", "-")
            if kind not in lengths:
                finished([*words, f"output={whole}"])  # compiles
                lengths[kind] = finished([*words, f"output={whole}-again"])
                if differences(Path(f"{whole}-again"), whole):
                    raise RuntimeError(f"two uninterrupted runs of {kind} differ")
            run = folder / f"run-{number}"
            kills = killed([*words, f"output={run}", "resume=auto"], lengths[kind], draw)
            entry: Any = found[kind]
            entry["runs"] += 1
            entry["kills"] += kills
            entry["differ"] += differences(run, whole)
            say(f"{kind}: {entry}")
            write_text(RESULTS / "kills.json", json_text(found, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    import ipads_stream.config
    import ipads_stream.train.run  # noqa: F401  (once, not in every fork)

    study(float(sys.argv[1]) if len(sys.argv) > 1 else 15.0, lambda text: print(text, flush=True))
