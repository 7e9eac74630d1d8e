"""Undersampled signals: FIDs, and planes whose indirect dimension is undersampled afterwards."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.baselines.signals import sparse_bayes
from ipads_stream.baselines.signals.methods import as_method
from ipads_stream.baselines.signals.refinement import LowRank, Refined
from ipads_stream.baselines.signals.refinement_lines import Lines
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number, Numbers, choice, number, ruled, whole
from ipads_stream.core.quantity import Quantity
from ipads_stream.data import named as datasets
from ipads_stream.data.planes.plane import Plane, read_plane
from ipads_stream.data.planes.recording import MODES, WINDOWS, recipe_of
from ipads_stream.data.planes.simulated import simulated_plane
from ipads_stream.evaluation.comparison import Comparison, Findings, affordable
from ipads_stream.evaluation.familiar import Familiar
from ipads_stream.evaluation.model import Model
from ipads_stream.evaluation.tasks import Condition, Metric, Settings, Task
from ipads_stream.evaluation.tasks.signals import convergence, pictures, planes, thresholds
from ipads_stream.evaluation.tasks.signals.heights import diagonal
from ipads_stream.evaluation.tasks.signals.pictures import (
    LINES,
    REFINED,
    SPARSE,
    nearest_rate,
)
from ipads_stream.evaluation.tasks.signals.planes import MeasuredTest, Region
from ipads_stream.evaluation.tasks.signals.reconstruction import Reconstruction
from ipads_stream.evaluation.tasks.signals.scores import TARGET, at_rate, scores, signal_errors
from ipads_stream.evaluation.tasks.signals.tables import (
    DEFINITIONS,
    HEIGHT_COLUMNS,
    MEASURED_COLUMNS,
    PAIR_COLUMNS,
    SYNTHETIC_COLUMNS,
)
from ipads_stream.physics.spectroscopy.spectrum import fid as fid_of
from ipads_stream.report.figures import NETWORK
from ipads_stream.report.page import Section, Table
from ipads_stream.systems import System
from ipads_stream.systems.base import Undersampled

RATES = {"full": (0.15, 0.2, 0.25, 0.5), "quick": (0.15, 0.25, 0.5)}
SCHEDULES = {"full": 5, "quick": 2}
SIGNALS = {"full": 400, "quick": 100}
SIGNALS_BESIDE_MEASURED = 200  # at most, where the synthetic test only accompanies measured data
RATE_BESIDE_MEASURED = 0.25
TRIED = 8  # rows of a plane


@dataclass(frozen=True, kw_only=True)
class Signals(Task):
    """Signals of which some points are measured.

    Attributes:
        rates: sampled shares of the points; None: those of the subset.
        schedules: of a measured plane per rate; None: as many as the subset has.
        variable: of a .mat or .npz file: name of the array; None: the only one that fits.
        mode: of the recording (data/planes/recording.py); None: as the file says.
        reverse_indirect: mirror the indirect axis; None: not.
        t2_window: of a recording, cosine or bell (data/planes/recording.py); None: cosine.
        signal_ppm: ppm, direct shifts between which a file's signals lie; None: not known.
        peak_threshold: of the tallest, above which peaks are compared; None: 3 %.
        solver: one more: lines, after the network, or sparse, which needs none; None: neither.
    """

    rates: Any = ruled(Numbers(each=Number(above=0.0, high=1.0), optional=True), None)
    schedules: Any = whole(None, low=1, optional=True)
    variable: Any = None
    mode: Any = choice(None, among=MODES, optional=True)
    reverse_indirect: Any = None
    t2_window: Any = choice(None, among=WINDOWS, optional=True)
    signal_ppm: Any = ruled(Numbers(count=2, rises=True, what="shifts", optional=True), None)
    peak_threshold: Any = number(None, above=0.0, below=1.0, optional=True)
    solver: Any = choice(None, among=("lines", "sparse"), optional=True)

    name: ClassVar[str] = "signals"
    metric: ClassVar[Metric] = Metric("rlne", "RLNE")
    definitions: ClassVar[Mapping[str, str]] = DEFINITIONS
    data_sets: ClassVar[Sequence[str]] = datasets.NAMES
    keys_of_files: ClassVar[Sequence[str]] = (
        "variable",
        "mode",
        "reverse_indirect",
        "t2_window",
        "signal_ppm",
        "peak_threshold",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variable is not None and not (isinstance(self.variable, str) and self.variable):
            raise ConfigError("variable", self.variable, "the name of an array, or null")
        if self.reverse_indirect not in (None, True, False):
            raise ConfigError("reverse_indirect", self.reverse_indirect, "true, false or null")

    def targets(self, system: System) -> Mapping[str, Quantity]:
        if not isinstance(system, Undersampled):
            allowed = "a system of undersampled signals, with rate, points, dwell and masks"
            raise ConfigError("system", system.name, allowed)
        return {TARGET: Quantity(low=0.0, high=1.0)}

    def num_samples(self, system: System, subset: str, is_measured: bool) -> int:
        most = SIGNALS_BESIDE_MEASURED if is_measured else SIGNALS[subset]
        return min(SIGNALS[subset], most)

    def at_once(self, system: System) -> int:
        return 400

    def conditions(self, system: System, settings: Settings) -> list[Condition]:
        rates = (RATE_BESIDE_MEASURED,) if settings.is_measured else self._rates(settings)
        return [at_rate(system, rate) for rate in rates]

    def _rates(self, settings: Settings) -> list[float]:
        return sorted({float(rate) for rate in self.rates or RATES[settings.subset]})

    def user_function(self, model: Model) -> Reconstruction:
        return Reconstruction(model)

    def network_methods(self, model: Any) -> dict[str, Method]:
        methods = {NETWORK: as_method(model), REFINED: as_method(Refined(model, LowRank()))}
        if self.solver == "lines":
            methods[LINES] = as_method(Refined(model, Lines()))
        elif self.solver == "sparse":
            methods[SPARSE] = as_method(sparse_bayes.reconstruct)
        return methods

    def scores(self, comparison: Comparison) -> list[dict[str, Any]]:
        return scores(comparison)

    def errors(self, comparison: Comparison, method: str) -> np.ndarray:
        return signal_errors(comparison, method)

    def lead(self, findings: Findings) -> list[str]:
        return [_lead(findings.rows, "rlne_median", "synthetic signals")]

    def sections(self, findings: Findings, output: Path) -> list[Section]:
        system, rows = findings.system, findings.rows
        assert isinstance(system, Undersampled)
        by_rate = {c.labels["rate"]: comparison for c, comparison in findings.comparisons}
        masks = {rate: comparison.inputs["mask"] for rate, comparison in by_rate.items()}
        parts = [
            Section(
                title=f"Synthetic test signals: {system.name}",
                notes=_unfamiliar(system, masks),
                tables=[Table(columns=SYNTHETIC_COLUMNS, rows=rows, group=("rate",))],
                pictures=pictures.synthetic_pictures(by_rate, rows, system.dwell, output),
            )
        ]
        rate = nearest_rate(by_rate)
        if REFINED in by_rate[rate].estimates:
            first = slice(convergence.MOST)
            fid, mask = (by_rate[rate].inputs[name][first] for name in ("fid", "mask"))
            truth = fid_of(by_rate[rate].truths[TARGET][first])
            course = convergence.course(findings.model, fid, mask, truth)
            where = f"synthetic signals at {100 * rate:g} % sampling"
            parts.append(_convergence(course, where, output / "convergence.png", "refinement"))
        learned = thresholds.thresholds_by_rate(findings.model.net, system, seed=findings.seed)
        if learned:
            path = output / "thresholds.png"
            thresholds.threshold_curves(learned, system.rate.support, path)
            caption = (
                "Thresholds of the network against the share of sampled points, mean over "
                f"{thresholds.SIGNALS} noise-free test signals and all features of a phase."
            )
            words, results = [thresholds.sentence(learned)], {"thresholds": learned}
            drawn = [(path, caption)]
            title = "Learned thresholds"
            parts.append(Section(title=title, paragraphs=words, pictures=drawn, results=results))
        return parts

    def measured(
        self, methods: Mapping[str, Method], system: System, settings: Settings, output: Path
    ) -> list[Section]:
        notes: list[str] = []
        plane = self._plane(settings, notes)
        rates, schedules = self._rates(settings), self.schedules or SCHEDULES[settings.subset]
        rows = len(plane.fid)
        tried = np.nan_to_num(plane.fid[rows // 2 : rows // 2 + TRIED])
        seed, points = settings.seed, plane.fid.shape[1]
        (schedule,) = planes.draw_schedules(points, nearest_rate(rates), 1, seed)
        inputs = {"fid": tried, "mask": np.broadcast_to(schedule, tried.shape)}
        times, seconds = len(rates) * schedules, settings.seconds
        plan = affordable(methods, inputs, samples=rows, times=times, seconds=seconds, fewest=rows)
        regions, bar, group = (
            self._regions(plane, settings),
            sys.stderr.isatty(),
            ("region", "rate"),
        )
        test = planes.measured_test(
            plane,
            _of_plane(plan.methods, plane),
            rates,
            schedules=schedules,
            regions=regions,
            seed=seed,
            bar=bar,
        )
        tables = [Table(columns=MEASURED_COLUMNS, rows=test.rows, group=group)]
        if test.pairs:
            title = "Network against IST, schedule by schedule"
            pairs = Table(columns=PAIR_COLUMNS, rows=test.pairs, group=group, title=title)
            tables.append(pairs)
        if test.heights:
            title = f"Peaks by height, rows: {regions[-1].name}"
            places = ("rate", "height")
            counted = Table(columns=HEIGHT_COLUMNS, rows=test.heights, group=places, title=title)
            tables.append(counted)
        kind = "Simulated plane" if plane.is_simulated else "Measured data"
        results = {"measured": test.rows, "measured_schedules": test.schedules}
        results["measured_heights"] = test.heights
        section = Section(
            title=f"{kind}: {plane.name}, retrospectively undersampled",
            tables=tables,
            pictures=pictures.plane_pictures(plane, test, output),
            results=results | {"network_against_IST": test.pairs},
        )
        whole_plane = [row for row in test.rows if row["region"] == test.regions[0].name]
        unfamiliar = _unfamiliar(system, {rate: mask[None] for rate, mask in test.masks.items()})
        answer = [_lead(whole_plane, "rlne", plane.name), *_lead_of_heights(test.heights)]
        lead = Section(paragraphs=answer, notes=[*plane.notes, *notes, *plan.notes, *unfamiliar])
        return [lead, section, *_plane_convergence(plane, test, methods[NETWORK], output)]

    def _regions(self, plane: Plane, settings: Settings) -> list[Region]:
        """All rows, and those that contain the signals, where that is known or said."""
        whole, source = Region(), datasets.SOURCES.get(settings.data)
        if source is not None and plane.name == Path(source.file).name:  # no simulated stand-in
            region = planes.signal_region(plane, settings.data)
        else:
            threshold = whole.threshold if self.peak_threshold is None else self.peak_threshold
            whole = region = replace(whole, threshold=threshold)
            if self.signal_ppm is not None:
                try:
                    region = planes.region_between(plane, self.signal_ppm, threshold)
                except ValueError as reason:
                    raise ConfigError("signal_ppm", list(self.signal_ppm), str(reason)) from None
        if region.threshold != Region().threshold:
            region = replace(region, name=f"{region.name}, peaks above {100 * region.threshold:g}%")
        return [region] if region.rows == whole.rows else [whole, region]

    def _plane(self, settings: Settings, notes: list[str]) -> Plane:
        """The requested plane, or a simulated one where a named one is unavailable."""
        if settings.data not in datasets.NAMES:
            path = Path(settings.data)
            recipe = recipe_of(
                path,
                mode=self.mode,
                reverse_indirect=self.reverse_indirect,
                t2_window=self.t2_window,
            )
            return read_plane(path, recipe, self.variable)
        try:
            path = datasets.find(settings.data, progress=sys.stderr.isatty())
        except datasets.DataUnavailable as reason:
            notes.append(f"A simulated protein plane stands in for {settings.data}: {reason}.")
            return simulated_plane(settings.seed)
        return read_plane(path)


def _of_plane(methods: Mapping[str, Method], plane: Plane) -> dict[str, Method]:
    """The methods; what can use mirror images is told where the diagonal of this plane lies."""
    along = diagonal(plane)
    if SPARSE not in methods or along is None:
        return dict(methods)
    frequency = along / plane.indirect.width
    mirrored = as_method(partial(sparse_bayes.reconstruct, row_frequency=frequency))
    return {**methods, SPARSE: mirrored}


def _lead(rows: Sequence[Mapping[str, Any]], key: str, where: str) -> str:
    """The answer in one sentence: all methods at 25 %, or the rate nearest to it."""
    rate = nearest_rate(row["rate"] for row in rows)
    known = (row for row in rows if row["rate"] == rate and not row.get("is_partial"))
    errors = {row["method"]: row[key] for row in known if row[key] is not None}
    networks = (NETWORK, REFINED, LINES)
    others = {name: error for name, error in errors.items() if name not in networks}
    if NETWORK not in errors or not others:
        return f"On {where} at {100 * rate:g} % sampling the error is not defined."
    best = min(others, key=others.__getitem__)
    verdict = "below" if errors[NETWORK] < others[best] else "not below"
    after = f" A low-rank step after it: {errors[REFINED]:.3f}." if REFINED in errors else ""
    named = ", ".join(f"{name} {others[name]:.3f}" for name in dict.fromkeys([best, *others]))
    return (
        f"On {where} at {100 * rate:g} % sampling the network's RLNE is {errors[NETWORK]:.3f}, "
        f"{verdict} that of the best other method compared ({named}).{after}"
    )


def _lead_of_heights(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What becomes of the lowest peaks at the rate nearest to 25 %, in one sentence."""
    if not rows or rows[-1]["height"] == rows[0]["height"]:
        return []
    rate = nearest_rate(row["rate"] for row in rows)
    lowest = [row for row in rows if row["rate"] == rate and row["height"] == rows[-1]["height"]]
    wrong = ", ".join(f"{row['method']} {row['lost'] + row['raised']:.0%}" for row in lowest)
    return [
        f"Of the {lowest[0]['peaks']} lowest peaks off ridges and diagonal ({lowest[0]['height']} "
        f"of the tallest) this share has a height that is wrong by more than half: {wrong}."
    ]


def _unfamiliar(system: System, masks: Mapping[float, np.ndarray]) -> list[str]:
    """What the network is given that its training data lack; rate -> masks (signals, points)."""
    return [
        f"At {100 * rate:g} % sampling: {sentence}."
        for rate, mask in masks.items()
        for sentence in Familiar(system)({"mask": mask})
    ]


def _convergence(course: convergence.Course, where: str, path: Path, key: str) -> Section:
    """How the solver after the network converges; ``key`` of the results."""
    caption = (
        f"{REFINED}, pass by pass: median and quartiles over at most {convergence.MOST} signals. "
        "The error needs the truth; change of the signal and residual at the sampled points (of "
        "the low-rank signal before they are put back) can be seen without."
    )
    convergence.convergence_curves({where: course}, path, name=REFINED)
    return Section(
        title="Refinement after the network",
        paragraphs=[f"On {where}: {course.sentence()}."],
        pictures=[(path, caption)],
        results={key: [{"where": where, **course.summary()}]},
    )


def _plane_convergence(
    plane: Plane, test: MeasuredTest, network: Method, output: Path
) -> list[Section]:
    rate = nearest_rate(test.estimates)
    if REFINED not in test.estimates[rate]:
        return []

    def model(fid: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return planes.reconstruct(network, fid, mask)

    course = convergence.on_plane(model, plane, test.regions[-1].rows, test.masks[rate])
    where = f"strongest rows of {plane.name} at {100 * rate:g} % sampling"
    return [_convergence(course, where, output / "measured_convergence.png", "measured_refinement")]
