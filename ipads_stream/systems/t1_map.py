"""T1 of a voxel from spoiled gradient echoes at any flip angles: one network for all protocols.

Source: Christensen et al., Journal of Physical Chemistry 78, 1971 (1974), variable flip angles;
Gudbjartsson and Patz, Magnetic Resonance in Medicine 34, 910 (1995), the noise of magnitudes.
Ranges, network and loss are choices of this project (conf/system/t1_map.yaml).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core.backend import fused, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Arrays
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.physics.closed_forms.steady_states import spoiled_gradient_echo
from ipads_stream.systems.base import Axis
from ipads_stream.systems.relaxometry import (
    MOST,
    Relaxometry,
    between,
    check_within,
    numbered,
    repetition_time,
)


@dataclass(frozen=True, kw_only=True)
class T1Map(Relaxometry):
    """Steady states of increasing flip angles, ideally spoiled, right after the pulse.

    Inputs besides those of Relaxometry: ``flip`` (B, N), rad, with B1, which a map has measured,
    and ``TR`` (B, N), s. Targets: ``T1``, s, and ``snr``.

    Attributes:
        T1: s.
        B1: RF relative to nominal, known.
        TR: s.
        num_flips: at most 64; the largest is N.
        smallest_flip, largest_flip: nominal, rad.
        crowding: p of the angles between, smallest + (largest - smallest) (n / (N - 1))^p.
    """

    name: ClassVar[str] = "t1_map"
    estimated: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "T1": {"unit": "ms", "scale": "log", "bids": "T1map"}
    }
    adoption: ClassVar[str] = "ipads_stream.evaluation.adoption.flips.flip_angles"
    design: ClassVar[str] = "ipads_stream.evaluation.design.relaxometry.flip_angles"
    scales: ClassVar[Mapping[str, tuple[float, float]]] = {"flip": (0.02, 1.0), "TR": (3e-3, 0.05)}
    axis: ClassVar[tuple[str, str]] = ("FlipAngle", "deg")
    further_axes: ClassVar[Sequence[tuple[Sequence[str], str]]] = (
        (("RepetitionTimeExcitation", "RepetitionTime"), "s"),
    )
    series: ClassVar[Sequence[str]] = ("VFA",)
    without_B1: ClassVar[str] = "1 everywhere"

    T1: Distribution = parameter(quantity="time", within=(1e-3, 10.0))
    B1: Distribution = parameter(within=(0.3, 1.7))
    TR: Distribution = parameter(quantity="time", within=(1e-3, 10.0))
    num_flips: Distribution = parameter(integer=True, within=(2, MOST))
    smallest_flip: Distribution = parameter(quantity="angle", within=(1e-3, 1.5))
    largest_flip: Distribution = parameter(quantity="angle", within=(1e-3, 1.5))
    crowding: Distribution = parameter(within=(0.2, 5.0))

    def check(self) -> None:
        super().check()
        if self.smallest_flip.support[0] >= self.largest_flip.support[1]:
            allowed = "below largest_flip: images of one flip angle tell T1 from no amplitude"
            raise ConfigError("smallest_flip", self.smallest_flip.support, allowed)

    @property
    def array_axes(self) -> dict[str, Axis]:
        return {name: Axis("flip angle") for name in ("signal", "flip", "TR")}

    @property
    def number(self) -> Distribution:
        return self.num_flips

    def acquisition(self, params: Arrays) -> tuple[Arrays, Any]:
        columns = {name: x[:, None] for name, x in params.items()}
        number, mask = numbered(params["num_flips"], self.num_flips)
        names = ("smallest_flip", "largest_flip", "num_flips", "crowding", "B1", "TR")
        flip, TR = _angles(*(columns[name] for name in names), number, mask)
        return {"flip": flip, "TR": TR}, mask

    def protocol(self, axis: np.ndarray | None) -> Arrays:
        if axis is None or np.ndim(axis) != 2:
            allowed = "FlipAngle and RepetitionTimeExcitation, or RepetitionTime, in sidecars"
            raise ConfigError("data", "no flip angles with their repetition times", allowed)
        flip, TR = np.asarray(axis, np.float64)
        check_within("a repetition time", repetition_time(TR), self.TR)
        check_within("a smallest flip angle", flip.min(), self.smallest_flip, "rad")
        check_within("a largest flip angle", flip.max(), self.largest_flip, "rad")
        return {"flip": flip, "TR": TR}

    def with_B1(self, inputs: Arrays, B1: np.ndarray) -> Arrays:
        known = np.clip(np.where(np.isnan(B1), 1.0, B1), *self.B1.support)
        flip = inputs["flip"] * known[:, None].astype(np.float32)
        return self.inputs(inputs["signal"], {"flip": flip, "TR": inputs["TR"]}, inputs["mask"])

    def relaxation(self, acquired: Arrays, params: Arrays) -> Any:
        # The excitation itself: no echo has decayed, or all alike.
        flip, TR = acquired["flip"], acquired["TR"]
        xp = namespace(flip)
        TR = xp.where(TR > 0, TR, xp.ones_like(TR))  # where there is no image
        return xp.real(spoiled_gradient_echo(flip, TR, 0.0, params["T1"], 1.0))


@fused
def _angles(
    xp: Any, low: Any, high: Any, count: Any, power: Any, B1: Any, TR: Any, number: Any, mask: Any
) -> tuple[Any, Any]:
    """Flip angles, the largest where there is no image, and TR of each."""
    nominal = between(xp, low, high, count, power, number, mask)
    return B1 * nominal, TR + 0 * nominal
