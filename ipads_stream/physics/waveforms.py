"""What a scanner plays and when it listens: the form in which a sequence reaches the simulators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Bool, Complex, Float

from ipads_stream.physics.arguments import check_arrays

Use = Literal["excitation", "refocusing", "inversion", "saturation", "preparation", "other"]


@dataclass(frozen=True)
class Pulse:
    """Where an RF pulse lies among the steps.

    Attributes:
        first, stop: its steps, first ... stop - 1.
        centre: time at which it acts, where it is treated as instantaneous, s from the start: a
            number or, to be followed with the lengths of the steps before it, a scalar tensor.
        use: what it is played for; pathways are followed by it.
        frame: Hz; not 0 for long pulses far off resonance, whose b1 stands in the frame that turns
            as exp(-2 pi i frame t) since their start.
    """

    first: int
    stop: int
    centre: Any
    use: Use
    frame: float = 0.0


@dataclass(frozen=True)
class Waveforms:
    """RF and gradients that are constant within steps, K of them, and S samples at ends of steps.

    A gradient that varies within a step stands here by its mean, which is exact without RF.

    Attributes:
        b1: RF in the frame that rotates at the nominal frequency or at that of its pulse, T, (K,),
            real part along x.
        gradient: T/m, (K, 3).
        dt: s, (K,), from 0 on.
        sampled: whether a sample is taken at the end of the step, (K,), on the host.
        receiver: phase of the receiver at each sample, rad, (S,), on the host; it is subtracted.
        pulses: of RF, in order of time.

    Raises:
        TypeError: one of the first five is no array.
    """

    b1: Complex[Any, " K"]
    gradient: Float[Any, "K 3"]
    dt: Float[Any, " K"]
    sampled: Bool[Any, " K"]
    receiver: Float[Any, " S"]
    pulses: tuple[Pulse, ...] = ()

    def __post_init__(self) -> None:
        names = ("b1", "gradient", "dt", "sampled", "receiver")
        check_arrays({name: getattr(self, name) for name in names})


@dataclass(frozen=True, eq=False)
class Interval:
    """A part of a sequence with RF or without, as exchanging pools take it.

    Attributes:
        dt: lengths of cells of constant RF, s, (cells,).
        b1: of them, T, (cells,), in the frame that turns at the frequency; None without RF.
        frequency: off-resonance, Hz, from the nominal one (0 ppm).
        phase: of the RF at the start, rad.
        is_read: whether magnetisation is wanted as it starts.
        is_spoiled: whether what is transverse is lost at its end.
        is_last: whether a readout ends with it, after which magnetisation may start anew.
    """

    dt: Float[Any, " cells"]
    b1: Complex[Any, " cells"] | None = None
    frequency: float = 0.0
    phase: float = 0.0
    is_read: bool = False
    is_spoiled: bool = False
    is_last: bool = False
