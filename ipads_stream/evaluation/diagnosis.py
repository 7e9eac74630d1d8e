"""Which imperfection explains that measured data are not what was simulated.

Each that a system declares is added to its signal and fitted by maximum likelihood over regions,
whose voxels share its parameters; what it gains is 2 ln L less k ln n of its k parameters and the n
samples of the region, so that what is not there gains nothing.

Source: Schwarz, Annals of Statistics 6, 461 (1978).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ipads_stream.baselines.region_fits import Fit, Imperfection, fit_alone, fit_shared
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Whole
from ipads_stream.data.images import read_images
from ipads_stream.evaluation.tasks.quantities.images import axis_of
from ipads_stream.report import figures
from ipads_stream.report.page import Column, Section, Table, present
from ipads_stream.systems.base import Diagnosable, Measurable

SIDE = 5  # voxels of a region along the first two axes, 25 together
FEWEST = 12  # voxels of a region
SIGNAL = 5.0  # times the noise, of a voxel that tells anything
SHARE = 0.1  # of the regions, from which the model is said not to hold
NONE = "as simulated"


@dataclass(frozen=True)
class Diagnosis:
    """What was tried on regions.

    Attributes:
        gains: 2 ln L less k ln n of every imperfection, (regions,).
        fits: of every imperfection.
        alone: of the system.
        imperfections: that were tried.
        untried: of the others, why.
        region: of every voxel, (B,).
    """

    gains: Mapping[str, Float[np.ndarray, " R"]]
    fits: Mapping[str, Fit]
    alone: Fit
    imperfections: Mapping[str, Imperfection]
    untried: Mapping[str, str]
    region: Int[np.ndarray, " B"]

    @property
    def ranked_first(self) -> list[str]:
        """What explains each region best; ``NONE`` where nothing gains."""
        names = [*self.gains]
        table = np.stack([self.gains[name] for name in names])
        best = table.argmax(axis=0)
        return [names[i] if table[i, r] > 0 else NONE for r, i in enumerate(best)]

    @property
    def ranked(self) -> list[str]:
        """Imperfections by what they gain in all regions together, where they gain."""
        return sorted(self.gains, key=lambda name: -np.maximum(self.gains[name], 0).sum())

    def sentence(self) -> str:
        """What explains the data best, in words."""
        first = self.ranked_first
        share = 1 - first.count(NONE) / len(first)
        if share < SHARE:
            return f"nothing that was tried explains more than the system does ({_of(first)})"
        best = self.ranked[0]
        text = f"{best}: {self.imperfections[best].sentence}"
        return f"{text}; best in {first.count(best)} of {len(first)} regions"


def _of(first: Sequence[str]) -> str:
    return f"{first.count(NONE)} of {len(first)} regions are as simulated"


def diagnose_voxels(
    system: Diagnosable, inputs: Mapping[str, np.ndarray], region: Int[np.ndarray, " B"]
) -> Diagnosis:
    """Fits every imperfection of a system to voxels (B, ...) of regions numbered 0, 1, ..."""
    alone = fit_alone(system, inputs)
    samples = np.bincount(region, inputs["mask"].sum(axis=1))
    gains, fits, tried, untried = {}, {}, {}, {}
    for name, target in system.imperfections.items():
        try:
            imperfection = _made(system, name, target)
            fit = fit_shared(system, imperfection, inputs, alone, region)
        except ConfigError as error:
            untried[name] = str(error)
            continue
        gained = np.bincount(region, fit.log_likelihood - alone.log_likelihood)
        gains[name] = 2 * gained - len(imperfection.grid) * np.log(samples)
        fits[name], tried[name] = fit, imperfection
    if not gains:
        raise ConfigError("system.imperfections", system.name, "; ".join(untried.values()))
    return Diagnosis(gains, fits, alone, tried, untried, region)


def _made(system: Diagnosable, name: str, target: str) -> Imperfection:
    try:
        make = pkgutil.resolve_name(target)
    except (ImportError, ValueError, AttributeError):
        allowed = "the full name of a function make(system) -> Imperfection"
        raise ConfigError(f"imperfections.{name}", target, allowed) from None
    return make(system)  # type: ignore[no-any-return]


def diagnose(model: Any, config: Mapping[str, Any]) -> str:
    """Ranks the imperfections of a network's system by what they explain of measured images.

    Args:
        model: trained network, of ``load_model``; its system alone counts.
        config: as conf/diagnose.yaml.

    Returns:
        The report for the terminal; its page is ``output/diagnosis.html``.

    Raises:
        ConfigError: a system that declares none, data that do not fit, too few voxels with signal.
    """
    system = getattr(model, "system", None)
    if not isinstance(system, Diagnosable) or not isinstance(system, Measurable):
        allowed = "a network of a system with a likelihood that declares imperfections"
        raise ConfigError("checkpoint", config["checkpoint"], allowed)
    most = Whole(low=1, high=4096)("regions", config["regions"])
    path, output = Path(config["data"]), Path(config["output"])
    images = read_images(path)
    values = images.values
    axis, how = axis_of(
        system, images.sidecar, config["axis"], config["axis_unit"], values.shape[-1]
    )
    inputs = {name: np.asarray(x) for name, x in system.measured(values, axis).items()}
    count = int(inputs["mask"].sum(axis=1).max())
    inputs = {name: x[:, :count] for name, x in inputs.items()}
    has_signal = inputs["signal"].max(axis=1) > SIGNAL
    voxels, region = regions(has_signal.reshape(values.shape[:-1]), most)
    if not len(voxels):
        allowed = f"{FEWEST} of {SIDE * SIDE} neighbours above {SIGNAL:g} times the noise"
        raise ConfigError("data", f"{int(has_signal.sum())} voxels with signal", allowed)
    found = diagnose_voxels(system, {name: x[voxels] for name, x in inputs.items()}, region)
    notes = [note for note in (*images.notes, how) if note]
    gained = np.full(values[..., 0].size, np.nan)
    gained[voxels] = found.gains[found.ranked[0]][region]
    picture = draw(found, gained.reshape(values.shape[:-1]), output / "diagnosis.png")
    part = section(system.name, found, notes, picture)
    return present(f"Diagnosis of {path.name}", [part], output / "diagnosis.html")


def regions(
    inside: Bool[np.ndarray, "..."], most: int
) -> tuple[Int[np.ndarray, " B"], Int[np.ndarray, " B"]]:
    """Voxels of squares of 25 neighbours along the first two axes, and the number of the square.

    Squares of too few voxels are left out; of more than ``most``, as many at even distances stay.

    Args:
        inside: which voxels have signal, (*space).
        most: regions.
    """
    places = np.argwhere(inside)
    sides = [SIDE, SIDE] if inside.ndim > 1 else [SIDE * SIDE]
    squares = places.copy()
    squares[:, : len(sides)] //= sides
    _, number, sizes = np.unique(squares, axis=0, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(sizes >= FEWEST)
    kept = kept[np.unique(np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int))]
    is_kept = np.isin(number.ravel(), kept)
    voxels = np.flatnonzero(inside.ravel())[is_kept]
    return voxels, np.searchsorted(kept, number.ravel()[is_kept])


def section(system: str, found: Diagnosis, notes: Sequence[str], picture: Path) -> Section:
    """The ranked table of a system's imperfections, its sentence and a picture."""
    first, rows = found.ranked_first, []
    for name in found.ranked:
        gains, remedy = found.gains[name], found.imperfections[name].remedy
        is_there = (gains > 0)[found.region]
        shared = found.fits[name].shared if is_there.any() else {}
        parameters = {n: float(np.median(x[is_there])) for n, x in shared.items()}
        rows.append({
            "imperfection": name,
            "gain": float(np.median(gains)),
            "share": float(np.mean(gains > 0)),
            "first": first.count(name) / len(first),
            "found": ", ".join(f"{n} {x:.3g}" for n, x in parameters.items()) or None,
            "remedy": (remedy.format(**parameters) or f"no key of {system}") if shared else None,
        })  # fmt: skip
    columns = (
        Column("imperfection", "imperfection"),
        Column("median gain", "gain", ".1f"),
        Column("regions in which it gains (%)", "share", ".0f", 100.0),
        Column("in which it is best (%)", "first", ".0f", 100.0),
        Column("median, where it gains", "found"),
        Column("simulated by", "remedy"),
    )
    words = [found.sentence()]
    words += [f"{name} was not tried: {why}" for name, why in found.untried.items()]
    caption = (
        "Left: what every imperfection gains, a point for each region; above 0 it explains more "
        f"than its parameters cost. Right: where {found.ranked[0]} gains, in the slice of the most "
        "regions."
    )
    definitions = {
        "gain": "Twice the logarithm of the likelihood that is gained, less the logarithm of the "
        "number of samples for each further parameter of a region (Schwarz 1978).",
        "simulated by": "What trains with it, as words of a command line.",
    }
    text = f"{_of(first)}; {len(found.region)} voxels"
    return Section(
        paragraphs=[f"{'; '.join(notes)}; {text}.", "; ".join(words) + "."],
        tables=[Table(columns=columns, rows=rows)], pictures=[(picture, caption)],
        definitions=definitions, results={"diagnosis": rows},
    )  # fmt: skip


def draw(found: Diagnosis, gained: Float[np.ndarray, "..."], path: Path) -> Path:
    """Gains by region, and a slice of those of the best imperfection, (*space), NaN elsewhere."""
    names = found.ranked[::-1]
    with figures.drawing(path, 1, 2, height=4.0) as axes:
        left, right = axes[0]
        for place, name in enumerate(names):
            gains = found.gains[name]
            scatter = 0.5 * (np.arange(len(gains)) % 7 / 6 - 0.5)
            left.plot(gains, place + scatter, ".", color=figures.BLUE, markersize=4)
        left.axvline(0, color=figures.GREY, linewidth=0.8)
        left.set(yticks=range(len(names)), yticklabels=names, xlabel="gain in a region")
        left.set_xscale("symlog", linthresh=10)
        planes = np.atleast_2d(gained)
        planes = planes.reshape(*planes.shape[:2], -1)
        plane = planes[..., np.isfinite(planes).sum(axis=(0, 1)).argmax()]
        shown = right.imshow(plane.T, origin="lower", cmap="viridis")
        right.figure.colorbar(shown, ax=right, label=f"gain by {names[-1]}")
        right.set(xlabel="voxel", ylabel="voxel")
    return path
