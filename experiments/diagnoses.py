"""Whether what is hidden in decays is found: regions of 25 voxels with one imperfection each.

    python experiments/diagnoses.py [cases=50]

Trains of spin echoes (`PROTOCOLS`) at a signal-to-noise ratio of 100 in the mean, T2 of a region
between 45 and 110 ms and of its voxels within 10 %. Counted is which imperfection of `t2_map`
explains a region best (evaluation/diagnosis.py), and how well the gain of a second pool of 15 %, at
15 ms, tells regions that have it from those that have not: the area under the curve, beside that of
the chi-square of the fitted decay. Written to experiments/results/diagnoses.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from result_files import RESULTS
from scipy import stats

from ipads_stream import load_system
from ipads_stream.core import random
from ipads_stream.core.files import write_text
from ipads_stream.core.random import Keys
from ipads_stream.evaluation.diagnosis import diagnose_voxels
from ipads_stream.physics.epg import cpmg

PROTOCOLS = {"24 echoes, 10 ms": 0.01 * np.arange(1, 25), "8 echoes, 10 ms": 0.01 * np.arange(1, 9)}
SNR, VOXELS, SPREAD = 100.0, 25, 0.1
DRAWS = 2000  # of the bootstrap over regions


def between(keys: Keys, name: str, low: float, high: float) -> np.ndarray:
    return low + (high - low) * random.uniform(keys[name], ())


def stimulated_echoes(TE: np.ndarray, s: np.ndarray, T2: np.ndarray, keys: Keys) -> np.ndarray:
    B1, T1 = between(keys, "B1", 0.7, 0.95), between(keys, "T1", 0.8, 1.6)
    B1, T1 = (np.repeat(x, VOXELS) for x in (B1, T1))
    return np.abs(cpmg(float(TE[0]), len(TE), T1, T2, B1))


def second_pool(TE: np.ndarray, s: np.ndarray, T2: np.ndarray, keys: Keys) -> np.ndarray:
    f, fast = between(keys, "f", 0.1, 0.25), between(keys, "fast", 0.01, 0.02)
    f, fast = (np.repeat(x, VOXELS)[:, None] for x in (f, fast))
    return (1 - f) * s + f * np.exp(-TE / fast)


def constant(TE: np.ndarray, s: np.ndarray, T2: np.ndarray, keys: Keys) -> np.ndarray:
    return s + np.repeat(between(keys, "share", 0.02, 0.1), VOXELS)[:, None]


def first_image(TE: np.ndarray, s: np.ndarray, T2: np.ndarray, keys: Keys) -> np.ndarray:
    factor = 1 + _signed(between(keys, "size", -0.1, 0.1), 0.05)
    return s * np.where(np.arange(len(TE)) == 0, np.repeat(factor, VOXELS)[:, None], 1.0)


def alternating(TE: np.ndarray, s: np.ndarray, T2: np.ndarray, keys: Keys) -> np.ndarray:
    size = np.repeat(_signed(between(keys, "size", -0.06, 0.06), 0.02), VOXELS)[:, None]
    return s * (1 + size * (-1.0) ** np.arange(len(TE)))


def _signed(x: np.ndarray, least: float) -> np.ndarray:
    return np.sign(x) * (least + np.abs(x))


Hidden = Callable[[np.ndarray, np.ndarray, np.ndarray, Keys], np.ndarray]
HIDDEN: dict[str, tuple[Hidden | None, tuple[int, ...]]] = {  # signal, numbers of coils
    "stimulated echoes": (stimulated_echoes, (1,)),
    "second pool": (second_pool, (1,)),
    "constant": (constant, (1,)),
    "first image": (first_image, (1,)),
    "alternating images": (alternating, (1,)),
    "several coils": (None, (4, 8, 16)),
    "nothing": (None, (1,)),
}


def regions(
    name: str, TE: np.ndarray, cases: int, hidden: Hidden | None, coils: tuple[int, ...] = (1,)
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inputs of regions with something hidden, and the number of the region of each voxel."""
    keys = Keys(0, f"diagnoses {name} {len(TE)}", np.arange(cases, dtype=np.uint64))
    voxels = Keys(0, f"voxels {name} {len(TE)}", np.arange(cases * VOXELS, dtype=np.uint64))
    middle = np.repeat(between(keys, "T2", 0.045, 0.11), VOXELS)
    T2, M0 = (x * np.exp(SPREAD * random.normal(voxels[k], ()))
              for k, x in (("T2", middle), ("M0", SNR)))  # fmt: skip
    clean = np.exp(-TE / T2[:, None])
    clean = M0[:, None] * (clean if hidden is None else hidden(TE, clean, T2, keys))
    noise = random.normal(voxels["noise"], (2 * max(coils), len(TE))).astype(np.float64)
    count = np.repeat(np.asarray(coils)[np.arange(cases) % len(coils)], VOXELS)
    used = np.arange(noise.shape[1])[None, :, None] < 2 * count[:, None, None]
    squares = np.where(used, noise, 0.0)
    squares[:, 0] += clean
    signal = np.sqrt(np.sum(squares**2, axis=1)).astype(np.float32)
    return {
        "signal": signal,
        "mask": np.ones(signal.shape, bool),
        "TE": np.broadcast_to(TE.astype(np.float32), signal.shape),
    }, np.repeat(np.arange(cases), VOXELS)


def ranked(system: Any, TE: np.ndarray, cases: int) -> list[dict[str, Any]]:
    """What was found best where something is hidden, with 95 % intervals of the share."""
    rows = []
    for name, (hidden, coils) in HIDDEN.items():
        found = diagnose_voxels(system, *regions(name, TE, cases, hidden, coils)).ranked_first
        right = found.count("as simulated" if name == "nothing" else name)
        ends = stats.binomtest(right, cases).proportion_ci(method="wilson")
        others = {x: found.count(x) for x in sorted(set(found))}
        rows.append({"hidden": name, "right": right, "cases": cases, "low": ends.low,
                     "high": ends.high, "found": others})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def detected(system: Any, TE: np.ndarray, cases: int) -> dict[str, Any]:
    """Areas under the curves of a second pool of 15 %, by gain and by chi-square."""
    scores = {}
    for name in ("with", "without"):
        hidden = None if name == "without" else pool_of_the_bar
        inputs, region = regions(f"pool {name}", TE, cases, hidden)
        found = diagnose_voxels(system, inputs, region)
        chi2, _ = system.chi_square(inputs, found.alone.quantities)
        scores[name] = {"gain": found.gains["second pool"], "chi2": np.bincount(region, chi2)}
    rows = {key: _area(scores["with"][key], scores["without"][key]) for key in ("gain", "chi2")}
    print(rows, flush=True)
    return rows | {"cases": cases}


def pool_of_the_bar(TE: np.ndarray, s: np.ndarray, T2: np.ndarray, keys: Keys) -> np.ndarray:
    return 0.85 * s + 0.15 * np.exp(-TE / 0.015)


def _area(with_it: np.ndarray, without: np.ndarray) -> list[float]:
    """P(score with > score without), and its 95 % bootstrap interval."""

    def area(a: np.ndarray, b: np.ndarray) -> float:
        return float(stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))

    keys = Keys(0, "bootstrap", np.arange(DRAWS, dtype=np.uint64))
    chosen = [np.floor(random.uniform(keys[name], (len(x),)) * len(x)).astype(int)
              for name, x in (("a", with_it), ("b", without))]  # fmt: skip
    drawn = [area(with_it[i], without[j]) for i, j in zip(*chosen, strict=True)]
    return [area(with_it, without), *(float(x) for x in np.quantile(drawn, [0.025, 0.975]))]


def main(words: list[str]) -> None:
    cases = int(dict(word.split("=") for word in words).get("cases", 50))
    system, result = load_system("t2_map"), {}
    for name, TE in PROTOCOLS.items():
        result[name] = {"ranked": ranked(system, TE, cases), "pool": detected(system, TE, cases)}
    write_text(RESULTS / "diagnoses.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
