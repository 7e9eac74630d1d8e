"""Rates of the extended phase graphs beside their comparisons and their floor, in one run.

1,000 repetitions of an inversion-prepared train, TR 12 ms, T1 0.1-3 s, T2 0.02-0.5 s, B1 0.8-1.2.
Rates are atoms per second: on one thread of its processor time, which other load disturbs least, on
2 threads (halves of the atoms) by the clock, as is the floor (float32 multiply-adds). Parts:

- trains: signals, beside the formula in NumPy and torch.
- peers: blochsim and torchsim where they are installed (in an environment of their own), on one
  thread, at a batch where what they do once per train no longer counts; same train, same orders.
- gradients: T1, T2, B1, flip angles and phases through the kernel and by torch's autograd through
  the formula: time, bytes that autograd saves, growth of the process in one of its own.
- echoes: CPMG and any train.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from rates.floor import GPU_FLOATS, fma_peak, processor_seconds

from ipads_stream.core.handover import torch_threads
from ipads_stream.physics import epg
from ipads_stream.stream.bench import median_seconds

ATOMS, NUM, ORDERS = 4096, 1000, 20
FLOP = {"one_axis": 12 * ORDERS * NUM, "any_axis": 36 * ORDERS * NUM}  # per atom, orders alone


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


def measured_trains(single: list, tissue: list, repeats: int, seconds: float, few: int) -> dict:
    """Signals of each train; the formula on few atoms."""
    results: dict[str, object] = {"fma_peak_gflops": (peak := fma_peak())}
    with ThreadPoolExecutor(2) as pool:
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
                flops = row["1_thread"] * FLOP[name] / 1e9
                row["gpu_ceiling"] = GPU_FLOATS / FLOP[name]
                row["share_of_fma_peak"] = flops / peak["1"]
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
    return results


def measured_peers(atoms: int, repeats: int) -> dict:
    """The train on one axis at TE 0 in torchsim and blochsim: rates, ratios, differences."""
    flip = trains()["one_axis"][0]
    single = [x.astype(np.float32) for x in tissue_of(atoms)]
    phases = trains()["any_axis"][1]

    def ours(phase: np.ndarray) -> np.ndarray:
        return epg.fisp(flip, phase, 0.012, 0.0, *single, TI=0.02, orders=ORDERS)

    own = {label: atoms / processor_seconds(lambda phase=phase: ours(phase), repeats)
           for label, phase in (("one_axis", 0 * flip), ("any_axis", phases))}  # fmt: skip
    results: dict[str, object] = {"atoms": atoms, "ours": own}
    T1, T2, B1 = (torch.from_numpy(x) for x in single)
    for name in ("torchsim", "blochsim"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            results[name] = "not installed"
            continue

        def theirs(diff: object = None, module: object = module, **more: object) -> object:
            angles = np.rad2deg(flip).astype(np.float32)
            return module.mrf_sim(angles, 12.0, 1e3 * T1, 1e3 * T2, diff=diff, B1=B1, TI=20.0,
                                  states=ORDERS, **more)  # fmt: skip

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rate = atoms / processor_seconds(theirs, repeats)
            slopes = lambda theirs=theirs: theirs(("T1", "T2"))  # noqa: E731
            row = {
                "version": importlib.metadata.version(name),
                "1_thread": rate,
                "ratio_one_axis": own["one_axis"] / rate,
                "ratio_any_axis": own["any_axis"] / rate,
                "largest_difference": float(
                    np.abs(1j * np.asarray(theirs()) - ours(0 * flip)).max()
                ),
                "with_d_dT1_d_dT2": atoms / processor_seconds(slopes, 1),
            }
            if "phases" in inspect.signature(module.mrf_sim).parameters:
                turned = np.rad2deg(phases).astype(np.float32)
                rate = atoms / processor_seconds(
                    lambda theirs=theirs, turned=turned: theirs(phases=turned), repeats
                )
                row |= {"any_axis_1_thread": rate, "ratio_any_axis": own["any_axis"] / rate}
            results[name] = row
    return results


def gradient_inputs(atoms: int, num: int, with_phase: bool) -> tuple[list, list]:
    """A train and tissue as tensors that want a gradient (the phase where asked for)."""
    flip, phase, TR, TE = trains()["any_axis" if with_phase else "one_axis"]
    train = [torch.from_numpy(x[:num]) for x in (flip, phase)]
    train[0].requires_grad_()
    train[1].requires_grad_(with_phase)
    tissue = [torch.from_numpy(x.astype(np.float32)).requires_grad_() for x in tissue_of(atoms)]
    return [*train, TR, TE], tissue


def gradient_call(name: str, atoms: int, num: int, with_phase: bool) -> Callable[[], None]:
    train, tissue = gradient_inputs(atoms, num, with_phase)

    def call() -> None:
        if name == "kernel":
            signal = epg.fisp(*train, *tissue, TI=0.02, orders=ORDERS)
        else:
            signal = epg.fisp_formula(*train, *tissue, 0.02, ORDERS)
        torch.view_as_real(signal).pow(2).sum().backward()

    return call


def saved_bytes(name: str, atoms: int, num: int, with_phase: bool) -> int:
    """Bytes that autograd keeps between the signals and the gradient, each memory once."""
    train, tissue = gradient_inputs(atoms, num, with_phase)
    kept: dict[int, tuple[torch.Tensor, int]] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = (x, storage.nbytes())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        if name == "kernel":
            epg.fisp(*train, *tissue, TI=0.02, orders=ORDERS)
        else:
            epg.fisp_formula(*train, *tissue, 0.02, ORDERS)
    return sum(size for _, size in kept.values())


def grown_bytes(name: str, atoms: int, num: int, with_phase: bool) -> int:
    """Growth of the largest size of a process of its own in one call after a small one."""
    task = json.dumps([name, atoms, num, with_phase])
    line = [sys.executable, "-m", "rates.epg", task]
    folder = Path(__file__).parents[1]
    done = subprocess.run(line, check=True, capture_output=True, text=True, cwd=folder)
    return int(done.stdout)


def largest_size() -> int:
    """The largest size that this process has had, bytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def measured_gradients(quick: bool) -> dict:
    results = {}
    for atoms, num in ((256, 100),) if quick else ((2000, 200), (250, 1000)):
        for with_phase in (False, True):
            case = (atoms, num, with_phase)
            kernel = processor_seconds(gradient_call("kernel", *case), 5)
            formula = processor_seconds(gradient_call("formula", *case), 1)
            memory = {name: (saved_bytes(name, *case), grown_bytes(name, *case))
                      for name in ("kernel", "formula")}  # fmt: skip
            label = f"{atoms}_atoms_{num}_TR_" + (
                "any_axis_with_phase" if with_phase else "one_axis"
            )
            results[label] = {
                "atoms_per_second": atoms / kernel,
                "atoms_per_second_autograd": atoms / formula,
                "ratio": formula / kernel,
                "bytes_saved": {name: both[0] for name, both in memory.items()},
                "ratio_of_bytes_saved": memory["formula"][0] / memory["kernel"][0],
                "bytes_grown": {name: both[1] for name, both in memory.items()},
                "ratio_of_bytes_grown": memory["formula"][1] / max(1, memory["kernel"][1]),
            }
    train = gradient_call("kernel", ATOMS, NUM, False)
    turned = gradient_call("kernel", ATOMS, NUM, True)
    results["1000_TR_atoms_per_second"] = {
        "one_axis": ATOMS / processor_seconds(train, 3),
        "any_axis_with_phase": ATOMS / processor_seconds(turned, 3),
    }
    return results


def measured_echoes(single: list, repeats: int) -> dict:
    T1, T2, B1 = single
    steps = epg.spin_echoes(np.full(32, 2.8), np.zeros(32), 0.01)
    cpmg = ATOMS / processor_seconds(lambda: epg.cpmg(0.01, 32, *single), repeats)
    some = {"T1": T1[:512], "T2": T2[:512], "B1": B1[:512]}
    any_train = 512 / processor_seconds(lambda: epg.train(*steps, **some), 3)
    spread = 512 / processor_seconds(lambda: epg.train(*steps, **some, D=1e-9, twist=4e4), 3)
    return {"cpmg": cpmg, "train": any_train, "train_with_diffusion": spread}


def tissue_of(atoms: int) -> list[np.ndarray]:
    """T1, T2, B1 in float64."""
    rng = np.random.default_rng(1)
    T1 = np.exp(rng.uniform(np.log(0.1), np.log(3), atoms))
    T2 = np.minimum(T1, np.exp(rng.uniform(np.log(0.02), np.log(0.5), atoms)))
    return [T1, T2, rng.uniform(0.8, 1.2, atoms)]


def measure(quick: bool) -> dict[str, object]:
    repeats, seconds, few = (3, 0.05, 256) if quick else (9, 1.5, 512)
    tissue = tissue_of(ATOMS)
    single = [x.astype(np.float32) for x in tissue]
    with torch_threads(1):
        return {
            **measured_trains(single, tissue, repeats, seconds, few),
            "peers": measured_peers(1024 if quick else 16384, 1 if quick else 3),
            "gradients": measured_gradients(quick),
            "echoes_32": measured_echoes(single, repeats),
        }


if __name__ == "__main__":  # in a process of its own: by how much a gradient makes it grow
    name, atoms, num, with_phase = json.loads(sys.argv[1])
    with torch_threads(1):
        gradient_call(name, 16, 4, with_phase)()
        before = largest_size()
        gradient_call(name, atoms, num, with_phase)()
    print(largest_size() - before)
