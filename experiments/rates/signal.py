"""Rate of whole signals beside their floor and beside steps of torch and NumPy, in one run.

2D gradient-echo EPI of a 64 x 64 map with 9 isochromats per voxel, float32. One thread: the least
processor time of repeated calls, other work aside; two threads: median of wall time, two Python
threads on halves of a batch. The floor is what the multiply-adds alone would take: 8 flop per spin
and sample, 73 per spin and step with RF. Exponents: of time against the number, 1 where it is
linear.
"""

from __future__ import annotations

import dataclasses
import functools
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from rates.bloch import FLOP
from rates.floor import GPU_FLOATS, fma_peak, least_processor_seconds

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch.phantom import Phantom, from_maps
from ipads_stream.physics.waveforms import Waveforms
from ipads_stream.sequences.epi import epi
from ipads_stream.sequences.gradient_echo import gradient_echo
from ipads_stream.sequences.spiral import spiral
from ipads_stream.stream.bench import median_seconds

MATRIX, FOV = 64, 0.22
FLOP_OF_A_SAMPLE = 8  # complex product and sum


def phantom(voxels: int = MATRIX, batch: int = 1, isochromats: int = 3) -> Phantom:
    """Maps without structure: no cost depends on it."""
    rng = np.random.default_rng(0)

    def drawn(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (batch, voxels, voxels)).astype("f4")

    return from_maps(
        drawn(0.1, 1),
        (FOV / voxels, FOV / voxels),
        T1=drawn(0.5, 2),
        T2=drawn(0.03, 0.1),
        df=drawn(-50, 50),
        isochromats=(isochromats, isochromats),
    )


def decay(samples: int) -> Waveforms:
    """A free induction decay of so many samples, after a hard pulse."""
    b1 = np.zeros(samples + 1, complex)
    b1[0] = np.pi / 2 / (GAMMA_1H * 1e-4)
    dt, sampled = np.full(samples + 1, 1e-5), np.arange(samples + 1) > 0
    dt[0] = 1e-4
    gradient = np.zeros((samples + 1, 3))
    gradient[1:, 0] = 1e-3
    return Waveforms(b1, gradient, dt, sampled, np.zeros(samples))


def exponent(
    numbers: list[int], made: Callable[[int], tuple[Waveforms, Phantom]], repeats: int
) -> dict:
    """Processor seconds at each number, and the slope of their logarithms."""
    seconds = []
    for n in numbers:
        waveforms, of = made(n)
        seconds.append(
            least_processor_seconds(functools.partial(bloch.signal, waveforms, of), repeats)
        )
    slope = np.polyfit(np.log(numbers), np.log(seconds), 1)[0]
    return {"numbers": numbers, "seconds": seconds, "exponent": float(slope)}


def shares(waveforms: Waveforms, of: Phantom, peak: float, repeats: int) -> dict[str, float]:
    """Milliseconds of the parts of a call, and what share of each the floor is."""
    last = np.arange(len(waveforms.dt)) == np.flatnonzero(waveforms.sampled)[-1]
    silent = dataclasses.replace(waveforms, sampled=last, receiver=np.zeros(1))
    still = decay(1)
    still = dataclasses.replace(still, b1=0 * still.b1)
    spins = of.num_spins * int(np.prod(of.batch))
    times = [
        1e3 * least_processor_seconds(lambda w=w: bloch.signal(w, of), repeats)
        for w in (waveforms, silent, still)
    ]
    total, without, nothing = times
    samples, pulses = np.count_nonzero(waveforms.sampled), np.count_nonzero(waveforms.b1)
    floor = 1e-6 * spins * np.array([FLOP_OF_A_SAMPLE * samples, FLOP * pulses]) / peak
    return {
        "total_ms": total,
        "readout_ms": total - without,
        "rf_ms": without - nothing,
        "bringing_spins_together_ms": nothing,
        "floor_of_readout_ms": float(floor[0]),
        "floor_of_rf_ms": float(floor[1]),
        "share_of_floor_readout": float(floor[0] / (total - without)),
        "share_of_floor_whole": float(floor.sum() / total),
    }


def naive(of: Phantom, steps: int, repeats: int) -> dict[str, float]:
    """Seconds of a free step with a sample, spin by spin, in NumPy and in torch."""
    position, df, T2 = of.position, of.df[0], of.T2[0]
    m = np.ones(of.num_spins, np.complex64)
    gradient, dt = np.array([1e-3, 0, 0], "f4"), 4e-6

    def numpy_steps() -> list:
        now, out = m, []
        for _ in range(steps):
            turns = dt * (GAMMA_BAR_1H * (position @ gradient) + df)
            now = now * (np.exp(-dt / T2) * np.exp((-2j * np.pi * turns).astype(np.complex64)))
            out.append(now.sum())
        return out

    tensors = [torch.from_numpy(x) for x in (position, df, T2, m, gradient)]

    def torch_steps() -> list:
        where, offset, time, now, g = tensors
        out = []
        for _ in range(steps):
            turns = dt * (GAMMA_BAR_1H * (where @ g) + offset)
            now = now * torch.polar(torch.exp(-dt / time), -2 * torch.pi * turns)
            out.append(now.sum())
        return out

    return {
        "numpy": least_processor_seconds(numpy_steps, repeats) / steps,
        "torch": least_processor_seconds(torch_steps, repeats) / steps,
    }


def memory(of: Phantom, samples: tuple[int, ...]) -> dict[str, float]:
    """Largest resident set after signals of more and more samples, MB."""
    found = {}
    for n in samples:
        bloch.signal(decay(n), of)
        found[str(n)] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def measure(quick: bool) -> dict[str, object]:
    seconds, repeats = (0.1, 2) if quick else (1.5, 15)
    torch.set_num_threads(1)
    waveforms, one, batch = epi(matrix=MATRIX, fov=FOV).waveforms(), phantom(), phantom(batch=8)
    peak = fma_peak()["1"]
    double = {
        f.name: x.astype("f8") if isinstance(x := getattr(one, f.name), np.ndarray) else x
        for f in dataclasses.fields(one)
    }
    exact = bloch.signal(waveforms, Phantom(**double), tolerance=1e-12)
    off = np.abs(bloch.signal(waveforms, one) - exact).max() / np.abs(exact).max()
    single = least_processor_seconds(lambda: bloch.signal(waveforms, one), repeats)
    eight = least_processor_seconds(lambda: bloch.signal(waveforms, batch), repeats)

    def half(rows: slice) -> np.ndarray:
        tissue = {n: getattr(batch, n)[rows] for n in ("M0", "T1", "T2", "df")}
        return bloch.signal(waveforms, dataclasses.replace(batch, **tissue))

    with ThreadPoolExecutor(2) as pool:
        rows = (slice(0, 4), slice(4, 8))
        two = median_seconds(lambda: list(pool.map(half, rows)), seconds)
        together = np.concatenate(list(pool.map(half, rows)))
    step = naive(one, 20, min(repeats, 5))
    samples = int(waveforms.sampled.sum())
    readout = shares(waveforms, one, peak, repeats)
    few = min(repeats, 5)
    results = {
        "spins": one.num_spins,
        "samples": samples,
        "steps_with_rf": int(np.count_nonzero(waveforms.b1)),
        "signals_per_second_1_thread": 1 / single,
        "signals_per_second_1_thread_batch_8": 8 / eight,
        "signals_per_second_2_threads_wall": 8 / two,
        "threads_change_the_signal_by": float(
            np.abs(together - bloch.signal(waveforms, batch)).max() / np.abs(together).max()
        ),
        "spin_samples_per_second_readout": one.num_spins * samples / readout["readout_ms"] * 1e3,
        "gpu_ceiling_spin_samples": GPU_FLOATS / FLOP_OF_A_SAMPLE,
        "fma_peak_gflops_1_thread": peak,
        "one_signal": readout,
        "error_of_largest_sample": float(off),
        "naive_step_ms": {name: 1e3 * s for name, s in step.items()},
        "readout_over_naive": {
            name: s * samples / (1e-3 * readout["readout_ms"]) for name, s in step.items()
        },
        "spiral": shares(spiral(matrix=64).waveforms(), one, peak, few),
        "gradient_echo": shares(gradient_echo(matrix=64).waveforms(), one, peak, few),
        "voxels": exponent(
            [n * n for n in (32, 48, 64, 96, 128)],
            lambda n: (waveforms, phantom(round(n**0.5))),
            few,
        ),
        "samples_of_a_decay": exponent(
            [4096, 8192, 16384, 32768, 65536],
            lambda n: (decay(n), one),
            few,
        ),
        "batch": exponent(
            [1, 2, 4, 8, 16],
            lambda n: (waveforms, phantom(batch=n, isochromats=1)),
            few,
        ),
        "largest_resident_MB_by_samples": memory(one, (1024, 16384, 131072)),
    }
    return results
