"""All that a GPU is asked when there is one, in about ten minutes.

    python experiments/gpu_check.py [step=NAME,...] [out=FILE.json]

Steps: doctor; systems (every system's batch against the CPU's, and how far they differ); memory
(64 batches leave it where 8 did); rates (generation at batches of 16, 256 and 4096); training (200
steps and the share of time they waited for the stream); tests (those marked gpu); kernels (time of
every kernel in a batch of every system); all where none is named. Leaves FILE.json, by default
experiments/results/gpu.json, and prints the row of the README. Steps that the file holds already
and that are not asked for again stay in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from result_files import RESULTS, ROOT, table

from ipads_stream import ConfigError, Stream, __version__, load_system
from ipads_stream.__main__ import main as command
from ipads_stream.config import conf_dir
from ipads_stream.core import backend
from ipads_stream.core.files import json_text, write_text
from ipads_stream.core.handover import working_device
from ipads_stream.doctor import examine
from ipads_stream.stream.bench import median_seconds

SYSTEMS = sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))
BATCHES, BATCH = (16, 256, 4096), 256
TOLERANCE = 1e-3  # relative to the largest value: single precision on another device
FLIPPED = 1e-3  # share of a mask that may fall to the other side of a threshold
GROWTH = 1.05  # of memory, from 8 batches to 64


def differences(name: str, batch_size: int = 8) -> dict[str, float]:
    """How far each array of a batch is from the CPU's, relative to its largest value, or, of masks,
    in what share of places."""
    system = load_system(name)
    host, device = (Stream(system, device=x, batch_size=batch_size, threads=0).batch(0)
                    for x in ("cpu", "cuda"))  # fmt: skip
    found = {}
    for group in ("inputs", "targets"):
        for key, expected in getattr(host, group).items():
            values = getattr(device, group)[key].cpu()
            if expected.dtype == torch.bool:
                found[f"{group}.{key}"] = float((values != expected).double().mean())
            else:
                size = max(float(expected.abs().max()), 1e-30)
                found[f"{group}.{key}"] = float((values - expected).abs().max()) / size
    return found


def check_systems() -> dict[str, Any]:
    rows = {name: differences(name) for name in SYSTEMS}
    limit = max(TOLERANCE, FLIPPED)
    return {"differences": rows, "passed": all(max(r.values()) <= limit for r in rows.values())}


def memory(name: str, batches: int = 64) -> dict[str, int]:
    """Bytes that torch, of whom CuPy's memory is, has reserved after 8 and after all batches."""
    stream = Stream(load_system(name), device="cuda", batch_size=BATCH, threads=2)
    reserved, taken = {}, iter(stream)
    for number in range(1, batches + 1):
        next(taken)
        if number in (8, batches):
            torch.cuda.synchronize()
            reserved[str(number)] = int(torch.cuda.memory_reserved())
    taken.close()
    return reserved


def check_memory() -> dict[str, Any]:
    rows = {}
    for name in SYSTEMS:
        torch.cuda.empty_cache()
        rows[name] = memory(name)
    first = {name: max(row["8"], 1) for name, row in rows.items()}
    passed = all(row["64"] <= GROWTH * first[name] for name, row in rows.items())
    return {"bytes": rows, "passed": passed}


def check_rates() -> dict[str, Any]:
    """Samples per second, by system and size of the batch; None where the batch does not fit."""
    rates: dict[str, dict[str, float | None]] = defaultdict(dict)
    for name in SYSTEMS:
        for size in BATCHES:
            try:
                rates[name][str(size)] = round(rate(name, size))
            except (MemoryError, torch.OutOfMemoryError):
                rates[name][str(size)] = None
                torch.cuda.empty_cache()
    return {"samples_per_s": rates, "passed": True}


def rate(name: str, batch_size: int, seconds: float = 1.0) -> float:
    stream = Stream(load_system(name), device="cuda", batch_size=batch_size, threads=0)
    steps = iter(range(1 << 62))
    return batch_size / median_seconds(lambda: stream.batch(next(steps)), seconds)


def check_training(steps: int = 200) -> dict[str, Any]:
    """Steps of the first system's recommended network, and the share of them that waited."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        words = ["device=cuda", "logger=none", "trainer.bar=false", "trainer.max_time=null",
                 f"trainer.max_steps={steps}", f"output={output}"]  # fmt: skip
        started = time.perf_counter()
        status = command(["train", *words])
        seconds = time.perf_counter() - started
        lines = (output / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "stall" in row]
    later = rows[len(rows) // 4 :]  # the first compile
    return {
        "seconds": seconds,
        "first_loss": rows[0]["loss"],
        "last_loss": rows[-1]["loss"],
        "stall": float(np.mean([row["stall"] for row in later])),
        "passed": status == 0 and bool(np.isfinite([row["loss"] for row in rows]).all()),
    }


def check_tests() -> dict[str, Any]:
    line = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    return {"summary": done.stdout.strip().splitlines()[-1:], "passed": done.returncode == 0}


def kernel_times(name: str) -> dict[str, dict[str, float]]:
    """Median time, us, of each kernel of CUDA text in a batch, and how often it runs."""
    cupy = backend.device_namespace("cuda")
    times: dict[str, list[float]] = defaultdict(list)
    original = backend.launch

    def timed(module: Any, kernel: str, *rest: Any) -> None:
        begin, end = (cupy.cuda.Event(disable_timing=False) for _ in range(2))
        begin.record()
        original(module, kernel, *rest)
        end.record()
        end.synchronize()
        times[kernel].append(1e3 * cupy.cuda.get_elapsed_time(begin, end))

    stream = Stream(load_system(name), device="cuda", batch_size=BATCH, threads=0)
    stream.batch(0)
    homes = [m for m in list(sys.modules.values()) if getattr(m, "launch", None) is original]
    try:
        for module in homes:
            module.launch = timed  # type: ignore[attr-defined]
        for step in range(1, 6):
            stream.batch(step)
    finally:
        for module in homes:
            module.launch = original  # type: ignore[attr-defined]
    return {
        kernel: {"us": round(float(np.median(values)), 2), "launches": len(values) / 5}
        for kernel, values in times.items()
    }


def check_kernels() -> dict[str, Any]:
    return {"of_systems": {name: kernel_times(name) for name in SYSTEMS}, "passed": True}


def check_doctor() -> dict[str, Any]:
    text, sound = examine()
    return {"text": text, "passed": sound and "MISSING" not in text and "FAILED" not in text}


STEPS: dict[str, Callable[[], dict[str, Any]]] = {
    "doctor": check_doctor,
    "systems": check_systems,
    "memory": check_memory,
    "rates": check_rates,
    "training": check_training,
    "tests": check_tests,
    "kernels": check_kernels,
}


def readme_row(results: dict[str, Any]) -> str:
    """The table's head and the row of this device: samples per second at the largest batch that
    fits, and the share of time that training waits."""
    rates = results.get("rates", {}).get("samples_per_s", {})
    best = [max((rate for rate in row.values() if rate), default=0) for row in rates.values()]
    stall = results.get("training", {}).get("stall")
    waits = "" if stall is None else f"{stall:.1%}"
    head = ["device", *(f"{name}, samples/s" for name in rates), "training waits"]
    return table(head, [[results["device"], *(f"{x:,.0f}" for x in best), waits]])


def main(words: list[str]) -> int:
    if "-h" in words or "--help" in words:
        print(__doc__)
        return 0
    options = dict(word.partition("=")[::2] for word in words)
    steps = [step for step in options.pop("step", ",".join(STEPS)).split(",") if step]
    path = Path(options.pop("out", RESULTS / "gpu.json"))
    if options:
        raise ConfigError("argument", next(iter(options)), "step, out")
    for step in steps:
        if step not in STEPS:
            raise ConfigError("step", step, f"one or more of {', '.join(STEPS)}")
    working_device("cuda")  # refuses, and says what is missing
    results = json.loads(path.read_text()) if path.is_file() else {}
    results |= {"version": __version__, "device": torch.cuda.get_device_name()}
    for step in steps:
        started = time.perf_counter()
        try:
            results[step] = STEPS[step]()
        except Exception as error:  # the other steps still tell what they can
            text = f"{type(error).__name__}: {error}"
            results[step] = {"error": text, "passed": False}
        verdict = "ok" if results[step]["passed"] else "FAILED"
        print(f"{step:10s} {verdict:8s} {time.perf_counter() - started:6.1f} s", flush=True)
        write_text(path, json_text(results, indent=1) + "\n")
    print(readme_row(results))
    return 0 if all(results[step]["passed"] for step in steps) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ConfigError as error:
        sys.exit(str(error))
