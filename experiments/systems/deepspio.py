"""DeepSPIO: iron by four wavelet decoders, by one direct decoder, by dipole inversions.

Both networks have the same encoder and about as many parameters. Tests are of unseen volumes, their
spots' concentrations drawn from parts of the training range, and from beyond it. Errors of a volume
are that of the total amount of iron, relative (the paper: about 9 %), and NRMSE of the map; of both
the mean over volumes, of the total the median, too, with intervals over training seeds.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from seeds import over_seeds
from threadpoolctl import threadpool_limits
from training import trained

from ipads_stream import load_model, load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.baselines.iron_oxide import total_iron
from ipads_stream.distributions import LogUniform
from ipads_stream.evaluation.comparison import generated
from ipads_stream.report.figures import drawing

WAVELET, DIRECT = "wavelet decoders", "direct decoder"
ARMS = {WAVELET: "deepspio", DIRECT: "deepspio_direct"}
SETTINGS = {
    "small": ["trainer.max_steps=3000", "trainer.precision=bf16-mixed"],
    "full": ["trainer.max_steps=100000", "stream.batch_size=16", "net.widths=[32,64,128]"],
}
FULL = {WAVELET: "net.decoder=32", DIRECT: "net.decoder=[80,40]"}
# Concentrations of the spots, mol/m^3; training covers 0.3 to 10.
TESTS = {"0.3 to 10 mM": (0.3, 10.0), "0.3 to 1 mM": (0.3, 1.0), "1 to 3 mM": (1.0, 3.0),
         "3 to 10 mM": (3.0, 10.0), "10 to 20 mM, beyond": (10.0, 20.0)}  # fmt: skip
VOLUMES = {"small": 32, "full": 200}
NETWORKS = "networks"
AXES = (1, 2, 3)
Arrays = dict[str, np.ndarray]
Method = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def reproduce(budget: str, seeds: int, runs: Path, results: Path) -> dict[str, Any]:
    """The row: errors of every method on every test, seconds per volume, and the figure.

    Args:
        budget: "small" or "full".
        seeds: networks per arm.
        runs: folder that keeps them.
        results: folder of the figure.
    """
    paths = {arm: [checkpoint(arm, budget, seed, runs) for seed in range(seeds)] for arm in ARMS}
    with threadpool_limits(1):
        models = {arm: [load_model(path) for path in of] for arm, of in paths.items()}
        system = load_system("deepspio")
        methods = {**models, **{n: [m] for n, m in classical_methods(system).items()}}
        found: dict[str, Any] = {
            "budget": budget,
            "seeds": seeds,
            "settings": SETTINGS[budget],
            "parameters": {arm: parameters(of[0]) for arm, of in models.items()},
            "tests": {},
        }
        shown: dict[str, Any] = {}
        for name, (low, high) in TESTS.items():
            concentration = LogUniform(low=low, high=high, unit="mM")
            part = dataclasses.replace(system, concentration=concentration)
            inputs, targets, _ = generated(part, samples=VOLUMES[budget], seed=0)
            rows, estimates = scored(inputs, targets, methods, system.spacing)
            found["tests"][name] = rows
            shown[name] = inputs, targets, estimates
        figure(shown, system.spacing, results / "deepspio.png")
    return found


def checkpoint(arm: str, budget: str, seed: int, runs: Path) -> Path:
    """Of one trained network.

    Args:
        arm: a key of ARMS.
        budget, runs: as of :func:`reproduce`.
        seed: of weights and stream.
    """
    words = ["system=deepspio", f"net={ARMS[arm]}", *SETTINGS[budget], "stream.threads=0",
             f"seed={seed}"]  # fmt: skip
    if budget == "full":
        words.append(FULL[arm])
    return trained(runs / "deepspio" / f"{budget}-{ARMS[arm]}-{seed}", words)


def parameters(model: Any) -> int:
    """Number of a network's parameters."""
    return sum(p.numel() for p in model.net.parameters())


def scored(
    inputs: Arrays, targets: Arrays, methods: Mapping[str, list[Method]], spacing: Any
) -> tuple[dict[str, Any], Arrays]:
    """Errors of every method, over seeds where it was trained; and the maps of the first seed."""
    rows: dict[str, Any] = {}
    estimates: Arrays = {}
    for name, of in methods.items():
        found = []
        for method in of:
            method({key: x[:1] for key, x in inputs.items()})  # tunes, makes kernels
            start = time.process_time()
            maps = np.asarray(method(inputs)["concentration"])
            seconds = (time.process_time() - start) / len(maps)
            found.append(errors(maps, targets, spacing) | {"seconds": seconds})
            estimates.setdefault(name, maps)
        rows[name] = {key: over_seeds([row[key] for row in found]) for key in found[0]}
    return rows, estimates


def errors(maps: np.ndarray, targets: Arrays, spacing: Any) -> dict[str, float]:
    """Over volumes: mean and median relative error of the total, its mean sign, mean NRMSE."""
    truth, mask = targets["concentration"], targets["mask"]
    amount, total = (total_iron(x, mask, spacing) for x in (truth, maps))
    relative = total / amount - 1
    wrong = ((maps - truth) * mask) ** 2
    nrmse = np.sqrt(wrong.sum(AXES, dtype=np.float64) / (truth**2).sum(AXES, dtype=np.float64))
    return {
        "total": float(abs(relative).mean()),
        "total_median": float(np.median(abs(relative))),
        "total_bias": float(relative.mean()),
        "nrmse": float(nrmse.mean()),
    }


def figure(shown: Mapping[str, Any], spacing: Any, path: Path) -> None:
    """Slices of magnitude, phase, truth and maps over errors; totals against the truth below."""
    inputs, targets, estimates = shown["3 to 10 mM"]
    n = int(np.argsort(total_iron(targets["concentration"], targets["mask"], spacing))[-4])
    image, truth = inputs["image"][n], targets["concentration"][n]
    middle = int(truth.sum(axis=(0, 1)).argmax())
    high = float(truth[..., middle].max())
    arms = [WAVELET, DIRECT, "non-linear fit"]
    with drawing(path, 3, 5, height=7.0) as axes:
        views = {
            "magnitude": (abs(image), "gray", 0, 1.5),
            "phase": (np.angle(image), "gray", -np.pi, np.pi),
        }
        for row, (title, (values, colours, low, top)) in enumerate(views.items()):
            axes[row, 0].imshow(
                values[..., middle].T, cmap=colours, vmin=low, vmax=top, origin="lower"
            )
            axes[row, 0].set_title(title)
        for column, arm in enumerate(["truth", *arms], start=1):
            values = truth if arm == "truth" else estimates[arm][n]
            drawn = values[..., middle].T
            axes[0, column].imshow(drawn, cmap="magma", vmin=0, vmax=high, origin="lower")
            axes[0, column].set_title(arm if arm != "truth" else f"truth, to {high:.1f} mM")
            wrong = drawn - truth[..., middle].T
            axes[1, column].imshow(
                wrong, cmap="RdBu_r", vmin=-high / 2, vmax=high / 2, origin="lower"
            )
        axes[1, 1].set_title("errors, +-half of that")
        for axis in axes[:2].flat:
            axis.set_axis_off()
        for axis, (name, (_, of, found)) in zip(axes[2], shown.items(), strict=True):
            amount = 1e6 * total_iron(of["concentration"], of["mask"], spacing)
            for arm in arms:
                given = 1e6 * total_iron(found[arm], of["mask"], spacing)
                axis.plot(amount, given, ".", markersize=3, label=arm)
            ends = [amount.min(), amount.max()]
            axis.plot(ends, ends, color="black", linewidth=0.6)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_ylim(ends[0] / 3, 3 * ends[1])  # estimates that are not positive are left out
            axis.set_title(name, fontsize=8)
        axes[2, 0].set_xlabel("iron (umol)")
        axes[2, 0].set_ylabel("estimate (umol)")
        axes[2, 0].legend(fontsize=5)


def table(result: Mapping[str, Any]) -> str:
    """The row's markdown: error of the total / NRMSE of every method by test.

    Args:
        result: of :func:`reproduce`.
    """
    tests = result["tests"]
    lines = ["| total iron error / NRMSE | " + " | ".join(tests) + " | ms per volume |",
             "|---" * (len(tests) + 2) + "|"]  # fmt: skip
    for method in next(iter(tests.values())):
        cells = [_cell(of[method]) for of in tests.values()]
        milliseconds = 1e3 * next(iter(tests.values()))[method]["seconds"]["mean"]
        lines.append(f"| {method} | " + " | ".join(cells) + f" | {milliseconds:.0f} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any]) -> str:
    return f"{100 * row['total']['mean']:.0f} % / {row['nrmse']['mean']:.2f}"


def headline(result: Mapping[str, Any]) -> str:
    """What stands beside the published figure.

    Args:
        result: of :func:`reproduce`.
    """
    said = [
        f"{name}: {100 * of[WAVELET]['total']['mean']:.0f} %"
        for name, of in result["tests"].items()
        if name in ("0.3 to 10 mM", "3 to 10 mM")
    ]
    return ", ".join(said)
