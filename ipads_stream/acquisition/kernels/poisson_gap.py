"""Poisson-gap schedules on the CPU: many are walked in turns, so that none waits for its memory.

A gap is looked up in a table of the Poisson quantile function, by the leading bits of the mean and
of the random word. Where the two do not settle it, about 1 gap in 17, it is summed: the result is
that of the sum alone, bit for bit. 256 points, a sampling rate of 15 to 50 %: 0.35 of the time of
sums alone.
"""

import math
from typing import no_type_check

import numpy as np

from ipads_stream.core.compilation import exact

# exp(-mean) underflows at 745. Beyond this mean the sum starts nine standard deviations below it,
# where the tail left out (1e-18) is far below the smallest uniform number, 2^-33.
LARGE_MEAN = 700.0
TRIALS = 64  # of the mean, until the count is given up for this assignment of the numbers
NARROW = 1e-9  # relative width of the interval of means that cannot be halved with success
MEANS, CELLS, BITS = 16, 32, 9  # table: means below, cells per unit of the mean, bits of the word
UNSURE = np.uint8(255)
_SHIFT = np.uint32(32 - BITS)
LARGEST = float(MEANS)
_TOGETHER = 16  # walks in turns
_SURE = 1e-12  # the error of a sum of at most 255 terms is below


@exact
@no_type_check
def summed_gap(u, mean, most):
    """The Poisson quantile of a uniform number, at most ``most``."""
    gap = 0
    if mean <= LARGE_MEAN:
        term = math.exp(-mean)
    else:
        gap = int(min(mean - 9.0 * math.sqrt(mean), float(most)))
        term = math.exp(gap * math.log(mean) - mean - math.lgamma(gap + 1.0))
    cumulative = term
    while u > cumulative and gap < most:
        gap += 1
        term *= mean / gap
        cumulative += term
    return gap


@exact
@no_type_check
def quantile_table():
    """Gaps by cell of the mean and of the word, flat, uint8; UNSURE where a cell holds several.

    The last row, of all larger means, is unsure.
    """
    columns = 1 << BITS
    table = np.full((MEANS * CELLS + 1, columns), UNSURE)
    for row in range(MEANS * CELLS):
        smallest, largest = row / CELLS, (row + 1) / CELLS
        for column in range(columns):
            first, last = (column << _SHIFT) + 0.5, ((column + 1) << _SHIFT) - 0.5
            least = summed_gap(first * 2.0**-32 - _SURE, smallest, 255)
            if least == summed_gap(last * 2.0**-32 + _SURE, largest, 255):
                table[row, column] = least
    return table.ravel()


@exact
@no_type_check
def _walk(words, rows, columns, table, slots, at, first, end, shift, scale, weight, marks, steps):
    """Walks the schedules in ``slots`` in turns, from ``at`` to ``end`` of all marks.

    first: where the columns of each begin; shift: its first word; steps: filled with their number.
    """
    points = np.uint64(weight.size)
    walking = np.uint64(slots.size)
    one = np.uint64(1)
    step = np.uint64(0)
    while walking > 0:
        turn = np.uint64(0)
        while turn < walking:
            i = at[turn]
            marks[i] = True
            gap = np.uint64(table[rows[i] + columns[first[turn] + step]])
            if gap == UNSURE:
                slot = slots[turn]
                mean = scale[slot] * weight[i + points - end[turn]]
                u = (words[slot, (shift[slot] + np.int64(step)) % weight.size] + 0.5) * 2.0**-32
                gap = np.uint64(summed_gap(u, mean, weight.size))
            i += one + gap
            at[turn] = i
            if i < end[turn]:
                turn += one
            else:  # the last one takes the place of the one that has arrived
                steps[slots[turn]] = step + one
                walking -= one
                slots[turn], at[turn] = slots[walking], at[walking]
                first[turn], end[turn] = first[walking], end[walking]
        step += one


@exact
@no_type_check
def fill(words, counts, weight, table, mask):
    """Fill mask, (B, N) bool, with schedules of ``counts`` points each.

    words: random words, uint32, (B, N); counts: int64, (B,); weight: the mean gap at each point, of
    a scale, (N,); table: of ``quantile_table``.
    """
    samples, points = mask.shape
    own = np.empty((_TOGETHER, points), np.uint32)  # words of the sample in each slot
    rows = np.empty((_TOGETHER, points), np.uint32)  # of the table, by the mean at each point
    columns = np.empty((_TOGETHER, 2 * points), np.uint32)  # by each word, twice
    marks = np.empty((_TOGETHER, points), np.bool_)
    sample, shift = np.full(_TOGETHER, -1), np.zeros(_TOGETHER, np.int64)
    trial = np.zeros(_TOGETHER, np.int64)
    scale, low, high = np.empty(_TOGETHER), np.empty(_TOGETHER), np.empty(_TOGETHER)
    slots = np.empty(_TOGETHER, np.uint64)
    at, first = np.empty(_TOGETHER, np.uint64), np.empty(_TOGETHER, np.uint64)
    end, steps = np.empty(_TOGETHER, np.uint64), np.empty(_TOGETHER, np.int64)
    following = 0
    while True:
        walking = 0
        for slot in range(_TOGETHER):
            while sample[slot] < 0 and following < samples:
                if counts[following] >= points:
                    mask[following] = True
                else:
                    sample[slot] = following
                    # Where the published recipe starts, too: twice the mean gap that is wanted.
                    scale[slot] = 2.0 * (points / counts[following] - 1.0)
                    low[slot], high[slot], trial[slot], shift[slot] = 0.0, math.inf, 0, 0
                    for i in range(points):
                        own[slot, i] = words[following, i]
                        columns[slot, i] = columns[slot, points + i] = words[following, i] >> _SHIFT
                following += 1
            if sample[slot] >= 0:
                for i in range(points):
                    # By 32 bits: not every processor turns several doubles into 64 at once.
                    row = np.int32(min(scale[slot] * weight[i], LARGEST) * CELLS)
                    rows[slot, i] = np.uint32(row) << np.uint32(BITS)
                marks[slot] = False
                at[walking], end[walking] = slot * points, (slot + 1) * points
                first[walking] = 2 * slot * points + shift[slot]
                slots[walking] = slot
                walking += 1
        if walking == 0:
            return
        _walk(
            own, rows.ravel(), columns.ravel(), table, slots[:walking], at, first, end, shift,
            scale, weight, marks.ravel(), steps,
        )  # fmt: skip
        for slot in range(_TOGETHER):
            s = sample[slot]
            if s < 0:
                continue
            wanted = counts[s]
            count = steps[slot]
            if count == wanted:
                mask[s] = marks[slot]
                sample[slot] = -1
                continue
            if count > wanted:
                low[slot] = scale[slot]
            else:
                high[slot] = scale[slot]
            gap = points / wanted - 1.0
            proposed = scale[slot] * gap / max(points / count - 1.0, 0.1 * gap)
            if proposed <= low[slot] or proposed >= high[slot]:
                is_open = math.isinf(high[slot])
                proposed = 2.0 * low[slot] if is_open else 0.5 * (low[slot] + high[slot])
            is_narrow = high[slot] - low[slot] <= NARROW * low[slot]
            if not is_narrow:
                scale[slot] = proposed
                trial[slot] += 1
            # One gap growing by one can, rarely, push out two points at once and skip the wanted
            # count; the same numbers assigned to the gaps one place further give another walk.
            if is_narrow or trial[slot] == TRIALS:
                low[slot], high[slot], trial[slot] = 0.0, math.inf, 0
                shift[slot] += 1
            if shift[slot] == points:
                _mend(marks[slot], count - wanted)
                mask[s] = marks[slot]
                sample[slot] = -1


@exact
@no_type_check
def _mend(row, surplus):
    """Every assignment skips the count: keep the earliest points of the last walk, or add such."""
    points = row.shape[0]
    for i in range(points - 1, -1, -1):
        if surplus > 0 and row[i]:
            row[i] = False
            surplus -= 1
    for i in range(points):
        if surplus < 0 and not row[i]:
            row[i] = True
            surplus += 1
