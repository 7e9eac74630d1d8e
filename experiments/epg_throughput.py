"""Rates of the extended phase graphs beside their comparisons and their floor, in one run.

    python experiments/epg_throughput.py [out=experiments/results/epg-NAME.json] [quick]

1,000 repetitions of an inversion-prepared train, TR 12 ms, T1 0.1-3 s, T2 0.02-0.5 s, B1 0.8-1.2.
Rates are atoms per second: on one thread of its processor time, which other load disturbs least, on
2 threads (halves of the atoms) by the clock, as is the floor (float32 multiply-adds). Peers
(torchsim, blochsim) are not imported.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from throughput import fma_peak

from ipads_stream import __version__
from ipads_stream.core.files import write_text
from ipads_stream.core.handover import torch_threads
from ipads_stream.physics import epg
from ipads_stream.stream.bench import median_seconds

ATOMS, NUM, ORDERS = 4096, 1000, 20
FLOP = {"one_axis": 12 * ORDERS * NUM, "any_axis": 36 * ORDERS * NUM}  # per atom, orders alone


def processor_seconds(call: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call, after one that compiles."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def trains() -> dict[str, tuple]:
    rng, n = np.random.default_rng(0), np.arange(NUM)
    flip = np.abs(np.sin(n / 80)) + 0.09
    signs, phases, TR = np.pi * (n % 2), rng.uniform(-3, 3, NUM), rng.uniform(0.012, 0.015, NUM)
    return {
        "one_axis": (flip, signs, 0.012, 0.005),
        "any_axis": (flip, phases, 0.012, 0.005),
        "one_axis_varying_TR": (flip, signs, TR, 0.005),
        "any_axis_varying_TR": (flip, phases, TR, 0.005),
    }


def main(arguments: list[str]) -> None:
    out = next((a.partition("=")[2] for a in arguments if a.startswith("out=")), None)
    quick = "quick" in arguments
    repeats, seconds, few = (3, 0.05, 256) if quick else (9, 1.5, 512)
    rng = np.random.default_rng(1)
    T1 = np.exp(rng.uniform(np.log(0.1), np.log(3), ATOMS))
    T2 = np.minimum(T1, np.exp(rng.uniform(np.log(0.02), np.log(0.5), ATOMS)))
    tissue = [T1, T2, rng.uniform(0.8, 1.2, ATOMS)]
    single = [x.astype(np.float32) for x in tissue]
    results: dict[str, object] = {"version": __version__, "fma_peak_gflops": fma_peak(seconds)}
    with ThreadPoolExecutor(2) as pool, torch_threads(1):
        for name, train in trains().items():
            half = [[x[i::2] for x in single] for i in (0, 1)]

            def run(arrays: list, train: tuple = train, orders: object = ORDERS) -> np.ndarray:
                return epg.fisp(*train, *arrays, TI=0.02, orders=orders)

            exact = run(tissue)
            taken = processor_seconds(lambda run=run: run(single), repeats)
            both = median_seconds(lambda run=run, half=half: list(pool.map(run, half)), seconds)
            given = (*train, *tissue, 0.02)
            wall = median_seconds(lambda run=run: run(single), seconds)
            row = {
                "1_thread": ATOMS / taken,
                "1_thread_by_the_clock": ATOMS / wall,
                "2_threads_by_the_clock": ATOMS / both,
                "float64_1_thread": ATOMS / processor_seconds(lambda run=run: run(tissue), 3),
                "error_of_float32": float(np.abs(run(single) - exact).max()),
                "error_of_20_orders": float(epg.truncation_error(*given, orders=20).max()),
                "error_of_automatic_orders": float(epg.truncation_error(*given).max()),
                "automatic_1_thread": ATOMS
                / processor_seconds(lambda run=run: run(single, orders="auto"), 3),
            }
            if name in FLOP:
                row["share_of_fma_peak"] = (
                    row["1_thread_by_the_clock"]
                    * FLOP[name]
                    / 1e9
                    / results["fma_peak_gflops"]["1"]
                )
                some = [x[:few] for x in single]
                tensors = [torch.from_numpy(x) for x in some]
                for label, arrays in (("numpy", some), ("torch", tensors)):
                    formula = processor_seconds(
                        lambda arrays=arrays, train=train: epg.fisp_formula(
                            *train, *arrays, 0.02, ORDERS
                        ),
                        1,
                    )
                    row[f"formula_{label}"] = few / formula
                    row[f"ratio_to_formula_{label}"] = row["1_thread"] * formula / few
            results[name] = row
    echoes = processor_seconds(lambda: epg.cpmg(0.01, 32, *single), repeats)
    results["cpmg_32_echoes_1_thread"] = ATOMS / echoes
    print(json.dumps(results, indent=1))
    if out:
        write_text(Path(out), json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
