"""DRONE: relaxation times from fingerprints by a network, a dictionary, a fit, the posterior mean.

Of 200 frames of FISP, at SNR 100 and 25 (root mean square of the frames over the noise of a real
channel) and outside the range of training; besides
- networks trained on T1 below 1500 ms, tested up to 3000 ms (row MRF-b);
- B1 that varies by 20 %, unknown: a network that was not told, and one that estimates it, too;
- magnitude in place of complex data, with its Rician noise;
- 25 frames of EPI, magnitudes, where the two layers of 300 of DRONE stand beside ours (row MRF-a).
All methods get the same voxels; the posterior mean, slow, the first of them.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from seeds import over_seeds, pooled
from threadpoolctl import threadpool_limits
from training import trained

from ipads_stream import load_model, load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant
from ipads_stream.evaluation.comparison import compare, generated
from ipads_stream.evaluation.tasks.quantities.scores import paired, scores
from ipads_stream.report.figures import NETWORK, drawing

MATCHING, FIT, POSTERIOR = "dictionary", "dictionary and fit", "posterior mean"
SCHEDULES = "ipads_stream.sequences.fingerprint_schedules"
DISTRIBUTIONS = "ipads_stream.distributions"
EPI = ["system.data=magnitude", f"system.schedule={{_target_: {SCHEDULES}.VaryingEchoes}}"]
VARYING_B1 = [f"system.B1={{_target_: {DISTRIBUTIONS}.Uniform, low: 0.8, high: 1.2}}"]
FULL_RANGE = "{T1: {low: 100, high: 3000}, T2: {}}"  # ms
# What is trained: overrides, and the share of the steps of the first.
ARMS: dict[str, tuple[list[str], float]] = {
    "complex": ([], 1.0),
    "narrow": (["system.T1.high=1500", f"net.outputs={FULL_RANGE}"], 0.25),
    "B1": ([*VARYING_B1, "system.estimated=[T1,T2,B1]", "net.B1=[0.8,1.2]", "net.vectors=16"], 0.4),
    "magnitude": (["system.data=magnitude", "net.vectors=16"], 0.4),
    "EPI": (EPI, 0.25),
    "EPI, 300-300": ([*EPI, "net=drone_published"], 0.25),
}  # fmt: skip
STEPS = {"small": 15_000, "full": 200_000}
SIZE = {"small": [], "full": ["net.widths=[256,256,256]", "stream.batch_size=4096"]}
VOXELS = {"small": (10_000, 2000, 400), "full": (50_000, 10_000, 2000)}  # posterior, also of Rice
TIMED = 4000
# Nominal T1, T2 (s) of those spheres of the NIST phantom that lie within the prior.
VIALS = ((1.454, 0.4035), (0.9841, 0.2781), (0.706, 0.19094), (0.4967, 0.13327), (0.3515, 0.09689),
         (0.24713, 0.06407), (0.1753, 0.04642), (0.1259, 0.03197))  # fmt: skip
TICKS = {"T1": (100, 300, 1000, 3000), "T2": (20, 50, 100, 200, 500)}  # ms
# KomaMRI's labels of a BrainWeb slice and their T1, T2 (s): cerebrospinal fluid, grey, white.
TISSUES = {23: (2.569, 0.329), 46: (0.833, 0.083), 70: (0.500, 0.070)}


def reproduce(budget: str, seeds: int, runs: Path, results: Path) -> dict[str, Any]:
    """The row: accuracy, shifts, B1, magnitudes, EPI, vials, times, and the figure.

    Args:
        budget: "small" or "full".
        seeds: networks per arm.
        runs: folder that keeps them.
        results: folder of the figure.
    """

    def models(arm: str) -> list[Any]:
        return [load_model(_checkpoint(arm, budget, seed, runs)) for seed in range(seeds)]

    with threadpool_limits(1):
        whole, many = load_system("drone"), VOXELS[budget]
        networks = models("complex")
        found: dict[str, Any] = {
            "budget": budget,
            "seeds": seeds,
            "steps": {arm: _steps(arm, budget) for arm in ARMS},
            "tables": {},
            "ratios": {},
        }

        def add(
            name: str, system: Any, arms: Mapping[str, list[Any]], posterior: int, prior: Any = None
        ) -> None:
            classical = classical_methods(system if prior is None else prior)
            found["tables"][name], found["ratios"][name] = compared(
                system, arms, classical, many[0], posterior
            )

        for snr in (100.0, 25.0, 10.0, 300.0):
            system = dataclasses.replace(whole, snr=Constant(value=snr))
            add(f"SNR {snr:.0f}", system, {NETWORK: networks}, many[1])
        narrow = {NETWORK: networks, "network, T1 < 1500 ms": models("narrow")}
        for name, low, high in (("T1 below 1500 ms", 0.1, 1.5), ("T1 above 1500 ms", 1.5, 3.0)):
            part = _at(25.0, _within(whole, low, high))
            add(f"{name}, SNR 25", part, narrow, many[1], prior=whole)
        blind = {NETWORK: models("B1"), "network, B1 = 1": networks}
        varied = load_system("drone", [*_own(VARYING_B1), "estimated=[T1,T2,B1]"])
        add("B1 0.8 to 1.2, SNR 25", _at(25.0, varied), blind, many[2])
        lost = load_system("drone", ["data=magnitude"])
        add("magnitudes, SNR 25", _at(25.0, lost), {NETWORK: models("magnitude")}, many[2])
        epi = load_system("drone", _own(EPI))
        for snr in (100.0, 25.0):
            arms = {NETWORK: models("EPI"), "network, 300-300": models("EPI, 300-300")}
            add(f"EPI, 25 frames, SNR {snr:.0f}", _at(snr, epi), arms, many[2])
        found["milliseconds_per_1000_voxels"] = times(whole, networks[0])
        found["vials"] = vials(_at(25.0, whole), networks)
        figure(_at(25.0, whole), networks[0], results / "drone.png")
    return found


def _steps(arm: str, budget: str) -> int:
    return round(STEPS[budget] * ARMS[arm][1])


def _checkpoint(arm: str, budget: str, seed: int, runs: Path) -> Path:
    words = ["system=drone", *ARMS[arm][0], f"seed={seed}", "stream.threads=0",
             f"trainer.max_steps={_steps(arm, budget)}"]  # fmt: skip
    if "300" not in arm:
        words += SIZE[budget]
    folder = arm.replace(", ", "-").replace(" ", "-")
    return trained(runs / "drone" / f"{budget}-{folder}-{seed}", words)


def _own(words: Sequence[str]) -> list[str]:
    """Overrides of the system's own keys, as load_system takes them."""
    return [word.removeprefix("system.") for word in words]


def _at(snr: float, system: Any) -> Any:
    return dataclasses.replace(system, snr=Constant(value=snr))


def _within(system: Any, low: float, high: float) -> Any:
    return dataclasses.replace(
        system, T1=dataclasses.replace(system.T1, low=1e3 * low, high=1e3 * high)
    )


def compared(
    system: Any,
    arms: Mapping[str, list[Any]],
    classical: Mapping[str, Any],
    samples: int,
    posterior: int,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Scores over seeds, and the first arm's logarithmic error over that of every other method.

    Args:
        system: that draws the voxels.
        arms: name -> trained networks, one per seed.
        classical: methods by name.
        samples, posterior: voxels of all methods, and of the posterior mean.
    """
    by_seed, made = [], []
    for n in range(len(next(iter(arms.values())))):
        methods: dict[str, Any] = {name: models[n] for name, models in arms.items()}
        one = compare(system, methods | (dict(classical) if n == 0 else {}), samples=samples,
                      seed=0, fewer={POSTERIOR: posterior})  # fmt: skip
        if n:  # the others do not change with the seed of the network
            one = dataclasses.replace(one, estimates=made[0].estimates | one.estimates,
                                      seconds=made[0].seconds | one.seconds)  # fmt: skip
        made.append(one)
        by_seed.append(scores(one))
    first, ratios = next(iter(arms)), {}
    for name, quantity in system.quantities.items():
        score = "log_rmse" if quantity.scale == "log" else "rmse"
        for other in made[0].estimates:
            if other == first or name not in made[0].estimates[other]:
                continue
            values = [paired(one, name, first, other, score=score) for one in made]
            ratios[f"{name} {other}"] = over_seeds([value["ratio"] for value in values]) | {
                "interval_of_first": [values[0]["low"], values[0]["high"]]
            }
    return pooled(by_seed), ratios


def times(system: Any, model: Any) -> dict[str, Any]:
    """Processor time per 1,000 voxels of every method, one thread, the median of three calls."""
    signal = generated(system, samples=TIMED, seed=1)[0]["signal"]
    found = {}
    for name, method in ({NETWORK: model} | classical_methods(system)).items():
        count = 100 if name == POSTERIOR else TIMED
        given = {"signal": signal[:count]}
        method({"signal": signal[:1]})
        spent = []
        for _ in range(3):
            started = time.process_time()
            method(given)
            spent.append(1e6 * (time.process_time() - started) / count)
        found[name] = float(np.median(spent))
    return found | {"ratio": {name: value / found[NETWORK] for name, value in found.items()}}


def vials(system: Any, models: Sequence[Any]) -> list[dict[str, Any]]:
    """Mean and standard deviation (ms) over 500 voxels of each vial, networks over seeds."""
    rows = []
    for number, (T1, T2) in enumerate(VIALS, start=2):
        vial = _tissue(system, np.full(500, T1), np.full(500, T2), f"vial {number}")
        row: dict[str, Any] = {"vial": number, "T1_ms": 1e3 * T1, "T2_ms": 1e3 * T2}
        found = [model({"signal": vial}) for model in models]
        for name in ("T1", "T2"):
            row[f"{name}_mean"] = over_seeds([1e3 * one[name].mean() for one in found])
            row[f"{name}_sd"] = over_seeds([1e3 * one[name].std() for one in found])
        rows.append(row)
    return rows


def _tissue(system: Any, T1: np.ndarray, T2: np.ndarray, split: str) -> np.ndarray:
    """Noisy fingerprints of given voxels, as inputs."""
    keys = Keys(0, split, np.arange(len(T1), dtype=np.uint64))
    params = system.draw(keys, np.zeros(len(T1))) | {"T1": T1, "T2": T2}
    signal: np.ndarray = system.render(params, keys, np).inputs["signal"]
    return signal


def slice_of_a_brain() -> np.ndarray | None:
    """Labels of an axial slice, every second pixel; None where IPADS_DATA has none."""
    from scipy.io import loadmat

    path = Path(os.environ.get("IPADS_DATA", "")) / "phantom" / "koma_brain2D.mat"
    if not path.is_file():
        return None
    labels: np.ndarray = loadmat(path)["axial"][::2, ::2]
    return np.where(np.isin(labels, list(TISSUES)), labels, 0)


def slice_of_vials() -> np.ndarray:
    """Numbers of the vials in a ring, 0 around them."""
    x, y = np.meshgrid(np.linspace(-1, 1, 128), np.linspace(-1, 1, 128))
    labels = np.zeros(x.shape, dtype=int)
    for n in range(len(VIALS)):
        angle = 2 * np.pi * n / len(VIALS)
        labels[(x - 0.7 * np.cos(angle)) ** 2 + (y - 0.7 * np.sin(angle)) ** 2 < 0.035] = n + 1
    return labels


def figure(system: Any, model: Any, path: Path) -> None:
    """Maps and error maps of the network and of matching, and both against the truth."""
    labels, values = slice_of_a_brain(), TISSUES
    if labels is None:
        labels, values = slice_of_vials(), dict(enumerate(VIALS, start=1))
    inside = labels > 0
    box = np.ix_(inside.any(axis=1), inside.any(axis=0))
    T1, T2 = (np.array([values[label][i] for label in labels[inside]]) for i in (0, 1))
    given = {"signal": _tissue(system, T1, T2, "figure")}
    methods = {NETWORK: model, MATCHING: classical_methods(system)[MATCHING]}
    found = {name: method(given) for name, method in methods.items()}
    test, truths, _ = generated(system, samples=3000, seed=2)
    scattered = {name: method(test) for name, method in methods.items()}
    with drawing(path, 2, 6, height=4.6) as axes:
        for row, (name, truth, top) in enumerate((("T1", T1, 3000), ("T2", T2, 400))):
            panels = [("true " + name + " (ms)", 1e3 * truth, (0, top), "viridis")]
            panels += [(m, 1e3 * found[m][name], (0, top), "viridis") for m in methods]
            panels += [(f"{m}, error (%)", 100 * (found[m][name] / truth - 1), (-8, 8), "RdBu_r")
                       for m in methods]  # fmt: skip
            for axis, (title, inner, limits, colours) in zip(axes[row], panels, strict=False):
                image = np.full(labels.shape, np.nan)
                image[inside] = inner
                shown = axis.imshow(
                    image[box].T[::-1], vmin=limits[0], vmax=limits[1], cmap=colours
                )
                axis.set_title(title, fontsize=8)
                axis.set_axis_off()
                axis.figure.colorbar(shown, ax=axis, orientation="horizontal", shrink=0.8)
            last = axes[row, 5]
            for method, colour in ((MATCHING, "#0072b2"), (NETWORK, "#d55e00")):
                error = 100 * np.log(scattered[method][name] / truths[name])
                last.plot(1e3 * truths[name], error, ".", markersize=1.5, alpha=0.4, color=colour,
                          label=method)  # fmt: skip
            last.set_xscale("log")
            last.set_xticks(TICKS[name], [str(tick) for tick in TICKS[name]])
            last.minorticks_off()
            last.set(xlabel=f"true {name} (ms)", ylim=(-8, 8), title="error (%)")
        axes[0, 5].legend(markerscale=5, fontsize=7)


def table(result: dict[str, Any]) -> str:
    """The README's table: logarithmic errors in percent, by test and method."""
    lines = ["| test | method | T1 (%) | T2 (%) | over the posterior mean, T1 / T2 |",
             "|---|---|---|---|---|"]  # fmt: skip
    for test, rows in result["tables"].items():
        for method in dict.fromkeys(row["method"] for row in rows):
            cells = [_cell(rows, method, name) for name in ("T1", "T2")]
            against = ""
            if method == NETWORK:
                ratios = result["ratios"][test]
                against = " / ".join(
                    f"{ratios[f'{name} {POSTERIOR}']['mean']:.3f}" for name in ("T1", "T2")
                )
            lines.append(f"| {test} | {method} | {cells[0]} | {cells[1]} | {against} |")
    spent = result["milliseconds_per_1000_voxels"]
    said = ", ".join(f"{name} {spent[name]:.3g}" for name in (NETWORK, MATCHING, FIT, POSTERIOR))
    lines += ["", f"Processor time per 1,000 voxels (ms, one thread): {said}."]
    return "\n".join(lines)


def _cell(rows: Sequence[Mapping[str, Any]], method: str, name: str) -> str:
    row = next(row for row in rows if row["method"] == method and row["quantity"] == name)
    text = f"{100 * row['log_rmse']:.3g}"
    low, high = row.get("log_rmse_low"), row.get("log_rmse_high")
    return text if low is None else f"{text} [{100 * low:.3g}, {100 * high:.3g}]"


def headline(result: dict[str, Any]) -> str:
    """What stands beside the published figures.

    Args:
        result: of reproduce, as stored.
    """
    said = []
    for test in ("SNR 100", "SNR 25"):
        rows = result["tables"][test]
        of = {r["quantity"]: r["rmse"] for r in rows if r["method"] == NETWORK}
        said.append(f"{test}: RMSE of T1 and T2 {of['T1']:.1f} and {of['T2']:.1f} ms")
    spent = result["milliseconds_per_1000_voxels"]
    faster = spent[MATCHING] / spent[NETWORK]
    return f"{'; '.join(said)}; {faster:.0f} times faster than matching, on a processor"
