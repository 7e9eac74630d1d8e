"""What a drawn number costs on the host, of everything that is drawn there, in one run.

Microseconds of processor time per number of what is drawn: a value of a distribution, a point of a
schedule, a noise value, an entry of a table of random shapes. Batches of 512 samples (16 of shapes
and sources), the quickest of many calls. The goal is 0.2 us. By system: its parameters and the
tables of its random shapes, in batches as it is trained with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rates.distributions import PLAIN, variants
from rates.floor import least_processor_seconds

from ipads_stream.acquisition.masks import SCHEDULES
from ipads_stream.config import build_system, compose, conf_dir
from ipads_stream.core import random
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Beta, DiscreteUniform, draw_parameters
from ipads_stream.phantoms import Grid, RandomShapes, draw_values, lesions, spio_spots, vessels

SAMPLES, TEMPLATES, VALUES, POINTS, LONG = 512, 16, 10, 256, 1024
REPEATS = 20  # of the draws of a system
PLANE, SPACE = Grid((64, 64), (3.4e-3,) * 2), Grid((64, 64, 64), (3.4e-3,) * 3)
Draw = Callable[[], Any]


def of_distributions(keys: Keys) -> dict[str, tuple[Draw, int]]:
    """A parameter of ten values a sample, by the kind of its distribution, and what it needs."""
    with TemporaryDirectory() as folder:
        kinds = {"Uniform": {}, **variants(folder)}
    kinds |= {"DiscreteUniform": {"amplitude": DiscreteUniform(low=1, high=10)}}
    kinds |= {"Beta": {"amplitude": Beta(a=0.6667, b=1.0)}}
    progress = keys.indices.astype(np.float64)
    draws: dict[str, tuple[Draw, int]] = {}
    for name, changed in kinds.items():
        shapes = {
            key: (value, (VALUES,) if key in ("amplitude", "frequency", "phase", "decay") else ())
            for key, value in (PLAIN | changed).items()
        }
        number = sum(SAMPLES * (shape or (1,))[0] for _, shape in shapes.values())
        draws[name] = lambda shapes=shapes: draw_parameters(shapes, keys, progress), number
    return draws


def of_acquisition(keys: Keys) -> dict[str, tuple[Draw, int]]:
    """Words, normal numbers and schedules."""
    counts = (POINTS * np.linspace(0.15, 0.5, SAMPLES)).astype(np.int64)
    draws: dict[str, tuple[Draw, int]] = {
        "words": (lambda: random.words(keys["a"], LONG), SAMPLES * LONG),
        "uniform numbers": (lambda: random.uniform(keys["a"], (LONG,)), SAMPLES * LONG),
        "normal numbers": (lambda: random.normal(keys["a"], (LONG,)), SAMPLES * LONG),
        "orders of 64": (lambda: random.permutation(keys["a"], 64), SAMPLES * 64),
    }
    for name, schedule in SCHEDULES.items():
        draw = lambda schedule=schedule: schedule(keys["mask"], POINTS, counts)  # noqa: E731
        draws[f"schedule {name}"] = draw, SAMPLES * POINTS
    return draws


def of_phantoms(keys: Keys) -> dict[str, tuple[Draw, int]]:
    """Tables of random shapes, their values, and sources in space."""
    draws: dict[str, tuple[Draw, int]] = {}
    for axes, grid in (("plane", PLANE), ("space", SPACE)):
        template = RandomShapes()
        shapes = template.draw(keys, grid)
        tables = (shapes.kind, shapes.centre, shapes.size, shapes.rotation, shapes.detail)
        draw = lambda template=template, grid=grid: template.draw(keys, grid)  # noqa: E731
        draws[f"random shapes, {axes}"] = draw, sum(x.size for x in tables)
    values = {"amplitude": PLAIN["amplitude"]}
    flat = RandomShapes().draw(keys, PLANE)
    draws["values of shapes"] = lambda: draw_values(keys, values, flat), flat.kind.size
    kinds = {"lesions": lesions(), "spio_spots": spio_spots(), "vessels": vessels()}
    for name, sources in kinds.items():
        size = sum(np.asarray(x).size for x in _arrays(sources.draw(keys, SPACE)))
        draws[name] = lambda sources=sources: sources.draw(keys, SPACE), size
    return draws


def of_systems() -> dict[str, dict[str, float]]:
    """What a system draws on the host: numbers of a sample, microseconds per number and sample."""
    rows = {}
    for path in sorted((conf_dir() / "system").glob("*.yaml")):
        config = compose([f"system={path.stem}"])
        system, batch = build_system(config), config["stream"]["batch_size"]
        numbers, taken = drawn_by(system, batch, REPEATS)
        rows[path.stem] = {
            "batch_size": batch,
            "numbers": numbers / batch,
            "us_per_number": taken / numbers,
            "us_per_sample": taken / batch,
        }
        numbers, taken = drawn_by(system, SAMPLES, 5)
        rows[path.stem]["us_per_number_of_many"] = taken / numbers
    return rows


def drawn_by(system: Any, batch: int, repeats: int) -> tuple[int, float]:
    """How many numbers a system draws for a batch, and the microseconds that it takes."""
    keys = Keys(0, "train", np.arange(batch, dtype=np.uint64))
    templates = list(_shapes(system))

    def draw() -> Any:
        drawn = [system.draw(keys, keys.indices.astype(np.float64))]
        return drawn + [x.draw(keys, system.grid, name=str(i)) for i, x in enumerate(templates)]

    numbers = sum(x.size for x in _arrays(draw()))
    return numbers, 1e6 * least_processor_seconds(draw, repeats)


def _shapes(thing: Any) -> Iterator[RandomShapes]:
    """The random shapes among the parts of a system."""
    if isinstance(thing, RandomShapes):
        yield thing
    elif dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            yield from _shapes(getattr(thing, field.name))


def _arrays(drawn: Any) -> list[Any]:
    """The arrays of what was drawn."""
    if isinstance(drawn, np.ndarray):
        return [drawn]
    if np.isscalar(drawn):
        return []
    if isinstance(drawn, dict):
        drawn = list(drawn.values())
    parts = drawn if isinstance(drawn, (tuple, list)) else vars(drawn).values()
    return [x for part in parts for x in _arrays(part)]


def measure(quick: bool) -> dict[str, Any]:
    """Microseconds per number, by what is drawn."""
    repeats = 3 if quick else 50
    keys = Keys(0, "train", np.arange(SAMPLES, dtype=np.uint64))
    few = Keys(0, "train", np.arange(TEMPLATES, dtype=np.uint64))
    draws = {**of_distributions(keys), **of_acquisition(keys), **of_phantoms(few)}
    found: dict[str, Any] = {}
    for name, (draw, number) in draws.items():
        draw()  # compiles and fills tables
        found[name] = 1e6 * least_processor_seconds(draw, repeats) / number
    return {"us_per_number": found, "most": max(found.values()), "systems": of_systems()}
