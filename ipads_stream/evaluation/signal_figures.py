"""Pictures of signals: samples with their sampled points, spectra laid over one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation.figures import BLACK, COLOURS, GREY, VERMILION, drawing
from ipads_stream.evaluation.preview_arrays import array_gallery
from ipads_stream.physics.spectrum import fid as fid_of
from ipads_stream.physics.spectrum import spectrum


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
    dwell: float = 1.0,
    kind: str | None = None,
    quantities: Mapping[str, Quantity] | None = None,
    count: int = 4,
    titles: Sequence[str] = (),
) -> Path:
    """Samples: what is measured, and what is to be found.

    Samples with "fid", "mask" and "spectrum" are drawn as signals, one in each row; others as
    curves, images or slices (see evaluation/preview_arrays.py).

    Args:
        sample: a batch, on the host.
        path: of the PNG.
        dwell: s, from point to point.
        kind: what one sample is: "voxel", "slice" or "volume"; None: told from the arrays.
        quantities: what the targets are, for their units.
        count: samples at most.
        titles: one per sample; by default the sample's index.
    """
    count = min(count, len(sample))
    if not titles:
        titles = [_name(sample, row) for row in range(count)]
    if not ({"fid", "mask"} <= set(sample.inputs) and "spectrum" in sample.targets):
        return array_gallery(
            sample, path, kind=kind, quantities=quantities or {}, count=count, titles=titles[:count]
        )
    arrays = {**sample.inputs, **sample.targets}
    with drawing(path, count, 2, height=0.5 + 1.9 * count) as axes:
        for row in range(count):
            values = {name: np.asarray(array[row]) for name, array in arrays.items()}
            _draw_signal(axes[row], values, dwell, titles[row], row == count - 1)
        for column, side in enumerate(("left", "right")):
            handles, labels = axes[0, column].get_legend_handles_labels()
            axes[0, 0].figure.legend(handles, labels, loc=f"outside upper {side}", ncols=3)
    return path


def _name(sample: Sample, row: int) -> str:
    if sample.provenance is None:
        return f"sample {row}"
    return f"{sample.provenance.split} sample {sample.provenance.indices[row]}"


def _draw_signal(
    axes: Any, values: Mapping[str, np.ndarray], dwell: float, title: str, is_last: bool
) -> None:
    fid, mask, target = values["fid"], values["mask"], values["spectrum"]
    time = np.arange(len(fid)) * dwell
    axes[0].axhline(0, color=GREY, linewidth=0.6)
    axes[0].plot(time, fid_of(target).real, color=GREY, linewidth=1, label="full, noise-free")
    axes[0].plot(
        time[mask], fid.real[mask], "o", color=VERMILION, markersize=3.2, label="sampled points"
    )
    axes[0].set_title(f"{title}: {mask.sum()} of {len(mask)} points sampled")
    axes[0].set_ylabel("FID, real part (a.u.)")
    frequency = centred_frequency(len(fid), dwell)
    axes[1].plot(frequency, np.abs(spectrum(fid)), color=GREY, linewidth=1, label="zero-filled")
    axes[1].plot(frequency, np.abs(target), color=BLACK, label="target")
    axes[1].set_ylabel("|spectrum| (a.u.)")
    for axis in axes:
        axis.margins(x=0.01)
    if is_last:
        axes[0].set_xlabel("time (s)")
        axes[1].set_xlabel("frequency (Hz)")


def spectra_overlay(
    axis: Any,
    positions: Float[np.ndarray, " points"],
    reference: Float[np.ndarray, " points"],
    estimates: Mapping[str, Float[np.ndarray, " points"]],
    reference_name: str,
) -> None:
    """A reference spectrum, estimates of it, and below them the differences, each on its own line.

    Args:
        axis: to draw on.
        positions: Hz or ppm.
        reference, estimates: real values, any unit.
        reference_name: of the reference in the legend.
    """
    axis.plot(positions, reference, color=BLACK, linewidth=2.2, label=reference_name, zorder=1)
    scale = max(float(np.abs(reference).max()), 1e-30)
    for name, values in estimates.items():
        axis.plot(positions, values, color=COLOURS[name], linewidth=1.1, label=name, zorder=2)
    lowest = min([float(reference.min()), *(float(v.min()) for v in estimates.values()), 0.0])
    offset = lowest
    for name, values in estimates.items():
        difference = values - reference
        offset -= max(float(difference.max()), 0.06 * scale) + 0.04 * scale
        axis.axhline(offset, color=GREY, linewidth=0.5, zorder=0)
        axis.plot(positions, difference + offset, color=COLOURS[name], linewidth=0.9, zorder=2)
        offset += min(float(difference.min()), 0.0)
    axis.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    axis.margins(x=0.0)


def synthetic_spectra(
    sample: Sample,
    estimates: Mapping[str, Complex[np.ndarray, "signals points"]],
    rows: Mapping[str, int],
    path: Path,
    *,
    dwell: float = 1.0,
) -> Path:
    """Test signals side by side: target, estimates and differences.

    Args:
        sample: the test signals.
        estimates: method -> spectra.
        rows: title -> signal to draw.
        path: of the PNG.
        dwell: s, from point to point.
    """
    with drawing(path, 1, len(rows), height=5.2) as axes:
        target = sample.targets["spectrum"].numpy()
        frequency = centred_frequency(target.shape[1], dwell)
        for axis, (title, row) in zip(axes[0], rows.items(), strict=True):
            drawn = {name: np.abs(e[row]) for name, e in estimates.items() if row < len(e)}
            spectra_overlay(axis, frequency, np.abs(target[row]), drawn, "target")
            axis.set_title(title)
            axis.set_xlabel("frequency (Hz)")
        axes[0, 0].set_ylabel("|spectrum| (a.u.); below: estimate − target")
        axes[0, 0].figure.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=len(estimates) + 1,
        )
    return path


def mask_picture(masks: Bool[np.ndarray, "rows points"], path: Path) -> Path:
    """Sampling schedules as rows of marks, and how often each point is taken.

    Args:
        masks: True where sampled.
        path: of the PNG.
    """
    with drawing(path, 1, 2, height=3.6) as axes:
        shown = masks[:40]
        axes[0, 0].imshow(
            ~shown, cmap="gray", aspect="auto", interpolation="nearest", vmin=0, vmax=1
        )
        axes[0, 0].set_title(f"Sampled points (black) of {len(shown)} signals")
        axes[0, 0].set_ylabel("signal")
        points = np.arange(masks.shape[1])
        axes[0, 1].bar(points, 100 * masks.mean(axis=0), width=1.0, color=GREY)
        axes[0, 1].set_title(f"How often each point is sampled ({len(masks)} signals)")
        axes[0, 1].set_ylabel("sampled (%)")
        axes[0, 1].set_ylim(0, 102)
        axes[0, 1].margins(x=0.0)
        for axis in axes[0]:
            axis.set_xlabel("point of the signal")
    return path


def centred_frequency(points: int, dwell: float) -> Float[np.ndarray, " points"]:
    """Frequencies of a spectrum, Hz, increasing, zero in the middle.

    Args:
        points: of the spectrum.
        dwell: s, from point to point of the signal.
    """
    return np.fft.fftshift(np.fft.fftfreq(points, dwell))
