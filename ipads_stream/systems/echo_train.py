"""What systems share whose voxels are seen in a train of echoes at equal distances."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ipads_stream.core.backend import namespace
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Arrays
from ipads_stream.distributions import Distribution, parameter
from ipads_stream.systems.base import GONE, Axis
from ipads_stream.systems.relaxometry import MOST, Relaxometry, check_within, numbered


@dataclass(frozen=True, kw_only=True)
class EchoTrain(Relaxometry):
    """S_n = M0 exp(-TE_n / T), TE_n = first_echo + n spacing, n = 0 ... num_echoes - 1.

    Inputs besides: ``TE`` (B, N), s. Targets: T, s, the one of ``estimated``, and ``snr``.

    Attributes:
        num_echoes: at most 64; the largest is N.
        first_echo: s; None: the spacing.
        spacing: s.
    """

    scales: ClassVar[Mapping[str, tuple[float, float]]] = {"TE": (1e-3, 0.5)}
    design: ClassVar[str] = "ipads_stream.evaluation.design.relaxometry.echo_trains"
    baselines: ClassVar[dict[str, str]] = {
        "log-linear fit": "ipads_stream.baselines.relaxation.log_linear_fit",
        **Relaxometry.baselines,
    }
    imperfections: ClassVar[Mapping[str, str]] = {
        "second pool": "ipads_stream.baselines.imperfections.second_pool",
        "constant": "ipads_stream.baselines.imperfections.constant",
        "first image": "ipads_stream.baselines.imperfections.first_image",
        "alternating images": "ipads_stream.baselines.imperfections.alternating",
        "several coils": "ipads_stream.baselines.imperfections.several_coils",
        "more noise": "ipads_stream.baselines.imperfections.more_noise",
    }

    num_echoes: Distribution = parameter(integer=True, within=(2, MOST))
    first_echo: Distribution | None = parameter(quantity="time", within=(1e-4, 1.0), optional=True)
    spacing: Distribution = parameter(quantity="time", within=(1e-4, 1.0))

    def check(self) -> None:
        super().check()
        time, *_ = self.estimated
        first, longest = self._first.support[0], getattr(self, time).support[1]
        if first > GONE * longest:
            allowed = f"at most {GONE * longest:g} s: later nothing is left of the signal ({time})"
            raise ConfigError("first_echo", self._first.support, allowed)

    @property
    def array_axes(self) -> dict[str, Axis]:
        return {name: Axis("echo") for name in ("signal", "TE")}

    @property
    def _first(self) -> Distribution:
        return self.spacing if self.first_echo is None else self.first_echo

    @property
    def number(self) -> Distribution:
        return self.num_echoes

    def acquisition(self, params: Arrays) -> tuple[Arrays, Any]:
        number, mask = numbered(params["num_echoes"], self.num_echoes)
        first: Any = params.get("first_echo", params["spacing"])
        return {"TE": first[:, None] + params["spacing"][:, None] * number}, mask

    def relaxation(self, acquired: Arrays, params: Arrays) -> Any:
        time, *_ = self.estimated
        ratio = -acquired["TE"] / params[time]
        return namespace(ratio).exp(ratio)

    def protocol(self, axis: np.ndarray | None) -> Arrays:
        if axis is None:
            raise ConfigError("data", "no echo times", "EchoTime in a sidecar, or axis")
        TE = np.asarray(axis, np.float64)
        spacing = np.diff(TE)
        if not np.allclose(spacing, spacing.mean(), rtol=0.02, atol=2e-5):
            raise ConfigError("data", f"echo times {TE.tolist()} s", "equally spaced ones")
        check_within("a first echo", TE[0], self._first)
        check_within("a spacing", spacing.mean(), self.spacing)
        return {"TE": TE}
