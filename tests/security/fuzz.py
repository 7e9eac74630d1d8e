"""Random command lines, from a seed: every verb and system, and values that nobody means.

    python tests/security/fuzz.py COUNT [SEED]

prints each line that ends in a traceback, a wrong exit code, more than 20 s or 2 GB.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np

BEFORE = Path(__file__).resolve().parents[1] / "before"
SECONDS, BYTES = 20, 2 << 30
SHORT = {  # verb -> words that make it a short one, and its weight
    "train": (["output={out}", "logger=none", "trainer.max_steps=1", "trainer.bar=false",
               "trainer.val_every=0", "stream.batch_size=2", "stream.threads=0", "device=cpu"], 8),
    "preview": (["output={out}", "samples=2", "progress=[0]", "device=cpu"], 1),
    "evaluate": (["output={out}", "checkpoint={before}/{system}.ckpt", "samples=2",
                  "device=cpu"], 2),
    "replay": (["output={out}", "checkpoint={before}/{system}.ckpt", "index=1"], 2),
    "shift": (["output={out}", "shift=tiny", "arm=nobody", "logger=none"], 2),
    "fit-prior": (["output={out}", "data=nowhere"], 2),
    "freeze": (["path={out}", "num_samples=2", "batch_size=2", "device=cpu"], 6),
    "bench": (["seconds=1e-3", "batch_size=2", "threads=0", "device=cpu"], 4),
    "config": (["train"], 2),
    "list": ([], 1),
    "completion": ([], 1),
}  # fmt: skip
VALUES = (
    "null", "true", "nan", "inf", "-inf", "0", "-1", "1", "1e-30", "1e9", "1e18", "1e400", "0.5",
    "10000000000000000000000", "[]", "[1]", "[[1]]", "[nan]", "[1,2,3,4]", "{}", "{a: 1}",
    "{_target_: 5}", "{_target_: os.system}", "{_target_: ipads_stream.distributions.Constant}",
    "{_target_: ipads_stream.distributions.Uniform, low: 0, high: 1}", "x", "''", "'µ ☃'", "'\\n'",
    "../x", "/dev/null", "${seed}", "${nothing}", "${..}", "'${'", "[1", "'a b'", "T1", "'1 ms'",
    "{_target_: ipads_stream.distributions.Choice, values: []}", "[[[[[[[[1]]]]]]]]", "cuda", "5.5",
)  # fmt: skip


def lines(seed: int, count: int) -> Iterator[list[str]]:
    """Words of ``count`` command lines, ``{out}`` and ``{before}`` in them."""
    from ipads_stream.config import compose, conf_dir, group_names
    from ipads_stream.core.description import flat

    draw = np.random.Generator(np.random.Philox(seed))
    systems = [name for name in group_names("system") if (BEFORE / f"{name}.ckpt").is_file()]
    weights = np.array([weight for _, weight in SHORT.values()], float)
    keys: dict[tuple[str, str], list[str]] = {}

    def pick(things):
        return things[int(draw.integers(len(things)))]

    for _ in range(count):
        verb, system = str(draw.choice(list(SHORT), p=weights / weights.sum())), pick(systems)
        base = [word.replace("{system}", system) for word in SHORT[verb][0]]
        primary = "train" if verb == "config" else verb.replace("-", "_")
        has_system = "- system:" in (conf_dir() / f"{primary}.yaml").read_text() if (
            conf_dir() / f"{primary}.yaml").is_file() else False  # fmt: skip
        chosen = [f"system={system}"] if has_system else []
        if (primary, system) not in keys:
            leaves = (
                flat(compose(chosen, name=primary)) if verb not in ("list", "completion") else {}
            )
            groups = {key.rpartition(".")[0] for key in leaves} - {""}
            keys[primary, system] = [*leaves, *groups, "conf", "x", "hydra", "stream", "a.b.c"]
        changed = []
        for _ in range(int(draw.integers(1, 4))):
            key = pick(keys[primary, system])
            if draw.random() < 0.1:
                key += pick((".x", ".0", "[0]", "..", "/x", "@y", "._target_", ".low"))
            mark = pick(("", "", "", "", "", "", "+", "++", "~"))
            word = mark + key + ("" if mark == "~" and draw.random() < 0.5 else f"={pick(VALUES)}")
            changed.append(word)
        yield [verb, *base, *chosen, *changed]


class TooLong(BaseException):
    """Not an Exception: nothing may take it for a wrong value."""


def fault(words: list[str]) -> str | None:
    """What is wrong with how a line ends; None: nothing."""
    from ipads_stream.__main__ import main

    def stop(*_):
        raise TooLong

    said = io.StringIO()
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(words)
    except TooLong:
        return f"longer than {SECONDS} s"
    except BaseException:
        return traceback.format_exc(limit=-4)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    lines_said = [line for line in said.getvalue().splitlines() if line.startswith("ipads-stream:")]
    if code not in (0, 1, 2) or (code == 2 and len(lines_said) != 1):
        return f"exit code {code}, {said.getvalue()[-300:]!r}"
    if "Traceback" in said.getvalue():
        return said.getvalue()[-1500:]
    return None


def run(seed: int, count: int, start: int = 0) -> list[tuple[list[str], str]]:
    """Lines that end wrongly, with what is wrong, each run in this process and an empty folder."""
    limit = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * BYTES, limit[1]))
    faults = []
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for number, words in enumerate(lines(seed, count)):
                if number < start:
                    continue
                places = {"{out}": f"out{number}", "{before}": str(BEFORE)}
                for name, value in places.items():
                    words = [word.replace(name, value) for word in words]
                wrong = fault(words)
                if wrong:
                    faults.append((words, wrong))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    return faults


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    began = time.time()
    found = run(int(sys.argv[2]) if len(sys.argv) > 2 else 0, int(sys.argv[1]))
    for words, wrong in found:
        sys.stdout.write(f"ipads-stream {' '.join(map(repr, words))}\n{wrong}\n\n")
    took = time.time() - began
    sys.stdout.write(f"{len(found)} faults in {sys.argv[1]} lines, {took:.0f} s\n")
