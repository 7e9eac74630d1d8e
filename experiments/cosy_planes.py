"""Low cross peaks beside a tall diagonal: which reconstruction of a COSY-like plane keeps them.

    python experiments/cosy_planes.py [plane=NAME ...] [method=NAME ...]

Planes of dynamic range 300:1 (`PLANES`) are undersampled and reconstructed by the classical methods
and, the first of them, by a network that was trained on low amplitudes, alone and with the fit of
lines after it. Counted are cross peaks off diagonal and ridges by height, as
evaluation/tasks/signals/heights.py has it: lost, less than half of the height is left, and raised,
half as much again. The network is kept under runs/reproduce; the counts are written to
experiments/results/cosy.json, where those of methods that are not named stay.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from result_files import RESULTS, ROOT, load
from training import trained

from ipads_stream import ConfigError, load_model
from ipads_stream.baselines.signals import iterative_soft_threshold, low_rank_hankel, sparse_bayes
from ipads_stream.baselines.signals.refinement import Refined
from ipads_stream.baselines.signals.refinement_lines import Lines
from ipads_stream.core import random
from ipads_stream.core.files import write_text
from ipads_stream.core.random import Keys
from ipads_stream.data import named as datasets
from ipads_stream.data.planes.plane import Axis, Plane, read_plane
from ipads_stream.data.planes.plane import spectrum as spectrum_of
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.tasks.signals.heights import clear_peaks, diagonal, heights, shown
from ipads_stream.evaluation.tasks.signals.planes import draw_schedules
from ipads_stream.physics.spectroscopy.spectrum import spectrum

SCHEDULES = 1
LOWEST = 1 / 300  # of the tallest peaks
AXIS = Axis("1H", 4000.0, 500e6, 5.0)
WIDE = (
    "trainer.max_steps=1200",
    "net.phases=6",
    "system.amplitude._target_=ipads_stream.distributions.LogUniform",
    "system.amplitude.low=0.003",
    "system.num_peaks.high=20",
    "seed=0",
)
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cosy_plane(
    seed: int = 0,
    *,
    spins: int = 60,
    couplings: int = 150,
    rows: int = 384,
    points: int = 128,
    noise: float = 2e-5,
    unequal: float = 0.0,
    t2_window: np.ndarray | None = None,
) -> Plane:
    """A phase-modulated correlation of protons with themselves, windowed along t2.

    Diagonal peaks have amplitudes e^(0.3 z) with z standard normal, pairs of cross peaks 300^-u
    with u uniform from 0 to 1, and random phases. Without a bell along t2 the dispersive tails
    of the diagonal lie over many rows.

    Args:
        seed: of the keyed random numbers.
        spins: peaks of the diagonal.
        couplings: pairs of cross peaks.
        rows, points: of the direct and the indirect axis.
        noise: standard deviation of a t1 point over the tallest.
        unequal: above 0, mirror images have e^(-unequal u) of the height, u uniform from 0 to 1,
            and phases of their own.
        t2_window: (rows,); None: a squared sine bell, as such planes are processed.
    """
    keys = Keys(seed, "cosy plane", np.zeros(1, dtype=np.uint64))

    def draw(name: str, count: int) -> np.ndarray:
        return random.uniform(keys[name], (count,))[0].astype(np.float64)

    one = np.floor(spins * draw("one spin", couplings)).astype(int)
    other = (one + 1 + np.floor((spins - 1) * draw("other spin", couplings)).astype(int)) % spins
    every = np.arange(spins)
    direct, indirect = (np.concatenate(order) for order in ((every, one, other),
                                                            (every, other, one)))  # fmt: skip
    tall = np.exp(0.3 * random.normal(keys["diagonal"], (spins,))[0].astype(np.float64))
    low = LOWEST ** draw("height", couplings)
    turn = back = draw("phase of a coupling", couplings)
    lower = low * np.exp(-unequal * draw("height of a mirror image", couplings))
    if unequal:
        back = draw("phase of a mirror image", couplings)
    phase = 2 * np.pi * np.concatenate([draw("phase of a spin", spins), turn, back])
    amplitude = np.concatenate([tall, low, lower]) * np.exp(1j * phase)
    shift = 0.86 * AXIS.width * (draw("shift", spins) - 0.5)
    t2, t1 = (np.arange(n) / AXIS.width for n in (rows, points))
    bell = np.sin(np.pi * (np.arange(rows) + 0.5) / rows) ** 2
    width2, width1 = 6 + 6 * draw("width of F2", spins), 6 + 8 * draw("width of F1", spins)
    lines2 = np.exp((2j * np.pi * shift - np.pi * width2)[:, None] * t2) * (
        bell if t2_window is None else t2_window
    )
    lines1 = np.exp((2j * np.pi * shift - np.pi * width1)[:, None] * t1)
    fid = (amplitude[:, None] * np.asarray(spectrum(lines2))[direct]).T @ lines1[indirect]
    thermal = random.complex_normal(keys["noise"], (rows, points), np)[0]
    fid = (fid + noise * np.abs(fid).max() * thermal).astype(np.complex64)
    window = np.cos(np.pi / 2 * np.arange(points) / points)
    window[0] /= 2  # half of the first point's interval lies before t1 = 0
    name = "simulated COSY"
    return Plane(name, fid, AXIS, AXIS, "phase-modulated", window, False, is_simulated=True)


CLASSICAL: dict[str, Method] = {
    "IST": partial(iterative_soft_threshold.reconstruct, passes=300),
    "IST, 120 passes": iterative_soft_threshold.reconstruct,
    "LRHM": low_rank_hankel.reconstruct,
    "lines": lambda fid, mask: Lines()(fid, mask, np.where(mask, fid, 0)).estimate,
    "sparse Bayes": sparse_bayes.reconstruct,
}
MIRRORED = "sparse Bayes, mirrored"
NETWORKS = ("network", "network + lines")


def mirrored(plane: Plane) -> dict[str, Method]:
    """Sparse Bayesian learning that is told where the diagonal lies, of planes that have one."""
    along = diagonal(plane)
    if along is None:
        return {}
    frequency = along / plane.indirect.width
    return {MIRRORED: partial(sparse_bayes.reconstruct, row_frequency=frequency)}


def networks(checkpoint: Path) -> dict[str, Method]:
    """The network, alone and with the fit of lines after it."""
    network = load_model(checkpoint)
    return dict(zip(NETWORKS, (network, Refined(network, Lines())), strict=True))


def counted(plane: Plane, tried: dict[str, Method], rate: float) -> list[dict[str, Any]]:
    """A row for every method and class of heights: peaks, those lost and those raised, and time."""
    full = shown(plane, plane.fid)
    peaks, tallest, rows = clear_peaks(plane, full), float(full.max()), []
    for number, mask in enumerate(draw_schedules(plane.fid.shape[1], rate, SCHEDULES, 0)):
        for name, method in tried.items():
            started = time.process_time()
            estimate = method(np.where(mask, plane.fid, 0), mask)
            seconds = time.process_time() - started
            error = float(rlne(spectrum_of(plane, estimate), spectrum_of(plane)))
            for row in heights(peaks, shown(plane, estimate), full, tallest):
                many = row["peaks"]
                rows.append(
                    {"rate": rate, "schedule": number, "method": name, "height": row["height"],
                     "peaks": many, "lost": round(row["lost"] * many),
                     "raised": round(row["raised"] * many), "seconds": round(seconds, 1),
                     "rlne": round(error, 3)}
                )  # fmt: skip
    return rows


# Rate and plane by name; cross peaks of a row that a diagonal peak lies in: 2 couplings / spins.
PLANES: dict[str, tuple[float, dict[str, Any]]] = {
    "25 %": (0.25, {}),
    "15 %": (0.15, {}),
    "40 %": (0.4, {}),
    "25 %, 50 a row": (0.25, {"spins": 100, "couplings": 2500}),
    "25 %, 200 a row": (0.25, {"spins": 300, "couplings": 30_000}),
    "25 %, 50 a row, unequal": (0.25, {"spins": 100, "couplings": 2500, "unequal": 1.5}),
    # as planes are read (data/planes/plane.py)
    "25 %, cosine": (0.25, {"t2_window": np.cos(np.pi / 2 * np.arange(384) / 384)}),
}
MEASURED = {"25 %, ubiquitin": (0.25, "ubiquitin"), "25 %, 15N13C": (0.25, "15N13C")}
TRAINED = ("25 %",)  # planes that networks reconstruct, too


def main(words: Sequence[str]) -> int:
    """Trains the network if it is not there, counts and writes."""
    every = {"plane": [*PLANES, *MEASURED], "method": [*CLASSICAL, MIRRORED, *NETWORKS]}
    asked: dict[str, list[str]] = {"plane": [], "method": []}
    for word in words:
        key, _, name = word.partition("=")
        if name not in every.get(key, ()):
            raise ConfigError(key, name, f"plane= or method= one of {every}")
        asked[key].append(name)
    names, methods = (asked[key] or every[key] for key in ("plane", "method"))
    result = load("cosy") | {"training": WIDE}
    for name in names:
        if name in MEASURED:
            rate, data = MEASURED[name]
            plane = read_plane(datasets.find(data))
        else:
            rate, given = PLANES[name]
            plane = cosy_plane(**given)
        used = CLASSICAL | mirrored(plane)
        if name in TRAINED and set(NETWORKS) & set(methods):
            used = used | networks(trained(ROOT / "runs" / "reproduce" / "cosy", WIDE))
        used = {method: used[method] for method in methods if method in used}
        planes = result.setdefault("planes", {})
        others = [row for row in planes.get(name, []) if row["method"] not in used]
        planes[name] = others + counted(plane, used, rate)
        write_text(RESULTS / "cosy.json", json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
