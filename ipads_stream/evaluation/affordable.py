"""How much of a slow method an evaluation can afford, and what the reader must know about it.

LRHM takes 0.05 s for a signal of 128 points and a power of the length more for longer ones. It is
tried on one signal first; where all of them would take too long it gets fewer, or is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipads_stream.evaluation.methods import LRHM, Method, timed
from ipads_stream.evaluation.planes import Plane
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System

SECONDS = {"full": 1800.0, "demo": 10.0}  # for LRHM on the plane, and on the signals
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
    tried = np.nan_to_num(plane.fid[rows // 2 : rows // 2 + 1])
    _, seconds = timed(methods[LRHM], tried, mask)
    needed = seconds * rows * times
    if needed <= SECONDS[subset]:
        return dict(methods), []
    note = (
        f"LRHM is left out on the plane: it would take about {_duration(needed)}, more than the "
        f"{_duration(SECONDS[subset])} that subset={subset} allows."
    )
    return {name: method for name, method in methods.items() if name != LRHM}, [note]


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
    one = Stream(system, split="test", batch_size=1, device="cpu", threads=0).batch(0)
    _, seconds = timed(methods[LRHM], one.inputs["fid"].numpy(), one.inputs["mask"].numpy())
    count = int(SECONDS[subset] / (seconds * times))
    if count >= samples:
        return dict(methods), {}, []
    if count >= FEWEST:
        return dict(methods), {LRHM: count}, []
    note = f"LRHM is left out on synthetic signals: one takes about {seconds:.2g} s."
    return {name: method for name, method in methods.items() if name != LRHM}, {}, [note]


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
            known = {key: [e[key] for e in some if e[key] is not None] for key in some[0]}
            told = ", ".join(f"{key} {np.median(e):.3f}" for key, e in known.items() if e)
            parts.append(f"at {100 * rate:g} % {told}")
        notes.append(
            f"{name} is slow and saw the first {count} signals only, so it is not compared in the "
            f"table. Median RLNE of all methods on these: {'; '.join(parts)}."
        )
    return notes


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
