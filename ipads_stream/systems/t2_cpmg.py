"""T2 of a voxel from a train of spin echoes whose pulses refocus less than they should.

Where B1 is off, or a slice is not refocused by 180 degrees throughout, stimulated echoes add to
the spin echoes: a decay of one exponential is fitted too long, and odd and even echoes differ. The
signal is that of extended phase graphs, and the angle of refocusing is estimated with T2.

An angle a and its complement 360 degrees - a give the same echoes, so that it goes up to 180. One
angle stands for the whole slice: that of an ideal profile, else an effective one. The excitation
scales all echoes alike and is part of M0.

Source: Hennig, Journal of Magnetic Resonance 78, 397 (1988), the echoes; Lebel and Wilman,
Magnetic Resonance in Medicine 64, 1005 (2010), their angle estimated with T2; Gudbjartsson and
Patz, Magnetic Resonance in Medicine 34, 910 (1995), the noise of magnitudes. Ranges, network and
loss are choices of this project (conf/system/t2_cpmg.yaml).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core.backend import namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import number
from ipads_stream.core.sample import Arrays
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.physics.epg import cpmg
from ipads_stream.systems.echo_train import EchoTrain

MAP_ERROR = 0.05  # standard deviation of a measured B1 over nominal
TOLERANCE = 0.02  # of the spacing, that the first echo may be off


@dataclass(frozen=True, kw_only=True)
class T2CPMG(EchoTrain):
    """Echoes at n spacing, n = 1, 2, ..., of pulses that all turn by one angle.

    A measured map of B1 is one more measurement of the angle, ``refocusing_map`` (B,), rad, among
    the inputs: the network does not see it, the likelihood does.

    Attributes:
        T2: s.
        refocusing: angle of the refocusing pulses, rad; B1 times the nominal one.
        nominal: of a map of B1, rad.
        T1: s; only stimulated echoes depend on it.
    """

    name: ClassVar[str] = "t2_cpmg"
    estimated: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "T2": {"unit": "ms", "scale": "log", "bids": "T2map"},
        "refocusing": {"unit": "deg"},
    }
    adoption: ClassVar[str] = "ipads_stream.evaluation.adoption.echoes.spin_echoes"
    instead_of: ClassVar[Sequence[str]] = ("t2_map",)
    series: ClassVar[Sequence[str]] = ("MESE",)
    without_B1: ClassVar[str] = "estimated with T2"
    baselines: ClassVar[dict[str, str]] = {
        "log-linear fit": "ipads_stream.baselines.relaxation.log_linear_fit",
        "mono-exponential fit": "ipads_stream.baselines.relaxation.exponential_fit",
        "dictionary": "ipads_stream.baselines.relaxation.dictionary",
        **EchoTrain.baselines,
    }

    T2: Distribution = parameter(quantity="time", within=(1e-4, 10.0))
    refocusing: Distribution = parameter(quantity="angle", within=(0.5, math.pi))
    nominal: float = number(math.pi, above=0.5, high=math.pi)
    T1: float = number(1.0, above=0.0, below=1e3)

    def check(self) -> None:
        super().check()
        if self.first_echo is not None:
            raise ConfigError("first_echo", self.first_echo, "null: the spacing, as of all CPMG")
        if self.T2.support[1] > 2 * self.T1:
            raise ConfigError("T1", self.T1, "at least half of T2, as of all matter")

    def relaxation(self, acquired: Arrays, params: Arrays) -> Any:
        TE, angle = acquired["TE"], params["refocusing"][:, 0]
        spacing = TE[:, 0]
        # Phase graphs know times only over one another. The kernel excites by half of the angle.
        T1, T2 = self.T1 / spacing, params["T2"][:, 0] / spacing
        xp = namespace(T2)
        echoes = xp.real(cpmg(1.0, TE.shape[1], T1, T2, angle / math.pi))
        excited = xp.sin(0.5 * angle)
        return xp.moveaxis(echoes / excited[..., None], -1, 1)

    def protocol(self, axis: np.ndarray | None) -> Arrays:
        acquired = super().protocol(axis)
        TE = acquired["TE"]
        spacing = np.diff(TE).mean()
        if abs(TE[0] - spacing) > TOLERANCE * spacing:
            given = f"a first echo at {TE[0]:g} s and a spacing of {spacing:g} s"
            raise ConfigError("data", given, "the two alike; system=t2_map takes others")
        return acquired

    def with_B1(self, inputs: Arrays, B1: np.ndarray) -> Arrays:
        angle = np.abs((self.nominal * B1 + math.pi) % (2 * math.pi) - math.pi)
        angle = np.clip(angle, *self.refocusing.support).astype(np.float32)
        return {**inputs, "refocusing_map": angle}

    def log_likelihood(self, inputs: Arrays, params: Arrays) -> Any:
        found = super().log_likelihood(inputs, params)
        if "refocusing_map" not in inputs:
            return found
        angle, mapped = params["refocusing"], inputs["refocusing_map"]
        away = (angle - (mapped if angle.ndim == 1 else mapped[:, None])) / self.nominal
        xp = namespace(away)
        return found - 0.5 * xp.where(xp.isnan(away), 0.0 * angle, away / MAP_ERROR) ** 2
