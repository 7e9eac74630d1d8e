"""How much of a slow method an evaluation can afford, and what the reader must know about it.

For a signal of 128 points LRHM takes 0.05 s and the low-rank step after the network 0.01 s, for
longer ones a power of the length more. Each is tried on a few signals first; where all of them
would take too long it gets fewer, or is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipads_stream.evaluation.methods import LRHM, REFINED, Method, timed
from ipads_stream.evaluation.planes import Plane
from ipads_stream.evaluation.refinement import SHORTEST
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System

SLOW = (LRHM, REFINED)
SECONDS = {"full": 1800.0, "demo": 60.0}  # for each of them on the plane, and on the signals
TRIED = 8  # signals
FEWEST = 10  # signals; with less there is nothing to compare


def on_plane(
    methods: Mapping[str, Method], plane: Plane, times: int, subset: str
) -> tuple[dict[str, Method], list[str]]:
    """The methods that can be afforded on a plane, and what to say of the others.

    Args:
        methods: by name.
        plane: to be reconstructed.
        times: how often.
        subset: "full" or "demo".
    """
    rows, points = plane.fid.shape
    mask = np.arange(points) % 4 == 0
    tried = np.nan_to_num(plane.fid[rows // 2 : rows // 2 + TRIED])
    used, notes = _long_enough(methods, points)
    for name in (name for name in SLOW if name in used):
        _, seconds = timed(methods[name], tried, mask)
        needed = seconds * rows * times
        if needed > SECONDS[subset]:
            del used[name]
            notes.append(
                f"{name} is left out on the plane: it would take about {_duration(needed)}, more "
                f"than the {_duration(SECONDS[subset])} that subset={subset} allows."
            )
    return used, notes


def on_signals(
    methods: Mapping[str, Method], system: System, samples: int, times: int, subset: str
) -> tuple[dict[str, Method], dict[str, int], list[str]]:
    """The methods that can be afforded on synthetic signals, on how many, and what to say.

    Args:
        methods: by name.
        system: that simulates the signals.
        samples: signals wanted.
        times: how often, such as the number of rates.
        subset: "full" or "demo".
    """
    few = Stream(system, split="test", batch_size=TRIED, device="cpu", threads=0).batch(0)
    fid, mask = few.inputs["fid"].numpy(), few.inputs["mask"].numpy()
    used, notes = _long_enough(methods, fid.shape[1])
    fewer: dict[str, int] = {}
    for name in (name for name in SLOW if name in used):
        _, seconds = timed(methods[name], fid, mask)
        count = int(SECONDS[subset] / (seconds * times))
        if FEWEST <= count < samples:
            fewer[name] = count
        elif count < samples:
            del used[name]
            notes.append(
                f"{name} is left out on synthetic signals: one takes about {seconds:.2g} s."
            )
    return used, fewer, notes


def _long_enough(methods: Mapping[str, Method], points: int) -> tuple[dict[str, Method], list[str]]:
    """The methods that signals of so many points are long enough for."""
    if points >= SHORTEST or REFINED not in methods:
        return dict(methods), []
    note = f"{REFINED} is left out: it needs signals of {SHORTEST} points, these have {points}."
    return {name: method for name, method in methods.items() if name != REFINED}, [note]


def on_the_same_signals(
    records: Sequence[Mapping[str, Any]], fewer: Mapping[str, int]
) -> list[str]:
    """Medians of all methods on the signals that a slow method was given, too.

    Args:
        records: of the synthetic test.
        fewer: slow method -> number of signals.
    """
    notes = []
    for name, count in fewer.items():
        parts = []
        for rate in dict.fromkeys(record["rate"] for record in records):
            some = [r["rlne"] for r in records if r["rate"] == rate and name in r["rlne"]]
            shared = [key for key in some[0] if all(key in errors for errors in some)]
            known = {key: [e[key] for e in some if e[key] is not None] for key in shared}
            told = ", ".join(f"{key} {np.median(e):.3f}" for key, e in known.items() if e)
            parts.append(f"at {100 * rate:g} % {told}")
        notes.append(
            f"{name} is slow and saw the first {count} signals only, so it is not compared in the "
            f"table. Median RLNE of all methods on these: {'; '.join(parts)}."
        )
    return notes


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
