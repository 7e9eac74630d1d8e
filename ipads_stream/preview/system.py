"""What a system generates, before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.fields import Whole
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.preview.course import AtProgress, course_picture, span_of, stages
from ipads_stream.preview.histograms import parameter_histograms, region_shares
from ipads_stream.preview.joint import corner_picture, pairs_picture
from ipads_stream.preview.page import preview_page
from ipads_stream.preview.parameters import Drawn, drawn_parameters, nested_distributions
from ipads_stream.preview.phantoms import template_gallery
from ipads_stream.report.galleries import Labels
from ipads_stream.report.signals import mask_picture, on_host, sample_gallery
from ipads_stream.stream.estimate import Needs, check_needs, peak_of, sample_costs, tell
from ipads_stream.stream.stream import Stream

GALLERY = {"voxel": 9, "slice": 4, "volume": 3}  # samples in a gallery, where not SIGNALS
SIGNALS = 6
SCHEDULES = 400
PAGE = 15  # histograms of what is no parameter of a sample, in one picture
TRIED = 64  # draws that tell what more of them take
COURSE = 400  # samples behind quantiles that are of draws


def preview_system(
    stream: Stream, output: Path, samples: Any, progress: Any = (0, 50, 100)
) -> list[Path]:
    """Pictures of parameters, of their course over a curriculum, of samples and sampling schedules.

    Args:
        stream: a Stream of the system, with the seed and the split to draw from.
        output: folder of the page and its pictures; made where it is missing.
        samples: number behind the histograms: samples 0 ... samples - 1 of the stream.
        progress: list of points of the curriculum, in % of its span, at which samples are drawn:
            the same samples at each, as they would be there.

    Returns:
        Path of the page, then of the PNG files.

    Raises:
        ConfigError: not a positive number of samples, or no list of percentages.
    """
    Whole(low=1)("samples", samples)
    system = stream.system
    span = span_of(system)
    points = stages(span, progress)
    output.mkdir(parents=True, exist_ok=True)

    def drawn(at: float, count: int = samples) -> tuple[dict[str, Drawn], dict[str, Drawn]]:
        parameters = drawn_parameters(
            system, system.draw(_keys(stream, count), np.full(count, at)), at
        )
        return parameters, drawn_alone(stream, parameters, count)

    def few(at: float) -> dict[str, Drawn]:
        parameters, alone = drawn(at, min(samples, COURSE))
        return parameters | alone

    last = 0.0 if span is None else span.last
    ends = [drawn(at) for at in ([] if span is None else [span.first]) + [last]]
    paths = [parameter_histograms([end for end, _ in ends], output / "parameters.png")]
    parameters, alone = ends[-1]
    for start in range(0, len(alone), PAGE):
        names = list(alone)[start : start + PAGE]
        path = output / f"template-parameters-{1 + start // PAGE}.png"
        page = [{name: each[name] for name in names} for _, each in ends]
        paths.append(parameter_histograms(page, path))
    pictures = [
        pairs_picture(parameters, output / "pairs.png"),
        corner_picture(parameters, output / "corner.png"),
        region_shares(parameters | alone, output / "regions.png"),
        None if span is None else course_picture(few, span, output / "course.png"),
    ]
    paths += [path for path in pictures if path is not None]
    paths += template_gallery(system, _keys(stream, samples), last, output / "templates.png")
    labels = Labels.of(system)
    count = GALLERY.get(labels.kind or "", SIGNALS)
    for stage, at in points.items():
        sample = _samples(stream, at, count)
        path = output / (f"samples-{stage.split()[1]}.png" if stage else "samples.png")
        titles = [f"{stream.split} sample {index}{stage}" for index in range(count)]
        paths.append(sample_gallery(sample, path, labels=labels, count=count, titles=titles))
    mask = sample.inputs.get("mask")
    if mask is not None and mask.ndim == 2:
        mask = _samples(stream, at, max(SIGNALS, min(samples, SCHEDULES))).inputs["mask"]
        paths.append(mask_picture(np.asarray(mask, dtype=np.bool_), output / "masks.png"))
    return [preview_page(f"What {system.name} generates", paths, output, system), *paths]


def check_preview(stream: Stream, samples: Any) -> None:
    """ConfigError, by name, of more draws or samples than memory can hold."""
    Whole(low=1)("samples", samples)
    system = stream.system
    if (costs := sample_costs(system, seed=stream.seed, device=stream.device)) is None:
        return
    shown = max(GALLERY.get(Labels.of(system).kind or "", SIGNALS), SIGNALS)
    check_needs(Needs(memory=costs.batch(shown)), "system", system.name, device=stream.device)
    with peak_of("cpu") as peak:
        system.draw(_keys(stream, TRIED), np.full(TRIED, np.inf))
    # The draws of both ends of a curriculum, and what the pictures sort and bin.
    tell(check_needs(Needs(memory=3 * samples * peak[0] / TRIED), "samples", samples))


def _keys(stream: Stream, count: int) -> Keys:
    return Keys(stream.seed, stream.split, np.arange(count, dtype=np.uint64))


def drawn_alone(stream: Stream, drawn: dict[str, Drawn], count: int) -> dict[str, Drawn]:
    """Draws of the distributions that are no parameter of a sample, such as those of phantoms.

    Their random numbers are not those that the samples are made of.
    """
    keys = _keys(stream, count)
    progress = next((parameter.progress for parameter in drawn.values()), 0.0)
    params: Arrays = {
        name: distribution.draw(keys[name], (), np.full(count, progress))
        for name, distribution in nested_distributions(stream.system).items()
        if name not in drawn and not distribution.conditions
    }
    return drawn_parameters(stream.system, params, progress)


def _samples(stream: Stream, progress: float, count: int) -> Sample:
    """Samples 0 ... count - 1 of a stream, all at one point of the curriculum, on the host."""
    there = Stream(
        AtProgress(stream.system, progress),  # type: ignore[arg-type]
        seed=stream.seed, split=stream.split, device=stream.device, threads=0,
        on_nonfinite=stream.on_nonfinite,
    )  # fmt: skip
    return on_host(there.sample(range(count)))
