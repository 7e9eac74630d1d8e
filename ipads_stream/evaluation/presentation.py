"""Findings as pictures, as a page, and as text for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.files import write_text
from ipads_stream.evaluation import (
    curve_figures,
    network_figures,
    plane_figures,
    report,
    signal_figures,
    thresholds,
)
from ipads_stream.evaluation.convergence import MOST, Course
from ipads_stream.evaluation.measured import MeasuredTest
from ipads_stream.evaluation.methods import DESCRIPTIONS, IST, NETWORK, REFINED, ZERO_FILLING
from ipads_stream.evaluation.planes import Plane, restrict
from ipads_stream.evaluation.synthetic import SyntheticTest, peak_intensities
from ipads_stream.evaluation.tables import Column, html_table, text_table
from ipads_stream.stream.replay import read_log
from ipads_stream.systems import System

Pictures = list[tuple[Path, str]]

DRAWN = (ZERO_FILLING, IST, NETWORK)  # of others, numbers: more curves in one plot hide each other
_RATE = Column("sampled (%)", "rate", "g", 100.0)
_METHOD = Column("method", "method")
_TIME = Column("time per signal (ms)", "seconds_per_signal", ".2f", 1e3)
SYNTHETIC_COLUMNS = (
    _RATE,
    _METHOD,
    Column("signals", "signals"),
    Column("median RLNE [95 %]", "rlne_median", ".3f", 1.0, ("rlne_low", "rlne_high"), "low"),
    Column("peak r [95 %]", "r", ".4f", 1.0, ("r_low", "r_high"), "high"),
    Column("peak r²", "r2", ".4f", best="high"),
    Column("peaks", "peaks"),
    _TIME,
)
MEASURED_COLUMNS = (
    Column("rows", "region"),
    _RATE,
    _METHOD,
    Column("schedules", "schedules"),
    Column("RLNE, mean ± SD", "rlne", ".3f", 1.0, ("rlne_sd",), "low"),
    Column("peak r, mean ± SD", "r", ".4f", 1.0, ("r_sd",), "high"),
    Column("peak r²", "r2", ".4f", best="high"),
    Column("absorptive r", "r_absorptive", ".4f", 1.0, ("r_absorptive_sd",), "high"),
    Column("peaks", "peaks"),
    _TIME,
)
PAIR_COLUMNS = (
    Column("rows", "region"),
    _RATE,
    Column("schedules", "schedules"),
    Column("network has the lower RLNE in", "rlne_better"),
    Column("the higher peak r in", "r_better"),
    Column("RLNE, network − IST", "rlne_difference", "+.4f", 1.0, ("rlne_difference_sd",)),
)
DEFINITIONS = {
    "RLNE": "Relative l2-norm error ‖estimate − reference‖ / ‖reference‖ of the complex spectrum. "
    "Synthetic: per noise-free signal. Measured: over all rows of the plane, or those "
    "named, against the fully sampled spectrum, whose noise counts as signal.",
    "peak r, r²": "Pearson's correlation of peak intensities in estimate and reference, at the "
    "reference's maxima above 3 % of the tallest, or the share named; intensities are magnitudes. "
    "Synthetic: the peaks of all signals pooled. Absorptive r: the same of the real parts, where "
    "the plane is phased.",
    "[95 %]": "Percentile bootstrap interval over signals.",
    "± SD": "Standard deviation over sampling schedules, all of the same plane: it tells how much "
    "the schedule matters, not how another sample would come out.",
    "sampled": "Share of the points that are kept, by Poisson-gap schedules on the plane, by the "
    "system's own schedules in the synthetic test; the first point is always kept.",
    "time": "Wall time per signal (row) in this evaluation, batched as each method allows.",
    "*": "Best value of its column at that sampling rate, as rounded; all methods are listed.",
}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that an evaluation found.

    Attributes:
        system: that simulated the training data and the synthetic test.
        plane: measured or simulated, None in a purely synthetic evaluation.
        synthetic, measured: what the tests found.
        notes: sentences that the reader must know.
        provenance: plain values that identify the evaluation.
        training: composed configuration of the run.
        courses: where -> how the low-rank step after the network converges.
        thresholds: learned ones by rate and phase; empty for networks without.
        log: metrics.jsonl of the run; need not exist.
    """

    system: System
    plane: Plane | None
    synthetic: SyntheticTest
    measured: MeasuredTest | None
    notes: list[str]
    provenance: dict[str, Any]
    training: dict[str, Any]
    log: Path
    courses: dict[str, Course] = field(default_factory=dict)
    thresholds: list[dict[str, Any]] = field(default_factory=list)


def present(findings: Findings, output: Path) -> str:
    """Writes pictures and report.html, and returns the summary.

    Args:
        findings: of an evaluation.
        output: folder, which exists.
    """
    blocks = [report.paragraph(_lead(findings))]
    blocks += [report.paragraph(note, is_note=True) for note in findings.notes]
    text = [_lead(findings), *findings.notes]
    if findings.measured is not None and findings.plane is not None:
        kind = "Simulated plane" if findings.plane.is_simulated else "Measured data"
        title = f"{kind}: {findings.plane.name}, retrospectively undersampled"
        blocks += [
            report.heading(title),
            *_table(title, MEASURED_COLUMNS, findings.measured.rows, text),
            *_table("Network against IST, schedule by schedule", PAIR_COLUMNS,
                    findings.measured.pairs, text),
            *_embedded(_plane_pictures(findings.plane, findings.measured, output)),
        ]  # fmt: skip
    title = f"Synthetic test signals: {findings.system.name}"
    blocks += [
        report.heading(title),
        *_table(title, SYNTHETIC_COLUMNS, findings.synthetic.rows, text),
        *_embedded(_synthetic_pictures(findings, output)),
    ]
    blocks += _inside(findings, output, text)
    log = list(read_log(findings.log)) if findings.log.is_file() else []
    if log:
        path = curve_figures.training_curves(log, output / "training.png")
        caption = "Loss of every training step, and the share of the step spent waiting for data."
        blocks += [report.heading("Training"), *_embedded([(path, caption)])]
    blocks += [
        report.heading("Methods"),
        report.definitions(DESCRIPTIONS),
        report.heading("Metrics"),
        report.definitions(DEFINITIONS),
        report.heading("Provenance"),
        report.preformatted(json.dumps(findings.provenance, indent=1, ensure_ascii=False)),
        report.heading("Configuration of the training run"),
        report.preformatted(json.dumps(findings.training, indent=1, ensure_ascii=False)),
    ]
    path = output / "report.html"
    write_text(path, report.page(f"Evaluation of {findings.system.name}", blocks))
    return "\n\n".join([*text, f"* best at that sampling rate. Report: {path}"])


def _lead(findings: Findings) -> str:
    """The answer in one sentence: all methods at 25 %, or the rate nearest to it."""
    if findings.measured is not None and findings.plane is not None:
        whole = findings.measured.regions[0].name
        rows = [row for row in findings.measured.rows if row["region"] == whole]
        key, where = "rlne", findings.plane.name
    else:
        rows, key, where = findings.synthetic.rows, "rlne_median", "synthetic signals"
    rate = nearest_rate(row["rate"] for row in rows)
    found = {
        row["method"]: row[key]
        for row in rows
        if row["rate"] == rate and row[key] is not None and not row.get("is_partial")
    }
    others = {name: error for name, error in found.items() if name not in (NETWORK, REFINED)}
    if NETWORK not in found or not others:
        return f"On {where} at {100 * rate:g} % sampling the error is not defined."
    best = min(others, key=others.__getitem__)
    verdict = "below" if found[NETWORK] < others[best] else "not below"
    after = f" A low-rank step after it: {found[REFINED]:.3f}." if REFINED in found else ""
    rest = "".join(f", {name} {error:.3f}" for name, error in others.items() if name != best)
    return (
        f"On {where} at {100 * rate:g} % sampling the network's RLNE is {found[NETWORK]:.3f}, "
        f"{verdict} that of the best other method compared ({best} {others[best]:.3f}{rest})."
        f"{after}"
    )


def nearest_rate(rates: Iterable[float]) -> float:
    """The rate nearest to 25 %, which pictures are drawn at.

    Args:
        rates: one or more.
    """
    return min(rates, key=lambda rate: abs(rate - 0.25))


def _inside(findings: Findings, output: Path, text: list[str]) -> list[str]:
    """How the solver after the network converges, and the network's own thresholds."""
    blocks = []
    if findings.courses:
        sentences = [f"On {where}: {course.told()}." for where, course in findings.courses.items()]
        path = network_figures.convergence_curves(findings.courses, output / "convergence.png")
        caption = (
            f"{REFINED}, pass by pass: median and quartiles over at most {MOST} signals. The error "
            "needs the truth; change of the signal and residual at the sampled points (of the "
            "low-rank signal before they are put back) can be seen without."
        )
        blocks += [
            report.heading("Refinement after the network"),
            *map(report.paragraph, sentences),
            *_embedded([(path, caption)]),
        ]
        text.append("\n".join(["Refinement after the network", *sentences]))
    if findings.thresholds:
        system: Any = findings.system
        told = thresholds.told(findings.thresholds)
        path = network_figures.threshold_curves(
            findings.thresholds, system.rate.support, output / "thresholds.png"
        )
        caption = (
            "Thresholds of the network against the share of sampled points, mean over "
            f"{thresholds.SIGNALS} noise-free test signals and all features of a phase."
        )
        blocks += [
            report.heading("Learned thresholds"),
            report.paragraph(told),
            *_embedded([(path, caption)]),
        ]
        text.append(f"Learned thresholds\n{told}")
    return blocks


def _table(title: str, columns: Any, rows: list[dict[str, Any]], text: list[str]) -> list[str]:
    """A table for the page, which is also added to the text."""
    if not rows:
        return []
    rows = [row | {"group": f"{row.get('region')} {row['rate']}"} for row in rows]
    text.append(f"{title}\n{text_table(columns, rows, 'group')}")
    return [report.table(html_table(columns, rows, "group", title))]


def _embedded(pictures: Pictures) -> list[str]:
    return [report.picture(path, caption) for path, caption in pictures]


def _plane_pictures(plane: Plane, test: MeasuredTest, output: Path) -> Pictures:
    rate = nearest_rate(test.estimates)
    region = test.regions[-1]  # the narrowest: where the signals are
    estimates = test.estimates[rate]
    drawn = {name: estimates[name][region.rows] for name in DRAWN if name in estimates}
    plane = restrict(plane, region.rows)
    mask = test.masks[rate]
    pictures = [
        (
            plane_figures.plane_contours(plane, drawn, mask, output / "plane.png"),
            f"{plane.name} at {100 * rate:g} % sampling (schedule 0): full spectrum, "
            "reconstructions, and what they miss, all at the same contour levels.",
        ),
        (
            plane_figures.plane_slice(plane, drawn, output / "slices.png"),
            "Slices through the strongest and a middling direct frequency, with the differences to "
            "the full spectrum below, each on its own zero line.",
        ),
    ]
    lines = [
        row | {"low": row["rlne"] - row["rlne_sd"], "high": row["rlne"] + row["rlne_sd"]}
        if row["rlne_sd"] is not None
        else row | {"low": row["rlne"], "high": row["rlne"]}
        for row in test.rows
        if row["region"] == test.regions[0].name
    ]
    path = curve_figures.error_by_rate(
        lines,
        output / "measured_error.png",
        title=f"{plane.name}: error against the share of sampled points",
        centre="rlne",
        bounds=("low", "high"),
        points=[row for row in test.schedules if row["region"] == test.regions[0].name],
    )
    caption = "RLNE over all rows: mean ± standard deviation over schedules; small: each schedule."
    return [*pictures, (path, caption)]


def _synthetic_pictures(findings: Findings, output: Path) -> Pictures:
    test = findings.synthetic
    dwell = float(getattr(findings.system, "dwell", 1.0))
    rate = nearest_rate(test.samples)
    sample, estimates = test.samples[rate], test.estimates[rate]
    target = sample.targets["spectrum"].numpy()
    percent = f"{100 * rate:g} %"
    errors = [
        record["rlne"][NETWORK] if record["rlne"][NETWORK] is not None else -1.0
        for record in test.records
        if record["rate"] == rate
    ]
    order = np.argsort(errors)
    examples = {
        f"{where}: signal {row}, network RLNE {errors[row]:.3f}": int(row)
        for where, row in (("Median", order[len(order) // 2]), ("Worst", order[-1]))
    }
    drawn = {name: estimates[name] for name in DRAWN}
    pairs = {}
    for name in estimates:
        found = [peak_intensities(e, t) for e, t in zip(estimates[name], target, strict=False)]
        pairs[name] = (np.concatenate([e for e, _ in found]), np.concatenate([t for _, t in found]))
    pictures = [
        (
            signal_figures.synthetic_spectra(
                sample, drawn, examples, output / "spectra.png", dwell=dwell
            ),
            f"Test signals at {percent} sampling with the network's median and largest error; "
            "below, the differences to the target, each on its own zero line. Frequencies above "
            f"half the sampling rate appear folded ({0.7 / dwell:g} Hz at {-0.3 / dwell:g} Hz with "
            f"a dwell of {dwell:g} s). Curves are magnitudes; RLNE is of the complex spectrum.",
        ),
        (
            curve_figures.intensity_scatter(
                pairs, output / "intensities.png",
                title=f"Peak intensities at {percent} sampling: on the line is right",
            ),
            "Estimated over true peak magnitude, all peaks above 3 % of their signal's tallest.",
        ),
        (
            signal_figures.sample_gallery(sample, output / "samples.png", dwell=dwell),
            "Test signals: what is measured (left) and the spectrum to be found (right).",
        ),
    ]  # fmt: skip
    if len(test.samples) > 1:
        path = curve_figures.error_by_rate(
            test.rows,
            output / "synthetic_error.png",
            title="Synthetic signals: median error against the share of sampled points",
            centre="rlne_median",
            bounds=("rlne_low", "rlne_high"),
        )
        pictures.insert(0, (path, "Median RLNE per signal with 95 % bootstrap intervals."))
    return pictures
