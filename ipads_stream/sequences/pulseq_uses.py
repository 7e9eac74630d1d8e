"""What pulses are played for where a file does not say it: by flip angle and by k-space.

A pulse of more than 90 degrees refocuses, one of less excites, and one off resonance without a
gradient saturates: but low flip angles refocus, too. What a sequence means shows in its readouts:
after an excitation k counts from its centre, after a refocusing pulse it goes on from -k, and of
the two only what is meant passes the centre of k-space inside a readout, for crushers and spoilers
lie beside the other. Where that does not tell and the flip angle is none of the usual ones, the
user is asked.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from ipads_stream.physics.waveforms import Use
from ipads_stream.sequences.events import Block, Gradient
from ipads_stream.sequences.scanner import TINY

RIGHT_ANGLE = math.radians(90.01)  # flips of short pulses are rounded
CLEAR = math.radians(30), math.radians(150)  # below excites, above refocuses, if nothing else tells
INNER = 0.1, 0.9  # of the samples of a readout: its ends pass the centre by chance
NEAR = 0.05  # of what a readout spans


@dataclass
class _Played:
    """A pulse: its number, its block and the moments of the gradients, T s/m, from the start.

    at: at its centre, (3,); readouts: until the next pulse the least and the largest within each.
    """

    number: int
    block: Block
    at: Float[np.ndarray, " 3"]
    readouts: list[Float[np.ndarray, "2 3"]] = field(default_factory=list)


@dataclass
class _Seen:
    """Whether k-space has its centre in readouts after a number's pulses, by what they may be."""

    excites: bool = False
    refocuses: bool = False
    alike: bool = True


def uses_of(
    blocks: Sequence[Block], numbers: Sequence[int], given: Mapping[int, Use]
) -> dict[int, Use]:
    """The use of every pulse that blocks play.

    Args:
        blocks: in order of time.
        numbers: of the pulse of each block, 0 where there is none.
        given: uses that are known.

    Raises:
        ValueError: a pulse that may excite or refocus.
    """
    pulses = list(_pulses(blocks, numbers))
    uses = {p.number: given.get(p.number, _by_flip(p.block)) for p in pulses}
    seen = _seen(pulses, uses)
    for pulse in pulses:
        number, rf = pulse.number, pulse.block.rf
        if number in given or uses[number] == "saturation" or number not in seen or rf is None:
            continue
        now = seen[number]
        if now.excites != now.refocuses:
            uses[number] = "excitation" if now.excites else "refocusing"
        elif not now.alike and CLEAR[0] < rf.flip < CLEAR[1]:
            degrees = math.degrees(rf.flip)
            raise ValueError(
                f"[RF] {number}: its flip angle is {degrees:.4g} degrees and its readouts do not "
                f"tell whether it excites or refocuses: uses={{{number}: 'excitation'}} or "
                "'refocusing' tells"
            )
    return uses | dict.fromkeys(_inverting(pulses, uses, given), "inversion")


def _by_flip(block: Block) -> Use:
    rf = block.rf
    assert rf is not None
    is_selective = any(
        g is not None and g.times[0] < rf.stop - TINY and g.stop > rf.delay + TINY
        for g in block.gradients
    )
    if rf.frequency != 0 and not is_selective:
        return "saturation"
    return "excitation" if rf.flip <= RIGHT_ANGLE else "refocusing"


def _pulses(blocks: Sequence[Block], numbers: Sequence[int]) -> Iterator[_Played]:
    """Pulses in order of time, each once what follows it is known."""
    sofar, pulse = np.zeros(3), None
    for block, number in zip(blocks, numbers, strict=True):
        rf, adc = block.rf, block.adc
        after = -math.inf
        if rf is not None:
            if pulse is not None:
                yield pulse
            after = rf.delay + rf.centre
            pulse = _Played(number, block, sofar + _moments(block, np.array([after]))[0])
        if adc is not None and pulse is not None:
            first, last = (round(share * (adc.num_samples - 1)) for share in INNER)
            times = adc.times[first : last + 1]
            if (times := times[times > after]).size:
                moments = sofar + _moments(block, times)
                pulse.readouts.append(np.stack([moments.min(axis=0), moments.max(axis=0)]))
        sofar = sofar + _moments(block, np.array([block.duration]))[0]
    if pulse is not None:
        yield pulse


def _moments(block: Block, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Integrals of the gradients from the start of a block, T s/m."""
    columns = [np.zeros(times.size) if g is None else _integral(g, times) for g in block.gradients]
    return np.stack(columns, axis=-1)


def _integral(gradient: Gradient, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    knots, heights = gradient.times, gradient.amplitudes
    areas = 0.5 * (heights[1:] + heights[:-1]) * np.diff(knots)
    t = np.clip(times, knots[0], knots[-1])
    part = np.clip(np.searchsorted(knots, t, side="right") - 1, 0, knots.size - 2)
    height = np.interp(t, knots, heights)
    before = np.concatenate([[0.0], np.cumsum(areas)])[part]
    return before + 0.5 * (heights[part] + height) * (t - knots[part])


def _seen(pulses: Sequence[_Played], uses: Mapping[int, Use]) -> dict[int, _Seen]:
    """By number of a pulse that has readouts; uses: those that earlier pulses are taken to have."""
    seen: dict[int, _Seen] = {}
    origin = None  # moment at which k is 0
    for pulse in pulses:
        turned = None if origin is None else 2 * pulse.at - origin
        for least, largest in pulse.readouts:
            now = seen.setdefault(pulse.number, _Seen())
            near = NEAR * float(np.linalg.norm(largest - least))
            now.excites |= _distance(least - pulse.at, largest - pulse.at) <= near
            if turned is not None:
                now.refocuses |= _distance(least - turned, largest - turned) <= near
                now.alike &= float(np.linalg.norm(turned - pulse.at)) <= near
        if uses[pulse.number] == "excitation":
            origin = pulse.at
        elif uses[pulse.number] == "refocusing":
            origin = turned
    return seen


def _distance(least: Float[np.ndarray, " 3"], largest: Float[np.ndarray, " 3"]) -> float:
    """Of a box from 0."""
    return float(np.linalg.norm(np.maximum(np.maximum(least, -largest), 0.0)))


def _inverting(
    pulses: Sequence[_Played], uses: Mapping[int, Use], given: Mapping[int, Use]
) -> set[int]:
    """Numbers of pulses that would always refocus what was read before or was never excited."""
    candidates = {n for n, use in uses.items() if use == "refocusing" and n not in given}
    is_fresh = False  # excited, and not read yet
    for pulse in pulses:
        if pulse.readouts or is_fresh:
            candidates.discard(pulse.number)
        if uses[pulse.number] == "excitation":
            is_fresh = True
        if pulse.readouts:
            is_fresh = False
    return candidates
