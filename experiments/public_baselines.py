"""The classical methods beside public implementations, on the same simulated samples.

    python experiments/public_baselines.py [part=NAME ...]

Others' code is run where it is installed (qmrpy from the package index: MIT, of it the translations
of DECAES.jl and of qMRLab) and never copied; where it is not, the rows say so. hmsIST is a program
without source or package: beside ours stands its published algorithm, written here from the
article. Settings of both sides are chosen on other samples than those that count. The errors are
written to experiments/results/baselines.json.

IST and the fit of overlapping echoes have the settings that were best on samples of the split
"development of baselines": 120 passes; weights of S^2, with which NMSE was 0.97 to 1.01 of that
without weights at nominal B1, and 0.92 and 0.97 of it at 0.8 and 1.2.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from result_files import RESULTS, load
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline

from ipads_stream import ConfigError, load_system
from ipads_stream.baselines import classical_methods
from ipads_stream.baselines.dipole_inversion import HELD_OUT, tuned_tikhonov, tuned_total_variation
from ipads_stream.baselines.fingerprints.methods import Estimator
from ipads_stream.baselines.fingerprints.posterior import student_likelihood
from ipads_stream.baselines.nnls import misfit, nnls, regularised
from ipads_stream.baselines.overlapping_echoes import amplitudes_of, log_fit, separated
from ipads_stream.baselines.signals import iterative_soft_threshold
from ipads_stream.core.files import write_text
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import Constant
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.physics.closed_forms.multi_pool import decay
from ipads_stream.physics.spectroscopy.spectrum import spectrum

QMRPY = "qmrpy"
REACH, NODES = 0.3, 241  # of a grid in ln T1 and ln T2
Row = dict[str, Any]


def installed(module: str) -> Any | None:
    """A module of others, or None."""
    try:
        return importlib.import_module(f"{QMRPY}.{module}")
    except ImportError:
        return None


def rendered(system: Any, count: int, keys: Keys | None = None) -> Sample:
    """Samples of a system, NumPy arrays."""
    keys = keys or Keys(0, "public baselines", np.arange(count, dtype=np.uint64))
    return system.render(system.draw(keys, np.zeros(len(keys.indices))), keys, np)


def row(what: str, measure: str, ours: float, theirs: float | None, whose: str, note: str) -> Row:
    return {"what": what, "measure": measure, "ours": ours, "theirs": theirs, "whose": whose,
            "note": note}  # fmt: skip


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def spin_echoes(count: int = 1000, fewer: int = 4) -> list[Row]:
    """Regularised NNLS against the settings of DECAES, and these against DECAES in qmrpy."""
    module = installed("models.t2.decaes_t2")
    rows = []
    for snr in (50, 150, 300):
        system = dataclasses.replace(load_system("ann_mwf_cpmg"), snr=Constant(value=float(snr)))
        sample = rendered(system, count)
        decays, truth = sample.inputs["decay"].astype(float), sample.targets["MWF"]
        ours = classical_methods(system)["regularised NNLS"](sample.inputs)["MWF"]
        theirs = as_decaes(system, decays)
        rows.append(row(f"T2 spectrum of spin echoes, SNR {snr}", "RMSE of MWF, %",
                        100 * rms(ours - truth), 100 * rms(theirs - truth),
                        "DECAES' settings with our solver", f"{count} voxels"))  # fmt: skip
        if snr == 150:
            apart = None
            if module is not None:
                fit = module.T2DECAESMap(
                    n_te=decays.shape[1], te_ms=1e3 * float(system.TE[0]), n_t2=40,
                    t2_range_ms=(10.0, 2000.0), reg="chi2", chi2_factor=1.02,
                )  # fmt: skip
                found = np.stack([fit.fit(decay)["distribution"] for decay in decays[:fewer]])
                MWF = found[:, fit.t2_times_ms() < 40.0].sum(axis=1) / found.sum(axis=1)
                apart = 100 * rms(MWF - truth[:fewer])
            rows.append(row("DECAES' settings with our solver, SNR 150", "RMSE of MWF, %",
                            100 * rms(theirs[:fewer] - truth[:fewer]), apart, "DECAES in qmrpy",
                            f"{fewer} voxels, each of which takes qmrpy 15 s"))  # fmt: skip
    return rows


def as_decaes(system: Any, signals: np.ndarray) -> np.ndarray:
    """MWF with the settings of DECAES, by the search of all its refocusing angles, (voxels,).

    Source: Doucette, Kames and Rauscher, Zeitschrift fuer Medizinische Physik 30(4), 2020: 40 T2
    from 10 ms to 2 s, 64 angles from 50 to 180 degrees, misfit 1.02 times the least, T1 of 1 s.
    """
    T2, angles = np.geomspace(0.01, 2.0, 40), np.linspace(50, 180, 64)
    signals = signals / signals[:, :1]

    def basis(angle: float) -> np.ndarray:
        factor = np.full(40, angle / 180)
        return np.asarray(decay(system.TE, np.ones((40, 1)), T2[:, None], factor, T1=1.0)).T

    costs = [misfit(A, signals, nnls(A, signals)) for A in map(basis, angles)]
    fine = np.linspace(50, 180, 521)
    best = np.round(fine[CubicSpline(angles, costs)(fine).argmin(axis=0)])
    MWF = np.zeros(len(signals))
    for angle in np.unique(best):
        x = regularised(basis(angle), signals[best == angle], 1.02)[0]
        MWF[best == angle] = x[:, T2 < 0.04].sum(axis=1) / x.sum(axis=1)
    return MWF


def published_ist(
    fid: np.ndarray, mask: np.ndarray, *, passes: int = 400, share: float = 0.98
) -> np.ndarray:
    """hmsIST: what stands above a share of the tallest point is cut off, kept, and taken out.

    r <- S y; then cut = soft(F r, share max|F r|), kept += cut, r <- S F^-1 (F r - cut), with S the
    sampled points; the missing ones are those of F^-1 kept.

    Source: Hyberts, Milbradt, Wagner, Arthanari, Wagner, J Biomol NMR 52:315 (2012).
    """
    rest = np.where(mask, fid, 0)
    kept = np.zeros_like(rest)
    for _ in range(passes):
        peaks = np.fft.fft(rest, axis=-1)
        size = np.abs(peaks)
        level = share * size.max(axis=-1, keepdims=True)
        cut = peaks * np.maximum(1 - level / np.maximum(size, 1e-30), 0)
        kept += cut
        rest = np.where(mask, np.fft.ifft(peaks - cut, axis=-1), 0)
    return np.where(mask, fid, np.fft.ifft(kept, axis=-1))


def soft_thresholding(count: int = 200) -> list[Row]:
    """IST against the published algorithm of hmsIST."""
    rows = []
    for rate in (0.25, 0.4):
        for snr in (20.0, 20_000.0):
            system = dataclasses.replace(
                load_system("dlnmr"), rate=Constant(value=rate), snr=Constant(value=snr)
            )
            sample = rendered(system, count)
            fid, mask = sample.inputs["fid"], sample.inputs["mask"]
            truth = sample.targets["spectrum"]
            methods = iterative_soft_threshold.reconstruct, published_ist
            ours, theirs = (
                float(np.median(rlne(spectrum(method(fid, mask)), truth, axis=-1)))
                for method in methods
            )
            what = f"IST, {rate:.0%} sampled, SNR {snr:g}"
            rows.append(row(what, "median RLNE", ours, theirs, "hmsIST's published algorithm",
                            f"{count} signals; its program is not public"))  # fmt: skip
    return rows


def overlapping_echoes(count: int = 16, most: int = 4000) -> list[Row]:
    """The log-linear fit of separated echoes against exponential fits of the same echoes."""
    module, system = installed("models.t2.mono_t2"), load_system("oled")
    sample = rendered(system, count)
    parts, mask = sample.inputs["image"], sample.targets["mask"]
    places = system.shot.echoes * system.fov / system.matrix
    echoes = separated(parts[:, 0] + 1j * parts[:, 1], places) / amplitudes_of(system)
    chosen = np.flatnonzero(mask.ravel())
    chosen = chosen[:: max(1, len(chosen) // most)]
    voxels, truth = echoes.reshape(-1, echoes.shape[-1])[chosen], sample.targets["T2"].ravel()
    truth, limits = truth[chosen], (system.T2_low, system.T2_high)

    def nmse(T2: np.ndarray) -> float:
        return float(np.sum((T2 - truth) ** 2) / np.sum(truth**2))

    ours, rows = nmse(log_fit(voxels, system.shot.TE, limits)), []
    for kind in ("exponential", "linear"):
        theirs = None
        if module is not None:
            order = np.argsort(system.shot.TE)
            fit = module.T2Mono(te_ms=1e3 * system.shot.TE[order])
            found = [fit.fit(v[order].astype(float), fit_type=kind)["t2_ms"] for v in voxels]
            theirs = nmse(np.clip(np.nan_to_num(1e-3 * np.array(found), nan=limits[1]), *limits))
        note = f"{len(voxels)} voxels of {count} samples, echoes parted by ours"
        rows.append(row("overlapping echoes, weighted log-linear fit", "NMSE of T2", ours, theirs,
                        f"mono_t2 of qMRLab in qmrpy, {kind}", note))  # fmt: skip
    return rows


def dipoles(count: int = 4) -> list[Row]:
    """Tikhonov and total variation against qMRLab's, all with the best weight of held-out data."""
    module = installed("models.qsm.split_bregman")
    system = load_system("qsmnet", ["shape=[24,24,24]"])
    sample, held = rendered(system, count), rendered(system, 3, HELD_OUT)

    def error(found: np.ndarray, of: Sample) -> float:
        truth, mask = of.targets["chi_ppm"], of.inputs["mask"]
        wrong = np.sum(((found - truth) * mask) ** 2, axis=(1, 2, 3))
        return float(np.mean(np.sqrt(wrong / np.sum((truth * mask) ** 2, axis=(1, 2, 3)))))

    def padded(solve: Callable[..., np.ndarray], of: Sample, weight: float) -> np.ndarray:
        edges = tuple(n // 2 for n in system.shape)
        wide = [np.pad(x, [(0, 0), *((e, e) for e in edges)])
                for x in (of.inputs["field_ppm"], of.inputs["mask"].astype(float))]  # fmt: skip
        return np.stack([solve(f, m, weight, edges) for f, m in zip(*wide, strict=True)])

    spacing = 1e3 * np.array(system.spacing)

    def split_bregman(f: np.ndarray, m: np.ndarray, weight: float, edges: Any) -> np.ndarray:
        found: np.ndarray = module.qsm_split_bregman(  # type: ignore[union-attr]
            f, m, lambda_l1=weight, lambda_l2=30 * weight, direction="forward",
            image_resolution_mm=spacing, pad_size=edges, max_iter=40, tol_pct=0.1,
        )  # fmt: skip
        return found

    def closed_form(f: np.ndarray, m: np.ndarray, weight: float, edges: Any) -> np.ndarray:
        found: np.ndarray = module.calc_chi_l2(  # type: ignore[union-attr]
            f, lambda_l2=weight, direction="forward", image_resolution_mm=spacing, mask=m,
            padding_size=edges,
        )[0]  # fmt: skip
        return found

    rows = []
    for what, made, solve, weights in (
        ("total variation", tuned_total_variation, split_bregman, np.geomspace(1e-5, 1e-2, 7)),
        ("Tikhonov", tuned_tikhonov, closed_form, np.geomspace(1e-4, 1e-1, 7)),
    ):
        ours, theirs, note = error(made(system)(sample.inputs)["chi_ppm"], sample), None, ""
        if module is not None:
            best = min(weights, key=lambda w: error(padded(solve, held, w), held))
            theirs, note = error(padded(solve, sample, best), sample), f", their weight {best:.0e}"
        rows.append(row(f"dipole inversion, {what}", "NRMSE of susceptibility", ours, theirs,
                        "qMRLab's in qmrpy", f"{count} volumes{note}"))  # fmt: skip
    return rows


def fingerprints(count: int = 300) -> list[Row]:
    """Matching against qmrpy's with the same atoms, and the posterior mean against SciPy's."""
    system = dataclasses.replace(
        load_system("drone", ["schedule.num_frames=60"]), snr=Constant(value=40.0)
    )
    estimator = Estimator(system, atoms=4000)
    sample = rendered(system, count)
    signals, T1 = sample.inputs["signal"].astype(float), sample.targets["T1"]
    ours = estimator.matched(signals)["T1"]
    module, theirs = installed("models.mrf.mrf"), None
    if module is not None:
        frames, known = system.schedule.frames, estimator.dictionary()
        atoms = estimator.signals(*(known.tissue[name] for name in ("T1", "T2", "B1")))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        fit = module.MRFDictionary(flip_angle_deg=np.rad2deg(frames.flip), tr_ms=1e3 * frames.TR)
        params = {f"{n.lower()}_ms": 1e3 * known.tissue[n] for n in ("T1", "T2")}
        given = {"t1_grid_ms": [1.0], "t2_grid_ms": [1.0], "dictionary": atoms}
        matched = [fit.fit(s, **given, dictionary_params=params)["t1_ms"] for s in signals]
        theirs = 1e-3 * np.array(matched)
    errors = [None if x is None else 100 * rms(np.log(x / T1)) for x in (ours, theirs)]
    note = f"{count} fingerprints, the same {len(estimator.dictionary())} atoms"
    rows = [row("dictionary matching", "log-RMSE of T1, %", *errors, "MRFDictionary of qmrpy",
                note)]  # fmt: skip
    few = signals[:5]
    mean = estimator.mean(few)
    exact = [_integrated(estimator, s, {n: float(mean[n][k]) for n in ("T1", "T2")})
             for k, s in enumerate(few)]  # fmt: skip
    for n, name in enumerate(("T1", "T2")):
        apart = np.abs(np.log(mean[name] / np.exp([x[n] for x in exact])))
        rows.append(row(f"posterior mean of {name}", "largest log-difference, %",
                        100 * float(apart.max()), 0.0, "scipy.integrate.simpson",
                        f"{len(few)} fingerprints at SNR 40"))  # fmt: skip
    return rows


def _integrated(estimator: Estimator, signal: np.ndarray, near: dict[str, float]) -> list[float]:
    """Means of ln T1 and ln T2 by Simpson's rule on a fine grid about where the posterior lies.

    The prior is that of conf/system/drone.yaml: flat in ln T1, and in ln T2 up to T1.
    """
    ends = {name: np.log(estimator.supports[name]) for name in near}
    box = {n: np.clip(np.log(near[n]) + np.array([-REACH, REACH]), *ends[n]) for n in near}
    x, y = (np.linspace(*box[name], NODES) for name in ("T1", "T2"))
    grid = np.stack(np.meshgrid(x, y, indexing="ij")).reshape(2, -1)
    models = estimator.signals(*np.exp(grid), np.ones(grid.shape[1]))
    value = student_likelihood(signal[None], models[None])[0]
    highest = np.minimum(grid[0], ends["T2"][1])
    value = np.where(grid[1] <= highest, value - np.log(highest - ends["T2"][0]), -np.inf)
    density = np.exp(value - value.max()).reshape(NODES, NODES)

    def moment(weight: np.ndarray | float) -> float:
        return float(simpson(simpson(weight * density, x=y), x=x))

    total = moment(1.0)
    return [moment(x[:, None]) / total, moment(y) / total]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "spin echoes": spin_echoes,
    "IST": soft_thresholding,
    "overlapping echoes": overlapping_echoes,
    "dipoles": dipoles,
    "fingerprints": fingerprints,
}


def main(words: Sequence[str]) -> int:
    """Runs the parts that are asked for, all by default, prints and writes their rows."""
    asked = [word.partition("=")[2] for word in words] or list(PARTS)
    for name in asked:
        if name not in PARTS:
            raise ConfigError("part", name, f"one of {', '.join(PARTS)}")
    result = load("baselines") or {"parts": {}}
    for name in asked:
        result["parts"][name] = PARTS[name]()
        for each in result["parts"][name]:
            print(json.dumps(each), flush=True)
        write_text(RESULTS / "baselines.json", json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
