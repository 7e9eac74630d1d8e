"""Trainings that are killed at random moments and started again, beside ones that were not.

    python experiments/kills.py [KILLS]

Runs of every kind in turn are killed (SIGKILL) two to five times each, at moments spread evenly
over how long the uninterrupted run takes, and go on by the command that began them, until so many
kills are counted (200), those of the file of results included. Weights, moments of the optimizer,
the stream's state, and every row of every log must be those of the uninterrupted run; clock times
aside.

Every run is forked from this process, which has trained one of its kind: it neither imports nor
compiles. Two processes are forked as torchrun starts them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
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
    """A training, forked; of several processes, all of them."""

    def __init__(self, words: list[str]) -> None:
        fork = multiprocessing.get_context("fork").Process
        places = [{}] if "trainer.devices=2" not in words else _places(2)
        self.processes = [fork(target=_train, args=(words, place)) for place in places]
        for process in self.processes:
            process.start()

    def wait(self, seconds: float) -> int | None:
        """The exit code, of the worst process; None: one goes on after so many seconds."""
        until = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(until - time.monotonic(), 0))
        codes = [process.exitcode for process in self.processes]
        return None if None in codes else max(codes, key=abs)

    def kill(self) -> None:
        """SIGKILL, at once."""
        for process in self.processes:
            process.kill()
        self.wait(STUCK)


def _places(count: int) -> list[dict[str, str]]:
    """What torchrun tells each of so many processes of one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GROUP_RANK": "0",
              "TORCHELASTIC_RUN_ID": "kills", "TORCHELASTIC_MAX_RESTARTS": "0",
              "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}  # fmt: skip
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def _train(words: list[str], place: dict[str, str]) -> None:
    os.environ |= place
    rank_zero_only.rank = int(place.get("RANK", 0))  # Lightning asked when it was imported
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


def killed(words: list[str], seconds: float, draw: random.Random) -> tuple[int, bool]:
    """Kills of one run, and whether it was sooner done than the last of them came, which does not
    count."""
    kills = 0
    for _ in range(draw.randint(2, 5)):
        started = Started(words)
        code = started.wait(draw.uniform(0, seconds))
        if code == 0:
            return kills, True
        if code is not None:
            raise RuntimeError(f"exit code {code} of {' '.join(words)}")
        started.kill()
        kills += 1
    finished(words)
    return kills, False


def study(most: int, say: Callable[[str], None]) -> None:
    """Kills, and writes the file of results after every run."""
    path = RESULTS / "kills.json"
    found = {kind: {"runs": 0, "kills": 0, "differ": []} for kind in KINDS}
    found |= json.loads(path.read_text()) if path.is_file() else {}
    draw = random.Random(time.time_ns())
    with tempfile.TemporaryDirectory() as name:
        folder, lengths = Path(name), {}
        for number in itertools.count():
            if sum(entry["kills"] for entry in found.values()) >= most:
                return
            kind = min(found, key=lambda kind: found[kind]["kills"])
            words, whole = [*BASE, *KINDS[kind]], folder / kind.replace(" ", "-")
            if kind not in lengths:
                lengths[kind] = _length(words, whole)
            run = folder / f"run-{number}"
            again = [*words, f"output={run}", "resume=auto"]
            kills, is_done = killed(again, lengths[kind], draw)
            lengths[kind] *= 0.8 if is_done else 1.0  # the machine has less to do than it had
            entry: Any = found[kind]
            entry["runs"] += 1
            entry["kills"] += kills
            entry["differ"] += differences(run, whole)
            say(f"{kind}: {entry}")
            write_text(path, json_text(found, indent=1) + "\n")


def _length(words: list[str], whole: Path) -> float:
    """Seconds of the run that the others are compared with, once it has run here and compiled."""
    alone = [word for word in words if word != "trainer.devices=2"]
    with contextlib.redirect_stdout(None):
        main([*alone, f"output={whole}-here"])
    return finished([*words, f"output={whole}"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    study(int(sys.argv[1]) if len(sys.argv) > 1 else 200, lambda text: print(text, flush=True))
