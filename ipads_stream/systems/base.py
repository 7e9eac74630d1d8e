"""What a system is: a protocol for everything a caller may ask of one, and what most systems share.

A system is a frozen dataclass whose fields are its YAML keys. What is optional has a protocol of
its own: callers ask ``isinstance(system, Bounded)``, and never look for attributes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ipads_stream.core.fields import SPACING, VOLUME, Direction, ruled
from ipads_stream.core.notebook import Shown
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.random import Keys
from ipads_stream.core.sample import Arrays, Sample
from ipads_stream.distributions import Distribution, draw_parameters, importance_weights
from ipads_stream.distributions.parameters import check_fields, distributions_of, rules_of
from ipads_stream.phantoms import Grid

GONE = 10.0  # time constants after which 5e-5 of a signal is left


@runtime_checkable
class System(Protocol):
    """What the stream needs: ``draw`` is small, on the host; ``render`` is heavy, on the device."""

    @property
    def name(self) -> str: ...

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays: ...

    def render(self, params: Arrays, keys: Keys, xp: Any) -> Sample: ...


@runtime_checkable
class Tasked(System, Protocol):
    """A system whose networks can be evaluated.

    ``task`` is what they are asked: "quantities", "signals", "spectra", "images", "vectors" or the
    full name of a user's own class (evaluation/tasks).
    """

    task: str


@runtime_checkable
class Quantified(Protocol):
    """A system whose targets are physical quantities, of one voxel, slice or volume a sample.

    ``kind`` is "voxel", "slice" or "volume"; ``quantities`` gives unit, range and scale by name.
    """

    kind: str
    quantities: Mapping[str, Quantity]


@runtime_checkable
class Measurable(Protocol):
    """A system that makes its inputs from a user's measured images.

    ``axis`` is the key in their sidecar that says where each was measured, and its unit.
    """

    axis: tuple[str, str]

    def measured(self, images: np.ndarray, axis: np.ndarray | None) -> Arrays: ...


@runtime_checkable
class OverNoise(Protocol):
    """A system whose inputs are over the noise: its standard deviation in a real channel.

    ``noise`` finds it, in the unit of the images, and says where; ``measured`` takes a known one,
    too. ``series`` are the suffixes that the images have in BIDS.
    """

    series: Sequence[str]

    def noise(self, images: np.ndarray, axis: np.ndarray | None) -> tuple[float, str]: ...

    def measured(self, images: np.ndarray, axis: Any, sigma: float | None = None) -> Arrays: ...


@runtime_checkable
class B1Mapped(Protocol):
    """A system that takes a measured map of B1 over nominal, (B,), kept within the training's.

    NaN is where the map holds nothing; ``without_B1`` says what B1 is then.
    """

    without_B1: str

    def with_B1(self, inputs: Arrays, B1: np.ndarray) -> Arrays: ...


@runtime_checkable
class SeveralAxes(Protocol):
    """A system that needs several numbers of each image: its axis is (1 + further, N).

    ``further_axes`` are keys in the sidecar, of which the first that is there counts, and units.
    """

    further_axes: Sequence[tuple[Sequence[str], str]]


@runtime_checkable
class Reconstructing(Protocol):
    """A system that makes its images of the raw lines of a measured shot (data/raw.py).

    ``reconstructed`` gives what ``measured`` takes, (X, Y[, Z], N), of the arrays by name.
    """

    def reconstructed(self, raw: Mapping[str, np.ndarray]) -> np.ndarray: ...


@runtime_checkable
class Undersampled(Protocol):
    """A system of signals of which some points are measured: inputs ``fid``, ``mask`` (B, N).

    ``rate`` is the share of points that is sampled; ``masks`` draws what is sampled, (B, points),
    at given numbers of sampled points (B,); ``dwell`` is the time from point to point, s.
    """

    points: int
    dwell: float
    rate: Distribution

    def masks(self, keys: Keys, points: int, counts: np.ndarray) -> np.ndarray: ...


@runtime_checkable
class Spatial(Protocol):
    """A system whose physics needs the size of its voxels, m, and the direction of B0 in them."""

    voxel_size: tuple[float, ...]
    B0_direction: Sequence[float]


@runtime_checkable
class FieldMapped(Measurable, Spatial, Protocol):
    """A system whose images are a map of the field beside B0, and nothing of how it was acquired.

    Its ``measured`` is given ``field_unit``, "ppm", whatever the unit of the file, and voxels that
    are turned as the system's are.
    """

    field_unit: str


@dataclass(frozen=True)
class Axis:
    """The last axis of an array.

    Attributes:
        label: what its points are, with the unit: "echo time (ms)".
        values: of the points, in that unit; None: they are counted.
    """

    label: str
    values: np.ndarray | None = None


@runtime_checkable
class Described(Protocol):
    """A system that says what the arrays of its samples are, for the labels of pictures.

    ``array_axes`` gives the last axis of curves, ``channel_names`` the channels, both by array.
    """

    array_axes: Mapping[str, Axis]
    channel_names: Mapping[str, Sequence[str]]


@runtime_checkable
class Gridded(Protocol):
    """A system whose maps lie on a regular grid."""

    grid: Grid


@runtime_checkable
class Spectral(Protocol):
    """A system whose target ``spectra`` holds complex spectra, (B, points) or, of several
    components, (B, components, points).

    ``components`` names them, () where there is one; ``ppm`` is the chemical shift of the points,
    (points,), None where it is not known.
    """

    components: Sequence[str]
    ppm: np.ndarray | None


@runtime_checkable
class Bounded(Protocol):
    """A system that knows the least standard deviation of an unbiased estimate (Cramer-Rao)."""

    def bound(self, params: Arrays) -> Mapping[str, np.ndarray]: ...


@runtime_checkable
class NoiseLimited(Protocol):
    """A system whose networks are given no less noise than the cleanest of their training data.

    ``limit_snr`` adds noise to inputs, batch first, that are cleaner, and says which were, (B,).
    """

    def limit_snr(self, inputs: Mapping[str, np.ndarray]) -> tuple[Arrays, np.ndarray]: ...


@runtime_checkable
class Forward(Protocol):
    """A system with a differentiable signal: parameters to what is measured, without noise."""

    def forward(self, params: Arrays) -> Any: ...


@runtime_checkable
class Likely(Protocol):
    """A system of voxels that knows the exact density of what it measures.

    ``log_likelihood`` gives log p(measured | quantities), of inputs (B, ...) and of the quantities
    by name, SI, (B,) or n of them for each sample, (B, n), in their shape; torch differentiates it.
    The prior of the quantities is their distributions, which depend on nothing else. It is what
    makes a network's posterior right by importance weights (baselines/importance.py).
    ``chi_square`` gives the squared distances of what was measured from its mean under quantities
    (B,), over its variance, added up, (B,), and how many there are, (B,).
    """

    name: str
    quantities: Mapping[str, Quantity]

    def distributions(self) -> dict[str, Distribution]: ...

    def log_likelihood(self, inputs: Arrays, params: Arrays) -> Any: ...

    def chi_square(self, inputs: Arrays, params: Arrays) -> tuple[np.ndarray, np.ndarray]: ...


@runtime_checkable
class Diagnosable(Likely, Protocol):
    """A system that declares what measured data may have besides (`ipads-stream diagnose`).

    ``imperfections`` gives, by name, the full name of a function ``make(system) -> Imperfection``
    (baselines/region_fits.py).
    """

    imperfections: Mapping[str, str]


@runtime_checkable
class Compared(Protocol):
    """A system that declares classical methods.

    ``baselines`` gives, by name, the full name of a function ``make(system) -> method``; a method
    maps inputs, batch first, to estimates by the names of the targets.
    """

    baselines: Mapping[str, str]


@runtime_checkable
class Adopting(Protocol):
    """A system that takes its protocol and priors from measured data (`ipads-stream adopt`).

    ``adoption`` is the full name of a function ``adopt(system, measured, config) -> Adopted``
    (evaluation/adoption/measured.py), which refuses data that do not fit.
    """

    name: str
    adoption: str


@runtime_checkable
class Designable(Protocol):
    """A system whose protocol can be chosen by the bound (`ipads-stream design`).

    ``design`` is the full name of a function ``design(system, asked) -> (Present, problems)``
    (evaluation/design/problem.py): the protocol that there is, and what may be chosen instead.
    """

    name: str
    design: str
    quantities: Mapping[str, Quantity]


@runtime_checkable
class Replacing(Adopting, Protocol):
    """A system that has the signals of others as special cases: it adopts data that fit both.

    ``instead_of`` are the names of the others.
    """

    instead_of: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ParametricSystem(Shown):
    """A system that draws its parameters from distributions, as all in this package are.

    Fields made with ``parameter`` are drawn, those made with ``number``, ``whole`` ... are checked.
    """

    # Sidecar key, and its unit, of where each measured image lies; a system may name another.
    axis: ClassVar[tuple[str, str]] = ("EchoTime", "s")

    def __post_init__(self) -> None:
        check_fields(self)
        self.check()

    def check(self) -> None:
        """Refuses, with ConfigError, fields that do not go together."""

    def lengths(self) -> Mapping[str, int]:
        """Length of every axis that a parameter has besides that of the samples, by name."""
        return {}

    @property
    def array_axes(self) -> Mapping[str, Axis]:
        """Last axis of the curves among inputs and targets, by name."""
        return {}

    @property
    def channel_names(self) -> Mapping[str, Sequence[str]]:
        """Names of the channels of inputs and targets, by name."""
        return {}

    @property
    def headline(self) -> str:
        return f"{type(self).__name__}: draws {', '.join(self.distributions())}"

    def distributions(self) -> dict[str, Distribution]:
        """Those of the drawn parameters, by name."""
        return distributions_of(self)

    def varying(self, *fixed: str) -> tuple[str, ...]:
        """Names of the drawn parameters that are not constants, those named here aside."""
        drawn = {name: x.support for name, x in self.distributions().items() if name not in fixed}
        return tuple(name for name, (low, high) in drawn.items() if low < high)

    def draw(self, keys: Keys, progress: np.ndarray) -> Arrays:
        """The parameters of the samples, batch first, SI."""
        rules, lengths = rules_of(self), self.lengths()
        shapes = {
            name: (distribution, tuple(lengths[axis] for axis in rules[name].axes))
            for name, distribution in self.distributions().items()
        }
        return draw_parameters(shapes, keys, progress)

    def batch(self, inputs: Arrays, targets: Arrays, params: Arrays) -> Sample:
        """The samples of drawn parameters, with their importance weights."""
        return Sample(inputs=inputs, targets=targets, params=params, weight=self.weights(params))

    def weights(self, params: Arrays) -> Any:
        """Importance weights of drawn parameters, (B,); None where all count alike."""
        return importance_weights(self.distributions(), params)


@dataclass(frozen=True, kw_only=True)
class VolumeSystem(ParametricSystem):
    """A system whose samples are volumes, (B, X, Y, Z).

    Attributes:
        shape: X, Y, Z, voxels.
        spacing: from voxel to voxel, m.
        B0_direction: along X, Y and Z.
    """

    shape: Sequence[int] = ruled(VOLUME, (32, 32, 32))
    spacing: Sequence[float] = ruled(SPACING, (1e-3, 1e-3, 1e-3))
    B0_direction: Sequence[float] = ruled(Direction(), (0.0, 0.0, 1.0))

    @property
    def grid(self) -> Grid:
        """Voxels and their spacing."""
        return Grid(tuple(self.shape), tuple(self.spacing))

    @property
    def voxel_size(self) -> tuple[float, ...]:
        """Of the maps, m."""
        return tuple(self.spacing)


def sensitivities(
    forward: Callable[[Arrays], Any], params: Arrays, steps: Mapping[str, tuple[Any, Any]]
) -> np.ndarray:
    """Finite differences of a signal by its parameters, (B, samples, parameters).

    Args:
        forward: parameters -> signal (B, samples), NumPy.
        params: (B,) each, float64.
        steps: name -> the offsets of the two values that the difference is between, (B,) or one.
    """
    columns = []
    for name, (ahead, behind) in steps.items():
        x = params[name]
        difference = forward(params | {name: x + ahead}) - forward(params | {name: x + behind})
        columns.append(difference / np.broadcast_to(ahead - behind, x.shape)[:, None])
    return np.stack(columns, -1)
