"""Echo times, flip angles and inversion times of the least bound (`ipads-stream design`)."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Flag, Names, Number, Whole
from ipads_stream.core.files import write_text
from ipads_stream.core.units import factor
from ipads_stream.evaluation.adoption.text import sentence, yaml_of
from ipads_stream.evaluation.design.problem import Asked, Curve, Present, Problem
from ipads_stream.evaluation.design.search import (
    UNKNOWN,
    Found,
    Voxels,
    left,
    mean_square,
    search,
    voxels,
)
from ipads_stream.report import figures
from ipads_stream.report.page import Column, Section, Table, present
from ipads_stream.systems.base import Designable

FRESH = 1000  # voxels of the report, none of which the search has seen
MOST_COUNTS = 12  # numbers of images that are tried of a range


@dataclass(frozen=True)
class Outcome:
    """What was chosen, and what it gains on voxels that the search has not seen.

    Attributes:
        before, after: what is left of the prior's standard deviation, (B, unknown).
        voxels: of both.
    """

    there: Present
    found: Found
    wanted: Sequence[str]
    before: np.ndarray
    after: np.ndarray
    voxels: Voxels

    def root(self, errors: np.ndarray, *names: str) -> float:
        """Root mean square of the columns of quantities, of all that are wanted without a name."""
        unknown = list(self.found.problem.unknown)
        wanted = names or self.wanted
        square = mean_square(torch.as_tensor(errors), unknown, wanted, self.voxels)
        return float(square) ** 0.5

    def sentence(self) -> str:
        """The gain in words."""
        before, after = self.root(self.before), self.root(self.after)
        if after > 0.995 * before:
            return "nothing that was tried is better than the protocol that there is"
        return (
            f"{self.found.problem.size} in {self.found.duration:.4g} s: root mean square error "
            f"{after / before:.3f} times that of {self.there.size} in {self.there.duration:.4g} s"
        )


def design(
    system: Any, base: str, config: Mapping[str, Any], taken: Sequence[str], recommended: str
) -> str:
    """Chooses a system's protocol by the bound; writes the system that has it, and a report.

    Args:
        system: whose protocol is chosen, over its prior.
        base: its name in the configuration.
        config: as conf/design.yaml; its output then serves as ``conf=FOLDER system=NAME``.
        taken: names of systems that there are.
        recommended: text of the YAML of what the system is best trained with.

    Returns:
        The report for the terminal; its page is ``output/design.html``.

    Raises:
        ConfigError: a system that declares no design, a key that cannot be used, a budget within
            which there is no protocol.
    """
    name = config["name"]
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or name in taken:
        raise ConfigError("name", name, "letters, digits and underscores, not a system's name")
    outcome = designed(system, config)
    folder = Path(config["output"] or f"runs/design-{name}")
    folder.mkdir(parents=True, exist_ok=True)
    settings, notes = outcome.found.problem.settings(outcome.found.controls, folder)
    new = replace(system, **{field: x.value for field, x in settings.items()})
    path = folder / "system" / f"{name}.yaml"
    train = f"ipads-stream train conf={folder} system={name}"
    notes = [outcome.sentence(), *notes]
    text = yaml_of(f"{base}, designed", [*notes, train], new, base, settings, recommended)
    write_text(path, text)
    lines = [f"{field}: {sentence(x)}" for field, x in settings.items()]
    picture = _draw(outcome, folder / "design.png")
    part = _section(system, outcome, [*lines, *notes[1:], f"{path}: {train}"], picture)
    return present(f"Design of {base}", [part], folder / "design.html")


def designed(system: Any, config: Mapping[str, Any]) -> Outcome:
    """The protocol of the least bound, without writing anything."""
    if not isinstance(system, Designable):
        raise ConfigError("system", system.name, "one that says what may be chosen: `design`")
    asked = _asked(config)
    try:
        make = pkgutil.resolve_name(system.design)
    except (ImportError, ValueError, AttributeError):
        allowed = "the full name of a function design(system, asked)"
        raise ConfigError("system.design", system.design, allowed) from None
    there, problems = make(system, asked)
    if not problems[0].controls:
        allowed = "those of what may be chosen: the system has one protocol alone"
        raise ConfigError("limits", config["limits"], allowed)
    budget = asked.budget or there.duration
    unknown = problems[0].unknown
    wanted = config["quantities"]
    wanted = [x for x in unknown if x in system.quantities] if wanted is None else wanted
    Names(what="quantities")("quantities", wanted)
    if not wanted or not set(wanted) <= set(unknown):
        raise ConfigError("quantities", wanted, f"some of {', '.join(unknown)}")
    width = 1.0 if Flag()("prior", config["prior"]) else UNKNOWN
    seed, starts = config["seed"], Whole(low=1, high=100)("starts", config["starts"])
    count = Whole(low=4, high=10_000)("voxels", config["voxels"])
    tried = voxels(system, unknown, count, seed, "design")
    shortest = [float(x.duration(_shortest(x))) for x in problems]
    possible = [x for x, y in zip(problems, shortest, strict=True) if y <= budget * (1 + 1e-9)]
    found = []
    for problem in tqdm(_thinned(possible), desc="protocols", disable=not sys.stderr.isatty()):
        ended = search(problem, tried, wanted, budget, width=width, starts=starts, seed=seed)
        found += [] if ended is None else [ended]
    if not found:
        allowed = (
            f"a duration within which there is a protocol, at least about {min(shortest):.4g} s"
        )
        raise ConfigError("budget", budget, allowed)
    best = min(found, key=lambda x: x.mean_square)
    fresh = voxels(system, unknown, FRESH, seed, "design/fresh")
    chosen = {name: torch.as_tensor(x) for name, x in best.controls.items()}
    before, after = (
        left(signal, unknown, fresh, width).numpy()
        for signal in (there.signal, lambda p: best.problem.signal(p, chosen))
    )
    return Outcome(there, best, wanted, before, after, fresh)


def _asked(config: Mapping[str, Any]) -> Asked:
    budget = Number(above=0, optional=True)("budget", config["budget"])
    count = Whole(low=2, high=100_000, optional=True)("count", config["count"])
    given = {key: {} if config[key] is None else config[key] for key in ("start", "limits")}
    for key, example in (("start", "{spacing: 0.01}"), ("limits", "{spacing: [0.006, 0.02]}")):
        if not isinstance(given[key], Mapping):
            raise ConfigError(key, given[key], f"null, or numbers in SI by name: {example}")
    return Asked(budget, count, **given)


def _thinned(problems: Sequence[Problem]) -> list[Problem]:
    most = min(len(problems), MOST_COUNTS)
    return [problems[i] for i in np.linspace(0, len(problems) - 1, most).round().astype(int)]


def _shortest(problem: Problem) -> dict[str, Any]:
    return {name: torch.full((len(x.start),), x.low, dtype=torch.float64)
            for name, x in problem.controls.items()}  # fmt: skip


def _section(system: Any, outcome: Outcome, notes: Sequence[str], picture: Path) -> Section:
    rows: list[dict[str, Any]] = []
    for name in outcome.wanted:
        before, after = outcome.root(outcome.before, name), outcome.root(outcome.after, name)
        unit = system.quantities[name].unit if name in system.quantities else ""
        is_log = outcome.found.problem.unknown[name] == "log"
        size = outcome.voxels.spread[name] / (factor("%") if is_log else factor(unit))
        rows.append({
            "quantity": name, "before": before * size, "after": after * size,
            "ratio": after / before, "of": "% of its value" if is_log else unit,
        })  # fmt: skip
    columns = (
        Column("quantity", "quantity"), Column("error now", "before", ".4g"),
        Column("designed", "after", ".4g"), Column("unit", "of"),
        Column("designed over now", "ratio", ".3f"),
    )  # fmt: skip
    found = outcome.found
    about = (
        f"Duration of {found.problem.lasts}: {outcome.there.duration:.4g} s now, "
        f"{found.duration:.4g} s as designed; {found.agreeing} of {found.starts} starts of the "
        f"search ended there. Errors are of {FRESH} voxels that the search has not seen."
    )
    if ended := found.at_limits():
        about += f" At the end of its limits: {', '.join(ended)}."
    definitions = {
        "error": "Root mean square over the prior of the Cramer-Rao bound with that prior, at the "
        "noise of one image in a real channel that is there now; of Gaussian noise, which "
        "magnitudes have well above it. It is no promise of what a network reaches.",
    }
    caption = "Left: the protocol now and as designed. Right: what is left of the prior's standard "
    caption += f"deviation of {outcome.wanted[0]} in each voxel."
    return Section(
        paragraphs=[outcome.sentence() + ".", about], notes=list(notes),
        tables=[Table(columns=columns, rows=rows)], pictures=[(picture, caption)],
        definitions=definitions, results={"design": rows},
    )  # fmt: skip


def _draw(outcome: Outcome, path: Path) -> Path:
    chosen = {name: torch.as_tensor(x) for name, x in outcome.found.controls.items()}
    curves: dict[str, Curve] = {
        "now": outcome.there.curve, "designed": outcome.found.problem.curve(chosen),
    }  # fmt: skip
    name = outcome.wanted[0]
    column = list(outcome.found.problem.unknown).index(name)
    values = outcome.voxels.params[name].numpy()
    with figures.drawing(path, 1, 2, height=4.0) as axes:
        left_axis, right_axis = axes[0]
        errors = (outcome.before, outcome.after)
        looks = zip(curves.items(), errors, (figures.GREY, figures.BLUE), strict=True)
        for (label, curve), error, colour in looks:
            number = np.arange(1, len(curve.values) + 1)
            left_axis.plot(number, curve.values, ".-", color=colour, label=label)
            right_axis.plot(values, error[:, column], ".", color=colour, label=label, markersize=3)
        left_axis.set(xlabel=curve.counted, ylabel=curve.label)
        right_axis.set(xlabel=f"{name} (SI)", ylabel="left of the prior", yscale="log")
        left_axis.legend()
        right_axis.legend()
    return path
