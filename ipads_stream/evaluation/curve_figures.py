"""Pictures of numbers: training, error against rate, intensities against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.evaluation.figures import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    VERMILION,
    drawing,
)

FLOOR = 0.002  # smaller errors are drawn here: rounding noise would stretch the scale


def training_curves(log: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Loss and stall of every step, with a running median over the raw values.

    Args:
        log: lines of metrics.jsonl.
        path: of the PNG.
    """
    with drawing(path, 1, 2, height=3.4) as axes:
        loss, stall = axes[0]
        _raw_and_smooth(loss, *_series(log, "loss"), label="training loss")
        steps, values = _series(log, "val/loss")
        if steps.size:
            loss.plot(steps, values, "D-", color=VERMILION, markersize=4, label="validation loss")
        if any(line.get_ydata().size and (line.get_ydata() > 0).any() for line in loss.lines):
            loss.set_yscale("log")
            _plain_log(loss)
        loss.set_title("Loss")
        loss.set_ylabel("loss (dimensionless)")
        steps, values = _series(log, "stall")
        _raw_and_smooth(stall, steps, 100 * values, label="of one step")
        told = "Stall"
        if steps.size:
            told += f" (median {100 * np.median(values):.2g} %, largest {100 * values.max():.2g} %)"
            stall.set_ylim(top=max(1.0, 150 * float(np.quantile(values, 0.99))))
        stall.set_title(told)
        stall.set_ylabel("time waiting for data (% of the step)")
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
    bounds: tuple[str, str] | None = None,
    points: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """RLNE of every method at every rate, with intervals, and single schedules where given.

    Args:
        rows: one per rate and method.
        path: of the PNG.
        title: says what one sees.
        centre: key of the drawn value.
        bounds: keys of lower and upper bound.
        points: rows of single values ("rlne"), drawn as small marks.
    """
    with drawing(path, 1, 1, height=4.2) as axes:
        axis = axes[0, 0]
        rates = sorted({row["rate"] for row in rows})
        methods = list(dict.fromkeys(row["method"] for row in rows))
        step = 0.13
        for number, name in enumerate(methods):
            shift = (number - (len(methods) - 1) / 2) * step
            mine = sorted((r for r in rows if r["method"] == name), key=lambda r: r["rate"])
            mine = [row for row in mine if row[centre] is not None]
            x = np.array([rates.index(row["rate"]) + shift for row in mine])
            y = np.maximum([row[centre] for row in mine], FLOOR)
            single = [(p["rate"], p["rlne"]) for p in points if p["method"] == name]
            axis.plot(
                [rates.index(rate) + shift for rate, _ in single],
                [max(error, FLOOR) for _, error in single],
                MARKERS[name], color=COLOURS[name], markersize=3, alpha=0.45, markeredgewidth=0,
            )  # fmt: skip
            error = None
            if bounds is not None:
                ends = np.array([[row[end] for row in mine] for end in bounds])
                error = np.abs(np.maximum(ends, FLOOR) - y)
            axis.errorbar(
                x, y, _bars(error), fmt=MARKERS[name] + "-", color=COLOURS[name],
                capsize=3, markersize=6, linewidth=1.0, label=name,
            )  # fmt: skip
        axis.set_xticks(range(len(rates)), [f"{100 * rate:g}" for rate in rates])
        axis.set_xlim(-0.5, len(rates) - 0.5)
        axis.set_xlabel("sampled points (%)")
        is_cut = any(row[centre] is not None and row[centre] < FLOOR for row in rows)
        axis.set_ylabel(
            f"RLNE (drawn at {FLOOR:g} if smaller)" if is_cut else "RLNE (dimensionless)"
        )
        axis.set_yscale("log")
        _plain_log(axis)
        axis.grid(axis="y", which="both", color="#e4e4e4", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_title(title)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def _bars(error: np.ndarray | None) -> np.ndarray | None:
    """Bars for errorbar, which cannot draw an empty array."""
    return None if error is None or not error.size else error


def _plain_log(axis: Any) -> None:
    """Labels 0.1 0.2 0.5 in place of powers of ten, and more of them on a short scale."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    low, high = axis.get_ylim()
    subs = (1.0, 2.0, 5.0) if high > 10 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.yaxis.set_major_locator(LogLocator(subs=subs))
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def intensity_scatter(
    pairs: Mapping[str, tuple[Float[np.ndarray, " peaks"], Float[np.ndarray, " peaks"]]],
    path: Path,
    *,
    title: str,
) -> Path:
    """Peak intensities of the estimates over those of the reference, one panel per method.

    Args:
        pairs: method -> (estimated, true), any one unit.
        path: of the PNG.
        title: says what one sees.
    """
    with drawing(path, 1, len(pairs), height=3.4, share=(True, True)) as axes:
        largest = max(float(np.max(np.abs(t), initial=0.0)) for _, t in pairs.values()) or 1.0
        for axis, (name, (estimated, true)) in zip(axes[0], pairs.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=BLACK, linewidth=0.9)
            axis.plot(
                true / largest, estimated / largest, "o", color=COLOURS[name], markersize=2.8,
                alpha=0.45, markeredgewidth=0, rasterized=True,
            )  # fmt: skip
            axis.set_title(f"{name}\n({true.size} peaks)")
            axis.set_xlabel("true (of the tallest)")
            axis.set_aspect("equal", adjustable="box")
        axes[0, 0].set_ylabel("estimated intensity")
        axes[0, 0].figure.suptitle(title, x=0.01, ha="left", fontsize=10.5)
    return path
