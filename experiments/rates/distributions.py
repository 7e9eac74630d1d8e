"""What distributions of distributions cost beside plain uniform draws, in one run.

Parameters of the system dlnmr at batches of 64 and 512 signals, 128 points: drawn alone, and drawn
and rendered, which is what a stream does. One thread, processor time. Each system takes turns with
the same system with a uniform distribution everywhere, in runs of RUN batches: its code and tables
are as warm as those of a stream, which draws from one system. Of each the quickest run counts,
other work aside. What is rendered is alike: numbers of peaks and sampling rates, on which its cost
depends, keep their means and ranges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ipads_stream import load_system
from ipads_stream.core.random import Keys
from ipads_stream.distributions import (
    Adaptive,
    Conditional,
    Correlated,
    Curriculum,
    DiscreteUniform,
    Distribution,
    Emphasized,
    Empirical,
    LinearSchedule,
    LogUniform,
    Mixture,
    Normal,
    Proportional,
    Truncated,
    Uniform,
    Widened,
)

RUN = 10
Call = Callable[..., Any]

PLAIN: dict[str, Distribution] = {
    "num_peaks": DiscreteUniform(low=1, high=10),
    "amplitude": Uniform(low=0.05, high=1),
    "frequency": Uniform(low=0.01, high=0.99, unit="Hz"),
    "phase": Uniform(low=0, high=360, unit="deg"),
    "decay": Uniform(low=10, high=179.2, unit="s"),
    "rate": Uniform(low=0.15, high=0.5),
    "snr": Uniform(low=5, high=100),
}


def variants(folder: str) -> dict[str, dict[str, Distribution]]:
    """Name -> distributions in place of plain ones."""
    path = str(Path(folder) / "values.npy")
    np.save(path, np.linspace(0.05, 1, 2000) ** 2)
    amplitude, decay = PLAIN["amplitude"], PLAIN["decay"]
    mixture = Mixture(components=[Uniform(low=0.05, high=0.2), Uniform(low=0.8, high=1)])
    schedule = LinearSchedule(end=10_000_000)
    one: dict[str, dict[str, Distribution]] = {
        "LogUniform": {"amplitude": LogUniform(low=0.05, high=1)},
        "Mixture": {"amplitude": mixture},
        "Mixture of curves": {
            "amplitude": Mixture(
                components=[LogUniform(low=0.05, high=1), Normal(mean=0.5, std=0.1, low=0, high=1)]
            )
        },
        "Truncated": {"decay": Truncated(distribution=decay, low=20, high=150)},
        "Conditional": {
            "decay": Conditional(
                given="amplitude", edges=[0.3], cases=[decay, Uniform(low=5, high=50)]
            )
        },
        "Proportional": {"snr": Proportional(factor=Uniform(low=50, high=99), to="rate")},
        "Correlated": {"decay": Correlated(distribution=decay, correlation={"amplitude": 0.5})},
        "Empirical": {"amplitude": Empirical(path=path, low=0)},
        "Emphasized": {
            "amplitude": Emphasized(distribution=amplitude, edges=[0.2], shares=[0.4, 0])
        },
        "Widened": {"amplitude": Widened(distribution=amplitude, edges=[0.2], factors=[1, 2])},
        "Adaptive": {
            "amplitude": Adaptive(distribution=amplitude, edges=[0.1, 0.4], shares=[0.4, 0.3, 0.3])
        },
        "Curriculum": {"amplitude": Curriculum(start=amplitude, end=mixture, schedule=schedule)},
    }
    one["all together"] = {
        "num_peaks": Emphasized(
            distribution=PLAIN["num_peaks"], edges=[3, 9], shares=[0.3, 0, 0.3]
        ),
        "amplitude": one["Adaptive"]["amplitude"],
        "frequency": Mixture(
            components=[
                Uniform(low=0.01, high=0.3, unit="Hz"),
                Uniform(low=0.2, high=0.99, unit="Hz"),
            ]
        ),
        "phase": Truncated(distribution=PLAIN["phase"], low=10, high=350),
        "decay": one["Correlated"]["decay"],
        "rate": Curriculum(start=PLAIN["rate"], end=Uniform(low=0.16, high=0.5), schedule=schedule),
        "snr": one["Proportional"]["snr"],
    }
    return one


def least_seconds(calls: Sequence[Call], batches: Sequence[Any], seconds: float) -> list[float]:
    """Least processor time of a batch by each call, over runs of all batches taken in turns."""
    least = [np.inf] * len(calls)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, call in enumerate(calls):
            start = time.thread_time()
            for batch in batches:
                call(*batch)
            least[i] = min(least[i], (time.thread_time() - start) / len(batches))
    return least


def measured(batch_size: int, seconds: float) -> dict[str, Any]:
    """Microseconds of plain draws, and ratios of all variants to them."""
    plain = replace(load_system("dlnmr"), **PLAIN)
    with TemporaryDirectory() as folder:
        systems = {"uniform": plain}
        systems |= {name: replace(plain, **some) for name, some in variants(folder).items()}
    indices = np.arange(RUN * batch_size, dtype=np.uint64).reshape(RUN, -1) + np.uint64(5_000_000)
    batches = [(Keys(0, "train", some), some.astype(np.float64)) for some in indices]

    def rendered(system: Any) -> Call:
        return lambda keys, progress: system.render(system.draw(keys, progress), keys, np)

    results: dict[str, Any] = {}
    for kind, way in (("draw", lambda system: system.draw), ("draw_and_render", rendered)):
        least, ratios = [], {}
        for name, system in systems.items():
            calls = [way(plain), way(system)]
            for call in calls:  # compiles and fills tables
                call(*batches[0])
            base, own = least_seconds(calls, batches, seconds)
            least.append(base)
            ratios[name] = own / base
        results[kind] = {"uniform_us": 1e6 * float(np.median(least)), "ratios": ratios}
    return results


def measure(quick: bool) -> dict[str, object]:
    seconds = 0.05 if quick else 1.0
    results = {f"batch {size}": measured(size, seconds) for size in (64, 512)}
    return results
