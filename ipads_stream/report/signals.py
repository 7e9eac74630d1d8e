"""Pictures of signals and planes: samples, spectra laid over one another, contours, slices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float, Num

from ipads_stream.core.sample import Sample
from ipads_stream.data.planes.plane import Axis, Plane
from ipads_stream.data.planes.plane import spectrum as spectrum_of
from ipads_stream.data.planes.resolved import tilted
from ipads_stream.physics.spectroscopy.spectrum import fid as fid_of
from ipads_stream.physics.spectroscopy.spectrum import spectrum
from ipads_stream.report.figures import BLACK, GREY, VERMILION, drawing
from ipads_stream.report.galleries import Labels, array_gallery

UNLABELLED = Labels()


def on_host(sample: Sample) -> Sample:
    """The sample with its tensors copied to the host, where pictures are drawn."""
    return dataclasses.replace(
        sample,
        inputs={name: tensor.cpu() for name, tensor in sample.inputs.items()},
        targets={name: tensor.cpu() for name, tensor in sample.targets.items()},
    )


def sample_gallery(
    sample: Sample,
    path: Path,
    *,
    dwell: float | None = None,
    labels: Labels = UNLABELLED,
    count: int = 4,
    titles: Sequence[str] = (),
) -> Path:
    """Samples: what is measured, and what is to be found.

    Samples with "fid", "mask" and "spectrum" are drawn as signals, one in each row; others as
    curves, images or slices (see report/galleries.py).

    Args:
        sample: a batch, on the host.
        path: of the PNG.
        dwell: s, from point to point; None: that of the labels, or 1.
        labels: what the system says of the arrays.
        count: samples at most.
        titles: one per sample; by default the sample's index.
    """
    count = min(count, len(sample))
    if not titles:
        origin = sample.provenance
        indices = range(count) if origin is None else origin.indices
        split = "" if origin is None else f"{origin.split} "
        titles = [f"{split}sample {index}" for index in indices[:count]]
    if not ({"fid", "mask"} <= set(sample.inputs) and "spectrum" in sample.targets):
        return array_gallery(sample, path, labels=labels, count=count, titles=titles[:count])
    if dwell is None:
        known = labels.axes["fid"].values if "fid" in labels.axes else None
        dwell = 1.0 if known is None else float(known[1] - known[0])
    arrays = {**sample.inputs, **sample.targets}
    frequency = _frequencies(len(arrays["fid"][0]), dwell)
    with drawing(path, count, 2, height=0.5 + 1.9 * count) as axes:
        for row, (left, right) in enumerate(axes):
            fid, mask, target = (np.asarray(arrays[n][row]) for n in ("fid", "mask", "spectrum"))
            time = np.arange(len(fid)) * dwell
            left.axhline(0, color=GREY, linewidth=0.6)
            left.plot(time, fid_of(target).real, color=GREY, linewidth=1, label="full, noise-free")
            left.plot(time[mask], fid.real[mask], "o", color=VERMILION, markersize=3.2,
                      label="sampled points")  # fmt: skip
            title = f"{titles[row]}: {mask.sum()} of {len(mask)} points sampled"
            left.set(title=title, ylabel="FID, real part (a.u.)")
            zero_filled = np.abs(spectrum(fid))
            right.plot(frequency, zero_filled, color=GREY, linewidth=1, label="zero-filled")
            right.plot(frequency, np.abs(target), color=BLACK, label="target")
            right.set_ylabel("|spectrum| (a.u.)")
            for axis in (left, right):
                axis.margins(x=0.01)
        axes[-1, 0].set_xlabel("time (s)")
        axes[-1, 1].set_xlabel("frequency (Hz)")
        for axis, side in zip(axes[0], ("left", "right"), strict=True):
            handles, names = axis.get_legend_handles_labels()
            axis.figure.legend(handles, names, loc=f"outside upper {side}", ncols=3)
    return path


def spectra_overlay(
    axis: Any,
    positions: Float[np.ndarray, " points"],
    reference: Float[np.ndarray, " points"],
    estimates: Mapping[str, Float[np.ndarray, " points"]],
    reference_name: str,
    colour: Mapping[str, str],
) -> None:
    """A reference spectrum, estimates of it, and below them the differences, each on its own line.

    Positions are Hz or ppm, values real.
    """
    axis.plot(positions, reference, color=BLACK, linewidth=2.2, label=reference_name, zorder=1)
    scale = max(float(np.abs(reference).max()), 1e-30)
    for name, values in estimates.items():
        axis.plot(positions, values, color=colour[name], linewidth=1.1, label=name, zorder=2)
    lowest = min([float(reference.min()), *(float(v.min()) for v in estimates.values()), 0.0])
    offset = lowest
    for name, values in estimates.items():
        difference = values - reference
        offset -= max(float(difference.max()), 0.06 * scale) + 0.04 * scale
        axis.axhline(offset, color=GREY, linewidth=0.5, zorder=0)
        axis.plot(positions, difference + offset, color=colour[name], linewidth=0.9, zorder=2)
        offset += min(float(difference.min()), 0.0)
    axis.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    axis.margins(x=0.0)


def synthetic_spectra(
    sample: Sample,
    estimates: Mapping[str, Complex[np.ndarray, "signals points"]],
    rows: Mapping[str, int],
    path: Path,
    *,
    colour: Mapping[str, str],
    dwell: float = 1.0,
) -> Path:
    """Test signals (title -> row) side by side: target, spectra by method and differences.

    ``dwell`` in s.
    """
    with drawing(path, 1, len(rows), height=5.2) as axes:
        target = sample.targets["spectrum"].numpy()
        frequency = _frequencies(target.shape[1], dwell)
        for axis, (title, row) in zip(axes[0], rows.items(), strict=True):
            drawn = {name: np.abs(e[row]) for name, e in estimates.items() if row < len(e)}
            spectra_overlay(axis, frequency, np.abs(target[row]), drawn, "target", colour)
            axis.set(title=title, xlabel="frequency (Hz)")
        axes[0, 0].set_ylabel("|spectrum| (a.u.); below: estimate − target")
        legend_above(axes[0, 0])
    return path


def legend_above(axis: Any) -> None:
    """What is drawn in an axis, in one line above its figure."""
    handles, names = axis.get_legend_handles_labels()
    axis.figure.legend(handles, names, loc="outside upper center", ncols=len(names))


def mask_picture(masks: Bool[np.ndarray, "rows points"], path: Path) -> Path:
    """Sampling schedules as rows of marks, and how often each point is taken."""
    shown = masks[:40]
    with drawing(path, 1, 2, height=3.6) as axes:
        each, often = axes[0]
        each.imshow(~shown, cmap="gray", aspect="auto", interpolation="nearest", vmin=0, vmax=1)
        each.set(title=f"Sampled points (black) of {len(shown)} signals", ylabel="signal")
        often.bar(np.arange(masks.shape[1]), 100 * masks.mean(axis=0), width=1.0, color=GREY)
        title = f"How often each point is sampled ({len(masks)} signals)"
        often.set(title=title, ylabel="sampled (%)", ylim=(0, 102))
        often.margins(x=0.0)
        for axis in axes[0]:
            axis.set_xlabel("point of the signal")
    return path


def _frequencies(points: int, dwell: float) -> Float[np.ndarray, " points"]:
    """Of a spectrum, Hz, increasing, zero in the middle."""
    return np.fft.fftshift(np.fft.fftfreq(points, dwell))


def plane_contours(
    plane: Plane,
    estimates: Mapping[str, Complex[np.ndarray, "rows points"]],
    mask: Bool[np.ndarray, " points"],
    path: Path,
) -> Path:
    """A full plane and t1 rows by method, below them their differences at the same levels.

    Both axes decrease away from the origin of the page (to the right and upwards), the direct
    dimension lies along x. Positive contours are black, negative ones vermilion.
    """
    full = _intensities(plane, spectrum_of(plane))
    levels = _levels(full)
    x, y = _positions(plane.direct, full.shape[0]), _positions(plane.indirect, full.shape[1])
    columns = 1 + len(estimates)
    with drawing(path, 2, columns, height=0.9 + 23.0 / columns, share=(True, True)) as axes:
        _contours(axes[0, 0], x, y, full, levels, "fully sampled")
        axes[1, 0].set_axis_off()
        text = (
            f"{mask.sum()} of {mask.size} points sampled.\n"
            f"Contours start at {100 * levels[0] / np.abs(full).max():.2g} %\n"
            f"of the tallest point and\nrise by a factor {levels[1] / levels[0]:.2g}.\n\n"
            "Black: positive.\nVermilion: negative."
        )
        axes[1, 0].text(0.0, 0.95, text, va="top", transform=axes[1, 0].transAxes)
        for column, (name, fid) in enumerate(estimates.items(), start=1):
            values = _intensities(plane, spectrum_of(plane, fid))
            _contours(axes[0, column], x, y, values, levels, name)
            _contours(axes[1, column], x, y, values - full, levels, f"{name} − full")
        for axis in (axes[0, 0], *axes[1, 1:]):
            axis.set_xlabel(_label(plane.direct))
            axis.tick_params(labelbottom=True)
        for axis in (axes[0, 0], axes[1, 1]):
            axis.set_ylabel(_label(plane.indirect))
            axis.tick_params(labelleft=True)
        axes[0, 0].set(xlim=(x.max(), x.min()), ylim=(y.max(), y.min()))
    return path


def _intensities(
    plane: Plane, values: Complex[np.ndarray, "rows points"]
) -> Num[np.ndarray, "rows points"]:
    """What is drawn: the absorptive part, or the magnitude if the spectrum is not phased."""
    return tilted(plane, values.real if plane.is_phased else np.abs(values))


def _contours(
    axis: Any, x: np.ndarray, y: np.ndarray, values: np.ndarray, levels: np.ndarray, title: str
) -> None:
    for sign, colour in ((1, BLACK), (-1, VERMILION)):
        drawn = levels[levels < (sign * values).max()]
        if drawn.size:
            axis.contour(x, y, sign * values.T, levels=drawn, colors=colour, linewidths=0.55)
    if np.abs(values).max() <= levels[0]:
        text = "nothing above the\nlowest contour"
        axis.text(0.5, 0.5, text, ha="center", transform=axis.transAxes)
    axis.spines[:].set_visible(True)
    axis.set_title(title)


def _levels(values: Float[np.ndarray, "rows points"]) -> Float[np.ndarray, " levels"]:
    """Rising levels: from 4 noise standard deviations, or 3 % of the tallest point if that is more.

    Most of the values are noise, whose spread is taken from the median.
    """
    tallest = float(np.abs(values).max())
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    lowest = min(max(4 * spread, 0.03 * tallest), 0.3 * tallest)
    return np.geomspace(lowest, 0.95 * tallest, 12)


def plane_slice(
    plane: Plane,
    estimates: Mapping[str, Complex[np.ndarray, "rows points"]],
    path: Path,
    *,
    colour: Mapping[str, str],
    count: int = 2,
) -> Path:
    """Slices of t1 rows by method: at the strongest direct frequency, and at weaker ones."""
    full = _intensities(plane, spectrum_of(plane))
    drawn = {name: _intensities(plane, spectrum_of(plane, fid)) for name, fid in estimates.items()}
    heights = full.max(axis=1)
    is_top = (heights >= np.roll(heights, 1)) & (heights >= np.roll(heights, -1))
    tops = np.flatnonzero(is_top & (heights > 0.1 * heights.max()))
    order = tops[np.argsort(-heights[tops])] if tops.size else np.argsort(-heights)
    rows = [int(order[place]) for place in np.linspace(0, (len(order) - 1) / 2, count).astype(int)]
    y = _positions(plane.indirect, full.shape[1])
    shifts = _positions(plane.direct, full.shape[0])
    nucleus = "" if plane.direct.nucleus == "?" else f" ({plane.direct.nucleus})"
    with drawing(path, 1, count, height=4.8) as axes:
        for axis, row in zip(axes[0], rows, strict=True):
            scale = float(np.abs(full[row]).max()) or 1.0
            slices = {name: values[row] / scale for name, values in drawn.items()}
            spectra_overlay(axis, y, full[row] / scale, slices, "fully sampled", colour)
            title = f"Slice at {shifts[row]:.2f} {_unit(plane.direct)}{nucleus}"
            axis.set(xlim=(y.max(), y.min()), xlabel=_label(plane.indirect), title=title)
        axes[0, 0].set_ylabel("intensity (of the slice's tallest point);\nbelow: estimate − full")
        legend_above(axes[0, 0])
    return path


def _positions(axis: Axis, points: int) -> Float[np.ndarray, " points"]:
    """ppm where the Larmor frequency is known, else Hz from the centre; increasing."""
    return axis.ppm(points) if np.isfinite(axis.frequency) else axis.hertz(points)


def _unit(axis: Axis) -> str:
    if np.isfinite(axis.frequency):
        return "ppm"
    return "Hz" if axis.width != 1.0 else "cycles per point"


def _label(axis: Axis) -> str:
    """Nucleus and unit, such as "15N (ppm)"."""
    return f"{'frequency' if axis.nucleus == '?' else axis.nucleus} ({_unit(axis)})"
