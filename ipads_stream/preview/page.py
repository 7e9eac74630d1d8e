"""The page of a preview: every picture with a caption, and what was drawn as YAML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ipads_stream.core.description import describe
from ipads_stream.report.page import Section, present

CAPTIONS = {
    "parameters": "Drawn parameters in the unit of the configuration, and the exact law of each. "
    "What a curriculum changes is shown at its start and at its end.",
    "template-parameters": "Distributions that are no parameter of a sample, those of templates "
    "and fields: one draw for each sample, from random numbers of their own.",
    "pairs": "Parameters that depend on another one, against it, with exact quantiles.",
    "corner": "All parameters pair by pair: shares on the diagonal, densities below it.",
    "regions": "Shares of the regions of emphasised and adaptive parameters, by nature and here.",
    "course": "Quantiles of the parameters along the curriculum, and its weight below.",
    "templates": "What the samples are made of, each template and field by itself.",
    "samples": "Samples: what a network is given, and what it is asked for.",
    "masks": "Sampling schedules, and how often each point is sampled.",
    "diagram": "One repetition of the sequence: RF, gradients and acquisition.",
    "k_space": "Where the samples lie in k-space, and when they are taken.",
    "shapes": "Random shapes and textures in them.",
    "shapes_3d": "Random shapes in space: three cuts through each volume.",
    "fields": "Smooth fields of B1 and off-resonance, and noise of a chosen spectrum.",
    "textures": "Textures of noise and of lattices.",
    "images": "Textures out of natural images, and values poured into them.",
    "brain": "Maps of a brain from probability maps of tissues.",
    "brain_3d": "The same in space: three cuts through each volume.",
    "susceptibility": "Sources of susceptibility, the strongest along the third axis.",
}


def preview_page(title: str, pictures: Sequence[Path], folder: Path, thing: Any = None) -> Path:
    """Writes ``index.html``, which needs no other file."""
    captioned = []
    for path in pictures:
        name, _, point = path.stem.rpartition("-")
        if name not in CAPTIONS:
            name, point = path.stem, ""
        at = f" At {point} % of the curriculum." if name == "samples" and point else ""
        captioned.append((path, CAPTIONS[name] + at))
    sections = [Section(pictures=captioned)]
    if thing is not None:
        text = yaml.safe_dump(describe(thing), sort_keys=False, allow_unicode=True)
        sections.append(Section(title="Configuration", preformatted=text))
    elif not captioned:
        sections = [Section(paragraphs=["Nothing to show."])]
    present(title, sections, folder / "index.html")
    return folder / "index.html"
