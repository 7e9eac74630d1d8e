"""Pictures of numbers: training, error against rate, intensities against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.report import figures
from ipads_stream.report.figures import BLACK, BLUE, GREY, VERMILION, colours, drawing, plain_ticks

FLOOR = 0.002  # smaller errors are drawn here: rounding noise would stretch the scale


def training_curves(log: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Loss and stall of every step of metrics.jsonl, with a running median over the raw values."""
    with drawing(path, 1, 2, height=3.4) as axes:
        loss, stall = axes[0]
        _raw_and_smooth(loss, *_series(log, "loss"), label="training loss")
        steps, values = _series(log, "val/loss")
        if steps.size:
            loss.plot(steps, values, "D-", color=VERMILION, markersize=4, label="validation loss")
        if any((line.get_ydata() > 0).any() for line in loss.lines):
            loss.set_yscale("log")
            plain_ticks(loss.yaxis)
        loss.set(title="Loss", ylabel="loss (dimensionless)")
        steps, values = _series(log, "stall")
        _raw_and_smooth(stall, steps, 100 * values, label="of one step")
        title = "Stall"
        if steps.size:
            middle, largest = 100 * np.median(values), 100 * values.max()
            title += f" (median {middle:.2g} %, largest {largest:.2g} %)"
            stall.set_ylim(top=max(1.0, 150 * float(np.quantile(values, 0.99))))
        stall.set(title=title, ylabel="time waiting for data (% of the step)")
        stall.set_ylim(bottom=0)
        for axis in axes[0]:
            axis.set_xlabel("step")
            axis.margins(x=0.01)
            if axis.lines:
                axis.legend(loc="upper right")
    return path


def _series(log: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values; of a step that was repeated after a resume, the last."""
    latest = {line["step"]: line[key] for line in log if line.get(key) is not None}
    table = np.array(sorted(latest.items()), dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _raw_and_smooth(axis: Any, steps: np.ndarray, values: np.ndarray, label: str) -> None:
    if not steps.size:
        return
    axis.plot(steps, values, color=GREY, linewidth=0.5, alpha=0.55, label=label)
    half = max(1, len(values) // 60)
    padded = np.pad(values, half, mode="symmetric")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    axis.plot(steps, smooth, color=BLUE, label=f"running median ({2 * half + 1} steps)")


def error_by_rate(
    rows: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
    centre: str,
    bounds: tuple[str, str],
    points: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """RLNE of every method at every rate, with intervals, and single schedules where given.

    ``centre`` is the key of the drawn value and ``bounds`` those of its ends; ``points`` are rows
    of single values ("rlne"), drawn as small marks.
    """
    rates = sorted({row["rate"] for row in rows})
    methods = list(dict.fromkeys(row["method"] for row in rows))
    colour, mark = colours(methods), figures.marks(methods)
    with drawing(path, 1, 1, height=4.2) as axes:
        axis = axes[0, 0]
        for number, name in enumerate(methods):
            place = {rate: k + 0.13 * (number - (len(methods) - 1) / 2)
                     for k, rate in enumerate(rates)}  # fmt: skip
            single = [(place[p["rate"]], p["rlne"]) for p in points if p["method"] == name]
            x, y = np.array(single).reshape(-1, 2).T
            axis.plot(x, np.maximum(y, FLOOR), mark[name], color=colour[name], markersize=3,
                      alpha=0.45, markeredgewidth=0)  # fmt: skip
            known = (r for r in rows if r["method"] == name and r[centre] is not None)
            ordered = sorted(known, key=lambda row: row["rate"])
            table = [[row[key] for key in (centre, *bounds)] for row in ordered]
            y, *ends = np.maximum(np.array(table).reshape(-1, 3).T, FLOOR)
            axis.errorbar(
                [place[row["rate"]] for row in ordered], y, np.abs(np.array(ends) - y),
                fmt=mark[name] + "-", color=colour[name], capsize=3, markersize=6, linewidth=1.0,
                label=name,
            )  # fmt: skip
        is_cut = any(row[centre] is not None and row[centre] < FLOOR for row in rows)
        unit = f"drawn at {FLOOR:g} if smaller" if is_cut else "dimensionless"
        axis.set_xticks(range(len(rates)), [f"{100 * rate:g}" for rate in rates])
        axis.set(title=title, xlabel="sampled points (%)", ylabel=f"RLNE ({unit})", yscale="log",
                 xlim=(-0.5, len(rates) - 0.5), axisbelow=True)  # fmt: skip
        plain_ticks(axis.yaxis)
        axis.grid(axis="y", which="both", color="#e4e4e4", linewidth=0.6)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def intensity_scatter(
    pairs: Mapping[str, tuple[Float[np.ndarray, " peaks"], Float[np.ndarray, " peaks"]]],
    path: Path,
    *,
    title: str,
) -> Path:
    """Peak intensities, method -> (estimated, true), one panel per method."""
    with drawing(path, 1, len(pairs), height=3.4, share=(True, True)) as axes:
        largest = max(float(np.max(np.abs(t), initial=0.0)) for _, t in pairs.values()) or 1.0
        colour = colours(pairs)
        for axis, (name, (estimated, true)) in zip(axes[0], pairs.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=BLACK, linewidth=0.9)
            axis.plot(true / largest, estimated / largest, "o", color=colour[name], markersize=2.8,
                      alpha=0.45, markeredgewidth=0, rasterized=True)  # fmt: skip
            axis.set(title=f"{name}\n({true.size} peaks)", xlabel="true (of the tallest)")
            axis.set_aspect("equal", adjustable="box")
        axes[0, 0].set_ylabel("estimated intensity")
        axes[0, 0].figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)
    return path
