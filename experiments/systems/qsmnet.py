"""QSMnet and QSMnet+: susceptibility by networks and by dipole inversion, over its scale.

Six networks: the published U-Net and one with closed-form dipole steps, each trained on ordinary
susceptibilities (narrow) and with regions enhanced (widened); the U-Net with field and map scaled
by the field; the narrow dipole network with an activation that saturates. Against truncated
division, Tikhonov and total variation, tuned on narrow volumes of their own. Tests with sources of
1 to 10 times the ordinary susceptibility: unseen random volumes whose sources are all scaled, and
brains of tissue maps in which lesions alone are, large or small ones. Slope is that of estimate on
truth over the voxels inside the mask, in the brain also over lesions alone.
Measured gradient echoes have no truth: what is reported is how much of the field a map leaves.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from seeds import over_seeds
from systems._qsmnet_measured import measured_maps
from training import trained

from ipads_stream import load_model, load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.core import random
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Constant, LogUniform, Uniform
from ipads_stream.phantoms import Grid, TissueBrain, rasterized
from ipads_stream.phantoms.random_shapes import RandomShapes
from ipads_stream.physics.fields import dipole
from ipads_stream.report.figures import drawing

NARROW = "system.enhanced=0"
RMS = "net.scale={_target_: ipads_stream.nets.field_scale.RootMeanSquare}"
ARMS: dict[str, tuple[str, ...]] = {
    "U-Net, narrow": ("system=qsmnet", NARROW),
    "U-Net, widened": ("system=qsmnet",),
    "U-Net, narrow, scaled": ("system=qsmnet", NARROW, RMS),
    "dipole steps, narrow": ("system=qsmnet_unrolled", NARROW),
    "dipole steps, widened": ("system=qsmnet_unrolled",),
    "dipole steps, narrow, tanh": ("system=qsmnet_unrolled", NARROW, "net.activation=tanh"),
}
BEST = "dipole steps, widened"
SETTINGS: dict[str, tuple[str, ...]] = {
    "small": ("system.shape=[24,24,24]", "trainer.precision=bf16-mixed"),
    "full": ("system.shape=[64,64,64]", "stream.batch_size=8"),
}
# The dipole network's steps take five times as long.
STEPS = {"small": {"qsmnet": 3000, "qsmnet_unrolled": 600},
         "full": {"qsmnet": 100_000, "qsmnet_unrolled": 100_000}}  # fmt: skip
FULL = {"qsmnet": ("net.widths=[32,64,128,256,512]", "net.kernel=5"),
        "qsmnet_unrolled": ("net.width=32", "net.steps=6", "net.dilations=[1,2,1]")}  # fmt: skip
SCALES = (1.0, 3.0, 10.0)
VOLUMES = {"small": 8, "full": 32}
BRAINS = {"small": 2, "full": 8}
NOISE = {"low": 0.0005, "high": 0.005, "unit": "ppm"}  # of the volumes that are tested and tuned on
RADII = {"lesions": (5.0, 12.0), "small lesions": (3.0, 6.0)}  # mm; voxels are of 2 mm
LESIONS = RandomShapes(
    number=4,
    aspect=Uniform(low=0.6, high=1.0),
    position=Uniform(low=-0.5, high=0.5),
    kinds={"ellipse": 1, "blob": 1},
)
Methods = Mapping[str, Callable[..., Mapping[str, np.ndarray]]]
Arrays = dict[str, np.ndarray]


def reproduce(budget: str, seeds: int, runs: Path, results: Path) -> dict[str, Any]:
    """The row: slope and NRMSE by test, scale and method; the measured maps; the figure.

    Args:
        budget: "small" or "full".
        seeds: networks per arm.
        runs: folder that keeps them.
        results: folder of the figure.
    """
    models = {arm: [_model(arm, budget, seed, runs) for seed in range(seeds)] for arm in ARMS}
    system = dataclasses.replace(
        load_system("qsmnet"), enhanced=Constant(value=0.0), noise=LogUniform(**NOISE)
    )
    classical = classical_methods(system)
    found: dict[str, Any] = {"budget": budget, "seeds": seeds, "steps": STEPS[budget],
                             "settings": SETTINGS[budget]}  # fmt: skip
    tests = {"volumes": lambda scale: volumes(system, scale, VOLUMES[budget])}
    if (Path(os.environ.get("IPADS_DATA", "")) / "brain").is_dir():
        for name, radii in RADII.items():
            tests[name] = partial(brains, count=BRAINS[budget], radii=radii)
    shown: dict[str, Any] = {}
    for name, make in tests.items():
        for scale in SCALES:
            test = make(scale)
            rows, estimates = _scored(test, classical, models)
            found[f"{name} x{scale:g}"] = rows
            shown[f"{name} x{scale:g}"] = test, estimates
    if (Path(os.environ.get("IPADS_DATA", "")) / "gre").is_dir():
        methods = {**classical, **{arm: of[0] for arm, of in models.items()}}
        found["measured"] = measured_maps(methods, results / "qsmnet_measured.png")
    _figure(shown, found, results / "qsmnet.png")
    return found


def _model(arm: str, budget: str, seed: int, runs: Path) -> Any:
    system = ARMS[arm][0].partition("=")[2]
    words = [*ARMS[arm], f"trainer.max_steps={STEPS[budget][system]}", *SETTINGS[budget],
             "trainer.learning_rate=3e-3", f"seed={seed}"]  # fmt: skip
    if budget == "full":
        words += FULL[system]
    folder = f"{budget}-{arm.replace(', ', '-').replace(' ', '-')}-{seed}"
    return load_model(trained(runs / "qsmnet" / folder, words))


def volumes(system: Any, scale: float, count: int) -> Arrays:
    """Unseen narrow volumes whose susceptibilities are all multiplied.

    Args:
        system: that draws them.
        scale: factor.
        count: volumes.
    """
    keys = Keys(1, "test", np.arange(count, dtype=np.uint64))
    params = system.draw(keys, np.arange(float(count)))
    chi, mask = system.volumes(params, keys, np)
    noise = params["noise"][:, None, None, None] * random.normal(keys["field noise"], chi.shape[1:])
    return _test(chi * np.float32(scale), mask, noise, system.spacing)


def brains(scale: float, count: int, radii: tuple[float, float]) -> Arrays:
    """Parts of brains, 48^3 voxels of 2 mm, with lesions of +-0.14 ppm times the scale.

    Args:
        scale: factor of the lesions alone.
        count: brains.
        radii: of the lesions, least and largest, mm.
    """
    keys = Keys(1, "brains with lesions", np.arange(count, dtype=np.uint64))
    grid = Grid((48, 48, 48), (2e-3,) * 3)
    values = {"gm": {"chi": 0.03}, "wm": {"chi": -0.03}, "csf": {"chi": 0.0}}
    brain = TissueBrain(values=values, extent=None, within=0.2, position=0.3)
    maps = brain.draw(keys, grid)
    x, y, z = grid.coordinates()
    inside = x**2 + y**2 + z**2 < 44e-3**2
    mask = (maps["gm"] + maps["wm"] + maps["csf"] > 0.5) & inside
    size = LogUniform(low=radii[0], high=radii[1], unit="mm")
    shapes = dataclasses.replace(LESIONS, size=size).draw(keys, grid, name="lesions")
    sign = np.where(random.uniform(keys["sign"], (shapes.num_shapes,)) < 0.5, -1.0, 1.0)
    columns = np.stack([0.14 * scale * sign, np.ones_like(sign)], axis=-1).astype(np.float32)
    laid = rasterized(shapes, columns, grid)
    chi = (laid[:, 0] + (1 - laid[:, 1]) * maps["chi"]) * mask
    noise = 0.0015 * random.normal(keys["field noise"], chi.shape[1:])
    return _test(chi, mask, noise, grid.spacing) | {"lesion": (laid[:, 1] > 0.5) & mask}


def _test(chi: np.ndarray, mask: np.ndarray, noise: np.ndarray, spacing: Any) -> Arrays:
    field = dipole.field(chi.astype(np.float32), spacing, (0, 0, 1)) + noise
    return {"chi_ppm": chi, "mask": mask, "field_ppm": np.where(mask, field, 0).astype(np.float32)}


def _scored(
    test: Arrays, classical: Methods, models: Mapping[str, list[Any]]
) -> tuple[dict[str, Any], Arrays]:
    """Scores of every method, over seeds where it was trained; and the maps of the first seed."""
    inputs = {name: test[name] for name in ("field_ppm", "mask")}
    rows: dict[str, Any] = {}
    estimates: Arrays = {}
    for name, methods in {**{n: [m] for n, m in classical.items()}, **models}.items():
        found = []
        for n, method in enumerate(methods):
            method({k: v[:1] for k, v in inputs.items()})  # tunes, makes kernels
            start = time.process_time()
            estimate = method(inputs)["chi_ppm"]
            seconds = (time.process_time() - start) / len(estimate)
            found.append(_scores(estimate, test) | {"seconds": seconds})
            estimates.setdefault(name, estimate) if n == 0 else None
        rows[name] = {key: over_seeds([row[key] for row in found]) for key in found[0]}
    return rows, estimates


def _scores(estimate: np.ndarray, test: Arrays) -> dict[str, float]:
    """Slope of estimate on truth and NRMSE, inside the mask; slope and RMSE over lesions alone."""
    truth, mask = test["chi_ppm"], test["mask"]
    found = {
        "slope": _slope(estimate[mask], truth[mask]),
        "nrmse": float(np.linalg.norm((estimate - truth)[mask]) / np.linalg.norm(truth[mask])),
    }
    if "lesion" in test:
        inside = test["lesion"]
        found["lesion_slope"] = _slope(estimate[inside], truth[inside])
        found["lesion_rmse"] = float(np.sqrt(np.mean((estimate - truth)[inside] ** 2)))
    return found


def _slope(estimate: np.ndarray, truth: np.ndarray) -> float:
    centred = truth - truth.mean()
    return float((centred * estimate).sum() / (centred**2).sum())


def _figure(shown: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    """Orthogonal slices of truth and maps over error maps; slope against scale below."""
    arms = ["TKD", "total variation", "U-Net, narrow", "U-Net, widened", BEST]
    name = "lesions x3" if "lesions x3" in shown else next(reversed(shown))
    test, estimates = shown[name]
    mask = test["mask"][0]
    middle = mask.shape[2] // 2 if "lesion" not in test else _slice_of(test["lesion"][0])
    truth = test["chi_ppm"][0, :, :, middle]
    reach = float(np.quantile(abs(test["chi_ppm"][0][mask]), 0.99))
    columns = 1 + len(arms)
    with drawing(path, 3, columns, height=7.0) as axes:
        for column, arm in enumerate(["truth", *arms]):
            values = truth if arm == "truth" else estimates[arm][0, :, :, middle]
            axes[0, column].set_title(arm, fontsize=8)
            axes[0, column].imshow(values.T, cmap="gray", vmin=-reach, vmax=reach, origin="lower")
            axes[1, column].imshow((values - truth).T, cmap="RdBu_r", vmin=-reach / 2,
                                   vmax=reach / 2, origin="lower")  # fmt: skip
            for row in (0, 1):
                axes[row, column].set_axis_off()
        axes[1, 0].text(0.5, 0.5, f"error, {name}", ha="center", transform=axes[1, 0].transAxes)
        for column in range(columns):
            axis, kind = axes[2, column], ("volumes", "lesions")[column % 2]
            score = ("slope", "slope", "nrmse", "nrmse")[column] if column < 4 else ""
            if not score or f"{kind} x1" not in found:
                axis.set_axis_off()
                continue
            for arm in found[f"{kind} x1"]:
                y = [found[f"{kind} x{scale:g}"][arm][score]["mean"] for scale in SCALES]
                axis.plot(SCALES, y, "o-", markersize=3, label=arm)
            axis.set_xscale("log")
            axis.set_xlabel("susceptibility scale")
            axis.set_title(f"{score}, {kind}")
        axes[2, 0].legend(fontsize=5)


def _slice_of(lesion: np.ndarray) -> int:
    return int(lesion.sum(axis=(0, 1)).argmax())


def table(result: Mapping[str, Any]) -> str:
    """The row's markdown: slope, that of lesions, and NRMSE of every method by test and scale.

    Args:
        result: of :func:`reproduce`.
    """
    names = dict.fromkeys(name.rpartition(" x")[0] for name in result if " x" in name)
    parts = []
    for name in names:
        tests = [f"{name} x{scale:g}" for scale in SCALES]
        what = "slope / NRMSE" if name == "volumes" else "slope / slope of lesions / NRMSE"
        lines = [f"| {what} | " + " | ".join(tests) + " | s per volume |",
                 "|---" * (len(tests) + 2) + "|"]  # fmt: skip
        for method in result[tests[0]]:
            cells = [_cell(result[test][method]) for test in tests]
            seconds = result[tests[0]][method]["seconds"]["mean"]
            lines.append(f"| {method} | " + " | ".join(cells) + f" | {seconds:.2f} |")
        parts.append("\n".join(lines))
    if "measured" in result:
        told = ", ".join(f"{m} {x:.2f}" for m, x in result["measured"]["residual"].items())
        parts.append("Measured gradient echoes, part of the local field that the map does not "
                     f"explain: {told}.")  # fmt: skip
    return "\n\n".join(parts)


def _cell(row: Mapping[str, Any]) -> str:
    scores = [name for name in ("slope", "lesion_slope", "nrmse") if name in row]
    return " / ".join(f"{row[name]['mean']:.2f}" for name in scores)


def headline(result: Mapping[str, Any]) -> str:
    """What stands beside the published figures: lesions of +-1.4 ppm.

    Args:
        result: of :func:`reproduce`.
    """
    rows = result.get("lesions x10", {})
    arms = [arm for arm in ("U-Net, narrow", "U-Net, widened", BEST) if arm in rows]
    slopes, wrong = (
        ", ".join(f"{rows[arm][score]['mean']:.2f}" for arm in arms)
        for score in ("lesion_slope", "lesion_rmse")
    )
    return f"lesions of +-1.4 ppm: slope {slopes}; RMSE {wrong} ppm ({'; '.join(arms)})"
