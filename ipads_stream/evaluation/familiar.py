"""What a network was trained on, compared with its inputs: reported once, never refused.

There are two comparisons because they see different things. Inputs alone show how a signal was
sampled; two systems also show the ranges, the noise and the protocol.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import gammaincc

from ipads_stream.core.description import describe
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Distribution
from ipads_stream.systems import Quantified, System
from ipads_stream.systems.base import Undersampled

REFERENCES = 400  # masks that are drawn for comparison, and groups of them
LEVELS = 32  # numbers of sampled points for which they are drawn
DISTINCT = 16  # masks of the data that are looked at
BEYOND = 1.5  # times the farthest group of the training: single masks have heavy tails
CHANCE = 1e-5  # of a warning, where nothing differs
QUARTERS = 4  # parts of a signal in which sampled points are counted
ALMOST_ALL = 0.9  # rate above which a mask has no shape of its own
POINTS = 1.5  # ratio of numbers of points from which a signal is another


class UnfamiliarWarning(UserWarning):
    """A network is given what it was not trained on."""


@contextmanager
def expected() -> Iterator[None]:
    """Silences the warning where other data are the point and a report says what differs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnfamiliarWarning)
        yield


@dataclass(frozen=True)
class Familiar:
    """Compares a network's inputs with those of its training: ``Familiar(system)(inputs)``.

    Attributes:
        system: that simulated the training data.
    """

    system: System

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[str]:
        """A sentence for every difference of the inputs; none where nothing is known.

        Args:
            inputs: as of the network, batch first; ``mask`` (B, N) bool of an undersampled signal.
        """
        system, mask = self.system, inputs.get("mask")
        if not isinstance(system, Undersampled) or mask is None or mask.ndim != 2:
            return []
        masks = np.unique(np.asarray(mask, bool), axis=0)
        masks = masks[masks.any(axis=1)][:DISTINCT]
        if not len(masks):
            return []
        points = masks.shape[1]
        low, high = system.rate.support
        sentences = []
        if not 1 / POINTS < points / system.points < POINTS:
            sentences.append(f"signals have {points} points, in training {system.points}")
        tolerance, rate = 0.02 + 0.5 / points, float(np.median(masks.mean(axis=1)))
        if not low - tolerance <= rate <= high + tolerance:
            trained = f"{low:.0%}" if low == high else f"{low:.0%} to {high:.0%}"
            sentences.append(f"{rate:.0%} of the points are sampled, in training {trained}")
        return sentences + self.density(masks)

    def density(self, masks: np.ndarray) -> list[str]:
        """Whether masks (M, N) have a density and gaps that those of the training lack.

        Shapes are made white by those of masks of the training with as many points. The distance
        M |mean z|^2 of M masks must be rarer than ``CHANCE`` and well beyond that of any group of
        as many masks of the training.
        """
        masks = masks[(masks.mean(axis=1) < ALMOST_ALL) & (masks.sum(axis=1) > QUARTERS)]
        if not len(masks):
            return []
        references = [self._reference(masks.shape[1], int(count)) for count in masks.sum(axis=1)]
        shapes = _shapes(masks)
        white = [r.whitened(x) for r, x in zip(references, shapes, strict=True)]
        chosen = np.random.default_rng(0).integers(REFERENCES, size=(len(masks), REFERENCES))
        groups = [r.white[rows] for r, rows in zip(references, chosen, strict=True)]
        distance, of_groups = (len(masks) * np.square(np.mean(z, axis=0)).sum(axis=-1)
                               for z in (white, groups))  # fmt: skip
        chance = gammaincc(shapes.shape[1] / 2, distance / 2)
        if chance > CHANCE or distance <= BEYOND * of_groups.max():
            return []
        first, *_, gap = shapes.mean(axis=0)
        trained, *_, trained_gap = np.mean([r.mean for r in references], axis=0)
        return [
            f"sampled points are distributed differently: {first:.0%} in the first quarter, in "
            f"training {trained:.0%}; gaps vary by {gap:.2f} of their mean, in training by "
            f"{trained_gap:.2f}"
        ]

    def _reference(self, points: int, count: int) -> _Reference:
        """Of masks of the training with about ``count`` of ``points`` sampled."""
        step = max(1, points // LEVELS)
        key = points, max(QUARTERS, step * round(count / step))
        if key not in self._references:
            keys = Keys(0, "familiar", np.arange(REFERENCES, dtype=np.uint64))
            counts = np.full(REFERENCES, key[1])
            assert isinstance(self.system, Undersampled)
            drawn = self.system.masks(keys, points, counts)
            self._references[key] = _Reference(_shapes(np.asarray(drawn)))
        return self._references[key]

    @cached_property
    def _references(self) -> dict[tuple[int, int], _Reference]:
        return {}


class _Reference:
    """Shapes of masks of the training, (M, shape), and what makes shapes white."""

    def __init__(self, shapes: np.ndarray) -> None:
        self.mean = shapes.mean(axis=0)
        covariance = np.cov(shapes.T) + 1e-6 * np.eye(shapes.shape[1])
        self.factor = np.linalg.cholesky(np.linalg.inv(covariance))
        self.white = self.whitened(shapes)

    def whitened(self, shapes: np.ndarray) -> np.ndarray:
        return (shapes - self.mean) @ self.factor


def _shapes(masks: np.ndarray) -> np.ndarray:
    """Shares of the sampled points in the first three quarters, and the spread of their gaps."""
    parts = np.array_split(masks[:, 1:], QUARTERS, axis=1)  # the first point is always sampled
    counts = np.stack([part.sum(axis=1) for part in parts], axis=1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    gaps = [np.diff(np.flatnonzero(mask)) for mask in masks]
    spread = [gap.std() / gap.mean() for gap in gaps]
    return np.column_stack([shares[:, : QUARTERS - 1], spread])


def differences(trained: Any, given: Any) -> list[str]:
    """How a system differs from the one that a network was trained on: ranges, noise, protocol.

    Returns:
        A sentence for every parameter whose support exceeds that of the training, for every target
        that is missing, and every other field that differs.
    """
    if type(trained) is not type(given):
        return [f"the data are of {given.name}, in training of {trained.name}"]
    sentences = []
    for each in fields(trained):
        before, now = getattr(trained, each.name), getattr(given, each.name)
        if isinstance(before, Distribution) and isinstance(now, Distribution):
            (low, high), (least, most) = before.support, now.support
            if least < low or most > high:
                trained_range = f"in training {low:g} to {high:g} (SI)"
                sentences.append(f"{each.name} is {least:g} to {most:g}, {trained_range}")
        elif describe(before) != describe(now):
            sentences.append(f"{each.name} is {_brief(now)}, in training {_brief(before)}")
    if isinstance(trained, Quantified) and isinstance(given, Quantified):
        missing = trained.quantities.keys() - given.quantities.keys()
        sentences += [f"{name} is no target here, in training it was" for name in sorted(missing)]
    return sentences


def _brief(value: Any) -> str:
    if value is None:
        return "none"
    text = str(value) if isinstance(value, (str, int, float, tuple)) else type(value).__name__
    return text if len(text) < 60 else f"{text[:56]} ..."
