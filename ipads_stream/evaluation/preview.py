"""What a system generates, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.evaluation.preview_corner import corner_picture
from ipads_stream.evaluation.preview_course import course_picture
from ipads_stream.evaluation.preview_histograms import parameter_histograms
from ipads_stream.evaluation.preview_joint import pairs_picture
from ipads_stream.evaluation.preview_parameters import distributions_of
from ipads_stream.evaluation.preview_regions import region_shares
from ipads_stream.evaluation.preview_stages import AtProgress, Span, span_of, stages
from ipads_stream.evaluation.preview_templates import template_gallery
from ipads_stream.evaluation.signal_figures import mask_picture, on_host, sample_gallery
from ipads_stream.stream.stream import Stream

GALLERY = {"voxel": 9, "slice": 4, "volume": 3}  # samples in a gallery, where not SIGNALS
SIGNALS = 6
SCHEDULES = 400
PAGE = 15  # histograms of what is no parameter of a sample, on one page
COURSE = 400  # samples behind quantiles that are of draws


def preview_system(
    stream: Stream, output: Path, samples: Any, progress: Any = (0, 50, 100)
) -> list[Path]:
    """Pictures of parameters, of their course over a curriculum, of samples and sampling schedules.

    Args:
        stream: a Stream of the system, with the seed and the split to draw from.
        output: folder of the pictures; made where it is missing.
        samples: number behind the histograms: samples 0 ... samples - 1 of the stream.
        progress: list of points of the curriculum, in % of its span, at which samples are drawn:
            the same samples at each, as they would be there.

    Returns:
        Paths of the PNG files.

    Raises:
        ConfigError: not a positive number of samples, or no list of percentages.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise ConfigError("samples", samples, "a whole number, at least 1")
    system = stream.system
    span = span_of(system)
    points = stages(span, progress)
    output.mkdir(parents=True, exist_ok=True)

    def draw(at: float, count: int = samples) -> Arrays:
        keys = Keys(stream.seed, stream.split, np.arange(count, dtype=np.uint64))
        return system.draw(keys, np.full(count, at))

    paths = _parameters(stream, draw, span, output, samples)
    keys = Keys(stream.seed, stream.split, np.arange(samples, dtype=np.uint64))
    templates = template_gallery(system, keys, _last(span), output / "templates.png")
    paths += [] if templates is None else [templates]
    kind = getattr(system, "kind", None)
    count = GALLERY.get(kind or "", SIGNALS)
    for stage, at in points.items():
        sample = _samples(stream, at, count)
        name = f"samples-{stage.split()[1]}.png" if stage else "samples.png"
        titles = [f"{stream.split} sample {index}{stage}" for index in range(count)]
        paths.append(
            sample_gallery(
                sample,
                output / name,
                dwell=float(getattr(system, "dwell", 1.0)),
                kind=kind,
                quantities=getattr(system, "quantities", None),
                count=count,
                titles=titles,
            )
        )
    mask = sample.inputs.get("mask")
    if mask is not None and mask.ndim == 2:
        mask = _samples(stream, at, max(SIGNALS, min(samples, SCHEDULES))).inputs["mask"]
        paths.append(mask_picture(np.asarray(mask, dtype=np.bool_), output / "masks.png"))
    return paths


def _parameters(
    stream: Stream, draw: Callable[..., Arrays], span: Span | None, output: Path, samples: int
) -> list[Path]:
    """Pictures of the parameters, and of distributions that the system uses in drawing others."""
    system, last = stream.system, _last(span)
    params = {at: draw(at) for at in ([] if span is None else [span.first]) + [last]}
    alone = {at: drawn_alone(stream, some, at, samples) for at, some in params.items()}
    drawn = {at: some | alone[at] for at, some in params.items()}
    paths = [parameter_histograms(system, params, output / "parameters.png")]
    parts = list(alone[last])
    for start in range(0, len(parts), PAGE):
        page = {
            at: {name: some[name] for name in parts[start : start + PAGE]}
            for at, some in alone.items()
        }
        paths.append(parameter_histograms(system, page, output / f"parts-{1 + start // PAGE}.png"))
    found = [
        pairs_picture(system, params[last], last, output / "pairs.png"),
        corner_picture(system, params[last], output / "corner.png"),
        region_shares(system, drawn[last], output / "regions.png"),
    ]
    paths += [path for path in found if path is not None]
    if span is not None:

        def few(at: float) -> Arrays:
            count = min(samples, COURSE)
            some = draw(at, count)
            return some | drawn_alone(stream, some, at, count)

        paths.append(course_picture(system, few, span, output / "course.png"))
    return paths


def drawn_alone(stream: Stream, params: Arrays, progress: float, count: int) -> Arrays:
    """Draws of the distributions that are no parameter of a sample, those of phantoms say.

    They have random numbers of their own: not those that the samples are made of.

    Args:
        stream: with the system, the seed and the split.
        params: that the system draws.
        progress: global sample index.
        count: of draws.
    """
    keys = Keys(stream.seed, stream.split, np.arange(count, dtype=np.uint64))
    return {
        name: distribution.draw(keys[name], (), np.full(count, progress))
        for name, distribution in distributions_of(stream.system).items()
        if name not in params and not distribution.conditions
    }


def _last(span: Span | None) -> float:
    return 0.0 if span is None else span.last


def _samples(stream: Stream, progress: float, count: int) -> Sample:
    """Samples 0 ... count - 1 of a stream, all at one point of the curriculum, on the host."""
    there = Stream(
        AtProgress(stream.system, progress),  # type: ignore[arg-type]
        seed=stream.seed,
        split=stream.split,
        device=stream.device,
        threads=0,
        on_nonfinite=stream.on_nonfinite,
    )
    return on_host(there.sample(range(count)))
