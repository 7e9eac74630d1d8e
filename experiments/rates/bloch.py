"""Rates of the isochromat kernel and of its adjoint beside others and the processor's limit.

20,000 spins x 1,000 steps of a modulated sinc pulse of 10 us steps under gradients, float32; for
gradients 2,000 spins. All in one run. One thread: the least processor time of repeated calls, other
work aside; two threads: median of wall time, two Python threads on halves of the spins.

blochsimulator (PyPI, GPL-3, float64, a rotation and then relaxation each step) is measured where it
is installed. It takes the conjugate of RF and gamma = 26753 rad/s/G; with both accounted for it
simulates the same, up to its splitting.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from rates.floor import GPU_FLOATS, fma_peak, least_processor_seconds

from ipads_stream.core.constants import GAMMA_1H
from ipads_stream.physics import bloch
from ipads_stream.physics.bloch.kernels import adjoint as backward
from ipads_stream.physics.bloch.kernels import parts as parts
from ipads_stream.stream.bench import median_seconds

SPINS, STEPS, DT = 20_000, 1_000, 1e-5
FEW = 2_000  # spins for gradients, which torch keeps in full
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
    M, b1, gradient = map(torch.as_tensor, arrays)
    position, df, T1, T2, B1 = (torch.as_tensor(maps[n]) for n in maps)
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


def gradient_rows(
    arrays: list[np.ndarray], maps: dict[str, np.ndarray], repeats: int
) -> dict[str, object]:
    """Time and memory of slopes of RF, gradients and tissue, forward and backward, beside torch's.

    Memory is what lives between forward and backward and within backward: for torch the tensors
    saved for it, for the adjoint the most that is allocated at a time, of NumPy's memory by
    tracemalloc and of the kernel's own by its arrays.
    """
    some = {name: torch.from_numpy(x[:FEW].copy()) for name, x in maps.items()}
    M, b1, gradient = map(torch.from_numpy, arrays)
    M = M[:FEW]
    followed = [b1, gradient, *(some[name] for name in ("df", "T1", "T2", "B1"))]
    slope = torch.from_numpy(np.random.default_rng(1).normal(size=(FEW, 3))).float()

    def forward_and_backward(function: Callable[[], torch.Tensor]) -> list[torch.Tensor]:
        for x in followed:
            x.requires_grad_()
        return list(torch.autograd.grad((function() * slope).sum(), followed))

    def ours() -> list[torch.Tensor]:
        return forward_and_backward(lambda: bloch.evolve(M, b1, gradient, DT, **some))

    def steps() -> list[torch.Tensor]:
        return forward_and_backward(
            lambda: torch_steps([M, b1, gradient], some, STEPS)  # type: ignore[list-item, arg-type]
        )

    saved: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        saved[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        alive.append(x)
        return x

    alive: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        theirs = steps()
    alive.clear()
    mine = ours()
    tracemalloc.start()
    ours()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    width = parts.VECTORS * parts.BYTES // 4
    within = 4 * 3 * width * (backward.SLOTS + STEPS // (backward.SLOTS - 1) + 1)
    ours_seconds = least_processor_seconds(ours, repeats)
    steps_seconds = least_processor_seconds(steps, 2)
    names = ("b1", "gradient", "df", "T1", "T2", "B1")
    return {
        "spins": FEW,
        "adjoint_seconds": ours_seconds,
        "torch_autograd_seconds": steps_seconds,
        "torch_over_adjoint_time": steps_seconds / ours_seconds,
        "adjoint_bytes": peak + within,
        "torch_autograd_bytes": sum(saved.values()),
        "torch_over_adjoint_memory": sum(saved.values()) / (peak + within),
        "difference_relative": {
            name: float((x - y).norm() / y.norm())
            for name, x, y in zip(names, mine, theirs, strict=True)
        },
    }


def peer_rows(
    arrays: list[np.ndarray], maps: dict[str, np.ndarray], repeats: int, seconds: float
) -> dict[str, float]:
    """blochsimulator's rates, and how far it is from the exact magnetisation."""
    try:
        from blochsimulator.blochsimulator_cy import simulate_phantom
    except ImportError:
        return {}
    scale = GAMMA_1H / (26753.0 * 1e4)
    M, b1, gradient = (x.astype("c16" if x.dtype.kind == "c" else "f8") for x in arrays)
    some = {name: x.astype("f8") for name, x in maps.items() if name != "B1"}  # it has no B1 map

    def run(threads: int, rows: slice) -> np.ndarray:
        found = simulate_phantom(
            np.conj(b1) * 1e4 * scale, gradient * 100 * scale, np.full(STEPS, DT), some["T1"][rows],
            some["T2"][rows], some["df"][rows], some["position"][rows] * 100, num_threads=threads,
        )  # fmt: skip
        return np.stack([np.ravel(x) for x in found[:3]], 1)

    part = slice(0, FEW)
    exact = bloch.evolve(M[part], b1, gradient, DT, **{n: x[part] for n, x in some.items()},
                         tolerance=1e-12)  # fmt: skip
    one = (
        SPINS * STEPS / least_processor_seconds(lambda: run(1, slice(None)), max(2, repeats // 10))
    )
    two = SPINS * STEPS / median_seconds(lambda: run(2, slice(None)), seconds)
    return {
        "blochsimulator_1_thread": one,
        "blochsimulator_2_threads_wall": two,
        "blochsimulator_error_max": float(np.abs(run(1, part) - exact).max()),
    }


def measure(quick: bool) -> dict[str, object]:
    seconds, repeats, steps = (0.1, 5, 20) if quick else (1.5, 100, 100)
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
    peak = fma_peak()
    peer = peer_rows([M, b1, gradient], maps, repeats, seconds)
    results: dict[str, object] = {
        "kernel_1_thread": one,
        "kernel_2_threads_wall": two,
        "torch_steps_1_thread": SPINS * steps / torch_seconds,
        "kernel_over_torch_steps": one * torch_seconds / (SPINS * steps),
        "fma_peak_gflops": peak,
        "gpu_ceiling": GPU_FLOATS / FLOP,
        "share_of_fma_peak_1_thread": one * FLOP / 1e9 / peak["1"],
        "error_max": float(np.abs(off).max()),
        "error_relative": float(np.linalg.norm(off) / np.linalg.norm(exact)),
        **peer,
        "gradients": gradient_rows([M, b1, gradient], maps, repeats),
    }
    if peer:
        results["kernel_over_blochsimulator_1_thread"] = one / peer["blochsimulator_1_thread"]
        two_threads = two / peer["blochsimulator_2_threads_wall"]
        results["kernel_over_blochsimulator_2_threads"] = two_threads
    return results
