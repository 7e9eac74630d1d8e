"""T1 of a voxel from inversion recovery at any inversion times: one network for all protocols.

Source: Barral et al., Magnetic Resonance in Medicine 64, 1057 (2010), the recovery; Gudbjartsson
and Patz, Magnetic Resonance in Medicine 34, 910 (1995), the noise of magnitudes. Ranges, network
and loss are choices of this project (conf/system/t1_inversion.yaml).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core.backend import fused, namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Arrays
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.physics.closed_forms.steady_states import inversion_recovery
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
class T1Inversion(Relaxometry):
    """An inversion and a pulse of 90 degrees in every TR, one inversion time for each image.

    Magnitudes have lost the sign, which the likelihood accounts for. Inputs besides those of
    Relaxometry: ``TI`` and ``TR`` (B, N), s. Targets: ``T1``, s, ``efficiency`` and ``snr``.

    Attributes:
        T1: s.
        efficiency: of the inversion, 1 is a whole one; unknown, and estimated with T1.
        num_images: at most 64; the largest is N.
        first_TI, last_TI: s.
        crowding: p of the times between, first_TI + (last_TI - first_TI) (n / (N - 1))^p.
        delay: from last_TI to the end of TR, s.
    """

    name: ClassVar[str] = "t1_inversion"
    estimated: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "T1": {"unit": "ms", "scale": "log", "bids": "T1map"},
        "efficiency": {"unit": "%"},
    }
    design: ClassVar[str] = "ipads_stream.evaluation.design.relaxometry.inversion_times"
    scales: ClassVar[Mapping[str, tuple[float, float]]] = {"TI": (0.02, 4.0), "TR": (1.0, 12.0)}
    axis: ClassVar[tuple[str, str]] = ("InversionTime", "s")
    further_axes: ClassVar[Sequence[tuple[Sequence[str], str]]] = (
        (("RepetitionTime", "RepetitionTimePreparation"), "s"),
    )
    series: ClassVar[Sequence[str]] = ("IRT1",)

    T1: Distribution = parameter(quantity="time", within=(1e-3, 10.0))
    efficiency: Distribution = parameter(within=(0.1, 1.0))
    num_images: Distribution = parameter(integer=True, within=(2, MOST))
    first_TI: Distribution = parameter(quantity="time", within=(1e-3, 10.0))
    last_TI: Distribution = parameter(quantity="time", within=(1e-3, 20.0))
    crowding: Distribution = parameter(within=(0.2, 5.0))
    delay: Distribution = parameter(quantity="time", within=(1e-3, 60.0))

    @property
    def array_axes(self) -> dict[str, Axis]:
        return {name: Axis("inversion time") for name in ("signal", "TI", "TR")}

    @property
    def number(self) -> Distribution:
        return self.num_images

    def acquisition(self, params: Arrays) -> tuple[Arrays, Any]:
        number, mask = numbered(params["num_images"], self.num_images)
        names = ("first_TI", "last_TI", "num_images", "crowding", "delay")
        TI, TR = _times(*(params[name][:, None] for name in names), number, mask)
        return {"TI": TI, "TR": TR}, mask

    def protocol(self, axis: np.ndarray | None) -> Arrays:
        if axis is None or np.ndim(axis) != 2:
            allowed = "InversionTime and RepetitionTime in sidecars"
            raise ConfigError("data", "no inversion times with their repetition times", allowed)
        TI, TR = np.asarray(axis, np.float64)
        check_within("a first inversion time", TI.min(), self.first_TI)
        check_within("a last inversion time", TI.max(), self.last_TI)
        delay = repetition_time(TR) - TI.max()
        check_within("a delay after the last inversion time", delay, self.delay)
        return {"TI": TI, "TR": TR}

    def relaxation(self, acquired: Arrays, params: Arrays) -> Any:
        TI, TR = acquired["TI"], acquired["TR"]
        xp = namespace(TI)
        TR = xp.where(TR > 0, TR, xp.ones_like(TR))  # where there is no image
        return inversion_recovery(TI, TR, params["T1"], efficiency=params["efficiency"])


@fused
def _times(
    xp: Any, first: Any, last: Any, count: Any, power: Any, delay: Any, number: Any, mask: Any
) -> tuple[Any, Any]:
    """Inversion times, the last where there is no image, and TR of each."""
    TI = between(xp, first, last, count, power, number, mask)
    return TI, last + delay + 0 * number
