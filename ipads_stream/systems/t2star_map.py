"""T2* of a voxel from gradient echoes at any times: one network for all protocols.

Source: Ma and Wehrli, Journal of Magnetic Resonance B 111, 61 (1996), the decay; Gudbjartsson and
Patz, Magnetic Resonance in Medicine 34, 910 (1995), the noise of magnitudes. Ranges, network and
loss are choices of this project (conf/system/t2star_map.yaml).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ipads_stream.distributions import Distribution, parameter
from ipads_stream.systems.echo_train import EchoTrain


@dataclass(frozen=True, kw_only=True)
class T2StarMap(EchoTrain):
    """A train of gradient echoes of one pool, without a gradient of the field across the voxel.

    Attributes:
        T2s: s.
    """

    name: ClassVar[str] = "t2star_map"
    estimated: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "T2s": {"unit": "ms", "scale": "log", "bids": "T2starmap"}
    }
    adoption: ClassVar[str] = "ipads_stream.evaluation.adoption.echoes.gradient_echoes"
    imperfections: ClassVar[Mapping[str, str]] = {
        "field gradient": "ipads_stream.baselines.imperfections.field_gradient",
        **EchoTrain.imperfections,
    }
    series: ClassVar[Sequence[str]] = ("MEGRE",)

    T2s: Distribution = parameter(quantity="time", within=(1e-4, 10.0))
