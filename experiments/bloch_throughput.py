"""Rates of the isochromat kernel beside torch's steps and the processor's limit, in one run.

    python experiments/bloch_throughput.py [out=experiments/results/bloch-NAME.json] [quick]

20,000 spins x 1,000 steps of a modulated sinc pulse of 10 us steps under gradients, float32.
One thread: the least processor time of repeated calls, other work aside; two threads: median of
wall time, two Python threads on halves of the spins.
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

from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.core.files import write_text
from ipads_stream.physics import bloch
from ipads_stream.stream.bench import median_seconds

SPINS, STEPS, DT = 20_000, 1_000, 1e-5
FLOP = 73  # per spin-step, of 48 instructions: 25 multiply-adds, 12 products, 11 sums


def workload() -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """M, b1 and gradient, and the maps of the spins."""
    rng = np.random.default_rng(0)
    t = np.linspace(-3, 3, STEPS)
    b1 = 10e-6 * np.sinc(t) * np.hanning(STEPS + 2)[1:-1] * np.exp(1j * t)
    gradient = np.stack([1e-3 * np.sin(t), 0 * t, 5e-3 + 0 * t], 1)
    M = np.zeros((SPINS, 3))
    M[:, 2] = 1
    maps = {
        "position": rng.uniform(-0.02, 0.02, (SPINS, 3)),
        "df": rng.normal(0, 50, SPINS),
        "T1": rng.uniform(0.5, 2, SPINS),
        "T2": rng.uniform(0.05, 0.2, SPINS),
        "B1": rng.uniform(0.8, 1.2, SPINS),
    }
    arrays = [M.astype("f4"), b1.astype("c8"), gradient.astype("f4")]
    return arrays, {name: x.astype("f4") for name, x in maps.items()}


def torch_steps(arrays: list[np.ndarray], maps: dict[str, np.ndarray], steps: int) -> torch.Tensor:
    """Rotation by Rodrigues' formula, then relaxation, step by step in float32."""
    M, b1, gradient = map(torch.from_numpy, arrays)
    position, df, T1, T2, B1 = (torch.from_numpy(maps[n]) for n in maps)
    e1, e2 = torch.exp(-DT / T1), torch.exp(-DT / T2)
    x, y, z = M.unbind(1)
    for k in range(steps):
        px = -GAMMA_1H * DT * b1[k].real * B1
        py = -GAMMA_1H * DT * b1[k].imag * B1
        pz = -GAMMA_1H * DT * (position @ gradient[k]) - 2 * torch.pi * DT * df
        angle = torch.sqrt(px * px + py * py + pz * pz) + 1e-12
        c, s = torch.cos(angle), torch.sin(angle)
        px, py, pz = px / angle, py / angle, pz / angle
        along = (px * x + py * y + pz * z) * (1 - c)
        x, y, z = (
            e2 * (c * x + s * (py * z - pz * y) + along * px),
            e2 * (c * y + s * (pz * x - px * z) + along * py),
            1 + e1 * (c * z + s * (px * y - py * x) + along * pz - 1),
        )
    return torch.stack((x, y, z), 1)


def least_processor_seconds(call: Callable[[], object], repeats: int) -> float:
    """Processor time of the fastest of several calls."""
    seconds = []
    for _ in range(repeats):
        start = time.thread_time()
        call()
        seconds.append(time.thread_time() - start)
    return min(seconds)


def main(arguments: list[str]) -> None:
    out = next((a.partition("=")[2] for a in arguments if a.startswith("out=")), None)
    seconds, repeats, steps = (0.1, 5, 20) if "quick" in arguments else (1.5, 30, 100)
    (M, b1, gradient), maps = workload()

    def kernel(rows: slice, **options: object) -> np.ndarray:
        some = {name: x[rows] for name, x in maps.items()}
        return bloch.evolve(M[rows], b1, gradient, DT, **some, **options)

    exact = bloch.evolve(
        M.astype("f8"), b1, gradient, DT, **maps, tolerance=1e-12
    )  # its agreement with the matrix exponential: tests/physics/test_bloch.py
    off = kernel(slice(None)) - exact
    halves = (slice(0, SPINS // 2), slice(SPINS // 2, SPINS))
    spin_steps = SPINS * STEPS
    one = spin_steps / least_processor_seconds(lambda: kernel(slice(None)), repeats)
    with ThreadPoolExecutor(2) as pool:
        two = spin_steps / median_seconds(lambda: list(pool.map(kernel, halves)), seconds)
    torch.set_num_threads(1)
    torch_seconds = least_processor_seconds(lambda: torch_steps([M, b1, gradient], maps, steps), 3)
    peak = fma_peak(seconds)
    results = {
        "kernel_1_thread": one,
        "kernel_2_threads_wall": two,
        "torch_steps_1_thread": SPINS * steps / torch_seconds,
        "kernel_over_torch_steps": one * torch_seconds / (SPINS * steps),
        "fma_peak_gflops": peak,
        "share_of_fma_peak_1_thread": one * FLOP / 1e9 / peak["1"],
        "error_max": float(np.abs(off).max()),
        "error_relative": float(np.linalg.norm(off) / np.linalg.norm(exact)),
    }
    print(json.dumps(results, indent=1))
    if out:
        write_text(Path(out), json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
