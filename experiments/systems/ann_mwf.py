"""ANN-MWF: myelin water fraction by a network, a fit, a T2 spectrum and the posterior mean.

Two acquisitions: gradient echoes of three pools, and spin echoes with B1. Each at three
signal-to-noise ratios; of the gradient echoes also with dephasing across the slice (a factor
sin(x)/x), which neither the network nor the fit was told of, and with networks trained with it.
All methods get the same voxels; the posterior mean, slow, the first of them.
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
from ipads_stream.distributions import Constant, Uniform
from ipads_stream.evaluation.comparison import Comparison, compare
from ipads_stream.evaluation.tasks.quantities.scores import (
    BOUND,
    paired,
    scores,
)
from ipads_stream.report.figures import NETWORK, drawing

NLLS, NNLS, POSTERIOR = "three-pool fit", "regularised NNLS", "posterior mean"
CONFIGURATIONS = {"ann_mwf": "gradient echoes", "ann_mwf_cpmg": "spin echoes with B1"}
SNR = (50, 150, 300)
SHIFT_SNR = 150
DEPHASING = 20.0  # Hz across the slice, at most
MATCHED = "network trained with dephasing"
STEPS = {"small": 2500, "full": 100_000}
WIDTHS = {"small": 128, "full": 256}
VOXELS = {"small": (1000, 200), "full": (20_000, 2000)}  # of all, of the posterior mean
PUBLISHED = {"three-pool fit": 5.46, "network": 3.56}  # RMSE at 150, an abstract; other voxels


def reproduce(budget: str, seeds: int, runs: Path, results: Path) -> dict[str, Any]:
    """The row: tables by configuration and SNR, the shift, times, and the figure.

    Args:
        budget: "small" or "full".
        seeds: networks per arm.
        runs: folder that keeps them.
        results: folder of the figure.
    """
    found: dict[str, Any] = {
        "budget": budget,
        "seeds": seeds,
        "steps": STEPS[budget],
        "published_rmse_percent": PUBLISHED,
        "tables": {},
        "ratios": {},
    }
    first: dict[str, Comparison] = {}
    for name in CONFIGURATIONS:
        models = [_model(name, budget, seed, runs, ()) for seed in range(seeds)]
        system = load_system(name)
        for snr in SNR:
            tested = dataclasses.replace(system, snr=Constant(value=float(snr)))
            rows, ratios, comparison = _compared(tested, models, classical_methods(system), budget)
            found["tables"][f"{name} SNR {snr}"] = rows
            found["ratios"][f"{name} SNR {snr}"] = ratios
            first[f"{name} {snr}"] = comparison
    found["shift"] = _shift(budget, seeds, runs)
    _figure(first, results / "ann_mwf.png")
    return found


def _model(
    name: str, budget: str, seed: int, runs: Path, words: Sequence[str], arm: str = ""
) -> Any:
    asked = [f"system={name}", f"seed={seed}", f"trainer.max_steps={STEPS[budget]}",
             f"net.widths={[WIDTHS[budget]] * 4}", *words]  # fmt: skip
    return load_model(trained(runs / "ann_mwf" / f"{budget}-{name}{arm}-{seed}", asked))


def _compared(
    system: Any, models: Sequence[Any], classical: Mapping[str, Any], budget: str
) -> tuple[list[dict[str, Any]], dict[str, Any], Comparison]:
    """Scores over seeds, and the network's error over that of every other method."""
    samples, fewer = VOXELS[budget]
    by_seed, comparisons = [], []
    for n, model in enumerate(models):
        methods = {NETWORK: model} | (dict(classical) if n == 0 else {})
        made = compare(system, methods, samples=samples, seed=0, fewer={POSTERIOR: fewer})
        if n:  # the others do not change with the seed of the network
            made = dataclasses.replace(
                made,
                estimates=comparisons[0].estimates | made.estimates,
                seconds=comparisons[0].seconds | made.seconds,
            )
        comparisons.append(made)
        by_seed.append(scores(made))
    ratios = {}
    for name, quantity in system.quantities.items():
        score = "log_rmse" if quantity.scale == "log" else "rmse"
        for other in classical:
            if name in comparisons[0].estimates[other]:
                values = [paired(c, name, NETWORK, other, score=score) for c in comparisons]
                ratios[f"{name} {other}"] = over_seeds([v["ratio"] for v in values]) | {
                    "interval_of_first": [values[0]["low"], values[0]["high"]]
                }
    return pooled(by_seed), ratios, comparisons[0]


def _shift(budget: str, seeds: int, runs: Path) -> dict[str, Any]:
    """RMSE of MWF in percent, with and without dephasing, of every arm."""
    words = ["system.dephasing={_target_: ipads_stream.distributions.Uniform, low: 0,"
             f" high: {DEPHASING}, unit: Hz}}"]  # fmt: skip
    system = dataclasses.replace(load_system("ann_mwf"), snr=Constant(value=float(SHIFT_SNR)))
    tests = {
        "as trained": system,
        "dephasing": dataclasses.replace(system, dephasing=Uniform(low=0.0, high=DEPHASING)),
    }
    classical = {name: method for name, method in classical_methods(system).items()
                 if name != POSTERIOR}  # fmt: skip
    found: dict[str, Any] = {}
    for test, changed in tests.items():
        errors: dict[str, list[float]] = {}
        for seed in range(seeds):
            methods = {
                NETWORK: _model("ann_mwf", budget, seed, runs, ()),
                MATCHED: _model("ann_mwf", budget, seed, runs, words, "-dephasing"),
            }
            made = compare(changed, methods | (classical if seed == 0 else {}),
                           samples=VOXELS[budget][0], seed=0)  # fmt: skip
            for row in scores(made):
                if row["quantity"] == "MWF" and not row.get("is_bound"):
                    errors.setdefault(row["method"], []).append(row["rmse"])
        found[test] = {name: over_seeds(values) for name, values in errors.items()}
    return found


def untrained(result: dict[str, Any], name: str) -> dict[str, Any]:
    """A stored row in which a method that is not trained is run anew, on the same voxels.

    Intervals over voxels of its ratios need the networks and go; so does nothing else.

    Args:
        result: of reproduce, as stored; it is changed.
        name: of the method.
    """
    for configuration in CONFIGURATIONS:
        system = load_system(configuration)
        method = {name: classical_methods(system)[name]}
        for snr in SNR:
            tested = dataclasses.replace(system, snr=Constant(value=float(snr)))
            samples = VOXELS[result["budget"]][0]
            rows = {(row["quantity"], name): row
                    for row in scores(compare(tested, method, samples=samples, seed=0))
                    if row["method"] == name}  # fmt: skip
            key = f"{configuration} SNR {snr}"
            table, ratios = result["tables"][key], result["ratios"][key]
            table[:] = [rows.get((row["quantity"], row["method"]), row) for row in table]
            for row in table:
                if row["method"] == NETWORK and (other := rows.get((row["quantity"], name))):
                    by_seed = [rmse / other["rmse"] for rmse in row["rmse_by_seed"]]
                    ratios[f"{row['quantity']} {name}"] = over_seeds(by_seed)
    return result


def _figure(made: Mapping[str, Comparison], path: Path) -> None:
    """MWF against truth at SNR 150 above, error against MWF below, of both acquisitions."""
    methods = (NLLS, NNLS, NETWORK, POSTERIOR)
    colours = dict(zip(methods, ("#0072b2", "#e69f00", "#d55e00", "#000000"), strict=True))
    with drawing(path, 2, 5, height=5.0) as axes:
        for row, (name, said) in enumerate(CONFIGURATIONS.items()):
            comparison = made[f"{name} 150"]
            truth = 100 * comparison.truths["MWF"]
            edges = np.linspace(0, 30, 7)
            for column, method in enumerate(methods):
                estimate = 100 * comparison.estimates[method]["MWF"]
                axis, x = axes[row, column], truth[: len(estimate)]
                axis.plot(x, estimate, ".", markersize=2, alpha=0.5, color=colours[method])
                axis.plot([0, 30], [0, 30], color="#8c8c8c", linewidth=0.9)
                axis.set(xlim=(0, 30), ylim=(0, 35), xlabel="true MWF (%)", title=method)
                bins = np.digitize(x, edges[1:-1])
                spread = [np.sqrt(np.mean((estimate - x)[bins == b] ** 2)) for b in range(6)]
                axes[row, 4].plot(edges[:-1] + 2.5, spread, "o-", markersize=3,
                                  color=colours[method])  # fmt: skip
            axes[row, 0].set_ylabel(f"{said}\nestimated MWF (%)")
            axes[row, 4].set(xlabel="true MWF (%)", title="RMSE (%), SNR 150", ylim=(0, None))


def table(result: dict[str, Any]) -> str:
    """The README's table: RMSE of MWF in percent, mean and SD over seeds, and time per voxel.

    Args:
        result: of reproduce, as stored.
    """
    head = ["echoes", "SNR", "network", "three-pool fit", "regularised NNLS", "posterior mean",
            BOUND, "network / posterior", "voxels/s, network over fit"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, said in CONFIGURATIONS.items():
        for snr in SNR:
            key = f"{name} SNR {snr}"
            rows = {r["method"]: r for r in result["tables"][key] if r["quantity"] == "MWF"}
            network, fit = rows[NETWORK], rows[NLLS]
            cells = [f"{network['rmse']:.2f} ± {network.get('rmse_sd') or 0:.2f}"]
            cells += [f"{rows[m]['rmse']:.2f}" for m in
                      (NLLS, NNLS, POSTERIOR)]  # fmt: skip
            cells.append(f"{rows[BOUND]['rmse']:.0f}")
            ratio = result["ratios"][key][f"MWF {POSTERIOR}"]["mean"]
            faster = fit["seconds_per_sample"] / network["seconds_per_sample"]
            cells += [f"{ratio:.3f}", f"{faster:.0f}x"]
            lines.append(f"| {said} | {snr} | " + " | ".join(cells) + " |")
    tests = " | ".join(result["shift"])
    lines += ["", f"| MWF RMSE (%), gradient echoes, SNR 150 | {tests} |",
              "|---" * (1 + len(result["shift"])) + "|"]  # fmt: skip
    for method in next(iter(result["shift"].values())):
        cells = [f"{arms[method]['mean']:.2f}" for arms in result["shift"].values()]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def headline(result: dict[str, Any]) -> str:
    """What stands beside the published figure.

    Args:
        result: of reproduce, as stored.
    """
    rows = {r["method"]: r for r in result["tables"]["ann_mwf SNR 150"] if r["quantity"] == "MWF"}
    fit, network = (rows[name]["rmse"] for name in (NLLS, NETWORK))
    change = f"{100 * (network / fit - 1):+.1f} %"
    return f"fit {fit:.2f} %, network {network:.2f} % ({change})"
