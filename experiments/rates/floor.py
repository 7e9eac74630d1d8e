"""What the rates stand beside: the processor's multiply-add rate, and its time."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ipads_stream.core.handover import torch_threads
from ipads_stream.stream.bench import median_seconds

# Of a GPU, FLOP/s of multiply-adds: data sheets of H100 SXM and H200. What is computed with them
# was not run on one.
GPU_FLOATS, GPU_DOUBLES = 67e12, 34e12

# Lanes as wide as the processor's registers: wider ones are kept in memory, and the loop then
# measures that.
PEAK_LOOP = """
#ifdef __AVX512F__
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float lanes __attribute__((vector_size(4 * LANES)));
int width(void) { return LANES; }
float peak(long n) {
  lanes a[12], x = {0}, y = {0};
  for (int k = 0; k < 12; ++k) a[k] = y + (float)k;
  for (int l = 0; l < LANES; ++l) { x[l] = 0.999f; y[l] = 1e-3f; }
  for (long i = 0; i < n; ++i)
    for (int k = 0; k < 12; ++k) a[k] = a[k] * x + y;
  float s = 0;
  for (int k = 0; k < 12; ++k) for (int l = 0; l < LANES; ++l) s += a[k][l];
  return s;
}
"""


def fma_peak(repeats: int = 100) -> dict[str, float]:
    """float32 GFLOP/s of multiply-adds that depend on nothing, on 1 and 2 threads.

    By a C loop (needs g++), or else by a matrix product. One thread: per second of its processor
    time, the best of several; two: of wall time.
    """
    if shutil.which("g++") is None:
        a = torch.ones(2048, 2048)
        with torch_threads(1):
            one = 2 * 2048**3 / least_processor_seconds(lambda: a @ a, 5) / 1e9
        with torch_threads(2):
            return {"1": one, "2": 2 * 2048**3 / median_seconds(lambda: a @ a, 1.0) / 1e9}
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "peak.c", Path(folder) / "peak.so"
        source.write_text(PEAK_LOOP)
        flags = ("-x", "c", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")
        subprocess.run(["g++", *flags, str(source), "-o", str(library)], check=True)
        loop = ctypes.CDLL(str(library))
        peak = loop.peak
        # Calls of some 10 ms, as long as those of the kernels: shorter ones run at a higher clock.
        peak.restype, count = ctypes.c_float, ctypes.c_long(7_000_000)
        flop = count.value * 12 * loop.width() * 2
        one = flop / least_processor_seconds(lambda: peak(count), repeats) / 1e9
        with ThreadPoolExecutor(2) as pool:
            both = lambda: list(pool.map(lambda _: peak(count), (0, 1)))  # noqa: E731
            two = 2 * flop / min(median_seconds(both, 0.05) for _ in range(repeats)) / 1e9
    return {"1": one, "2": two}


def least_processor_seconds(call: Callable[[], object], repeats: int) -> float:
    """Processor time of the fastest of several calls."""
    seconds = []
    for _ in range(repeats):
        start = time.thread_time()
        call()
        seconds.append(time.thread_time() - start)
    return min(seconds)


def processor_seconds(call: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call, after one that compiles."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def processor() -> str:
    """Name of the processor and how many of it there are."""
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in lines.splitlines() if "model name" in line]
    return f"{names[0]} x {len(names)}" if names else platform.processor()
