"""Galleries of samples of any kind: how an array is seen, and the rows or panels that show it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.core.units import factor
from ipads_stream.report import figures
from ipads_stream.report.figures import BLACK, BLUE, GREY, VERMILION, drawing
from ipads_stream.systems import System
from ipads_stream.systems.base import Axis, Described, Gridded, Quantified

CHANNELS = 4  # of an array, drawn at most
VOLUME = 8  # first axis of a three-dimensional array from which on it is space, not channels
FAINT = 0.02  # of the strongest, below which a phase says nothing
POINTS = Axis("point")
ORTHOGONAL = ("sagittal", "coronal", "axial")  # slices across the axes x, y and z
FEWEST = 4  # columns of a page: with fewer some stay empty
OUTSIDE = "#e4e4e4"  # colour where a map has no value
PANELS = 3  # voxels in a row
ROWS = 6  # voxels, where each has a row of panels
LETTERS = 40  # of a panel's title
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Column:
    """One column of a gallery: the same view of every sample.

    Attributes:
        title: above the column.
        values: of each sample: (rows,), (rows, points) or (rows, height, width).
        unit: of the values, for the colour bar.
        kind: "number", "curve", "image", "phase" or "map".
        whole: what the colours are scaled to, where that is more than the values.
        extent: of an image, m, along its two axes; None: not known.
        axis: of a curve.
    """

    title: str
    values: np.ndarray
    unit: str = ""
    kind: str = "image"
    whole: np.ndarray | None = None
    extent: tuple[float, ...] | None = None
    axis: Axis = POINTS


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How a system describes the arrays of its samples.

    Attributes:
        kind: what one sample is: "voxel", "slice" or "volume"; None: as the arrays look.
        quantities: what the targets are, for their units.
        axes: name of an array -> its last axis.
        channels: name of an array -> names of its channels.
        extent: of an image or volume, m, along each axis.
    """

    kind: str | None = None
    quantities: Mapping[str, Quantity] = field(default_factory=dict)
    axes: Mapping[str, Axis] = field(default_factory=dict)
    channels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extent: tuple[float, ...] | None = None

    @classmethod
    def of(cls, system: System) -> Labels:
        """Of a system, as far as it describes itself."""
        return cls(
            kind=system.kind if isinstance(system, Quantified) else None,
            quantities=system.quantities if isinstance(system, Quantified) else {},
            axes=system.array_axes if isinstance(system, Described) else {},
            channels=system.channel_names if isinstance(system, Described) else {},
            extent=system.grid.field_of_view if isinstance(system, Gridded) else None,
        )

    def unit(self, name: str) -> str:
        """Unit in which an array is shown; ppm is said in names."""
        if name in self.quantities:
            return self.quantities[name].unit
        return "ppm" if name.endswith("_ppm") else ""


def views(name: str, array: np.ndarray, labels: Labels) -> list[Column]:
    """The columns that show an array."""
    kind, names = labels.kind, labels.channels.get(name, ())
    axis = labels.axes.get(name, POINTS)
    if array.dtype.kind == "b":
        array = array.astype(np.float32)
    if array[0].size == 1:
        return [Column(name, array.reshape(len(array)), kind="number")]
    if array.ndim == 2:
        return [Column(name, array, kind="curve", axis=axis)]
    if kind == "voxel":
        curves = _channels(name, array.reshape(len(array), -1, array.shape[-1]), "curve", names)
        return [replace(curve, axis=axis) for curve in curves]
    is_space = kind == "volume" or (kind is None and array.shape[1] > VOLUME)
    if array.ndim >= 5 or (array.ndim == 4 and is_space):
        volumes = array.reshape(len(array), -1, *array.shape[-3:])
        channels = _channels(name, volumes, "image", names)
        return [plane for view in channels for plane in orthogonal(view, labels.extent)]
    images = _channels(name, array.reshape(len(array), -1, *array.shape[-2:]), "image", names)
    return [replace(image, extent=labels.extent) for image in images]


def _channels(name: str, array: np.ndarray, kind: str, names: Sequence[str]) -> list[Column]:
    """Up to CHANNELS channels of (rows, channels, ...), complex images as magnitude and phase."""
    count = array.shape[1]
    chosen = np.unique(np.rint(np.linspace(0, count - 1, min(count, CHANNELS))).astype(int))
    columns = []
    for channel in chosen:
        values = array[:, channel]
        label = names[channel] if len(names) == count else f"{channel + 1} of {count}"
        title = name if count == 1 else f"{name}, {label}"
        if np.iscomplexobj(values) and kind == "image":
            columns.append(Column(f"|{title}|", np.abs(values)))
            if count == 1:
                strong = np.abs(values) > FAINT * np.abs(values).max()
                phase = np.where(strong, np.angle(values), np.nan)
                columns.append(Column(f"phase of {title}", phase, "rad", "phase"))
        else:
            columns.append(Column(title, values, kind=kind))
    return columns


def orthogonal(column: Column, extent: tuple[float, ...] | None = None) -> list[Column]:
    """The three middle slices of a column of volumes, (rows, X, Y, Z)."""
    values = column.values
    sides = [None] * 3 if extent is None else [extent[1:], extent[::2], extent[:2]]
    middle = [size // 2 for size in values.shape[1:]]
    slices = (values[:, middle[0]], values[:, :, middle[1]], values[:, :, :, middle[2]])
    return [
        replace(column, title=f"{column.title}\n{name}", values=plane, whole=values, extent=side)
        for name, plane, side in zip(ORTHOGONAL, slices, sides, strict=True)
    ]


def array_gallery(
    sample: Sample, path: Path, *, labels: Labels, count: int, titles: Sequence[str]
) -> Path:
    """Each sample in a row of images, or, of voxels, in a panel with its curves."""
    inputs = {name: np.asarray(array[:count]) for name, array in sample.inputs.items()}
    targets = {name: np.asarray(array[:count]) for name, array in sample.targets.items()}
    mask = targets.pop("mask", None)
    if mask is not None and "mask" in inputs and np.array_equal(inputs["mask"], mask):
        del inputs["mask"]  # it shows in the targets
    columns = [
        replace(view, unit=view.unit or labels.unit(name))
        for name, array in inputs.items()
        for view in views(name, array, labels)
    ]
    inputs_shown = {view.title for view in columns}
    for name, array in targets.items():
        if mask is not None and mask.shape == array.shape and array.ndim > 1:
            array = np.where(mask, array, np.nan)
        unit = labels.unit(name)
        columns += [
            replace(view, unit=unit, kind="map" if view.kind == "image" else view.kind)
            for view in views(name, array / factor(unit) if unit else array, labels)
        ]
    if all(view.kind in ("curve", "number") for view in columns):
        return _voxel_panels(columns, inputs_shown, path, titles)
    return image_rows(columns, path, titles)


def image_rows(columns: list[Column], path: Path, titles: Sequence[str]) -> Path:
    """A row of views for each sample; images of one column share their scale and colour bar."""
    shapes = [view.values.shape[1:] for view in columns if view.values.ndim == 3]
    tallest = max(height / width for height, width in shapes)
    num_columns = max(len(columns), FEWEST)
    height = 1.2 + 0.92 * len(titles) * figures.WIDTH / num_columns * min(tallest, 1.6)
    with drawing(path, len(titles), num_columns, height=height) as axes:
        for axis in axes[:, len(columns) :].flat:
            axis.set_axis_off()
        for column, view in enumerate(columns):
            if view.kind in ("image", "phase", "map"):
                _images(axes[:, column], view)
            for row, axis in enumerate(axes[:, column]):
                if view.kind == "number":
                    words = f"{view.values[row]:.4g} {view.unit}".strip()
                    axis.text(0.5, 0.5, words, ha="center", va="center", transform=axis.transAxes)
                    axis.set_axis_off()
                elif view.kind == "curve":
                    _curves(axis, [view], row)
            axes[0, column].set_title(view.title, fontsize=9.5 if len(columns) < 6 else 8)
        for row, title in enumerate(titles):
            axes[row, 0].set_ylabel(title.replace(" at ", "\nat "), fontsize=8.5)
        if columns[0].extent is not None:
            corner = axes[-1, 0]
            corner.set_ylabel(f"{corner.get_ylabel()}\nmm", fontsize=8.5)
            corner.set_xlabel("mm", fontsize=8.5)
    return path


def _images(axes: Any, view: Column) -> None:
    low, high, colours = _scale(view)
    down, across = (1e3 * length for length in view.extent or (0, 0))  # mm, from the corner
    frame = None if view.extent is None else (0.0, across, down, 0.0)
    for axis, values in zip(axes, view.values, strict=True):
        image = axis.imshow(
            values, cmap=colours, vmin=low, vmax=high, interpolation="nearest", extent=frame
        )
        axis.set_facecolor(OUTSIDE)
        is_corner = frame is not None and axis is axes[-1] and axis.get_subplotspec().is_first_col()
        sides = dict.fromkeys(("left", "bottom", "labelleft", "labelbottom"), is_corner)
        axis.tick_params(labelsize=7.5, length=2, **sides)
        axis.locator_params(nbins=3)
        axis.spines[:].set_visible(False)
    bar = axes[0].figure.colorbar(image, ax=list(axes), location="bottom", pad=0.015, aspect=14)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    if view.kind == "phase":
        bar.set_ticks([-np.pi, 0, np.pi], labels=["−π", "0", "π"])
    else:
        bar.ax.xaxis.get_major_locator().set_params(nbins=3)
    bar.set_label(view.unit or "a.u." if view.kind != "map" else view.unit, fontsize=8.5)


def _scale(view: Column) -> tuple[float, float, str]:
    """Ends and colours of a column's scale: symmetric where the values are of both signs."""
    if view.kind == "phase":
        return -np.pi, np.pi, "twilight"
    values = view.values if view.whole is None else view.whole
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0, "gray"
    content = finite[finite != 0] if view.kind == "map" and finite.any() else finite
    low, high = (float(end) for end in np.quantile(content, [0.002, 0.998]))
    if content.size < finite.size:  # what is mostly empty is scaled to what is in it
        low, high = min(low, 0.0), max(high, 0.0)
    if low < 0 < high and -low > 0.05 * high:
        most = max(-low, high)
        return -most, most, "RdBu_r" if view.kind == "map" else "gray"
    if view.kind == "image":
        return min(low, 0.0), high if high > low else low + 1.0, "gray"
    return (low, high, "viridis") if low < high else (low - 0.5, high + 0.5, "viridis")


def _voxel_panels(
    columns: list[Column], inputs: set[str], path: Path, titles: Sequence[str]
) -> Path:
    """The curves of each voxel, in one panel where they are as long, and its numbers in words."""
    curves = [view for view in columns if view.kind == "curve"]
    numbers = [view for view in columns if view.kind == "number"]
    targets = [view for view in numbers if view.title not in inputs]
    beside = [view for view in numbers if view.title in inputs]
    groups = dict.fromkeys(view.values.shape[1] for view in curves)
    panels = [[view for view in curves if view.values.shape[1] == n] for n in groups] or [[]]
    is_single = len(panels) == 1
    num_columns, letters = (PANELS, LETTERS) if is_single else (len(panels), PANELS * LETTERS)
    titles = titles if is_single else titles[:ROWS]
    num_rows = -(-len(titles) * len(panels) // num_columns)

    def words(shown: list[Column], row: int) -> list[str]:
        """Names, values and units, each of which stays on one line."""
        texts = (f"{view.title} {view.values[row]:.4g} {view.unit}" for view in shown)
        return [text.strip().replace(" ", NO_BREAK) for text in texts]

    heads = [
        [title, *textwrap.wrap(", ".join(words(targets, row)), letters, break_long_words=False)]
        for row, title in enumerate(titles)
    ]
    lines = max(map(len, heads))
    with drawing(path, num_rows, num_columns, height=0.6 + (1.7 + 0.2 * lines) * num_rows) as axes:
        for place, axis in enumerate(axes.flat):
            row, panel = divmod(place, len(panels))
            if row >= len(titles):
                axis.set_axis_off()
                continue
            if panel == 0:
                axis.set_title("\n".join(heads[row]), fontsize=9.5)
                box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
                text = "\n".join(words(beside, row))
                axis.text(0.98, 0.97, text, ha="right", va="top", color=GREY, fontsize=8, bbox=box,
                          transform=axis.transAxes)  # fmt: skip
            _curves(axis, panels[panel], row)
            if place + num_columns >= axes.size:
                axis.set_xlabel(panels[panel][0].axis.label if panels[panel] else "")
            if not is_single or place % num_columns == 0:
                names = [view.title for view in panels[panel]]
                axis.set_ylabel(f"{names[0] if len(names) == 1 else 'signal'} (a.u.)")
        shown = list(axes[0, : len(panels)])
        if any(len(axis.get_legend_handles_labels()[1]) > 1 for axis in shown):
            figures.legend(shown, most=6, markerscale=1.0)
    return path


def _curves(axis: Any, curves: list[Column], row: int) -> None:
    """Curves of one sample, complex ones by their parts."""
    colours = [BLACK, BLUE, VERMILION, GREY]
    axis.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    for k, view in enumerate(curves):
        values = view.values[row]
        at = np.arange(float(values.size)) if view.axis.values is None else view.axis.values
        breaks = np.flatnonzero(np.diff(at) < 0) + 1  # a new line where the axis begins again
        marker = "." if values.size <= 40 else ""
        at, values = np.insert(at, breaks, np.nan), np.insert(values, breaks, np.nan)
        lines = [(values, colours[k % len(colours)], view.title, "-")]
        if np.iscomplexobj(values):
            style = "-" if k == 0 else "--"
            lines = [(values.real, BLUE, f"{view.title}, real", style),
                     (values.imag, VERMILION, f"{view.title}, imaginary", style)]  # fmt: skip
        for shown, colour, label, style in lines:
            axis.plot(at, shown, color=colour, linestyle=style, marker=marker, label=label)
    axis.margins(x=0.02)
