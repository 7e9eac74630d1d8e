"""The rows of the report: what was published beside what this package gives.

    python experiments/reproduce.py row=nmr1 [budget=demo|long] [seeds=3]   synthetic signals
    python experiments/reproduce.py row=nmr2 [budget=demo|long] [seeds=3]   measured planes
    python experiments/reproduce.py row=untrained [budget=demo|long]        IST of both, anew
    python experiments/reproduce.py row=speed                               time per plane
    python experiments/reproduce.py row=fixed [seeds=3] [steps=3000]        stored sets and stream
    python experiments/reproduce.py row=fig4|fig7|transfer [seeds=5] [steps=...] [processes=2]
                                                        the shift studies of conf/shift
    python experiments/reproduce.py system=NAME [budget=small|full] [seeds=3]
                                                        a system of quantities (systems/NAME.py)
    python experiments/reproduce.py system=ann_mwf untrained="regularised NNLS"
                                                        one method of the stored row, anew

Finished networks and arms are kept under runs/reproduce and not repeated. Results are written to
experiments/results/<row>-<budget>.json; every arm is reported, losing ones too.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from result_files import RESULTS, ROOT, load

from ipads_stream import ConfigError, Stored, load_model, load_system
from ipads_stream.baselines import Method, classical_methods
from ipads_stream.baselines.signals.methods import IST, LRHM, ZERO_FILLING
from ipads_stream.config import build_run, build_system, compose
from ipads_stream.core.files import write_text
from ipads_stream.data import named as datasets
from ipads_stream.data.planes.plane import Plane, read_plane, rows_between
from ipads_stream.evaluation.comparison import compare, rows_of
from ipads_stream.evaluation.metrics import confidence_interval
from ipads_stream.evaluation.tasks.signals import REFINED, Signals
from ipads_stream.evaluation.tasks.signals.planes import Region, measured_test
from ipads_stream.evaluation.tasks.signals.scores import at_rate
from ipads_stream.report.figures import NETWORK
from ipads_stream.shift import run_study
from ipads_stream.systems import System
from ipads_stream.train.run import train_run

RUNS = ROOT / "runs" / "reproduce"
BUDGETS = {"demo": "trainer.max_time=100", "long": "trainer.max_time=600"}
RATES = (0.15, 0.2, 0.25, 0.4, 0.5)
MEASURED_RATES = (0.15, 0.2, 0.25, 0.5)
QUIET = ["logger=none", "trainer.bar=false", "trainer.val_every=0", "device=cpu"]


def trained(budget: str, seed: int) -> Path:
    """Checkpoint of a network trained on the stream, with this budget and seed."""
    output = RUNS / f"{budget}-{seed}"
    if not (output / "finished").exists():
        resume = output / "run.ckpt"
        words = [BUDGETS[budget], "trainer.max_steps=null", f"seed={seed}", f"output={output}"]
        if resume.exists():
            words.append(f"resume={resume}")
        _train([*QUIET, *words])
        (output / "finished").touch()
    return output / "run.ckpt"


def _train(words: Sequence[str], stored: tuple[int, tuple[str, ...]] | None = None) -> None:
    config = compose(words)
    config["overrides"] = list(words)
    run = build_run(config)
    if stored is not None:
        run = replace(run, system=Stored(run.system, *stored))
    finished, _ = train_run(run)
    if not finished:
        raise KeyboardInterrupt


def nmr1(budget: str, seeds: int, samples: int = 400) -> dict[str, Any]:
    """Simulated, noise-free signals; median RLNE and r per method and rate, over networks."""
    rows: dict[str, Any] = {}
    for seed in range(seeds):
        model = load_model(trained(budget, seed))
        system = build_system(model.config)
        methods = Signals().network_methods(model)
        if not seed:  # the classical methods do not change with the seed of the network
            methods = classical_methods(system) | methods
        for row in _scored(system, methods, RATES, samples):
            rows.setdefault(f"{row['method']} {row['rate']:.0%}", []).append(row)
    return {name: _simulated_row(found) for name, found in rows.items()}


def _simulated_row(found: list[dict[str, Any]]) -> dict[str, Any]:
    scores = ("rlne_median", "r", "seconds_per_signal")
    return {key: _over_seeds([row[key] for row in found]) for key in scores} | {
        "signals": found[0]["signals"],
        "interval_of_first": [found[0]["rlne_low"], found[0]["rlne_high"]],
    }


def _scored(
    system: System, methods: Mapping[str, Method], rates: Sequence[float], samples: int
) -> list[dict[str, Any]]:
    """A row per rate and method on the same noise-free signals."""
    bar = sys.stderr.isatty()
    conditions = [at_rate(system, rate) for rate in rates]
    comparisons = [
        (condition, compare(condition.system, methods, samples=samples, seed=0, bar=bar))
        for condition in conditions
    ]
    return rows_of(Signals(), comparisons)


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    array = np.array(values, dtype=float)
    spread = float(array.std(ddof=1)) if len(array) > 1 else None
    return {"mean": float(array.mean()), "sd": spread, "seeds": len(array)}


def planes() -> dict[str, tuple[Plane, list[Region]]]:
    """The measured planes, scored whole and where their signals are; once without a t1 window."""
    found = {}
    for name in datasets.NAMES:
        plane, source = read_plane(datasets.find(name)), datasets.SOURCES[name]
        low, high = source.signal_ppm
        rows = rows_between(plane, float(low), float(high))
        regions = [Region(), Region(f"{low:g} to {high:g} ppm", rows, source.peak_threshold)]
        found[name] = plane, regions
        bare = replace(plane, window=np.ones_like(plane.window))
        found[f"{name}, no t1 window"] = bare, regions
    return found


def nmr2(budget: str, seeds: int, schedules: int = 10) -> dict[str, Any]:
    """Measured planes, retrospectively undersampled; mean over schedules, then over networks."""
    results: dict[str, Any] = {}
    for name, (plane, regions) in planes().items():
        rows: dict[str, Any] = {}
        for seed in range(seeds):
            model = load_model(trained(budget, seed))
            methods = Signals().network_methods(model)
            if not seed:  # the classical methods do not change with the seed of the network
                methods = classical_methods(build_system(model.config)) | methods
            slow = {name: methods.pop(name) for name in (LRHM, REFINED) if name in methods}
            asked = [(methods, MEASURED_RATES, schedules)]
            if "window" not in name:
                asked.append((slow, (0.25,), 2))
            for used, rates, count in asked:
                test = measured_test(plane, used, rates, schedules=count, regions=regions)
                for row in test.rows:
                    key = f"{row['region']}: {row['method']} {row['rate']:.0%}"
                    rows.setdefault(key, []).append(row)
        results[name] = {key: _measured_row(found) for key, found in rows.items()}
    return results


def _measured_row(found: list[dict[str, Any]]) -> dict[str, Any]:
    scores = ("rlne", "r", "r2", "r_absorptive", "seconds_per_signal")
    return {
        **{score: _over_seeds([row[score] for row in found]) for score in scores},
        "sd_over_schedules": {score: found[0][f"{score}_sd"] for score in ("rlne", "r")},
        "schedules": found[0]["schedules"],
        "peaks": found[0]["peaks"],
    }


def untrained(budget: str, samples: int = 400, schedules: int = 10) -> dict[str, Any]:
    """The quick methods that are not trained, anew in the stored nmr1 and nmr2.

    Raises:
        RuntimeError: zero-filling has another error than is stored: these are other signals.
    """
    simulated, measured = load(f"nmr1-{budget}"), load(f"nmr2-{budget}")
    system = load_system("dlnmr")
    methods = {name: classical_methods(system)[name] for name in (ZERO_FILLING, IST)}
    stored = {None: simulated, **measured}
    rows = _scored(system, methods, RATES, samples)
    made = {None: {f"{row['method']} {row['rate']:.0%}": _simulated_row([row]) for row in rows}}
    for name, (plane, regions) in planes().items():
        test = measured_test(plane, methods, MEASURED_RATES, schedules=schedules, regions=regions)
        made[name] = {f"{row['region']}: {row['method']} {row['rate']:.0%}": _measured_row([row])
                      for row in test.rows}  # fmt: skip
    for name, rows in made.items():
        for key, row in rows.items():
            score = "rlne_median" if name is None else "rlne"
            before, now = (x[score]["mean"] for x in (stored[name][key], row))
            if ZERO_FILLING in key and abs(now / before - 1) > 1e-4:
                raise RuntimeError(f"{name} {key}: RLNE {now}, stored {before}")
        stored[name] |= rows
    for row, result in (("nmr1", simulated), ("nmr2", measured)):
        write_text(RESULTS / f"{row}-{budget}.json", json.dumps(result, indent=1) + "\n")
    return made[None]


def speed(budget: str) -> dict[str, Any]:
    """Seconds per plane of 512 x 128 points, and ratios, in one run on one thread of torch."""
    torch.set_num_threads(1)
    plane = read_plane(datasets.find("ubiquitin"))
    model = load_model(trained(budget, 0))
    methods = classical_methods(build_system(model.config)) | Signals().network_methods(model)
    seconds = {}
    for name, method in methods.items():
        test = measured_test(plane, {name: method}, (0.25,), schedules=1 if name == LRHM else 3)
        seconds[name] = test.rows[0]["seconds_per_signal"] * len(plane.fid)
    return {
        "seconds_per_plane": seconds,
        "network_over": {name: seconds[name] / seconds[NETWORK] for name in seconds},
    }


ARMS: dict[str, tuple[int, tuple[str, ...]] | None] = {
    f"{size // 1000}k {kind}": (size, fresh)
    for size in (1000, 4000, 40_000)
    for kind, fresh in (("frozen", ()), ("fresh masks and noise", ("mask", "rate", "noise", "snr")))
}
ARMS["stream"] = None


def _arm(job: tuple[str, int, int]) -> tuple[str, int, dict[str, float]]:
    """Trains one arm with one seed and tests it; runs in a process of its own."""
    name, seed, steps = job
    output = RUNS / "fixed" / f"{name.replace(' ', '-')}-{steps}-{seed}"
    done = output / "result.json"
    if not done.exists():
        for left in output.glob("*"):
            left.unlink()
        words = [f"trainer.max_steps={steps}", "net.phases=6", f"seed={seed}", f"output={output}"]
        _train([*QUIET, *words], ARMS[name])
        torch.set_num_threads(1)
        model = load_model(output / "run.ckpt")
        methods = {NETWORK: Signals().network_methods(model)[NETWORK]}
        rows = _scored(build_system(model.config), methods, (0.15, 0.25, 0.5), 1000)
        write_text(done, json.dumps({f"{row['rate']:.0%}": row["rlne_median"] for row in rows}))
    return name, seed, json.loads(done.read_text())


def fixed(seeds: int, steps: int, processes: int = 2) -> dict[str, Any]:
    """Equal networks and steps on stored sets and on the endless stream, same test signals."""
    jobs = [(name, seed, steps) for seed in range(seeds) for name in ARMS]
    found: dict[str, dict[str, list[float]]] = {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for name, seed, result in pool.map(_arm, jobs):
            print(f"seed {seed}  {name:26s} {result}", flush=True)
            for rate, value in result.items():
                found.setdefault(name, {}).setdefault(rate, []).append(value)
    stream = {rate: np.array(values) for rate, values in found["stream"].items()}
    return {
        "steps": steps,
        "arms": {
            name: {
                rate: _over_seeds(values) | {"over_stream": _ratio(np.array(values), stream[rate])}
                for rate, values in by_rate.items()
            }
            for name, by_rate in found.items()
        },
    }


def _ratio(values: np.ndarray, stream: np.ndarray) -> dict[str, Any]:
    """Error over that of the stream, paired by seed; interval by bootstrap over the seeds."""
    ratios = values / stream
    low, high = confidence_interval(ratios, np.mean) if len(ratios) > 1 else (None, None)
    return {"mean": float(ratios.mean()), "low": low, "high": high}


def shift(name: str, seeds: int, steps: int | None, processes: int) -> dict[str, Any]:
    """A shift study of conf/shift: arms, tests, paired comparisons, thresholds, budgets.

    Raises:
        RuntimeError: an arm failed; the others are finished and in the report.
    """
    words = [f"shift={name}", f"shift.seeds={list(range(seeds))}", f"processes={processes}",
             f"output={RUNS / name}", "logger.mode=offline"]  # fmt: skip
    if steps is not None:
        words.append(f"shift.steps={steps}")
    ran = run_study(compose(words, name="shift"), bar=sys.stderr.isatty())
    print(ran.text, flush=True)
    if ran.failures:
        raise RuntimeError(f"{name}: {', '.join(ran.failures)} failed; see {RUNS / name}")
    return json.loads((RUNS / name / "results.json").read_text())


STUDIES = ("fig4", "fig7", "transfer")


SYSTEM_BUDGETS = ("small", "full")


def quantitative(options: dict[str, str]) -> int:
    """The row of a system of quantities: network, classical methods and bound, by its own file."""
    name, budget = options.pop("system"), options.pop("budget", "small")
    seeds, method = int(options.pop("seeds", 3)), options.pop("untrained", None)
    if options:
        raise ConfigError("argument", next(iter(options)), "system, budget, seeds, untrained")
    known = sorted(path.stem for path in (Path(__file__).parent / "systems").glob("[a-z]*.py"))
    if name not in known:
        raise ConfigError("system", name, f"one of {', '.join(known)}")
    if budget not in SYSTEM_BUDGETS:
        raise ConfigError("budget", budget, f"one of {', '.join(SYSTEM_BUDGETS)}")
    module = importlib.import_module(f"systems.{name}")
    path = RESULTS / f"{name}-{budget}.json"
    if method is None:
        result = module.reproduce(budget, seeds, RUNS, RESULTS)
    else:
        result = module.untrained(load(path.stem), method)
    write_text(path, json.dumps(result, indent=1) + "\n")
    print(module.table(result))
    return 0


def main(words: Sequence[str]) -> int:
    options = dict(word.partition("=")[::2] for word in words)
    if "system" in options:
        return quantitative(options)
    row, budget = options.pop("row", None), options.pop("budget", "demo")
    seeds = int(options.pop("seeds", 5 if row in STUDIES else 3))
    asked, processes = options.pop("steps", None), int(options.pop("processes", 2))
    steps = 3000 if asked is None else int(asked)
    if options:
        raise ConfigError("argument", next(iter(options)), "row, budget, seeds, steps, processes")
    if budget not in BUDGETS:
        raise ConfigError("budget", budget, f"one of {', '.join(BUDGETS)}")
    rows = {
        "nmr1": lambda: nmr1(budget, seeds),
        "nmr2": lambda: nmr2(budget, seeds),
        "untrained": lambda: untrained(budget),
        "speed": lambda: speed(budget),
        "fixed": lambda: fixed(seeds, steps, processes),
    } | {
        name: lambda: shift(str(row), seeds, None if asked is None else steps, processes)
        for name in STUDIES
    }
    if row not in rows:
        raise ConfigError("row", row, f"one of {', '.join(rows)}")
    result = rows[row]()
    if row != "untrained":
        name = row if row in ("fixed", *STUDIES) else f"{row}-{budget}"
        write_text(RESULTS / f"{name}.json", json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ConfigError as error:
        print(f"reproduce.py: {error}\n\n{__doc__}", file=sys.stderr)
        sys.exit(2)
