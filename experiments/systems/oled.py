"""OLED: T2 maps of one shot with four overlapping echoes, by networks and by the windowed log-fit.

Networks trained on textured templates, on the same random shapes without textures, on textures with
random B1, and (one seed) a residual-dense network; tested at noise 0.01 on unseen textures (natural
images where there are data, else another noise than that of the training), on shapes, on a brain of
tissue maps, and on textures whose B1 is 20 % too low or too high. B1 is nominal where it is not
named. All methods get the same images.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from seeds import over_seeds, pooled
from training import trained

from ipads_stream import Stream, load_model, load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.config import build_run, compose
from ipads_stream.core.handover import torch_threads
from ipads_stream.distributions import Constant
from ipads_stream.evaluation.comparison import Comparison, compare
from ipads_stream.evaluation.tasks.quantities.figures import draw_maps
from ipads_stream.evaluation.tasks.quantities.scores import scores
from ipads_stream.phantoms import ImageTexture, LatticeTexture, PolynomialField, TissueBrain

FIT = "windowed log-fit"
TEXTURED, SHAPES = "trained on textures", "trained on shapes"
RANDOM_B1, DENSE = "trained with random B1", "residual-dense"
ARMS: dict[str, tuple[str, ...]] = {
    TEXTURED: ("system.B1=null",),
    SHAPES: ("system.B1=null", "system.templates.texture=null"),
    RANDOM_B1: (),
    DENSE: ("system.B1=null", "net=oled_rdn"),
}
ONE_SEED = (DENSE,)  # several times as slow
STEPS = {"small": 1300, "full": 100_000}
SAMPLES = {"small": 64, "full": 512}
# 128 lines of these echo times are beyond the gradients of a human scanner, without ramp sampling.
FULL = ("system.finer=4",)
WIDE = "net.widths=[64,128,256,512]"
NOISE = 0.01
PUBLISHED = {"r": 0.99, "what": "the article, of phantom and brain: 0.999 and 0.997"}


def reproduce(budget: str, seeds: int, runs: Path, results: Path) -> dict[str, Any]:
    """The row: scores by test and arm, ratios of arms by seed, shares of generation, the figure.

    Args:
        budget: "small" or "full".
        seeds: networks per arm; the residual-dense one is trained once.
        runs: folder that keeps them.
        results: folder of the figure.
    """
    models: dict[str, list[Any]] = {}
    for seed in range(seeds):  # so that a stopped row has all arms of its first seeds
        for arm in ARMS:
            if arm not in ONE_SEED:
                models.setdefault(arm, []).append(_model(arm, budget, seed, runs))
    models |= {arm: [_model(arm, budget, 0, runs)] for arm in ONE_SEED}
    system = load_system("oled", [word.removeprefix("system.") for word in _size(budget)])
    system = dataclasses.replace(system, B1=None, noise=Constant(value=NOISE))
    found: dict[str, Any] = {"budget": budget, "seeds": seeds, "steps": STEPS[budget],
                             "published": PUBLISHED, "tests": {}, "ratios": {}}  # fmt: skip
    shown: dict[str, Comparison] = {}
    for name, tested in tests(system).items():
        rows, nmse, shown[name] = _compared(tested, models, SAMPLES[budget])
        found["tests"][name] = rows
        found["ratios"][name] = {
            f"{one} / {other}": over_seeds([a / b for a, b in zip(nmse[one], nmse[other],
                                                                  strict=False)])
            for one, other in ((TEXTURED, SHAPES), (RANDOM_B1, TEXTURED),
                               (TEXTURED, FIT))
        }  # fmt: skip
    found["generation"] = generation(system)
    _figure(shown.get("brain", shown["textures"]), results / "oled.png")
    return found


def tests(system: Any) -> dict[str, Any]:
    """Systems to test on, by name; the brain where there are tissue maps.

    Args:
        system: with the noise of the tests and nominal B1.
    """
    has_data = bool(os.environ.get("IPADS_DATA"))
    texture = ImageTexture() if has_data else LatticeTexture()
    textured = dataclasses.replace(
        system, templates=dataclasses.replace(system.templates, texture=texture)
    )
    shapes = dataclasses.replace(system.templates, texture=None)
    of = {"textures": textured, "shapes": dataclasses.replace(system, templates=shapes)}
    if has_data:
        of["brain"] = dataclasses.replace(system, templates=TissueBrain())
    for name, B1 in (("B1 0.8", 0.8), ("B1 1.2", 1.2)):
        field = PolynomialField(terms={"x": 0.0}, offset=B1)
        of[f"textures, {name}"] = dataclasses.replace(textured, B1=field)
    return of


def _size(budget: str) -> tuple[str, ...]:
    return FULL if budget == "full" else ()


def _model(arm: str, budget: str, seed: int, runs: Path) -> Any:
    words = ["system=oled", f"seed={seed}", f"trainer.max_steps={STEPS[budget]}", *ARMS[arm]]
    words += _size(budget)
    if budget == "full" and arm != DENSE:
        words.append(WIDE)
    name = arm.replace("trained ", "").replace(" ", "-")
    return load_model(trained(runs / "oled" / f"{budget}-{name}-{seed}", words))


def _compared(
    system: Any, models: Mapping[str, Sequence[Any]], samples: int
) -> tuple[list[dict[str, Any]], dict[str, list[float]], Comparison]:
    """Scores over seeds, NMSE by arm and seed, and what the first networks made of the samples."""
    by_seed, nmse, first = [], {}, None
    for seed in range(max(len(of) for of in models.values())):
        methods = {arm: of[seed] for arm, of in models.items() if seed < len(of)}
        if seed == 0:
            methods = classical_methods(system) | methods
        made = compare(system, methods, samples=samples, seed=0)
        first = first or made
        by_seed.append(scores(made))
        for row in by_seed[-1]:
            nmse.setdefault(row["method"], []).append(row["nmse"])
    fit = nmse[FIT]
    nmse[FIT] = fit * len(by_seed)  # it does not change with the seed
    assert first is not None
    return pooled(by_seed), nmse, first


def generation(system: Any) -> dict[str, float]:
    """Milliseconds of one thread's processor time, of a sample: generated, and trained on once.

    Args:
        system: that generates.
    """
    config = compose(["system=oled"])
    batch = config["stream"]["batch_size"]
    stream = Stream(system, threads=0, batch_size=batch, device="cpu")
    run = build_run(config)
    net, loss = run.build_net(), run.build_loss()
    sample, optimizer = stream.batch(0), torch.optim.AdamW(net.parameters(), lr=1e-5)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            terms = loss(net(sample.inputs), sample)
        torch.stack(list(terms.values())).sum(0).mean().backward()
        optimizer.step()

    with torch_threads(1):
        made, used = (_milliseconds(call) / batch for call in (lambda: stream.batch(0), step))
    shares = {f"share, echo {echo}": made / echo / (made / echo + used) for echo in (1, 2, 4)}
    return {"generation_ms": made, "training_ms": used, **shares}


def _milliseconds(call: Callable[[], Any]) -> float:
    taken = []
    for _ in range(6):
        started = time.process_time()
        call()
        taken.append(time.process_time() - started)
    return 1e3 * float(np.median(taken[1:]))


def _figure(made: Comparison, path: Path) -> None:
    """T2 of one sample: truth, log-fit, trained on shapes, trained on textures; errors below."""
    assert made.mask is not None
    chosen = int(made.mask.sum(axis=(1, 2)).argmax())
    names = (FIT, SHAPES, TEXTURED)
    maps = {name: 1e3 * made.estimates[name]["T2"][chosen] for name in names}
    draw_maps(path, 1e3 * made.truths["T2"][chosen], maps, made.mask[chosen], "T2 (ms)")


def table(result: dict[str, Any]) -> str:
    """The README's table: NMSE / r / relative error of every test and arm, and ratios over seeds.

    Args:
        result: of reproduce, as stored.
    """
    methods = [FIT, *ARMS]
    made = result["generation"]
    lines = ["| NMSE / r | " + " | ".join(methods) + " |", "|---" * (1 + len(methods)) + "|"]
    for test, rows in result["tests"].items():
        of = {row["method"]: row for row in rows}
        cells = [f"{of[m]['nmse']:.3f} / {of[m]['r']:.3f}" if m in of else "" for m in methods]
        lines.append(f"| {test} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| ratio of NMSE, 95 % interval over seeds | " + " | ".join(result["tests"]) + " |",
        "|---" * (1 + len(result["tests"])) + "|",
    ]
    for pair in next(iter(result["ratios"].values())):
        cells = []
        for ratios in result["ratios"].values():
            of = ratios[pair]
            spread = "" if of["low"] is None else f" ({of['low']:.2f}-{of['high']:.2f})"
            cells.append(f"{of['mean']:.2f}{spread}")
        lines.append(f"| {pair} | " + " | ".join(cells) + " |")
    spent = {row["method"]: 1e3 * row["seconds_per_sample"] for row in result["tests"]["textures"]}
    told = ", ".join(f"{name} {spent[name]:.2g}" for name in methods)
    lines += [
        "",
        f"Time per image (ms, on a busy machine): {told}.",
        f"Generation takes {made['generation_ms']:.1f} ms of a thread per sample, training "
        f"{made['training_ms']:.1f}: {made['share, echo 1']:.0%} of a step, and "
        f"{made['share, echo 2']:.0%} where each batch is used twice.",
    ]
    return "\n".join(lines)


def headline(result: dict[str, Any]) -> str:
    """What stands beside the published figure.

    Args:
        result: of reproduce, as stored.
    """
    r = {
        test: next(row["r"] for row in rows if row["method"] == TEXTURED)
        for test, rows in result["tests"].items()
    }
    return ", ".join(f"{test} {r[test]:.2f}" for test in ("textures", "brain") if test in r)
