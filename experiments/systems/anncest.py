"""ANNCEST: phosphocreatine and its exchange by a network, two fits and the posterior mean.

Three noise levels, B0 within +-0.25 ppm; then networks trained within +-0.25 and +-0.4 ppm, each
tested on both ranges (section IV of the review); and the Cramer-Rao bounds of the protocol beside
those of each power alone with as many images. All methods get the same voxels; the slow ones, the
first of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from seeds import over_seeds, pooled
from training import trained

from ipads_stream import load_model, load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, Uniform
from ipads_stream.evaluation.comparison import Comparison, compare
from ipads_stream.evaluation.tasks.quantities.scores import (
    BOUND,
    paired,
    scores,
)
from ipads_stream.report.figures import NETWORK, drawing

LORENTZIAN, MODEL, POSTERIOR = "Lorentzian fit", "full model fit", "posterior mean"
SNR = (100, 200, 400)
SHIFT_SNR = 200
RANGES = (0.25, 0.4)  # ppm
STEPS = {"small": 2500, "full": 100_000}
WIDTHS = {"small": 128, "full": 256}
VOXELS = {"small": (1000, 300, 80), "full": (20_000, 5000, 1000)}  # all, model fit, posterior mean


def reproduce(budget: str, seeds: int, runs: Path, results: Path) -> dict[str, Any]:
    """The row: tables by SNR, the mismatch of B0, the protocol's bounds, and the figure.

    Args:
        budget: "small" or "full".
        seeds: networks per arm.
        runs: folder that keeps them.
        results: folder of the figure.
    """
    system = dataclasses.replace(load_system("anncest"), repeats=1)
    models = {limit: [_model(limit, budget, seed, runs) for seed in range(seeds)]
              for limit in RANGES}  # fmt: skip
    found: dict[str, Any] = {"budget": budget, "seeds": seeds, "steps": STEPS[budget],
                             "tables": {}, "ratios": {}, "protocol": _protocol(system)}  # fmt: skip
    first: dict[int, Comparison] = {}
    for snr in SNR:
        tested = dataclasses.replace(system, snr=Constant(value=float(snr)))
        rows, ratios, first[snr] = _compared(
            tested, models[0.25], classical_methods(system), budget
        )
        found["tables"][f"SNR {snr}"], found["ratios"][f"SNR {snr}"] = rows, ratios
    found["shift"] = _shift(system, models, budget)
    _figure(first[SHIFT_SNR], results / "anncest.png")
    return found


def _model(limit: float, budget: str, seed: int, runs: Path) -> Any:
    words = ["system=anncest", f"seed={seed}", f"trainer.max_steps={STEPS[budget]}",
             f"net.widths={[WIDTHS[budget]] * 4}",
             f"system.df_ppm.low={-limit}", f"system.df_ppm.high={limit}"]  # fmt: skip
    return load_model(trained(runs / "anncest" / f"{budget}-{limit}-{seed}", words))


def _compared(
    system: Any, models: Sequence[Any], classical: Mapping[str, Any], budget: str
) -> tuple[list[dict[str, Any]], dict[str, Any], Comparison]:
    """Scores over seeds, and the network's error over that of every other method."""
    samples, some, few = VOXELS[budget]
    fewer = {MODEL: some, POSTERIOR: few}
    comparisons: list[Comparison] = []
    for n, model in enumerate(models):
        methods = {NETWORK: model} | (dict(classical) if n == 0 else {})
        made = compare(system, methods, samples=samples, seed=0, fewer=fewer)
        if n:  # the others do not change with the seed of the network
            made = dataclasses.replace(
                made,
                estimates=comparisons[0].estimates | made.estimates,
                seconds=comparisons[0].seconds | made.seconds,
            )
        comparisons.append(made)
    ratios = {}
    for name, quantity in system.quantities.items():
        score = "log_rmse" if quantity.scale == "log" else "rmse"
        for other in classical:
            values = [paired(c, name, NETWORK, other, score=score) for c in comparisons]
            ratios[f"{name} {other}"] = over_seeds([v["ratio"] for v in values]) | {
                "interval_of_first": [values[0]["low"], values[0]["high"]]
            }
    return pooled([scores(made) for made in comparisons]), ratios, comparisons[0]


def _shift(system: Any, models: Mapping[float, Sequence[Any]], budget: str) -> dict[str, Any]:
    """Errors of every quantity by range of B0 in training and in the test, over seeds."""
    fit = classical_methods(system)[LORENTZIAN]
    found: dict[str, Any] = {}
    for limit in RANGES:
        tested = dataclasses.replace(
            system, snr=Constant(value=float(SHIFT_SNR)), df_ppm=Uniform(low=-limit, high=limit)
        )
        errors: dict[str, dict[str, list[float]]] = {}
        for seed in range(len(models[limit])):
            methods = {f"trained +-{arm} ppm": models[arm][seed] for arm in RANGES}
            if seed == 0:
                methods[LORENTZIAN] = fit
            for row in scores(compare(tested, methods, samples=VOXELS[budget][0], seed=0)):
                if not row.get("is_bound"):
                    value = row["log_rmse"] if row["scale"] == "log" else row["rmse"]
                    errors.setdefault(row["method"], {}).setdefault(row["quantity"], []).append(
                        value
                    )
        found[f"tested +-{limit} ppm"] = {
            arm: {name: over_seeds(values) for name, values in of.items()}
            for arm, of in errors.items()
        }
    return found


def _protocol(system: Any, voxels: int = 200) -> dict[str, Any]:
    """Median Cramer-Rao bounds, relative, at SHIFT_SNR: all powers, and one for as many images."""
    keys = Keys(0, "protocol", np.arange(voxels, dtype=np.uint64))
    params = system.draw(keys, np.zeros(voxels))
    found = {}
    for powers in (system.powers, *((power,) for power in system.powers)):
        changed = dataclasses.replace(system, powers=powers)
        averages = len(system.powers) / len(powers)
        snr = np.full(voxels, SHIFT_SNR * averages**0.5)
        bound = changed.bound(params | {"snr": snr})
        found[", ".join(f"{1e6 * power:g}" for power in powers) + " uT"] = {
            name: float(np.median(bound[name] / params[name])) for name in ("PCr", "exchange")
        }
    return found


def _figure(made: Comparison, path: Path) -> None:
    """Concentration and exchange against truth, by method."""
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    methods = (LORENTZIAN, MODEL, NETWORK, POSTERIOR)
    colours = ("#e69f00", "#0072b2", "#d55e00", "#000000")
    ticks = {"PCr": (10, 20, 40, 60), "exchange": (40, 100, 200, 400)}
    with drawing(path, 2, 4, height=5.2) as axes:
        for row, (name, unit) in enumerate((("PCr", "mM"), ("exchange", "Hz"))):
            ends = np.array([made.quantities[name].low, made.quantities[name].high])
            for axis, method, colour in zip(axes[row], methods, colours, strict=True):
                estimate = made.estimates[method][name]
                truth = made.truths[name][: len(estimate)]
                axis.loglog(truth, np.clip(estimate, 0.5 * ends[0], 2 * ends[1]), ".",
                            markersize=2.5, alpha=0.5, color=colour)  # fmt: skip
                axis.plot(ends, ends, color="#8c8c8c", linewidth=0.9)
                axis.set(title=method, xlabel=f"true {name} ({unit})")
                for side in (axis.xaxis, axis.yaxis):
                    side.set_minor_locator(NullLocator())
                    side.set_major_locator(FixedLocator(ticks[name]))
                    side.set_major_formatter(ScalarFormatter())
            axes[row, 0].set_ylabel(f"estimated {name} ({unit})")


def table(result: dict[str, Any]) -> str:
    """The README's tables: log-RMSE of concentration and exchange, and the mismatch of B0.

    Args:
        result: of reproduce, as stored.
    """
    methods = (NETWORK, LORENTZIAN, MODEL, POSTERIOR, BOUND)
    lines = ["| log-RMSE | SNR | " + " | ".join(methods) + " | network / posterior | "
             "network over model fit, voxels/s |", "|---" * 9 + "|"]  # fmt: skip
    for name in ("PCr", "exchange"):
        for snr, rows in result["tables"].items():
            of = {row["method"]: row for row in rows if row["quantity"] == name}
            spread = of[NETWORK].get("log_rmse_sd") or 0.0
            cells = [f"{of[NETWORK]['log_rmse']:.3f} ± {spread:.3f}"]
            cells += [f"{of[method]['log_rmse']:.3f}" for method in methods[1:]]
            cells += [f"{result['ratios'][snr][f'{name} {POSTERIOR}']['mean']:.3f}"]
            faster = of[MODEL]["seconds_per_sample"] / of[NETWORK]["seconds_per_sample"]
            cells += [f"{faster:.0f}x"]
            lines.append(f"| {name} | {snr.removeprefix('SNR ')} | " + " | ".join(cells) + " |")
    others = "; ".join(
        f"SNR {snr.removeprefix('SNR ')}: {of[f'df_ppm {POSTERIOR}']['mean']:.3f} and "
        f"{of[f'B1 {POSTERIOR}']['mean']:.3f}"
        for snr, of in result["ratios"].items()
    )
    lines += ["", f"B0 and B1, RMSE of the network over the posterior mean's: {others}."]
    tests = list(result["shift"])
    lines += ["", f"| SNR {SHIFT_SNR}: log-RMSE of PCr, exchange; RMSE of B0 (ppm) | "
              + " | ".join(tests) + " |", "|---" * (1 + len(tests)) + "|"]  # fmt: skip
    for arm in result["shift"][tests[0]]:
        cells = []
        for test in tests:
            of = result["shift"][test][arm]
            cells.append(", ".join(f"{of[name]['mean']:.3f}" for name in ("PCr", "exchange"))
                         + f"; {of['df_ppm']['mean']:.4f}")  # fmt: skip
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def headline(result: dict[str, Any]) -> str:
    """What stands beside the published figure.

    Args:
        result: of reproduce, as stored.
    """
    rows = result["tables"][f"SNR {SHIFT_SNR}"]
    r = next(x["r"] for x in rows if x["quantity"] == "PCr" and x["method"] == NETWORK)
    return f"simulated spectra, SNR {SHIFT_SNR}: r = {r:.3f} of PCr with the truth"
