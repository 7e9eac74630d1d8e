"""Truth and estimates side by side: complex images, fields of vectors, and spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.report.figures import BLACK, WIDTH, colours, drawing

TALLEST = 12.0  # inches
ARROWS = 20  # along the longer edge
TALL = 2.2  # inches, of the panel of a spectrum


@dataclass(frozen=True, kw_only=True)
class Row:
    """Pictures side by side.

    Attributes:
        panels: title -> (X, Y), x to the right, y upwards; NaN is left white.
        label: what the colours mean, with its unit.
        low, high, colours: of the scale.
        arrows: title -> vectors over a panel, (2, X, Y); one of length ``high`` reaches to the
            next.
    """

    panels: Mapping[str, np.ndarray]
    label: str
    low: float
    high: float
    colours: str
    arrows: Mapping[str, np.ndarray] = field(default_factory=dict)


def draw_rows(path: Path, rows: Sequence[Row]) -> Path:
    """Draws rows; shorter ones are aligned to the right."""
    columns = max(2, *(len(row.panels) for row in rows))
    X, Y = next(iter(rows[0].panels.values())).shape
    height = min(len(rows) * (WIDTH / columns * Y / X + 0.35) + 0.4, TALLEST)
    with drawing(path, len(rows), columns, height=height) as axes:
        for axis in axes.ravel():
            axis.set_axis_off()
        most = max(len(row.panels) for row in rows)
        for line, row in zip(axes, rows, strict=True):
            scale = {"vmin": row.low, "vmax": row.high or 1.0, "cmap": row.colours}
            used = line[most - len(row.panels) : most]
            for axis, (title, values) in zip(used, row.panels.items(), strict=True):
                image = axis.imshow(values.T, origin="lower", **scale)
                axis.set_title(title)
                if title in row.arrows:
                    step = max(1, max(values.shape) // ARROWS)
                    x, y = (np.arange(step // 2, n, step) for n in values.shape)
                    u, v = (component[np.ix_(x, y)].T for component in row.arrows[title])
                    axis.quiver(x, y, u, v, angles="xy", scale_units="xy", color="white",
                                scale=(row.high or 1.0) / (1.5 * step), width=0.004)  # fmt: skip
            line[0].figure.colorbar(image, ax=list(line), label=row.label, shrink=0.85)
    return path


def plane(image: np.ndarray) -> np.ndarray:
    """An image, or the middle plane of a volume along its last axis."""
    return image if image.ndim == 2 else image[..., image.shape[-1] // 2]


def highest(arrays: Sequence[np.ndarray], share: float) -> float:
    """The largest over arrays of a quantile of their finite values; 0 of none."""
    finite = [values[np.isfinite(values)] for values in arrays]
    return max((float(np.quantile(x, share)) for x in finite if x.size), default=0.0)


def draw_images(
    path: Path, estimates: Mapping[str, np.ndarray], truth: np.ndarray | None = None
) -> Path:
    """Magnitudes; where the truth is known, magnitudes of the complex errors; and phases.

    Images are (X, Y), or (X, Y, Z) of which the middle plane is drawn, by method.
    """
    images = {} if truth is None else {"truth": plane(truth)}
    images |= {name: plane(values) for name, values in estimates.items()}
    largest = float(np.abs(next(iter(images.values()))).max())
    sizes = {name: np.abs(image) for name, image in images.items()}
    rows = [Row(panels=sizes, label="magnitude", low=0.0, high=largest, colours="gray")]
    if truth is not None:
        errors = {f"{name}, error": np.abs(images[name] - plane(truth)) for name in estimates}
        reach = highest(list(errors.values()), 0.995)
        label = "|estimate − truth|"
        rows.append(Row(panels=errors, label=label, low=0.0, high=reach, colours="magma"))
    if any(map(np.iscomplexobj, images.values())):
        is_seen = 0.05 * largest
        phases = {n: np.where(sizes[n] > is_seen, np.angle(x), np.nan) for n, x in images.items()}
        label = "phase (rad)"
        rows.append(Row(panels=phases, label=label, low=-np.pi, high=np.pi, colours="twilight"))
    return draw_rows(path, rows)


def draw_vectors(
    path: Path,
    fields: Mapping[str, np.ndarray],
    label: str,
    *,
    truth: np.ndarray | None = None,
    inside: np.ndarray | None = None,
) -> Path:
    """Fields on one scale; below, where the truth is known, the end-point errors.

    Fields are (components, X, Y), or (components, X, Y, Z) of which the middle plane is drawn, by
    method, in the unit of ``label``; outside of ``inside`` it is left white.
    """
    every = {**({} if truth is None else {"truth": truth}), **fields}
    kept = True if inside is None else plane(inside)
    shown = {
        name: np.stack([np.where(kept, plane(component), np.nan) for component in vectors])
        for name, vectors in every.items()
    }
    lengths = {name: np.linalg.norm(vectors, axis=0) for name, vectors in shown.items()}
    reach = highest(list(lengths.values())[:1], 0.995)
    arrows = {name: vectors[:2] for name, vectors in shown.items()}
    rows = [Row(panels=lengths, label=label, low=0.0, high=reach, colours="viridis", arrows=arrows)]
    if truth is not None:
        misses = {name: shown[name] - shown["truth"] for name in fields}
        errors = {f"{n}, end-point error": np.linalg.norm(x, axis=0) for n, x in misses.items()}
        most = highest(list(errors.values()), 0.98)
        label = f"error of {label}"
        rows.append(Row(panels=errors, label=label, low=0.0, high=most, colours="magma"))
    return draw_rows(path, rows)


def draw_spectra(
    path: Path,
    estimates: Mapping[str, np.ndarray],
    names: Sequence[str],
    ppm: np.ndarray | None,
    *,
    truth: np.ndarray | None = None,
) -> Path:
    """Real parts, a panel for each component: (points,) or (components, points) by method.

    ``ppm`` of the points runs to the left; without it they are numbered.
    """
    style: dict[str, Any] = {name: {"color": x} for name, x in colours(estimates).items()}
    curves = dict(estimates)
    if truth is not None:
        curves["truth"], style["truth"] = truth, {"color": BLACK, "linewidth": 0.8}
    height = TALL * len(names) + 0.6
    with drawing(path, len(names), 1, height=height, share=(True, False)) as axes:
        for row, (axis, name) in enumerate(zip(axes[:, 0], names, strict=True)):
            for method, values in curves.items():
                part = np.atleast_2d(values)[row].real
                shift = np.arange(len(part)) if ppm is None else np.asarray(ppm)
                axis.plot(shift, part, label=method, **style[method])
            axis.set(title=name, yticks=[])
        axes[0, 0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        axes[-1, 0].set_xlabel("point" if ppm is None else "chemical shift (ppm)")
        if ppm is not None:
            axes[-1, 0].set_xlim(float(np.max(ppm)), float(np.min(ppm)))
    return path
