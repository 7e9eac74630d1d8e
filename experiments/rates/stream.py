"""Rates of generation and hand-over, each beside its comparison and its floor, in one run.

Medians of repeated calls. "2 threads" are two Python threads on halves of the batch (the kernels
release the interpreter lock). The floor is the processor's float32 multiply-add rate, measured in
the same run by a C loop (needs g++), or else by a matrix product.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from rates.floor import fma_peak, least_processor_seconds

from ipads_stream import Stream, load_system
from ipads_stream.acquisition.masks import num_sampled
from ipads_stream.acquisition.noise import measured
from ipads_stream.acquisition.poisson_gap import poisson_gap
from ipads_stream.core.random import Keys, normal, words
from ipads_stream.physics.spectroscopy.exponentials import damped_exponentials
from ipads_stream.physics.spectroscopy.spectrum import spectrum
from ipads_stream.stream.bench import hand_over, median_seconds

SIGNALS, POINTS, PEAKS = 4096, 256, 10
FLOP = 8  # per point and peak: a complex multiplication and addition


def on_halves(call: Callable[[slice], object], pool: ThreadPoolExecutor) -> Callable[[], object]:
    """One call on the whole batch as two calls on halves of it, at once."""
    halves = (slice(0, SIGNALS // 2), slice(SIGNALS // 2, SIGNALS))
    return lambda: list(pool.map(call, halves))


def exponentials(seconds: float, pool: ThreadPoolExecutor) -> dict[str, float]:
    """Signals per second of the kernel and of direct complex exponentials."""
    keys = Keys(0, "throughput", np.arange(SIGNALS, dtype=np.uint64))
    system = load_system("dlnmr", [f"points={POINTS}", f"num_peaks={PEAKS}"])
    params = system.draw(keys, keys.indices.astype(float))
    peaks = [params[name] for name in ("amplitude", "frequency", "phase", "decay")]
    n = np.arange(POINTS)

    def kernel(rows: slice) -> object:
        return damped_exponentials(*(p[rows] for p in peaks), points=POINTS, dtype="complex64")

    def direct(rows: slice) -> object:
        a, f, phi, tau = (p[rows, :, None].astype(np.float32) for p in peaks)
        rate = (2j * np.pi * f - 1 / tau).astype(np.complex64)
        return ((a * np.exp(1j * phi)) * np.exp(rate * n.astype(np.float32))).sum(axis=1)

    def direct_torch() -> object:
        a, f, phi, tau = (torch.from_numpy(p.astype(np.float32))[..., None] for p in peaks)
        t = torch.arange(POINTS, dtype=torch.float32)
        return (a * torch.exp(torch.complex(-t / tau, 2 * np.pi * f * t + phi))).sum(1)

    def keyed() -> object:
        names = ("amplitude", "frequency", "phase", "decay")
        return [words(keys["num_peaks"], 1), *(words(keys[name], PEAKS) for name in names)]

    whole = slice(0, SIGNALS)
    exact = damped_exponentials(*peaks, points=POINTS, dtype="complex128")
    error = np.linalg.norm(kernel(whole) - exact) / np.linalg.norm(exact)
    torch.set_num_threads(2)
    one = median_seconds(lambda: kernel(whole), seconds)
    return {
        "kernel_1_thread": SIGNALS / one,
        "kernel_2_threads": SIGNALS / median_seconds(on_halves(kernel, pool), seconds),
        "numpy_direct": SIGNALS / median_seconds(lambda: direct(whole), seconds),
        "torch_direct_2_threads": SIGNALS / median_seconds(direct_torch, seconds),
        "relative_error": float(error),
        "keyed_words_share_of_fid_1_thread": median_seconds(keyed, seconds) / one,
    }


def pairs(seconds: float, pool: ThreadPoolExecutor) -> dict[str, float]:
    """Seconds for 40,000 complete pairs of the default system, and their parts on one thread."""
    system = load_system("dlnmr", ["rate=0.25"])
    batch = 1000

    def make(start: int) -> object:
        keys = Keys(0, "train", np.arange(start, start + batch, dtype=np.uint64))
        return system.render(system.draw(keys, keys.indices.astype(float)), keys, np)

    starts = range(0, 40_000, batch)
    keys = Keys(0, "train", np.arange(batch, dtype=np.uint64))
    params = system.draw(keys, keys.indices.astype(float))
    random = np.random.Generator(np.random.Philox(key=0))
    counts = num_sampled(params["rate"], system.points)

    def unkeyed() -> object:
        shape = (batch, system.max_peaks)
        return [random.random(batch), *(random.random(shape) for _ in range(4)),
                random.random((batch, system.points))]  # fmt: skip

    def keyed() -> object:
        names = ("amplitude", "frequency", "phase", "decay")
        drawn = [words(keys[n], system.max_peaks) for n in names]
        return [words(keys["num_peaks"], 1), *drawn, words(keys["mask"], system.points)]

    one = median_seconds(lambda: [make(start) for start in starts[:4]], seconds) * 10
    peaks = [params[name] for name in ("amplitude", "frequency", "phase", "decay")]
    signals = median_seconds(
        lambda: damped_exponentials(*peaks, points=system.points, dtype="complex64"), seconds
    )
    return {
        "pairs_40000_s_1_thread": one,
        "pairs_40000_s_2_threads": median_seconds(lambda: list(pool.map(make, starts)), seconds),
        "us_per_pair_1_thread": one / 40_000 * 1e6,
        "us_draw_parameters": median_seconds(lambda: system.draw(keys, keys.indices), seconds)
        / batch
        * 1e6,
        "us_mask": median_seconds(lambda: poisson_gap(keys["mask"], system.points, counts), seconds)
        / batch
        * 1e6,
        "us_fid": signals / batch * 1e6,
        "us_all_keyed_words": median_seconds(keyed, seconds) / batch * 1e6,
        "us_unkeyed_numbers": median_seconds(unkeyed, seconds) / batch * 1e6,
    }


def streamed(repeats: int) -> dict[str, float]:
    """40,000 pairs of 256 points by a stream of two threads, and the share of their physics.

    Of a batch on one thread: signals, spectra, heights and noise, over all that a stream does.
    """
    system, batch = load_system("dlnmr", [f"points={POINTS}"]), 1000
    iterator = iter(Stream(system, batch_size=batch, device="cpu", threads=2))
    inline = iter(Stream(system, batch_size=batch, device="cpu", threads=0))
    keys = Keys(0, "train", np.arange(batch, dtype=np.uint64))
    params = system.draw(keys, keys.indices.astype(float))
    mask = system.masks(keys, POINTS, num_sampled(params["rate"], POINTS))
    sigma = np.ones(batch, np.float32)

    def ahead() -> None:
        for _ in range(40_000 // batch):
            next(iterator)

    def physics() -> object:
        full = damped_exponentials(
            *(params[name] for name in ("amplitude", "frequency", "phase", "decay")),
            points=POINTS, dtype="complex64",
        )  # fmt: skip
        np.max(np.abs(spectrum(full)), axis=1)
        return measured(keys["noise"], full, sigma, mask, np)

    ahead()  # compiles
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        ahead()
        taken.append(time.perf_counter() - start)
    return {
        "pairs_40000_s_2_threads": min(taken),
        "share_of_physics": least_processor_seconds(physics, 10 * repeats)
        / least_processor_seconds(lambda: next(inline), 10 * repeats),
    }


def random_numbers(seconds: float) -> dict[str, float]:
    """Million values per second and thread."""
    keys = Keys(0, "throughput", np.arange(SIGNALS, dtype=np.uint64))
    random = np.random.Generator(np.random.Philox(key=0))
    count = 1024
    shape = (SIGNALS, count)
    million = SIGNALS * count / 1e6
    return {
        "words": million / median_seconds(lambda: words(keys["w"], count), seconds),
        "normals": million / median_seconds(lambda: normal(keys["n"], (count,)), seconds),
        "numpy_philox_normals_unkeyed": million
        / median_seconds(lambda: random.standard_normal(shape, np.float32), seconds),
        "torch_normals_unkeyed": million
        / median_seconds(lambda: torch.randn(SIGNALS, count, generator=torch.Generator()), seconds),
    }


def stream(seconds: float, batches: int) -> dict[str, float]:
    """Hand-over of a ready batch, and growth of memory over many batches."""
    system = load_system("dlnmr")
    ready = Stream(system, batch_size=64, device="cpu", threads=0).batch(0)
    small = Stream(load_system("dlnmr", ["points=16", "num_peaks=1"]), batch_size=8, device="cpu")
    iterator = iter(small)
    for _ in range(max(1, batches // 10)):
        next(iterator)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(batches):
        next(iterator)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "hand_over_ready_batch_ms": 1e3 * hand_over(ready, seconds),
        "batches": batches,
        "memory_growth_MB": grown / 1e3,
    }


def measure(quick: bool) -> dict[str, object]:
    seconds, batches = (0.05, 200) if quick else (1.5, 100_000)
    with ThreadPoolExecutor(2) as pool:
        results: dict[str, object] = {
            "fma_peak_gflops": fma_peak(),
            "exponentials_4096x256x10": exponentials(seconds, pool),
            "pairs": pairs(seconds, pool),
            "stream_pairs": streamed(2 if quick else 20),
            "random_numbers_M_per_s": random_numbers(seconds),
            "stream": stream(seconds, batches),
        }
    rates, peak = results["exponentials_4096x256x10"], results["fma_peak_gflops"]
    flop = FLOP * POINTS * PEAKS
    results["ratios"] = {
        "kernel_over_numpy_direct": rates["kernel_2_threads"] / rates["numpy_direct"],
        "kernel_over_torch_direct": rates["kernel_2_threads"] / rates["torch_direct_2_threads"],
        "share_of_fma_peak_1_thread": rates["kernel_1_thread"] * flop / 1e9 / peak["1"],
        "share_of_fma_peak_2_threads": rates["kernel_2_threads"] * flop / 1e9 / peak["2"],
    }
    return results
