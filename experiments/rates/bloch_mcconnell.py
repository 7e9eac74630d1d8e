"""Rates of z-spectra beside their comparisons and their floor, in one run.

3 pools at 3 T, 51 offsets from -5 to 5 ppm, 20 rectangular pulses of 50 ms and 2 uT with gaps of 50
ms; exchange, fractions, B0 and B1 differ from spectrum to spectrum. Also a semisolid pool of
super-Lorentzian line besides, 5 pools, 2 s of continuous RF, and shaped pulses of 200 samples.
Rates are spectra per second: on one thread of its processor time, which other load disturbs least,
on 2 threads (halves of the batch) by the clock. Comparisons: a batch of exponentials by SciPy and
the formula, both of what one pulse and one gap take, reused; BMCTool 1.0.3 where it can be
imported, else it is left out.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import scipy.linalg
from rates.floor import GPU_DOUBLES, fma_peak, processor_seconds
from threadpoolctl import threadpool_limits

from ipads_stream.core.constants import GAMMA_1H, GAMMA_BAR_1H
from ipads_stream.core.handover import torch_threads
from ipads_stream.physics.exchange import (
    Semisolid,
    Solute,
    Water,
    z_spectrum,
    z_spectrum_formula,
)
from ipads_stream.stream.bench import median_seconds

B0, OFFSETS = 3.0, np.linspace(-5, 5, 51)
TRAIN = {"amplitude": 2e-6, "duration": 0.05, "gap": 0.05, "number": 20}
# Multiply-adds of a pair: 3 products of 9 x 9 by 9 x 10, 12 squarings and one to join the gap, 15
# products of the gap in blocks, 20 times both applied. Half of the float32 peak is that of float64.
FLOP = 2 * 51 * (16 * 810 + 15 * 135 + 20 * 90)


def batch(spectra: int, kind: type = np.float64) -> tuple[list, dict]:
    """Three pools, and df_ppm and B1, of so many spectra."""
    rng = np.random.default_rng(0)

    def draw(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, spectra).astype(kind)

    pools = [
        Water(draw(1.0, 1.6), draw(0.05, 0.1)),
        Solute(draw(5e-4, 2e-3), 1.0, 0.05, draw(20, 100), 3.5),
        Solute(draw(1e-3, 5e-3), 1.0, 0.02, draw(300, 1200), 2.0),
    ]
    return pools, {"df_ppm": draw(-0.4, 0.4), "B1": draw(0.8, 1.2)}


def generator(pools: list, df_ppm: float, B1: float, amplitude: float) -> np.ndarray:
    """Affine generators of one spectrum, (offsets, 10, 10), for SciPy."""
    size = 3 * len(pools) + 1
    A = np.zeros((OFFSETS.size, size, size))
    for p, pool in enumerate(pools):
        i = 3 * p
        shift = 1e-6 * GAMMA_1H * B0 * (pool.shift_ppm + df_ppm - OFFSETS)
        A[:, i, i + 1], A[:, i + 1, i] = shift, -shift
        A[:, i + 1, i + 2], A[:, i + 2, i + 1] = GAMMA_1H * B1 * amplitude * np.array([1, -1])
        A[:, i + 2, -1] = pool.fraction / pool.T1
        for axis, T in enumerate((pool.T2, pool.T2, pool.T1)):
            A[:, i + axis, i + axis] -= 1 / T
            if p:
                back = pool.exchange * pool.fraction / pools[0].fraction
                A[:, i + axis, i + axis] -= pool.exchange
                A[:, axis, i + axis] += pool.exchange
                A[:, axis, axis] -= back
                A[:, i + axis, axis] += back
    return A


def by_scipy(pools: list, df_ppm: float, B1: float) -> np.ndarray:
    """One spectrum by scipy.linalg.expm of all offsets at once."""
    pulse, gap = (
        scipy.linalg.expm(generator(pools, df_ppm, B1, amplitude) * time)
        for amplitude, time in ((TRAIN["amplitude"], TRAIN["duration"]), (0.0, TRAIN["gap"]))
    )
    M = np.zeros((OFFSETS.size, 3 * len(pools) + 1, 1))
    M[:, -1] = 1
    M[:, 2:-1:3, 0] = [pool.fraction for pool in pools]
    both = gap @ pulse
    for _ in range(TRAIN["number"]):
        M = both @ M
    return M[:, 2, 0] / pools[0].fraction


def one(pools: list, rest: dict, i: int) -> tuple[list, float, float]:
    """Spectrum i of a batch."""
    single = [
        type(pool)(**{name: float(x[i]) if np.ndim(x) else x for name, x in vars(pool).items()})
        for pool in pools
    ]
    return single, float(rest["df_ppm"][i]), float(rest["B1"][i])


def by_bmctool(pools: list, B1: float) -> tuple[np.ndarray, float] | None:
    """One spectrum of BMCTool at df_ppm = 0 (its sign is wrong elsewhere) and its processor time.

    It lets the phase of the RF stand still in a gap, which is to be compared with "halted".
    """
    try:
        import pypulseq
        from bmctool.parameters.Parameters import Parameters
        from bmctool.simulation.BMCSim import BMCSim
    except ImportError as error:
        print(f"BMCTool is left out: {error}")
        return None
    water, *solutes = pools
    parameters = Parameters.from_dict({
        "water_pool": {"f": water.fraction, "t1": water.T1, "t2": water.T2},
        "cest_pool": {
            f"pool {i}": {"f": x.fraction, "t1": x.T1, "t2": x.T2, "k": x.exchange,
                          "dw": x.shift_ppm}
            for i, x in enumerate(solutes)
        },
        "b0": B0, "gamma": GAMMA_1H * 1e-6, "b0_inhom": 0.0, "rel_b1": B1, "verbose": False,
        "reset_init_mag": True, "scale": 1, "max_pulse_samples": 300,
    })  # fmt: skip
    raster, samples = 250e-6, 200
    system = pypulseq.Opts(rf_ringdown_time=0, rf_dead_time=0, rf_raster_time=raster,
                           gamma=GAMMA_BAR_1H)  # fmt: skip
    pulse = SimpleNamespace(
        type="rf", signal=np.full(samples, TRAIN["amplitude"] * GAMMA_BAR_1H), delay=0, dead_time=0,
        t=(np.arange(samples) + 0.5) * raster, shape_dur=TRAIN["duration"], ringdown_time=0,
        freq_ppm=0, phase_ppm=0, center=TRAIN["duration"] / 2, use="saturation",
    )  # fmt: skip
    sequence = pypulseq.Sequence(system=system)
    for pulse.freq_offset in OFFSETS * B0 * GAMMA_BAR_1H * 1e-6:
        for n in range(TRAIN["number"]):
            turns = n * pulse.freq_offset * TRAIN["duration"]
            pulse.phase_offset = 2 * np.pi * (turns % 1)
            sequence.add_block(pulse)
            sequence.add_block(pypulseq.make_delay(TRAIN["gap"]))
        sequence.add_block(pypulseq.make_adc(num_samples=1, duration=1e-3))
    sequence.set_definition("offsets_ppm", list(OFFSETS))
    simulations = [BMCSim(parameters, sequence, verbose=False) for _ in range(4)]
    runs = iter(simulations)
    taken = processor_seconds(lambda: next(runs).run(), 3)
    return simulations[0].get_zspec(return_abs=False)[1], taken


def others(spectra: int, repeats: int) -> dict[str, float]:
    """Rates of other pools and pulses on one thread."""
    pools, rest = batch(spectra)
    shape = {"amplitude": 3e-6 * np.hanning(202)[1:-1]}
    solid = Semisolid(np.full(spectra, 0.1), 1.0, np.full(spectra, 1e-5), 30.0, -2.0)
    more = [Solute(5e-3, 1.1, 5e-3, 16.0, -3.5), Solute(0.1, 1.0, 4e-5, 30.0, -3.0)]
    few = max(1, spectra // 32)
    cases = {
        "with_a_super_lorentzian_pool": ([*pools, solid], TRAIN, spectra),
        "5_pools": ([*pools, *more], TRAIN, spectra),
        "2_s_continuous": (pools, {"amplitude": 2e-6, "duration": 2.0}, spectra),
        "200_samples_per_pulse": (batch(few)[0], TRAIN | shape, few),
    }
    rates = {}
    for name, (members, train, count) in cases.items():
        given = {key: x[:count] for key, x in rest.items()}
        taken = processor_seconds(
            lambda members=members, train=train, given=given: z_spectrum(
                members, OFFSETS, train, B0, **given
            ),
            repeats,
        )
        rates[name] = count / taken
    return rates


def measure(quick: bool) -> dict[str, object]:
    spectra, repeats, seconds = (256, 3, 0.05) if quick else (2048, 9, 1.5)
    results: dict[str, object] = {"fma_peak_gflops": fma_peak()}
    with ThreadPoolExecutor(2) as pool, torch_threads(1), threadpool_limits(1):
        for kind in (np.float32, np.float64):
            pools, rest = batch(spectra, kind)
            halves = [batch(spectra // 2, kind)] * 2

            def run(given: tuple[list, dict]) -> np.ndarray:
                return z_spectrum(given[0], OFFSETS, TRAIN, B0, **given[1])

            rate = spectra / processor_seconds(lambda p=(pools, rest): run(p), repeats)
            wall = median_seconds(lambda p=(pools, rest): run(p), seconds)
            both = median_seconds(lambda h=halves: list(pool.map(run, h)), seconds)
            exact = np.stack([by_scipy(*one(pools, rest, i)) for i in range(8)])
            results[kind.__name__] = {
                "1_thread": rate,
                "1_thread_by_the_clock": spectra / wall,
                "2_threads_by_the_clock": spectra / both,
                "share_of_float64_fma_peak": rate * FLOP / 5e8 / results["fma_peak_gflops"]["1"],
                "gpu_ceiling": GPU_DOUBLES / FLOP,
                "error_against_scipy": float(np.abs(run((pools, rest))[:8] - exact).max()),
            }
        rate = results["float64"]["1_thread"]
        scipy_seconds = processor_seconds(lambda: by_scipy(*one(pools, rest, 0)), repeats)
        few = [
            type(x)(**{k: v[:32] if np.ndim(v) else v for k, v in vars(x).items()}) for x in pools
        ]
        given = {key: x[:32] for key, x in rest.items()}
        formula = processor_seconds(lambda: z_spectrum_formula(few, OFFSETS, TRAIN, B0, **given), 1)
        results["scipy_batched_exponential"] = 1 / scipy_seconds
        results["ratio_to_scipy"] = rate * scipy_seconds
        results["formula_numpy"] = 32 / formula
        results["ratio_to_formula"] = rate * formula / 32
        single, _, B1 = one(pools, rest, 0)
        peer = by_bmctool(single, B1)
        if peer is not None:
            halted = TRAIN | {"oscillator": "halted"}
            spectrum = z_spectrum(single, OFFSETS, halted, B0, B1=B1)
            results["bmctool"] = 1 / peer[1]
            results["ratio_to_bmctool"] = rate * peer[1]
            results["difference_from_bmctool"] = float(np.abs(spectrum - peer[0]).max())
        results["1_thread_of_other_cases"] = others(spectra, 3)
    return results
