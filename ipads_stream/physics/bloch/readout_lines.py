"""Samples of a readout cut into lines that share patterns, for products instead of exponentials.

A row holds what phase and decay of a sample are linear in. A line is a run of samples; its pattern,
their rows less the first, is common to echoes of a train or pieces of a free induction decay.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ipads_stream.physics.bloch.kernels.factors import COLUMNS, LANES
from ipads_stream.physics.bloch.kernels.readout import LONGEST

_LENGTHS = (LONGEST, 64, 16)  # of lines, to choose from
# Nanoseconds: 16 factors formed, 16 moved, products of 16 samples and one line
_FORM, _MOVE, _MULTIPLY = 7.3, 1.1, 0.52
_MOST_GROWTH = 30.0  # nepers; the largest float32 is 88
_MOST_MOVES = 7  # one after the other, each with its rounding error
Groups = list[tuple[np.ndarray, int]]  # first samples of lines that share a pattern, its length


@dataclass(frozen=True)
class Lines:
    """Groups of lines, as the kernel takes them.

    columns: rows of lines and of patterns, 16 a vector; absolute: whether they are of lines, from
    the first sample; before: the move from the vector before, or -1; moving: the moves; groups:
    first vector and number of lines, first vector and length of the pattern; firsts: sample at
    which each line starts, in the order of the groups.
    """

    columns: Float[np.ndarray, "V C L"]
    absolute: Bool[np.ndarray, " V"]
    before: Int[np.ndarray, " V"]
    moving: Float[np.ndarray, "W C L"]
    groups: Int[np.ndarray, "G 4"]
    firsts: Int[np.ndarray, " lines"]


def cut(rows: Float[np.ndarray, "S C"], grain: Float[np.ndarray, " C"], growth: float) -> Lines:
    """The cut that costs least among whole windows of samples and pieces of several lengths.

    rows: of the samples, relative to the first, the fourth proportional to time; grain: by how much
    two rows may differ and count as the same; growth: largest 1/T2' of the spins, 1/s: where |tau|
    falls, a pattern of it grows.
    """
    grains, dt = rows / grain, np.diff(rows[:, 3])
    gaps = np.flatnonzero(dt > 1.5 * np.median(dt)) + 1 if dt.size else ()
    windows, whole = (np.array([0, *at, len(rows)], np.int64) for at in (gaps, ()))
    longest = int(np.diff(windows).max())
    lengths = dict.fromkeys(min(length, longest) for length in _LENGTHS)
    ways = [*((windows, length) for length in lengths), (whole, LONGEST), (whole, 1)]
    best: tuple[float, Groups] | None = None
    for ends, length in ways:
        firsts = np.concatenate([np.arange(*e, length) for e in itertools.pairwise(ends)])
        falls = rows[firsts, 5] - np.minimum.reduceat(rows[:, 5], firsts)
        if falls.max() * growth > _MOST_GROWTH or (length == 1 and best is not None):
            continue
        groups = _grouped(grains, firsts, np.diff(np.append(firsts, len(rows))))
        cost = sum(_cost(grains, *group) for group in groups)
        if best is None or cost < best[0]:
            best = (cost, groups)
    assert best is not None
    return _packed(rows, grain, growth, best[1])


def _grouped(grains: np.ndarray, firsts: np.ndarray, lengths: np.ndarray) -> Groups:
    """Lines of one pattern together: their first samples, and the number of samples."""
    groups: Groups = []
    for length in np.unique(lengths):
        lines = firsts[lengths == length]
        patterns = grains[lines[:, None] + np.arange(length)] - grains[lines][:, None]
        patterns = patterns.reshape(len(lines), -1)
        # One number per pattern: close for two that are alike, seldom for others.
        weights = np.cos(np.arange(patterns.shape[1], dtype=np.float64) ** 2)
        number = patterns @ weights
        order = np.argsort(number, kind="stable")
        apart = np.diff(number[order]) > np.abs(weights).sum()
        for group in np.split(order, np.flatnonzero(apart) + 1):
            group.sort()
            alike = np.all(np.abs(patterns[group] - patterns[group[0]]) <= 1, axis=1)
            parts = lines[group[alike]], *lines[group[~alike], None]
            groups += [(part, int(length)) for part in parts]
    return groups


def _cost(grains: np.ndarray, firsts: np.ndarray, points: int) -> float:
    """Nanoseconds of a group per spin, about."""
    lines = 4 if len(firsts) == 1 else 8 * -(-len(firsts) // 8)
    cost = _MULTIPLY * lines * -(-points // LANES)
    for part in (grains[firsts], grains[firsts[0] : firsts[0] + points]):
        vectors = -(-len(part) // LANES)
        steps = part[LANES:] - part[:-LANES]
        steps = steps[: len(steps) // LANES * LANES].reshape(-1, LANES, COLUMNS)
        even = np.abs(steps - steps[:, :1]) <= 1 / _MOST_MOVES
        moved = np.count_nonzero(np.all(even, axis=(1, 2)))
        formed = vectors - moved * _MOST_MOVES / (_MOST_MOVES + 1)
        cost += _FORM * formed + _MOVE * (vectors - formed)
    return float(cost)


def _packed(rows: np.ndarray, grain: np.ndarray, growth: float, groups: Groups) -> Lines:
    vectors: list[np.ndarray] = []
    before: list[int] = []
    absolute: list[bool] = []
    moves: dict[tuple[float, ...], tuple[int, np.ndarray]] = {}

    def append(part: np.ndarray, line: bool) -> int:
        start, chain = len(vectors), 0
        part = np.concatenate([part, np.repeat(part[-1:], -len(part) % LANES, 0)])
        for v in range(0, len(part), LANES):
            vectors.append(part[v : v + LANES].T)
            absolute.append(line)
            step = part[v : v + LANES] - part[max(v - LANES, 0) : max(v, LANES)]
            grown = -step[0, 5] * growth * _MOST_MOVES > _MOST_GROWTH
            # What differs adds up along a chain.
            alike = v > 0 and not grown and np.all(np.abs(step - step[0]) * _MOST_MOVES <= grain)
            if alike and chain < _MOST_MOVES:
                key = tuple(np.round(step[0] / grain * _MOST_MOVES))
                before.append(moves.setdefault(key, (len(moves), step[0]))[0])
                chain += 1
            else:
                before.append(-1)
                chain = 0
        return start

    table = []
    for firsts, length in groups:
        pattern = rows[firsts[0] : firsts[0] + length] - rows[firsts[0]]
        lines = append(rows[firsts], True)
        table.append((lines, len(firsts), append(pattern, False), length))
    lanes = np.zeros((-(-len(moves) // LANES) * LANES, COLUMNS))
    for n, step in moves.values():
        lanes[n] = step
    return Lines(
        np.ascontiguousarray(vectors),
        np.asarray(absolute),
        np.asarray(before, np.int64),
        np.ascontiguousarray(lanes.reshape(-1, LANES, COLUMNS).transpose(0, 2, 1)),
        np.asarray(table, np.int64),
        np.concatenate([firsts for firsts, _ in groups]).astype(np.int64),
    )
