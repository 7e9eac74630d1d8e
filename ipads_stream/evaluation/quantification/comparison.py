"""All methods on the same simulated samples: truths, estimates, times and bounds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Arrays
from ipads_stream.evaluation.quantification.methods import Method
from ipads_stream.stream.stream import Stream

AT_ONCE = {"voxel": 4096, "slice": 16, "volume": 1}  # samples that are generated together
MASK = "mask"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What every method made of the same samples; SI, batch first.

    Attributes:
        quantities: by name: unit, scale and range.
        truths: quantity -> (samples, ...).
        estimates: method -> quantity -> values of the first samples, as many as the method was
            given; NaN where it found none; without the quantities that it does not estimate.
        seconds: method -> wall time per sample.
        mask: where a map counts, as the truths; None: everywhere.
        bounds: quantity -> least standard deviation of an unbiased estimate (Cramer-Rao), as the
            truths or (samples,); empty where the system has none.
        inputs, params: of the samples.
    """

    quantities: dict[str, Quantity]
    truths: dict[str, np.ndarray]
    estimates: dict[str, dict[str, np.ndarray]]
    seconds: dict[str, float]
    mask: np.ndarray | None
    bounds: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    params: Arrays

    def __len__(self) -> int:
        return len(next(iter(self.truths.values())))

    def counted(self, method: str) -> int:
        """Number of samples that a method was given."""
        return len(next(iter(self.estimates[method].values())))


def compare(
    system: Any,
    methods: Mapping[str, Method],
    *,
    samples: int,
    seed: int,
    split: str = "test",
    fewer: Mapping[str, int] | None = None,
    bar: bool = False,
) -> Comparison:
    """Estimates the quantities of the first samples of a split with every method.

    A shifted test is one on another system: ``dataclasses.replace(system, snr=...)``.

    Args:
        system: has ``quantities``; its ``bound(params)`` is asked where it has one.
        methods: by name. Each runs on one sample first, which is not timed.
        samples: number of them.
        seed, split: of the stream.
        fewer: method -> number of samples, for those too slow for all.
        bar: show a progress bar.

    Raises:
        ConfigError: a system without quantities, or without a target of that name.
        ValueError: a method gives another shape than the truth has.
    """
    inputs, targets, params = generated(system, samples=samples, seed=seed, split=split)
    truths = {name: targets[name] for name in system.quantities}
    estimates: dict[str, dict[str, np.ndarray]] = {}
    seconds: dict[str, float] = {}
    for name, method in tqdm(methods.items(), desc="methods", disable=not bar):
        count = min((fewer or {}).get(name, samples), samples)
        given = {key: values[:count] for key, values in inputs.items()}
        method({key: values[:1] for key, values in inputs.items()})  # compiles, builds tables
        started = time.perf_counter()
        found = method(given)
        seconds[name] = (time.perf_counter() - started) / count
        estimates[name] = {key: np.asarray(found[key]) for key in truths if key in found}
        _check(name, estimates[name], truths, count)
    bound = getattr(system, "bound", None)
    return Comparison(
        quantities=dict(system.quantities),
        truths=truths,
        estimates=estimates,
        seconds=seconds,
        mask=targets.get(MASK),
        bounds={} if bound is None else {key: np.asarray(sd) for key, sd in bound(params).items()},
        inputs=inputs,
        params=params,
    )


def generated(
    system: Any, *, samples: int, seed: int, split: str = "test"
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Arrays]:
    """Inputs, targets and parameters of samples 0 ... samples - 1, on the host.

    Args:
        system: has ``quantities``.
        samples: number of them.
        seed, split: of the stream.

    Raises:
        ConfigError: a system without quantities, or without a target of that name.
    """
    if not getattr(system, "quantities", None):
        raise ConfigError("system", system.name, "a system that estimates quantities")
    stream = Stream(system, seed=seed, split=split, batch_size=1, device="cpu", threads=0)
    step = AT_ONCE[getattr(system, "kind", "voxel")]
    made = [
        stream.sample(range(start, min(start + step, samples))) for start in range(0, samples, step)
    ]
    for name in system.quantities:
        if name not in made[0].targets:
            raise ConfigError("system", system.name, f"a system with the target {name}")

    def together(parts: list[Arrays]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([np.asarray(part[name]) for part in parts])
                for name in parts[0]}  # fmt: skip

    return (
        together([part.inputs for part in made]),
        together([part.targets for part in made]),
        together([part.params for part in made]),
    )


def _check(
    method: str, found: Mapping[str, np.ndarray], truths: Mapping[str, np.ndarray], count: int
) -> None:
    if not found:
        raise ValueError(f"{method} estimates none of {', '.join(truths)}")
    for name, values in found.items():
        expected = (count, *truths[name].shape[1:])
        if values.shape != expected:
            raise ValueError(f"{method}: {name} has shape {values.shape}, the truth {expected}")
