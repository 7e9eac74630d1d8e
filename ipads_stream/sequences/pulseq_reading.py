"""Pulseq files, versions 1.2 to 1.5, into sequences of ours.

A file counts amplitudes in Hz and Hz/m; a positive frequency turns as exp(+2 pi i f t) and means
spins of higher field. Here those spins turn as exp(-2 pi i f t), so all phases are conjugated: of
pulses, of their shapes and of receivers.

What cannot be simulated faithfully is refused: versions and extensions that are not known, RF shims
without the drive of the channels, offsets in ppm without B0. Left out, since they change nothing
that is simulated: labels and triggers (an input trigger is not waited for). A soft delay lasts as
long as the file says unless it is given. Nuclei other than 1H play as written: amplitudes in Hz
already hold their gyromagnetic ratio.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.waveforms import Use
from ipads_stream.sequences.events import ADC, LATE, RF, USES, Block, Gradient
from ipads_stream.sequences.pulseq_shapes import DIGITS, cells, last_height, seconds, trapezoid
from ipads_stream.sequences.pulseq_shims import driven, extensions
from ipads_stream.sequences.pulseq_text import MOST_SAMPLES, RASTERS, Row, Text, parse
from ipads_stream.sequences.pulseq_uses import uses_of
from ipads_stream.sequences.scanner import TINY, Scanner
from ipads_stream.sequences.sequence import JUMP, Sequence

PEAK = 0.99999  # of the largest sample: where a pulse of old files acts
AXES = ("gx", "gy", "gz")
INITIALS: dict[str, Any] = {use[0]: use for use in USES}


def read_pulseq(
    path: str | Path,
    *,
    scanner: Scanner | None = None,
    B0: float | None = None,
    soft_delays: Mapping[str, float] | None = None,
    uses: Mapping[int, Use] | None = None,
    drive: Any = None,
    conjugate: bool = True,
) -> Sequence:
    """The sequence of a Pulseq file.

    Warns where the signature of the file is not that of its text.

    Args:
        path: of the file.
        scanner: whose limits the sequence must keep; None: any that could exist.
        B0: T, for offsets that the file gives in ppm.
        soft_delays: their hint -> s; the others last as long as the file says.
        uses: number of a pulse in [RF] -> what it is played for. Files before 1.5 do not say it;
            for pulses not given here it is decided from flip angles and from where k-space has its
            centre, and kept in the definition PulseUses.
        drive: field of each transmit channel relative to nominal where spins are, complex,
            (channels,): RF shims s play their pulse times sum s drive, the same for all spins.
            "spins" leaves shims out, for Phantom.driven to play by fields that differ from spin to
            spin, with the shims that read_shims gives.
        conjugate: whether phases are conjugated, which makes signals the conjugate of what they
            are in the convention of the file. False takes phases as they are written, as simulators
            do that let spins turn as exp(-2 pi i f t) and phases as exp(i phase); frequencies
            stay those of the spins, but sweeps within a shape then run the other way.

    Raises:
        ValueError: not a Pulseq file, or one that cannot be simulated faithfully, with the reason.
        FileNotFoundError: no such file.

    Source: Layton et al., Magn Reson Med 2017; 77: 1544 (Pulseq); its specification 1.5.1.
    """
    path = Path(path)
    text = parse(path)
    given = None if drive is None else "spins" if isinstance(drive, str) else np.asarray(drive)
    if isinstance(drive, str) and drive != "spins":
        raise ValueError(f"drive={drive!r}: 'spins' or one number for each channel is allowed")
    file = _File(text, B0, given, -1 if conjugate else 1, dict(soft_delays or {}))
    try:
        blocks = file.blocks()
        numbers = [row[1] for row in text.blocks.values()]
        definitions = {k: v for k, v in text.definitions.items()
                       if k not in (*RASTERS, "TotalDuration")}  # fmt: skip
        decided = _checked_uses(uses or {}, numbers)
        if text.version < (1, 5):
            decided = uses_of(blocks, numbers, given=decided)
        if decided:
            blocks = _used(blocks, numbers, decided)
        if text.version < (1, 5) and decided:
            told = ", ".join(f"{number} {use}" for number, use in sorted(decided.items()))
            definitions["PulseUses"] = told
        name = str(definitions.get("Name", path.stem))
        scanner = scanner or _any_scanner(text)
        return Sequence(tuple(blocks), name=name, scanner=scanner, definitions=definitions)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _any_scanner(text: Text) -> Scanner:
    """One that plays whatever could exist, without dead times, on the rasters of the file."""
    return Scanner(1.0, 1e5, 1.0, 0.0, 0.0, 0.0, *(text.raster(name) for name in RASTERS))


def _used(blocks: list[Block], numbers: list[int], uses: Mapping[int, Use]) -> list[Block]:
    """Blocks whose pulses have the uses of their numbers."""
    made: dict[int, RF] = {}
    for block, number in zip(blocks, numbers, strict=True):
        if block.rf is not None and number in uses:
            made.setdefault(id(block.rf), replace(block.rf, use=uses[number]))
    return [replace(block, rf=made.get(id(block.rf), block.rf)) for block in blocks]


def _checked_uses(uses: Mapping[int, Use], numbers: list[int]) -> dict[int, Use]:
    for number, use in uses.items():
        if number not in numbers or number <= 0 or use not in USES:
            allowed = f"a pulse that is played and one of {', '.join(USES)}"
            raise ValueError(f"uses={{{number}: {use!r}}}: {allowed} are allowed")
    return dict(uses)


@dataclass
class _File:
    """What a file is read with; events are turned once, however many blocks play them.

    sign: of phases; events: by kind, number and what else decides them.
    """

    text: Text
    B0: float | None
    drive: Any
    sign: int
    soft: dict[str, float]
    events: dict[Any, Any] = field(default_factory=dict)
    held: int = 0

    def once(self, make: Any, *key: Any) -> Any:
        if (make, *key) not in self.events:
            made = self.events[make, *key] = make(self, *key)
            self.held += _size(made)  # a shape of few lines may serve many events
            if self.held > MOST_SAMPLES:
                raise ValueError(f"more than {MOST_SAMPLES} samples in events")
        return self.events[make, *key]

    def blocks(self) -> list[Block]:
        rows = list(self.text.blocks.items())
        known = {self.text.row("SOFT", i)[3] for i in self.text.tables.get("SOFT", {})}
        if unknown := self.soft.keys() - known:
            raise ValueError(f"soft_delays={self.soft}: no soft delay {', '.join(sorted(unknown))}")
        ends = dict.fromkeys(AXES, 0.0)
        blocks = []
        for at, (number, row) in enumerate(rows):
            following = rows[at + 1][1] if at + 1 < len(rows) else (0,) * 7
            try:
                blocks.append(self._block(row, following, ends))
            except ValueError as error:
                raise ValueError(f"block {number}: {error}") from error
        return blocks

    def _block(self, row: Row, following: Row, ends: dict[str, float]) -> Block:
        """A block; ends: of gradients at the end of the one before, T/m, and then of this one."""
        rotation, shim, soft = extensions(self.text, row[6])
        played: dict[str, Any] = {}
        if row[1]:
            played["rf"] = self._made("rf", _rf, row[1], shim)
        if row[5]:
            played["adc"] = self._made("adc", _adc, row[5])
        for axis, number, next_ in zip(AXES, row[2:5], following[2:5], strict=True):
            if number:
                goes_on = self._starts_shaped(next_)
                alone = not self._lacks_ends(number)
                neighbours = (0.0, False) if alone else (ends[axis], goes_on)
                played[axis] = self._made(axis, _gradient, number, *neighbours)
        duration = self._duration(row[0], played, soft)
        for axis in AXES:
            g: Gradient | None = played.get(axis)
            ends[axis] = 0.0 if g is None or g.stop < duration - LATE else float(g.amplitudes[-1])
        if rotation:
            numbers = tuple(id(played.get(axis)) for axis in AXES)
            gradients = tuple(played.get(axis) for axis in AXES)
            self.events.setdefault(("kept", numbers), gradients)  # An id is that of what lives.
            played |= self.once(_rotated, rotation, numbers)
        return Block(duration, **played)

    def _made(self, name: str, make: Any, *key: Any) -> Any:
        try:
            return self.once(make, *key)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def _duration(self, written: int, played: dict[str, Any], soft: int) -> float:
        """Before 1.4 a block lasts as long as the longest of its events."""
        raster = self.text.raster("BlockDurationRaster")
        if soft:
            _, offset, factor, hint = self.text.row("SOFT", soft)
            if hint in self.soft:
                if factor == 0:
                    raise ValueError(f"soft delay {hint}: factor 0")
                time = self.soft[hint] / factor + offset * 1e-6
                return seconds(round(time / raster) * raster)
        if self.text.version >= (1, 4):
            return seconds(written * raster)
        delay = self.text.row("DELAYS", written)[0] * 1e-6 if written else 0.0
        return max(
            [seconds(delay), *(event.stop for event in played.values() if event is not None)]
        )

    def _lacks_ends(self, number: int) -> bool:
        return self.text.version < (1, 5) and number in self.text.tables.get("GRADIENTS", {})

    def _starts_shaped(self, number: int) -> bool:
        return self._lacks_ends(number) and self.text.tables["GRADIENTS"][number][-1] == 0

    def offsets(self, row: Row) -> tuple[float, float]:
        """Frequency, Hz, and phase, rad, as the file counts them; of both first that in ppm."""
        ppm, phase_ppm, frequency, phase = row
        if (ppm or phase_ppm) and self.B0 is None:
            raise ValueError(f"an offset of {ppm or phase_ppm} ppm needs B0")
        larmor = 0.0 if self.B0 is None else GAMMA_BAR_1H * self.B0 * 1e-6
        return frequency + ppm * larmor, phase + phase_ppm * larmor


def _size(event: Any) -> int:
    """How many samples an event, or those of all axes, keeps."""
    if isinstance(event, dict):
        return sum(map(_size, event.values()))
    if isinstance(event, ADC):
        return int(np.size(event.phase))
    return 0 if event is None else (event.samples if isinstance(event, RF) else event.times).size


def _rf(file: _File, number: int, shim: int) -> RF:
    row, raster = file.text.row("RF", number), file.text.raster("RadiofrequencyRasterTime")
    size, magnitude, phase = row[:3]
    time_id = row[3] if file.text.version >= (1, 4) else 0
    shape = size * file.text.samples(magnitude)
    turns = file.text.samples(phase) if phase else np.zeros(shape.size)
    t = file.text.samples(time_id) if time_id else np.arange(shape.size) + 0.5
    if not turns.size == shape.size == t.size:
        raise ValueError(f"{shape.size} samples, {turns.size} phases and {t.size} times")
    t = np.round(t * raster, DIGITS)
    signal = shape * np.exp(file.sign * 2j * math.pi * turns) / GAMMA_BAR_1H
    if shim and not isinstance(file.drive, str):
        signal = signal * driven(file.text, shim, file.drive, file.sign)
    samples, edges = cells(signal, t, raster)
    if file.text.version >= (1, 5):
        centre, delay, use = row[4] * 1e-6, row[5], row[10]
        frequency, phase_offset = file.offsets(row[6:10])
    else:
        peak = t[np.abs(shape) >= PEAK * np.max(np.abs(shape))]
        centre, delay, use = 0.5 * (peak[0] + peak[-1]), row[-3], "e"
        frequency, phase_offset = row[-2:]
    centre = min(seconds(centre), float(edges[-1]))
    offsets = (frequency, file.sign * phase_offset)
    return RF(samples, edges, centre, INITIALS.get(use, "other"), seconds(delay * 1e-6), *offsets)


def _gradient(file: _File, number: int, before: float, goes_on: bool) -> Gradient | None:
    """before, goes_on: of shapes without ends, what preceded them, T/m, and whether one follows."""
    if number in file.text.tables.get("TRAP", {}):
        return trapezoid(*file.text.row("TRAP", number))
    row, raster = file.text.row("GRADIENTS", number), file.text.raster("GradientRasterTime")
    has_ends, has_times = file.text.version >= (1, 5), file.text.version >= (1, 4)
    size, delay = row[0] / GAMMA_BAR_1H, seconds(row[-1] * 1e-6)
    time_id = row[-2] if has_times else 0
    heights = size * file.text.samples(row[-3] if has_times else row[1])
    if time_id > 0:
        times = file.text.samples(time_id) * raster
        if times.size != heights.size:
            raise ValueError(f"{heights.size} samples and {times.size} times")
    else:
        step = raster if time_id == 0 else 0.5 * raster
        times = (np.arange(heights.size) + (0.5 if time_id == 0 else 1.0)) * step
    if times[0] > TINY:  # sampled on the raster, or twice as finely: the ends are apart
        if has_ends:
            first, last = row[1] / GAMMA_BAR_1H, row[2] / GAMMA_BAR_1H
        else:
            first = before if delay == 0 else 0.0
            last = heights[-1] if time_id > 0 else last_height(heights, first)
            if not goes_on and abs(last) > JUMP:
                last = 0.0  # A rectangle, as of spoilers by JEMRIS, which nothing continues.
        times = np.concatenate([[0.0], times, [times[-1] + times[0]]])
        heights = np.concatenate([[first], heights, [last]])
    return Gradient(np.round(delay + times, DIGITS), heights)


def _rotated(file: _File, rotation: int, numbers: tuple[int, ...]) -> dict[str, Gradient | None]:
    """Gradients of a block turned by the quaternion q, G' = q G q*."""
    gradients = file.events["kept", numbers]
    w, x, y, z = q = np.asarray(file.text.row("ROTATIONS", rotation))
    if not abs(np.sum(q**2) - 1) < 1e-3:
        raise ValueError(f"rotation {rotation}: quaternion {q} is not of length 1")
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    R = np.eye(3) + 2 * (w * cross + cross @ cross) / np.sum(q**2)
    knots = [g.times for g in gradients if g is not None]
    if not knots:
        return {}
    times = np.unique(np.concatenate(knots))
    heights = [np.zeros(times.size) if g is None
               else np.interp(times, g.times, g.amplitudes, left=0.0, right=0.0)
               for g in gradients]  # fmt: skip
    turned = R @ np.stack(heights)
    most = np.max(np.abs(turned))
    return {axis: Gradient(times, row) if np.max(np.abs(row)) > 1e-15 * most else None
            for axis, row in zip(AXES, turned, strict=True)}  # fmt: skip


def _adc(file: _File, number: int) -> ADC:
    row = file.text.row("ADC", number)
    count, dwell, delay = row[0], seconds(row[1] * 1e-9), seconds(row[2] * 1e-6)
    if file.text.version < (1, 5):
        frequency, phase = row[3:5]
        return ADC(count, dwell, delay, frequency, file.sign * phase)
    frequency, phase = file.offsets(row[3:7])
    modulation = file.text.samples(row[7]) if row[7] else 0.0
    return ADC(count, dwell, delay, frequency, file.sign * (phase + modulation))
