"""T2 of a voxel from spin echoes at any times: one network for all protocols.

Source: Carr and Purcell, Physical Review 94, 630 (1954), the decay; Gudbjartsson and Patz, Magnetic
Resonance in Medicine 34, 910 (1995), the noise of magnitudes. Ranges, network and loss are choices
of this project (conf/system/t2_map.yaml).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ipads_stream.distributions import Distribution, parameter
from ipads_stream.systems.echo_train import EchoTrain


@dataclass(frozen=True, kw_only=True)
class T2Map(EchoTrain):
    """A train of ideal spin echoes of one pool (systems/echo_train.py).

    Attributes:
        T2: s.
    """

    name: ClassVar[str] = "t2_map"
    estimated: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "T2": {"unit": "ms", "scale": "log", "bids": "T2map"}
    }
    adoption: ClassVar[str] = "ipads_stream.evaluation.adoption.echoes.spin_echoes"
    imperfections: ClassVar[Mapping[str, str]] = {
        "stimulated echoes": "ipads_stream.baselines.imperfections.stimulated_echoes",
        **EchoTrain.imperfections,
    }
    series: ClassVar[Sequence[str]] = ("MESE",)

    T2: Distribution = parameter(quantity="time", within=(1e-4, 10.0))
